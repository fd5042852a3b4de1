//! Section `prune`: what is pruned, how far and when.

use serde::{Deserialize, Serialize};

use super::{
    keys::SectionKeys,
    validate::{Problem, require},
};

/// What decides which weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PruningMode {
    /// A wanted share of the prunable weights.
    Ratio,
    /// A cut-off on |w|.
    Threshold,
    /// Nothing goes: dense training.
    #[serde(rename = "none", alias = "None")]
    Dense,
}

/// When weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PruningStrategy {
    /// The full ratio or threshold from the first step on.
    Base,
    /// Gradual magnitude pruning: the ratio rises along a cubic ramp.
    Gmp,
}

/// Which parameters may be pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParamsType {
    /// All but normalisation parameters and vectors; `"None"` in the config.
    #[serde(rename = "None", alias = "none")]
    All,
    /// Only weights of pointwise convolutions.
    #[serde(rename = "conv1x1_only")]
    Conv1x1Only,
}

/// Which gradient reaches the optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gradient {
    /// The gradient of pruned weights is 0.
    Masked,
    /// The gradient is left as it is.
    Dense,
}

/// Section `prune`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneSection {
    /// What decides which weights go.
    pub pruning_mode: PruningMode,
    /// Share of the prunable weights to prune, a fraction in [0, 1); 1 is allowed with `paddle_compat`.
    pub ratio: f64,
    /// Weights with |w| below it are pruned; in weight units, finite, 0 or more.
    pub threshold: f64,
    /// When weights go.
    pub pruning_strategy: PruningStrategy,
    /// Which parameters may be pruned.
    pub prune_params_type: ParamsType,
    /// One threshold per layer instead of one over all layers.
    pub local_sparsity: bool,
    /// Rows and columns of the blocks that are pruned together, over the first two dimensions of a weight.
    pub sparse_block: [usize; 2],
    /// GMP: epochs of dense training at the start.
    pub stable_epochs: usize,
    /// GMP: epochs over which the ratio rises.
    pub pruning_epochs: usize,
    /// GMP: epochs of fine-tuning at the full ratio.
    pub tunning_epochs: usize,
    /// GMP: how many times the ratio is raised.
    pub pruning_steps: usize,
    /// GMP: the ratio at the start of the ramp, a fraction in [0, 1).
    pub initial_ratio: f64,
    /// Pruned weights may come back when masks are computed again.
    pub regrow: bool,
    /// Which gradient reaches the optimizer.
    pub gradient: Gradient,
    /// Follow PaddleSlim's selection and schedule bit for bit.
    pub paddle_compat: bool,
    /// Regexes of parameter names to prune; empty = all that may be pruned.
    pub include: Vec<String>,
    /// Regexes of parameter names to leave dense.
    pub exclude: Vec<String>,
}

pub(super) const KEYS: SectionKeys = &[
    ("pruning_mode", "\"ratio\", \"threshold\" or \"none\""),
    ("ratio", "a fraction, at least 0 and below 1 (1 only with prune.paddle_compat)"),
    ("threshold", "a finite number, 0 or more"),
    ("pruning_strategy", "\"base\" or \"gmp\""),
    ("prune_params_type", "\"None\" or \"conv1x1_only\""),
    ("local_sparsity", "true or false"),
    ("sparse_block", "two whole numbers, 1 or more each, such as [2, 1]"),
    ("stable_epochs", "a whole number, 0 or more"),
    ("pruning_epochs", "a whole number, 0 or more"),
    ("tunning_epochs", "a whole number, 0 or more"),
    ("pruning_steps", "a whole number, 1 or more"),
    ("initial_ratio", "a fraction, at least 0 and below 1"),
    ("regrow", "true or false"),
    ("gradient", "\"masked\" or \"dense\""),
    ("paddle_compat", "true or false"),
    ("include", "a list of regexes, such as [\"_sep_weights$\"]"),
    ("exclude", "a list of regexes, such as [\"^conv1_weights$\"]"),
];

impl Default for PruneSection {
    /// PaddleSlim's defaults, in the seed's threshold mode.
    fn default() -> Self {
        Self {
            pruning_mode: PruningMode::Threshold,
            ratio: 0.55,
            threshold: 1e-5,
            pruning_strategy: PruningStrategy::Base,
            prune_params_type: ParamsType::All,
            local_sparsity: false,
            sparse_block: [1, 1],
            stable_epochs: 0,
            pruning_epochs: 60,
            tunning_epochs: 60,
            pruning_steps: 120,
            initial_ratio: 0.15,
            regrow: true,
            gradient: Gradient::Masked,
            paddle_compat: false,
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

impl PruneSection {
    /// True when the ratio rises along GMP's ramp: dense training has none.
    #[must_use]
    pub fn is_gmp(&self) -> bool {
        self.pruning_strategy == PruningStrategy::Gmp && self.pruning_mode == PruningMode::Ratio
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        let fraction = |value: f64| (0.0..1.0).contains(&value);
        let whole = self.paddle_compat && self.ratio == 1.0;
        require(fraction(self.ratio) || whole, "prune.ratio")?;
        require(self.threshold.is_finite() && self.threshold >= 0.0, "prune.threshold")?;
        require(self.sparse_block.iter().all(|&side| side >= 1), "prune.sparse_block")?;
        require(self.pruning_steps >= 1, "prune.pruning_steps")?;
        require(fraction(self.initial_ratio), "prune.initial_ratio")?;
        if self.pruning_strategy == PruningStrategy::Gmp && self.pruning_mode == PruningMode::Threshold {
            let rule = "raises a ratio, but the pruning mode is \"threshold\": give a ratio (--ratio 0.55, or \
                        --pruning_mode ratio), or use --pruning_strategy base";
            return Err(Problem::new("prune.pruning_strategy", rule.to_owned()));
        }
        if self.is_gmp() && !self.paddle_compat && self.initial_ratio > self.ratio {
            let rule =
                format!("is above the target prune.ratio = {}: lower it (--initial_ratio)", self.ratio);
            return Err(Problem::new("prune.initial_ratio", rule));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_at_fault(change: impl Fn(&mut PruneSection)) -> &'static str {
        let mut section = PruneSection::default();
        change(&mut section);
        section.check().unwrap_err().key
    }

    #[test]
    fn a_ratio_is_a_fraction_below_one_and_one_in_compat_mode() {
        for ratio in [-0.1, 1.0, 1.5, f64::NAN] {
            assert_eq!(key_at_fault(|section| section.ratio = ratio), "prune.ratio");
        }
        for ratio in [0.0, 0.999_999] {
            assert!(PruneSection { ratio, ..PruneSection::default() }.check().is_ok());
        }
        let compat = PruneSection { ratio: 1.0, paddle_compat: true, ..PruneSection::default() };
        assert!(compat.check().is_ok());
        assert_eq!(
            key_at_fault(|section| (section.ratio, section.paddle_compat) = (1.1, true)),
            "prune.ratio"
        );
    }

    #[test]
    fn a_threshold_is_finite_and_not_negative() {
        for threshold in [-1e-9, f64::NAN, f64::INFINITY] {
            assert_eq!(key_at_fault(|section| section.threshold = threshold), "prune.threshold");
        }
        assert!(PruneSection { threshold: 0.0, ..PruneSection::default() }.check().is_ok());
    }

    #[test]
    fn blocks_and_updates_are_at_least_one() {
        assert_eq!(key_at_fault(|section| section.sparse_block = [0, 1]), "prune.sparse_block");
        assert_eq!(key_at_fault(|section| section.sparse_block = [1, 0]), "prune.sparse_block");
        assert_eq!(key_at_fault(|section| section.pruning_steps = 0), "prune.pruning_steps");
    }

    #[test]
    fn gmp_goes_with_a_ratio_or_with_dense_training_only() {
        let gmp = |pruning_mode| PruneSection {
            pruning_strategy: PruningStrategy::Gmp,
            pruning_mode,
            ..PruneSection::default()
        };
        assert_eq!(gmp(PruningMode::Threshold).check().unwrap_err().key, "prune.pruning_strategy");
        assert!(gmp(PruningMode::Ratio).check().is_ok() && gmp(PruningMode::Ratio).is_gmp());
        assert!(gmp(PruningMode::Dense).check().is_ok() && !gmp(PruningMode::Dense).is_gmp());
    }

    #[test]
    fn the_initial_ratio_is_a_fraction_and_not_above_the_target() {
        for initial_ratio in [-0.1, 1.0, f64::NAN] {
            assert_eq!(key_at_fault(|section| section.initial_ratio = initial_ratio), "prune.initial_ratio");
        }
        let mut gmp = PruneSection {
            pruning_strategy: PruningStrategy::Gmp,
            pruning_mode: PruningMode::Ratio,
            ratio: 0.1,
            ..PruneSection::default()
        };
        assert_eq!(gmp.check().unwrap_err().key, "prune.initial_ratio");
        gmp.paddle_compat = true;
        assert!(gmp.check().is_ok());
    }
}
