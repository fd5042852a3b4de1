//! Section `prune`: what is pruned, how far and when.

use std::collections::BTreeMap;

use super::{
    Key, Values, When,
    declare::{choices, settings},
    validate::{Problem, require},
};

choices! {
    /// What decides which weights go.
    pub enum PruningMode {
        /// A wanted share of the prunable weights.
        Ratio = "ratio",
        /// A cut-off on |w|.
        Threshold = "threshold",
        /// All but n of every m neighbouring inputs.
        Pattern = "pattern",
        /// Nothing goes: dense training.
        Dense = "none" | "None",
    }
}

choices! {
    /// When weights go.
    pub enum PruningStrategy {
        /// The full ratio or threshold from the first step on.
        Base = "base",
        /// Gradual magnitude pruning: the ratio rises along a cubic ramp.
        Gmp = "gmp",
        /// Alternating dense and sparse phases.
        Acdc = "acdc",
        /// The ratio from the first step on; the smallest weights are dropped, those with the largest gradients grow.
        Rigl = "rigl",
        /// As rigl, and what grows is random.
        Set = "set",
        /// A share of what is left in each of some rounds, from which training goes back to an early epoch.
        Rewind = "rewind",
    }
}

choices! {
    /// What weights are ranked by; those that rank lowest go.
    pub enum Criterion {
        /// |w|.
        Magnitude = "magnitude",
        /// |w g|, averaged over the steps since masks were computed last.
        Taylor = "taylor",
        /// The sum of -w g over all steps.
        Movement = "movement",
        /// What layers read: weights are kept so that their outputs change least, and solved for.
        Obs = "obs",
    }
}

choices! {
    /// What goes back to an early epoch.
    pub enum Rewinds {
        /// The kept weights and the learning rate.
        Weights = "weights",
        /// The learning rate alone.
        Rate = "rate",
    }
}

choices! {
    /// How a layer-wise ratio is spread over layers.
    pub enum Allocation {
        /// The same for each.
        Uniform = "uniform",
        /// Less of small layers: densities of the Erdős–Rényi kernel.
        Erk = "erk",
    }
}

choices! {
    /// Which parameters may be pruned.
    pub enum ParamsType {
        /// All but normalisation parameters and vectors.
        All = "None" | "none",
        /// Only weights of pointwise convolutions.
        Conv1x1Only = "conv1x1_only",
    }
}

choices! {
    /// Which gradient reaches the optimizer.
    pub enum Gradient {
        /// The gradient of pruned weights is 0.
        Masked = "masked",
        /// The gradient is left as it is.
        Dense = "dense",
    }
}

/// What the ramp of gradual pruning counts with.
const GMP: &[When] = &[When::RANKED, When::GRADUALLY];
const EPOCHS: Key = Key::whole(0, "epochs").flag("EPOCHS").only(GMP);
const PHASE_EPOCHS: Key = Key::whole(0, "epochs").flag("EPOCHS").only(&[When::RANKED, When::IN_PHASES]);
/// What drop and grow counts with.
const MOVES: &[When] = &[When::BY_RATIO, When::MOVES];
/// What rewinding counts with.
const REWINDS: &[When] = &[When::RANKED, When::REWINDS];
const PRUNING: Key = Key::truth().only(&[When::PRUNES]);
const SIDE: Values = Values::whole(1);
const REGEXES: Key = Key::of(Values::list(&Values::Text)).default_words("none").only(&[When::PRUNES]);

settings! {
    /// Section `prune`.
    pub struct PruneSection: "prune", with the defaults for _ => {
        /// What decides which weights go.
        pruning_mode: PruningMode = PruningMode::Threshold,
            Key::of(PruningMode::VALUES).flag("MODE").default_words("ratio with --ratio, else threshold");
        /// Share of the prunable weights to prune, a fraction.
        ratio: f64 = 0.55,
            Key::of(Values::SHARE).flag("FRACTION").only(&[When::BY_RATIO])
                .words("a fraction, at least 0 and below 1 (1 only with prune.paddle_compat)");
        /// Prune the weights whose magnitude is below it.
        threshold: f64 = 1e-5,
            Key::of(Values::NOT_NEGATIVE).words("a finite number, 0 or more").flag("MAGNITUDE")
                .only(&[When::BY_THRESHOLD]);
        /// Keep n of every m neighbouring inputs, for pruning_mode pattern.
        ///
        /// Along the input channels of a weight `[out, in, kh, kw]`; the head is `[in, classes]`.
        pattern: String = "2:4".to_owned(),
            Key::text("n:m, n of m kept, n at least 1 and below m, such as \"2:4\"").flag("N:M")
                .only(&[When::BY_PATTERN]).added_later();
        /// When weights go, from the first step on or gradually.
        pruning_strategy: PruningStrategy = PruningStrategy::Base,
            Key::of(PruningStrategy::VALUES).flag("NAME").only(&[When::PRUNES]);
        /// What weights are ranked by, their magnitude, how the loss moves them, or what layers read.
        ///
        /// Those that look at gradients are told of every step, and obs solves for the weights that are kept (docs/strategies.md).
        criterion: Criterion = Criterion::Magnitude,
            Key::of(Criterion::VALUES).flag("NAME").only(&[When::RANKED]).added_later();
        /// Criterion obs: images that an update of the masks looks at.
        obs_images: usize = 256,
            Key::whole(1, "images").flag("N").only(&[When::RANKED, When::BY_DATA]).added_later();
        /// Which weights may go, all prunable ones or those of pointwise convolutions.
        prune_params_type: ParamsType = ParamsType::All,
            Key::of(ParamsType::VALUES).flag("NAME").only(&[When::PRUNES]);
        /// One threshold per layer.
        local_sparsity: bool = false,
            Key::truth().flag("BOOL").only(&[When::BY_RATIO]);
        /// How the ratio is spread over layers with local_sparsity, evenly or less of small layers (ERK).
        allocation: Allocation = Allocation::Uniform,
            Key::of(Allocation::VALUES).flag("NAME").only(&[When::BY_RATIO, When::LAYER_WISE]).added_later();
        /// Rows and columns of the blocks that go together.
        ///
        /// Over the first two dimensions of a weight.
        sparse_block: [usize; 2] = [1, 1],
            Key::of(Values::List { of: &SIDE, least: 2, most: 2, or_one: false }).flag("SIDE").only(&[When::PRUNES])
                .words("two whole numbers, 1 or more each, such as [2, 1]");
        /// GMP and AC/DC: epochs of dense training at the start.
        stable_epochs: usize = 0, PHASE_EPOCHS;
        /// GMP: epochs over which the ratio rises.
        pruning_epochs: usize = 60, EPOCHS;
        /// GMP: epochs of fine-tuning at the full ratio; AC/DC: those of the last sparse phase.
        ///
        /// Those of GMP last to the end of the run in any case; with `paddle_compat` they count as in PaddleSlim.
        tunning_epochs: usize = 60, PHASE_EPOCHS;
        /// AC/DC: epochs of each sparse and each dense phase before the last.
        phase_epochs: usize = 5,
            Key::whole(1, "epochs").flag("EPOCHS").only(&[When::RANKED, When::ALTERNATES]).added_later();
        /// RigL and SET: steps between updates of the masks.
        update_period: usize = 100,
            Key::whole(1, "steps").flag("STEPS").only(MOVES).added_later();
        /// RigL and SET: share of the kept weights that are exchanged at first, a fraction; it falls along half a cosine.
        update_fraction: f64 = 0.3,
            Key::of(Values::FRACTION).flag("FRACTION").only(MOVES).added_later();
        /// RigL and SET: share of the run after which masks stay, a fraction.
        update_until: f64 = 0.75,
            Key::of(Values::SHARE).flag("FRACTION").only(MOVES).added_later();
        /// Rewind: what goes back, the kept weights with the learning rate, or the rate alone.
        rewind: Rewinds = Rewinds::Weights,
            Key::of(Rewinds::VALUES).flag("NAME").only(REWINDS).added_later().must_agree();
        /// Rewind: the epoch to go back to; 0: the initial weights.
        rewind_epoch: f64 = 1.0,
            Key::of(Values::NOT_NEGATIVE).flag("EPOCH").only(REWINDS).added_later().must_agree();
        /// Rewind: how many times weights are pruned and training goes back, over all of train.num_epochs.
        rewind_rounds: usize = 3,
            Key::whole(1, "rounds").flag("N").only(REWINDS).added_later().must_agree();
        /// GMP: how many times the ratio is raised.
        pruning_steps: usize = 120,
            Key::whole(1, "").flag("N").only(GMP);
        /// GMP: how many times the ratio is raised in each epoch, in place of pruning_steps for all of them.
        ratio_steps_per_epoch: Option<usize> = None,
            Key::whole(1, "").flag("N").only(GMP).added_later().default_words("as pruning_steps says");
        /// GMP: ratio at the start of the ramp, a fraction.
        initial_ratio: f64 = 0.15,
            Key::of(Values::FRACTION).flag("FRACTION").only(GMP);
        /// Whether pruned weights may come back when masks are computed again; with rewind they never do.
        regrow: bool = true, PRUNING;
        /// Which gradient reaches the optimizer, that of kept weights or all of it.
        gradient: Gradient = Gradient::Masked,
            Key::of(Gradient::VALUES).only(&[When::PRUNES]);
        /// Follow PaddleSlim's selection and schedule bit for bit.
        paddle_compat: bool = false, PRUNING;
        /// Regexes of parameter names to prune; none of them: all that may be pruned.
        include: Vec<String> = Vec::new(),
            REGEXES.words("a list of regexes, such as [\"_sep_weights$\"]");
        /// Regexes of parameter names to leave dense.
        exclude: Vec<String> = Vec::new(),
            REGEXES.words("a list of regexes, such as [\"^conv1_weights$\"]");
        /// Ratios of their own for parameters, by regexes of their names.
        ///
        /// Such a parameter is ranked on its own; all others follow prune.ratio.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        layers: BTreeMap<String, f64> = BTreeMap::new(),
            Key::of(Values::Shares).default_words("none").only(&[When::BY_RATIO]).added_later();
    }
}

impl PruneSection {
    /// True when the ratio rises along GMP's ramp: dense training has none.
    #[must_use]
    pub fn is_gmp(&self) -> bool {
        let ranked = matches!(self.pruning_mode, PruningMode::Ratio | PruningMode::Pattern);
        self.pruning_strategy == PruningStrategy::Gmp && ranked
    }

    /// How many times GMP raises the ratio.
    #[must_use]
    pub fn ratio_updates(&self) -> usize {
        let per_epoch = self.ratio_steps_per_epoch;
        per_epoch.map_or(self.pruning_steps, |updates| updates.saturating_mul(self.pruning_epochs.max(1)))
    }

    /// Whether pruned weights may come back: never where training goes back to prune more.
    #[must_use]
    pub fn regrows(&self) -> bool {
        self.regrow
            && (self.pruning_mode == PruningMode::Dense || self.pruning_strategy != PruningStrategy::Rewind)
    }

    /// The share that the run prunes to, if it is one that is asked for.
    #[must_use]
    pub fn target(&self) -> f64 {
        match (self.pruning_mode, parse_pattern(&self.pattern)) {
            (PruningMode::Pattern, Some([n, m])) => 1.0 - n as f64 / m as f64,
            _ => self.ratio,
        }
    }

    /// The numbers n and m of the pattern n:m, if that is what decides which weights go.
    #[must_use]
    pub fn pattern_wanted(&self) -> Option<[usize; 2]> {
        parse_pattern(&self.pattern).filter(|_| self.pruning_mode == PruningMode::Pattern)
    }

    /// The settings against each other.
    pub(super) fn check(&self) -> Result<(), Problem> {
        require(self.ratio < 1.0 || self.paddle_compat, "prune.ratio")?;
        if self.pruning_strategy == PruningStrategy::Gmp && self.pruning_mode == PruningMode::Threshold {
            let rule = "raises a ratio, but the pruning mode is \"threshold\": give a ratio (--ratio 0.55, or \
                        --pruning_mode ratio), or use --pruning_strategy base";
            return Err(Problem::new("prune.pruning_strategy", rule.to_owned()));
        }
        self.check_strategy()?;
        require(parse_pattern(&self.pattern).is_some(), "prune.pattern")?;
        self.check_pattern_alone()?;
        if self.is_gmp() && !self.paddle_compat && self.initial_ratio > self.target() {
            let target = match self.pruning_mode {
                PruningMode::Pattern => {
                    format!("share {} that prune.pattern = {} prunes", self.target(), self.pattern)
                }
                _ => format!("target prune.ratio = {}", self.ratio),
            };
            let rule = format!("is above the {target}: lower it (--initial_ratio)");
            return Err(Problem::new("prune.initial_ratio", rule));
        }
        self.check_by_data()?;
        if self.paddle_compat && self.criterion() != Criterion::Magnitude {
            let rule = "does not go with prune.paddle_compat, which ranks by magnitude as PaddleSlim does: turn one of them off";
            return Err(Problem::new("prune.criterion", rule.to_owned()));
        }
        Ok(())
    }

    /// Strategies against what does not go with them.
    fn check_strategy(&self) -> Result<(), Problem> {
        let (strategy, mode) = (self.pruning_strategy, self.pruning_mode);
        let moves = matches!(strategy, PruningStrategy::Rigl | PruningStrategy::Set);
        let rewinds = strategy == PruningStrategy::Rewind;
        if mode == PruningMode::Dense || !(moves || rewinds || strategy == PruningStrategy::Acdc) {
            return Ok(());
        }
        let clash = match mode {
            PruningMode::Threshold => "a threshold: give a ratio (--ratio 0.9)",
            PruningMode::Pattern if moves => "a pattern: give a ratio (--ratio 0.9)",
            _ if !self.regrow && !rewinds => "prune.regrow = false: pruned weights have to come back",
            _ if self.paddle_compat => "prune.paddle_compat, since PaddleSlim has none: leave it out",
            _ if moves && self.sparse_block != [1, 1] => {
                "blocks of weights (prune.sparse_block): leave them out"
            }
            _ if moves && self.criterion() != Criterion::Magnitude => {
                "another criterion than the magnitude, by which it drops weights: leave prune.criterion out"
            }
            _ => return Ok(()),
        };
        Err(Problem::new("prune.pruning_strategy", format!("does not go with {clash}")))
    }

    /// Weights that are solved for against what does not go with them.
    fn check_by_data(&self) -> Result<(), Problem> {
        let clash = match (self.pruning_mode, self.pruning_strategy) {
            _ if self.criterion != Criterion::Obs => return Ok(()),
            (PruningMode::Threshold, _) => {
                "a threshold, which compares magnitudes: give a ratio (--pruning_mode ratio --ratio 0.9)"
            }
            (PruningMode::Ratio | PruningMode::Pattern, PruningStrategy::Acdc) => {
                "AC/DC, whose dense phases give the solved weights up: take --pruning_strategy gmp"
            }
            (PruningMode::Ratio | PruningMode::Pattern, PruningStrategy::Rewind) => {
                "rewinding, which gives the solved weights up: take --pruning_strategy gmp"
            }
            _ => return Ok(()),
        };
        Err(Problem::new("prune.criterion", format!("does not go with {clash}")))
    }

    /// Patterns against what does not go with them.
    fn check_pattern_alone(&self) -> Result<(), Problem> {
        let clash = match () {
            () if self.pruning_mode != PruningMode::Pattern => return Ok(()),
            () if self.sparse_block != [1, 1] => {
                "blocks of weights (prune.sparse_block): leave one of them out"
            }
            () if self.paddle_compat => "PaddleSlim's rules, which know none: leave prune.paddle_compat out",
            () => return Ok(()),
        };
        Err(Problem::new("prune.pattern", format!("does not go with {clash}")))
    }

    /// What weights are ranked by; a threshold compares magnitudes.
    #[must_use]
    pub fn criterion(&self) -> Criterion {
        match self.pruning_mode {
            PruningMode::Ratio | PruningMode::Pattern => self.criterion,
            PruningMode::Threshold | PruningMode::Dense => Criterion::Magnitude,
        }
    }
}

/// The numbers of a pattern n:m; `None` if it is none.
pub(crate) fn parse_pattern(text: &str) -> Option<[usize; 2]> {
    let (n, m) = text.split_once(':')?;
    let [n, m]: [usize; 2] = [n.trim().parse().ok()?, m.trim().parse().ok()?];
    (n > 0 && n < m).then_some([n, m])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validate::tests::key_at_fault;

    fn key(change: impl Fn(&mut PruneSection)) -> String {
        key_at_fault(|config| change(&mut config.prune))
    }

    fn fits(change: impl Fn(&mut PruneSection)) -> bool {
        key(change).is_empty()
    }

    #[test]
    fn a_ratio_is_a_fraction_below_one_and_one_in_compat_mode() {
        for ratio in [-0.1, 1.0, 1.5, f64::NAN] {
            assert_eq!(key(|section| section.ratio = ratio), "prune.ratio");
        }
        for ratio in [0.0, 0.999_999] {
            assert!(fits(|section| section.ratio = ratio));
        }
        assert!(fits(|section| (section.ratio, section.paddle_compat) = (1.0, true)));
        assert_eq!(key(|section| (section.ratio, section.paddle_compat) = (1.1, true)), "prune.ratio");
    }

    #[test]
    fn a_threshold_is_finite_and_not_negative() {
        for threshold in [-1e-9, f64::NAN, f64::INFINITY] {
            assert_eq!(key(|section| section.threshold = threshold), "prune.threshold");
        }
        assert!(fits(|section| section.threshold = 0.0));
    }

    #[test]
    fn ratios_of_layers_are_fractions() {
        for ratio in [-0.1, 1.0, f64::NAN] {
            assert_eq!(key(|section| section.layers = [("a".to_owned(), ratio)].into()), "prune.layers");
        }
        assert!(fits(|section| section.layers = [("a".to_owned(), 0.0), ("b".to_owned(), 0.99)].into()));
    }

    #[test]
    fn blocks_and_updates_are_at_least_one() {
        assert_eq!(key(|section| section.sparse_block = [0, 1]), "prune.sparse_block");
        assert_eq!(key(|section| section.sparse_block = [1, 0]), "prune.sparse_block");
        assert_eq!(key(|section| section.pruning_steps = 0), "prune.pruning_steps");
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
    fn strategies_stand_with_what_they_can_follow() {
        use PruningStrategy::{Acdc, Rigl, Set};
        for strategy in [Acdc, Rigl, Set] {
            let with = |mode, change: fn(&mut PruneSection)| {
                key(|section| {
                    (section.pruning_strategy, section.pruning_mode) = (strategy, mode);
                    change(section);
                })
            };
            let (clash, moves) = ("prune.pruning_strategy", strategy != Acdc);
            assert_eq!(with(PruningMode::Ratio, |_| {}), "");
            assert_eq!(with(PruningMode::Dense, |section| section.regrow = false), "");
            assert_eq!(with(PruningMode::Threshold, |_| {}), clash);
            assert_eq!(with(PruningMode::Ratio, |section| section.regrow = false), clash);
            assert_eq!(with(PruningMode::Ratio, |section| section.paddle_compat = true), clash);
            assert_eq!(with(PruningMode::Pattern, |_| {}) == clash, moves);
            assert_eq!(with(PruningMode::Ratio, |section| section.sparse_block = [1, 2]) == clash, moves);
            assert_eq!(
                with(PruningMode::Ratio, |section| section.criterion = Criterion::Taylor) == clash,
                moves
            );
        }
    }

    #[test]
    fn a_pattern_keeps_some_of_each_group_and_stands_alone() {
        for pattern in ["", "2", "0:4", "4:4", "5:4", "2:4:8", "a:b", "-1:4", "2.0:4"] {
            assert_eq!(key(|section| section.pattern = pattern.to_owned()), "prune.pattern", "{pattern}");
        }
        let by_pattern = |change: fn(&mut PruneSection)| {
            key(|section| {
                (section.pruning_mode, section.pattern) = (PruningMode::Pattern, "1:8".to_owned());
                change(section);
            })
        };
        assert_eq!(by_pattern(|_| {}), "");
        assert_eq!(by_pattern(|section| section.sparse_block = [2, 1]), "prune.pattern");
        assert_eq!(by_pattern(|section| section.paddle_compat = true), "prune.pattern");
        let gmp = |section: &mut PruneSection| section.pruning_strategy = PruningStrategy::Gmp;
        assert_eq!(by_pattern(gmp), "");
        let above = by_pattern(|section| {
            (section.pruning_strategy, section.initial_ratio) = (PruningStrategy::Gmp, 0.9);
        });
        assert_eq!(above, "prune.initial_ratio");
    }

    #[test]
    fn paddleslim_ranks_by_magnitude() {
        for criterion in [Criterion::Taylor, Criterion::Movement] {
            let compat = |pruning_mode| {
                key(|section| {
                    (section.criterion, section.paddle_compat, section.pruning_mode) =
                        (criterion, true, pruning_mode);
                })
            };
            assert_eq!(compat(PruningMode::Ratio), "prune.criterion");
            assert_eq!(compat(PruningMode::Threshold), "");
        }
    }

    #[test]
    fn the_initial_ratio_is_a_fraction_and_not_above_the_target() {
        for initial_ratio in [-0.1, 1.0, f64::NAN] {
            assert_eq!(key(|section| section.initial_ratio = initial_ratio), "prune.initial_ratio");
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
