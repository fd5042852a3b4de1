//! The errors of this crate.

/// What can go wrong while pruning; each variant carries the facts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No variable may be pruned.
    #[error(
        "none of the {variables} variables may be pruned: it takes two dimensions or more, and every rule \
         (parameter type, include, exclude, skip rules) has to let it pass"
    )]
    NothingToPrune {
        /// Number of variables in the map.
        variables: usize,
    },
    /// An include or exclude pattern is not a regular expression.
    #[error("`{pattern}` is not a regular expression")]
    Regex {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: regex::Error,
    },
    /// A pattern that keeps nothing or everything.
    #[error("{n}:{m} is no pattern: it keeps n of every m inputs, n at least 1 and below m")]
    Pattern {
        /// Kept of each group.
        n: usize,
        /// Inputs of a group.
        m: usize,
    },
    /// Groups of a pattern do not divide the inputs of a variable.
    #[error(
        "pattern {n}:{m} does not divide the {inputs} inputs of `{name}`: {}",
        nearest_pattern(name, *nearest)
    )]
    PatternShape {
        /// Name of the variable.
        name: String,
        /// Kept of each group.
        n: usize,
        /// Inputs of a group.
        m: usize,
        /// Its inputs.
        inputs: usize,
        /// The nearest pattern whose groups divide them, if there is one.
        nearest: Option<(usize, usize)>,
    },
    /// A pattern does not go with another setting.
    #[error("a pattern n:m prunes single weights of each group by their scores: it does not go with {with}")]
    PatternAlone {
        /// The other setting.
        with: &'static str,
    },
    /// A ratio for variables that are not there.
    #[error(
        "`{pattern}` has a ratio of its own and matches no variable that is pruned: correct the regular expression, or leave it out"
    )]
    LayerUnmatched {
        /// The regular expression.
        pattern: String,
    },
    /// Two ratios for one variable.
    #[error("`{first}` and `{second}` both give `{name}` a ratio: let one of them match it")]
    LayerTwice {
        /// Name of the variable.
        name: String,
        /// The one regular expression.
        first: String,
        /// The other.
        second: String,
    },
    /// The ratio is out of range.
    #[error("ratio {got} is out of range: give a fraction in [0, 1), or in [0, 1] with paddle_compat")]
    Ratio {
        /// The ratio given.
        got: f64,
    },
    /// The ratio leaves not one weight.
    #[error(
        "ratio {ratio} prunes all {weights} weights of {of}, and a network without them has nothing to learn with: give \
         at most {highest}"
    )]
    NothingKept {
        /// The ratio given.
        ratio: f64,
        /// What it counts over, in words.
        of: String,
        /// Weights there.
        weights: u64,
        /// The highest ratio, to a few digits, that keeps one.
        highest: f64,
    },
    /// Gradual pruning raises a ratio, and threshold mode has none.
    #[error(
        "gradual pruning (gmp) sets a ratio at each step: use ratio mode, or strategy base with a threshold"
    )]
    GmpNeedsRatio,
    /// A strategy does not go with the other settings.
    #[error("{strategy} needs {needs}")]
    StrategyNeeds {
        /// The strategy.
        strategy: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// PaddleSlim's rules rank by magnitude only.
    #[error(
        "paddle_compat ranks by magnitude as PaddleSlim does: turn it off to use a criterion of your own"
    )]
    CriterionWithCompat,
    /// A weight is NaN.
    #[error("weight {index} of `{name}` is NaN: training diverged; go back to the last good checkpoint")]
    NotANumber {
        /// Name of the variable.
        name: String,
        /// Index into the flattened variable.
        index: usize,
    },
    /// Signed scores have no threshold of their own.
    #[error("a criterion with negative scores ranks weights and has no threshold: use ratio mode")]
    SignedNeedsRatio,
    /// A criterion that looks at steps has seen none.
    #[error(
        "the criterion ranks by gradients and has seen none: call Pruner::observe between the backward pass and the update"
    )]
    NothingObserved,
    /// A step has no gradient of a prunable variable.
    #[error(
        "the gradient of `{name}` is {got:?}, its shape {expected:?}: the criterion needs one of that shape"
    )]
    Gradient {
        /// Name of the variable.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// Shape of the gradient, if there is one.
        got: Option<Vec<usize>>,
    },
    /// A criterion gave a score that is NaN, or negative though it is not signed.
    #[error(
        "the criterion scored weight {index} of `{name}` as {got}: scores are numbers, 0 or above unless it is signed"
    )]
    Score {
        /// Name of the variable.
        name: String,
        /// Index into the flattened variable.
        index: usize,
        /// The score.
        got: f64,
    },
    /// A variable to be pruned has values that are neither `f32` nor `f64`.
    #[error("`{name}` holds {got}: only f32 and f64 variables can be pruned; exclude it")]
    Dtype {
        /// Name of the variable.
        name: String,
        /// Its type.
        got: &'static str,
    },
    /// A variable to be pruned is not one contiguous piece of CPU memory.
    #[error("`{name}` is not contiguous in CPU memory: move it there before pruning, or exclude it")]
    Placement {
        /// Name of the variable.
        name: String,
    },
    /// The masks to restore are not those of the prunable variables.
    #[error(
        "the masks belong to other variables: missing {missing:?}, unknown {unknown:?}; \
         restore with the model and the prune settings that they were saved with"
    )]
    RestoreNames {
        /// Prunable variables without a mask.
        missing: Vec<String>,
        /// Masks without a prunable variable.
        unknown: Vec<String>,
    },
    /// A mask or sum to restore has another length than its variable.
    #[error("what was saved of `{name}` is for {got} weights, the variable has {expected}")]
    RestoreLength {
        /// Name of the variable.
        name: String,
        /// Number of weights.
        expected: usize,
        /// Number of weights that it is for.
        got: usize,
    },
    /// The state to restore was saved with another schedule.
    #[error(
        "the state was saved by schedule {got}, this pruner has {expected}: keep the strategy it was saved with"
    )]
    RestoreSchedule {
        /// Schedule of this pruner.
        expected: &'static str,
        /// Schedule of the state.
        got: &'static str,
    },
    /// The maths refused its input.
    #[error(transparent)]
    Sparsity(#[from] sparse_sparsity::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Whether settings are wrong for the variables that there are, rather than the variables.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NothingKept { .. }
                | Self::PatternShape { .. }
                | Self::LayerUnmatched { .. }
                | Self::LayerTwice { .. }
        )
    }
}

/// Result with the [`Error`] of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What to do where a pattern does not fit a variable.
fn nearest_pattern(name: &str, nearest: Option<(usize, usize)>) -> String {
    let instead = nearest.map(|(n, m)| format!("the nearest that does is {n}:{m}; "));
    format!(
        "{}leave it dense (prune.exclude = [\"^{name}$\"]), or prune pointwise layers only (conv1x1_only)",
        instead.unwrap_or_default()
    )
}
