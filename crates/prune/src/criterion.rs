//! How weights are ranked, and what a ranking is told.

use sparse_sparsity::Mask;

/// The weights of one variable, flattened in C order.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

impl<'a> Weights<'a> {
    /// Number of weights.
    pub fn len(self) -> usize {
        match self {
            Self::F32(weights) => weights.len(),
            Self::F64(weights) => weights.len(),
        }
    }

    /// Whether there are no weights.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The weights in order, as `f64`.
    pub fn iter(self) -> impl Iterator<Item = f64> + 'a {
        let (single, double): (&[f32], &[f64]) = match self {
            Self::F32(weights) => (weights, &[]),
            Self::F64(weights) => (&[], weights),
        };
        single.iter().map(|&weight| f64::from(weight)).chain(double.iter().copied())
    }
}

/// What is known of one variable: as training stands at a step, or at the selection of what is pruned.
///
/// Further facts may join these; a criterion reads those that it needs.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Facts<'a> {
    /// Name of the variable.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its weights: at a step those that the gradient was taken at, at a selection those after the optimizer's update.
    pub weights: Weights<'a>,
    /// The gradient of the loss to the weights, over the whole batch of all ranks, before clipping and decay; at steps alone.
    /// Where gradients are masked that of pruned weights may be 0.
    pub gradient: Option<Weights<'a>>,
    /// What [`Criterion::observe`] has added up, one number per weight; at selections, and empty without a memory.
    pub sums: &'a [f64],
    /// Steps that are in `sums`.
    pub steps: u64,
    /// The mask so far, if there is one.
    pub mask: Option<&'a Mask>,
}

/// How long a criterion remembers what it observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Not at all: it needs no steps.
    Nothing,
    /// Until masks are computed from it; then it begins anew.
    SinceUpdate,
    /// All steps of the run.
    WholeRun,
}

/// A score per weight of one's own: weights with the smallest scores are pruned first.
///
/// Without one the score is the magnitude. In threshold mode the score takes the place of the magnitude too; with
/// blocks a block's score is the mean over its weights. A criterion that looks at gradients has a [`Memory`]: it is given the
/// facts of every step ([`Pruner::observe`](crate::Pruner::observe)) and those of the selection.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{VarBuilder, VarMap, linear};
/// use sparse_prune::{Criterion, Facts, Mode, Pruner, PrunerConfig};
///
/// /// Magnitude relative to the largest of the layer: compares layers of different scale fairly.
/// struct RelativeMagnitude;
///
/// impl Criterion for RelativeMagnitude {
///     fn score(&self, facts: &Facts<'_>, scores: &mut [f64]) {
///         let largest = facts.weights.iter().fold(f64::MIN_POSITIVE, |largest, weight| largest.max(weight.abs()));
///         for (score, weight) in scores.iter_mut().zip(facts.weights.iter()) {
///             *score = weight.abs() / largest;
///         }
///     }
/// }
///
/// let vars = VarMap::new();
/// let builder = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
/// let _hidden = linear(784, 64, builder.pp("hidden"))?;
/// let config = PrunerConfig::new(Mode::Ratio(0.5));
/// let mut pruner = Pruner::new(&vars, config)?.with_criterion(RelativeMagnitude)?;
/// pruner.step()?;
/// assert_eq!(pruner.masks()["hidden.weight"].pruned(), 784 * 64 / 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Criterion: Send + Sync {
    /// Writes the scores of the weights of a variable: one per weight, in their order; 0 or above unless it
    /// [is signed](Criterion::is_signed).
    ///
    /// `scores` comes filled with zeros. It may be called from any thread.
    fn score(&self, facts: &Facts<'_>, scores: &mut [f64]);

    /// How long it remembers steps.
    fn memory(&self) -> Memory {
        Memory::Nothing
    }

    /// Adds what it needs of a step to `sums`, one number per weight, 0 at first. Called once for each step and variable, from any
    /// thread, and only with a memory.
    fn observe(&self, _facts: &Facts<'_>, _sums: &mut [f64]) {}

    /// Whether scores may be negative. They are then ranked as `f32`, and only a ratio can be asked for.
    fn is_signed(&self) -> bool {
        false
    }

    /// Values for the weights of a variable once its new mask is chosen, one per weight, for a criterion that solves for the kept ones
    /// anew; `None` leaves them as they are.
    fn solve(&self, _facts: &Facts<'_>, _mask: &Mask) -> Option<Vec<f64>> {
        None
    }
}
