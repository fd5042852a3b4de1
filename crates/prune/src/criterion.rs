//! How weights are ranked.

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

/// A score per weight of one's own: weights with the smallest scores are pruned first.
///
/// Without one the score is the magnitude. In threshold mode the score takes the place of the magnitude too; with
/// blocks a block's score is the mean over its weights.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{VarBuilder, VarMap, linear};
/// use sparse_prune::{Criterion, Mode, Pruner, PrunerConfig, Weights};
///
/// /// Magnitude relative to the largest of the layer: compares layers of different scale fairly.
/// struct RelativeMagnitude;
///
/// impl Criterion for RelativeMagnitude {
///     fn score(&self, _name: &str, weights: Weights<'_>, scores: &mut [f64]) {
///         let largest = weights.iter().fold(f64::MIN_POSITIVE, |largest, weight| largest.max(weight.abs()));
///         for (score, weight) in scores.iter_mut().zip(weights.iter()) {
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
    /// Writes the scores of the weights of variable `name`: 0 or above, one per weight, in their order.
    ///
    /// `scores` comes filled with zeros. It may be called from any thread.
    fn score(&self, name: &str, weights: Weights<'_>, scores: &mut [f64]);
}
