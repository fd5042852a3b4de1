//! The settings of a pruner.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sparse_sparsity::schedule::GmpConfig;
use sparse_sparsity::threshold;

use crate::acdc::AcdcConfig;
use crate::drop_grow::{self, DropGrowConfig};
use crate::movement::Movement;
use crate::rewind::RewindConfig;
use crate::taylor::Taylor;
use crate::{Allocation, Criterion, Error, Pattern, Result};

/// What decides which weights go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Prune the weights whose magnitude lies below this, in units of the weights; finite and 0 or above.
    Threshold(f64),
    /// Prune this fraction of the prunable weights, those with the smallest magnitudes; in [0, 1).
    Ratio(f64),
    /// Prune all but so many weights of each group of neighbouring inputs.
    Pattern(Pattern),
}

/// When the masks are computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// At every step, from the raw weights.
    Base,
    /// Whenever the ratio changes, while it climbs to the target: gradual magnitude pruning. Not with a threshold; with a pattern the
    /// ratio is that of the pattern, and each group loses a weight whenever it reaches a multiple of 1/m.
    Gmp(GmpConfig),
    /// At the beginning of each sparse phase, between dense ones. Not with a threshold.
    Acdc(AcdcConfig),
    /// Some more in each round of training, which is repeated from an early step. Not with a threshold.
    Rewind(RewindConfig),
    /// First by magnitude, then by moving some weights at a time. Ratio mode only.
    DropGrow(DropGrowConfig),
}

/// Which variables may be pruned; each has two dimensions or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamsType {
    /// All of them.
    All,
    /// Only the kernels of 1×1 convolutions, `[C_out, C_in, 1, 1]`.
    Conv1x1Only,
}

/// Over which weights a ratio counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Over all prunable weights together.
    Global,
    /// Over each variable on its own. PaddleSlim: `local_sparsity`.
    LayerWise,
}

/// What the optimizer does with the gradients of pruned weights. The pruner only stores it for the optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GradientMode {
    /// Their gradients are set to zero.
    Masked,
    /// Their gradients are used like any other.
    Dense,
}

/// What weights are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// Their magnitude.
    #[default]
    Magnitude,
    /// `|w · g|`, averaged over the steps since the last update of the masks. Molchanov et al. 2019, arXiv:1906.10771.
    Taylor,
    /// The sum of `-w · g` over all steps; ratio mode only. Sanh et al. 2020, arXiv:2005.07683.
    Movement,
}

impl Ranking {
    /// The criterion that ranks so; none for the magnitude, which is ranked in place.
    pub(crate) fn criterion(self) -> Option<Box<dyn Criterion>> {
        match self {
            Self::Magnitude => None,
            Self::Taylor => Some(Box::new(Taylor)),
            Self::Movement => Some(Box::new(Movement)),
        }
    }
}

/// The settings of a [`Pruner`](crate::Pruner).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrunerConfig {
    /// What decides which weights go.
    pub mode: Mode,
    /// What weights are ranked by.
    #[serde(default)]
    pub ranking: Ranking,
    /// When the masks are computed.
    pub strategy: Strategy,
    /// Which kinds of variables may be pruned.
    pub params_type: ParamsType,
    /// Regular expressions: if there are any, only variables whose name one of them matches may be pruned.
    pub include: Vec<String>,
    /// Regular expressions: variables whose name one of them matches are not pruned.
    pub exclude: Vec<String>,
    /// Over which weights a ratio counts.
    pub scope: Scope,
    /// How a ratio is spread where it counts over each variable on its own.
    #[serde(default)]
    pub allocation: Allocation,
    /// Ratios of variables of their own: regular expressions of names, each with its ratio. Such a variable is ranked on its own. A
    /// gradual ratio takes the same share of its way in each variable.
    #[serde(default)]
    pub layers: BTreeMap<String, f64>,
    /// Rows and columns that are pruned together, over the first two dimensions; `[1, 1]` for single weights.
    pub block: [usize; 2],
    /// Whether a pruned weight may come back. If not, masks only shrink, and in ratio mode the weights that are
    /// pruned already count first.
    pub regrow: bool,
    /// What the optimizer does with the gradients of pruned weights.
    pub gradient: GradientMode,
    /// Follow PaddleSlim where it differs: a ratio becomes a threshold by its formula, a block scores the
    /// magnitude of its mean, gradual pruning has its phases, and a ratio may be 1.
    pub paddle_compat: bool,
}

impl PrunerConfig {
    /// Single weights, ranked over all variables at every step, that may come back; masked gradients.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            ranking: Ranking::Magnitude,
            strategy: Strategy::Base,
            params_type: ParamsType::All,
            include: Vec::new(),
            exclude: Vec::new(),
            scope: Scope::Global,
            allocation: Allocation::Uniform,
            layers: BTreeMap::new(),
            block: [1, 1],
            regrow: true,
            gradient: GradientMode::Masked,
            paddle_compat: false,
        }
    }

    /// Checks what does not depend on the variables.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.block.contains(&0) {
            return Err(sparse_sparsity::Error::BlockSize { block: self.block }.into());
        }
        match &self.strategy {
            Strategy::DropGrow(_) => drop_grow::validate(self)?,
            Strategy::Rewind(rewind) => rewind.validate(self)?,
            Strategy::Acdc(_) if !self.regrow || self.paddle_compat => {
                let needs = if self.regrow {
                    "paddle_compat turned off"
                } else {
                    "weights that may come back (regrow)"
                };
                return Err(Error::StrategyNeeds { strategy: "AC/DC", needs });
            }
            Strategy::Base | Strategy::Gmp(_) | Strategy::Acdc(_) => {}
        }
        match (self.mode, &self.strategy) {
            (Mode::Threshold(_), Strategy::Gmp(_)) => Err(Error::GmpNeedsRatio),
            (Mode::Threshold(_), Strategy::Acdc(_)) => {
                Err(Error::StrategyNeeds { strategy: "AC/DC", needs: "a ratio or a pattern" })
            }
            (Mode::Threshold(value), _) => {
                threshold::smallest_kept::<f64>(value)?;
                Ok(())
            }
            (Mode::Ratio(got), _) => {
                let fits = (0.0..1.0).contains(&got) || (self.paddle_compat && got == 1.0);
                if fits { Ok(()) } else { Err(Error::Ratio { got }) }
            }
            (Mode::Pattern(_), _) if self.block != [1, 1] => Err(Error::PatternAlone { with: "blocks" }),
            (Mode::Pattern(_), _) if self.paddle_compat => Err(Error::PatternAlone { with: "paddle_compat" }),
            (Mode::Pattern(pattern), _) => pattern.validate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_fraction_below_one() {
        for got in [-0.1, 1.0, 1.5, f64::NAN] {
            let refused = PrunerConfig::new(Mode::Ratio(got)).validate();
            assert!(matches!(refused, Err(Error::Ratio { .. })), "{got}");
        }
        let compat = |ratio| PrunerConfig { paddle_compat: true, ..PrunerConfig::new(Mode::Ratio(ratio)) };
        assert!(compat(1.0).validate().is_ok());
        assert!(matches!(compat(1.1).validate(), Err(Error::Ratio { .. })));
    }

    #[test]
    fn a_threshold_is_finite_and_not_negative() {
        for got in [-0.1, f64::NAN, f64::INFINITY] {
            let refused = PrunerConfig::new(Mode::Threshold(got)).validate();
            let is_threshold =
                matches!(refused, Err(Error::Sparsity(sparse_sparsity::Error::Threshold { .. })));
            assert!(is_threshold, "{got}");
        }
        assert!(PrunerConfig::new(Mode::Threshold(0.0)).validate().is_ok());
    }

    #[test]
    fn gradual_pruning_needs_a_ratio() {
        let gmp = GmpConfig {
            stable_steps: 0,
            pruning_steps: 60,
            tunning_steps: 0,
            updates: 5,
            initial_ratio: 0.15,
            resume_step: 0,
        };
        let config = PrunerConfig { strategy: Strategy::Gmp(gmp), ..PrunerConfig::new(Mode::Threshold(0.1)) };
        assert!(matches!(config.validate(), Err(Error::GmpNeedsRatio)));
    }
}
