//! The pruner: masks for the variables of a map, step by step.

use std::collections::BTreeMap;

use candle_nn::VarMap;
use rayon::prelude::*;
use sparse_sparsity::Mask;
use sparse_sparsity::report::count_of_share;
use sparse_sparsity::schedule::{Phase, Update};

use crate::allocation::{Ranked, own_ratios};
use crate::enforce::ApplyMask;
use crate::masks::{Amount, Selected, masks_of_group, non_zero};
use crate::schedule::Schedule;
use crate::score::{Group, Scored, Scoring};
use crate::signed::from_magnitude;
use crate::skip::ConfiguredRule;
use crate::state::Exact;
use crate::variables::{self, Reader, Variable};
use crate::watch::Watch;
use crate::{
    Criterion, Error, GradientMode, Memory, Mode, Pattern, PrunerConfig, PrunerState, Result, Scope,
    SkipRule, Strategy,
};

/// Prunes the variables of a candle `VarMap`.
///
/// It holds the variables that were in the map when it was made; it reads and writes their values in place. All
/// masks keep everything until the first [`Pruner::step`], [`Pruner::set_static_masks`] or [`Pruner::restore`].
pub struct Pruner {
    config: PrunerConfig,
    /// Every variable of the map, in the order of the names.
    variables: Vec<Variable>,
    masks: BTreeMap<String, Mask>,
    /// The ratios of variables that have one of their own.
    own_ratios: BTreeMap<String, f64>,
    criterion: Option<Box<dyn Criterion>>,
    watch: Watch,
    schedule: Schedule,
    threshold: Option<f64>,
    thresholds: BTreeMap<String, f64>,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Whether the masks were computed anew.
    pub masks_recomputed: bool,
    /// Whether a mask differs from what it was before.
    pub masks_changed: bool,
    /// The ratio asked for at this step; in threshold mode the fraction of prunable weights that is pruned.
    pub ratio: f64,
    /// The smallest magnitude or score that is kept, if there is one for all variables together.
    pub threshold: Option<f64>,
}

/// Masks computed anew, with the thresholds that they follow from.
struct Computed {
    masks: BTreeMap<String, Mask>,
    threshold: Option<f64>,
    thresholds: BTreeMap<String, f64>,
}

impl Pruner {
    /// Makes a pruner for the variables of a map.
    ///
    /// # Errors
    /// [`Error::NothingToPrune`] if the settings leave no variable, [`Error::NothingKept`] if they leave no weight;
    /// [`Error::Ratio`], [`Error::Regex`], [`Error::Pattern`], [`Error::PatternShape`], [`Error::LayerUnmatched`], [`Error::LayerTwice`],
    /// [`Error::GmpNeedsRatio`], [`Error::CriterionWithCompat`], [`Error::SignedNeedsRatio`], [`Error::StrategyNeeds`], [`Error::Sparsity`] for settings that cannot be followed; [`Error::Dtype`] and
    /// [`Error::Placement`] for prunable variables that cannot be read.
    pub fn new(vars: &VarMap, config: PrunerConfig) -> Result<Self> {
        config.validate()?;
        let schedule = Schedule::new(&config)?;
        let rule = ConfiguredRule::new(&config)?;
        let criterion = config.ranking.criterion();
        if let Some(criterion) = criterion.as_deref() {
            check_criterion(&config, criterion)?;
        }
        let mut variables = variables::sorted(vars);
        for variable in &mut variables {
            variable.prunable = !rule.skips(&variable.name, variable.var.dims());
        }
        let mut pruner = Self {
            config,
            variables,
            masks: BTreeMap::new(),
            own_ratios: BTreeMap::new(),
            criterion,
            watch: Watch::default(),
            schedule,
            threshold: None,
            thresholds: BTreeMap::new(),
        };
        for variable in pruner.prunable() {
            variable.read().weights()?;
        }
        pruner.reset_masks()?;
        Ok(pruner)
    }

    /// Ranks the weights by a criterion of one's own.
    ///
    /// # Errors
    /// [`Error::CriterionWithCompat`] if PaddleSlim's rules are asked for as well, [`Error::SignedNeedsRatio`] for scores with a sign
    /// and a threshold.
    pub fn with_criterion(self, criterion: impl Criterion + 'static) -> Result<Self> {
        check_criterion(&self.config, &criterion)?;
        Ok(Self { criterion: Some(Box::new(criterion)), ..self })
    }

    /// Leaves more variables alone, by a rule of one's own. All masks keep everything again.
    ///
    /// # Errors
    /// [`Error::NothingToPrune`] if no variable is left, [`Error::NothingKept`] if no weight is kept of those left.
    pub fn with_skip_rule(mut self, rule: impl SkipRule) -> Result<Self> {
        for variable in &mut self.variables {
            variable.prunable &= !rule.skips(&variable.name, variable.var.dims());
        }
        self.reset_masks()?;
        Ok(self)
    }

    /// Does one step of the schedule, and computes the masks anew from the weights as they are if it is due: with
    /// strategy base at every step, in gradual pruning when the ratio changes. Weights are not touched, but by a criterion that
    /// solves for them ([`Criterion::solve`]).
    ///
    /// Call it after every update of the optimizer.
    ///
    /// # Errors
    /// [`Error::NotANumber`] if a weight is NaN, [`Error::Score`] if a criterion's score cannot be ranked; the
    /// pruner then stands where it stood.
    pub fn step(&mut self) -> Result<StepReport> {
        if let Strategy::DropGrow(config) = &self.config.strategy {
            let config = config.clone();
            return self.drop_and_grow(&config);
        }
        let mut schedule = self.schedule.clone();
        let update = schedule.advance();
        let mode = update.map_or(self.config.mode, |update| self.mode_at(update.ratio));
        let recompute = update.is_none_or(|update| update.recompute);
        let report = if recompute { self.recompute(mode)? } else { self.unchanged() };
        self.schedule = schedule;
        Ok(StepReport { ratio: self.ratio(), ..report })
    }

    /// Whether the next step computes the masks anew.
    pub fn is_update_due(&self) -> bool {
        match &self.config.strategy {
            Strategy::DropGrow(config) => matches!(
                self.schedule,
                Schedule::DropGrow(position) if position.recompute || config.is_update(position.step)
            ),
            _ => self.schedule.clone().advance().is_none_or(|update| update.recompute),
        }
    }

    /// Takes masks that were chosen elsewhere in place of those of the last step. There is no threshold then.
    ///
    /// # Errors
    /// [`Error::RestoreNames`] and [`Error::RestoreLength`] if they belong to other variables; nothing is taken then.
    pub fn replace_masks(&mut self, masks: BTreeMap<String, Mask>) -> Result<()> {
        self.check_masks(&masks)?;
        self.masks = masks;
        self.set_thresholds(None, BTreeMap::new());
        Ok(())
    }

    /// Computes the masks anew; the report has the ratio of before the step.
    pub(crate) fn recompute(&mut self, mode: Mode) -> Result<StepReport> {
        let computed = self.compute(mode)?;
        if let Some(criterion) = self.criterion.as_deref() {
            self.solve(criterion, &computed.masks)?;
            if criterion.memory() == Memory::SinceUpdate {
                self.watch.forget();
            }
        }
        let masks_changed = computed.masks != self.masks;
        self.masks = computed.masks;
        self.threshold = computed.threshold;
        self.thresholds = computed.thresholds;
        Ok(StepReport { masks_recomputed: true, masks_changed, ..self.unchanged() })
    }

    /// The report of a step that changes nothing.
    pub(crate) fn unchanged(&self) -> StepReport {
        StepReport {
            masks_recomputed: false,
            masks_changed: false,
            ratio: self.ratio(),
            threshold: self.threshold,
        }
    }

    /// Sets the pruned weights to +0, in place.
    ///
    /// # Errors
    /// [`Error::Candle`] if a variable cannot be written.
    pub fn update_params(&self) -> Result<()> {
        for variable in self.prunable() {
            if let Some(mask) = self.masks.get(&variable.name) {
                variable.var.inplace_op1(&ApplyMask(mask))?;
            }
        }
        Ok(())
    }

    /// Makes the masks keep exactly the weights that are not zero now, to train on with the zeros that there are.
    ///
    /// # Errors
    /// [`Error::Placement`] if a variable cannot be read.
    pub fn set_static_masks(&mut self) -> Result<()> {
        let mask = |variable: &Variable| Ok((variable.name.clone(), non_zero(variable.read().weights()?)));
        self.masks = self.prunable().map(mask).collect::<Result<_>>()?;
        Ok(())
    }

    /// The masks of the prunable variables by name.
    pub fn masks(&self) -> &BTreeMap<String, Mask> {
        &self.masks
    }

    /// The settings.
    pub fn config(&self) -> &PrunerConfig {
        &self.config
    }

    /// What the optimizer is to do with the gradients of pruned weights.
    pub fn gradient(&self) -> GradientMode {
        self.config.gradient
    }

    /// Whether a pruned weight may come back.
    pub fn regrow(&self) -> bool {
        self.config.regrow
    }

    /// The ratio that holds now: the one asked for, 0 before gradual pruning begins; in threshold mode the
    /// fraction of prunable weights that the masks prune.
    pub fn ratio(&self) -> f64 {
        match (self.schedule.ratio(), self.config.mode) {
            (Some(ratio), Mode::Pattern(pattern)) => pattern.at(ratio).ratio(),
            (None, Mode::Pattern(pattern)) => pattern.ratio(),
            (Some(ratio), _) | (None, Mode::Ratio(ratio)) => ratio,
            (None, Mode::Threshold(_)) => {
                let (pruned, total) = self
                    .masks
                    .values()
                    .fold((0, 0), |(pruned, total), mask| (pruned + mask.pruned(), total + mask.len()));
                pruned as f64 / (total as f64).max(1.0)
            }
        }
    }

    /// The phase of gradual pruning that the next step belongs to; none for strategy base, and none with
    /// `paddle_compat`, where phases are whole update periods.
    pub fn phase(&self) -> Option<Phase> {
        self.schedule.phase()
    }

    /// The smallest magnitude or score that is kept, if the masks were computed and there is one for all variables together.
    pub fn threshold(&self) -> Option<f64> {
        self.threshold
    }

    /// The smallest magnitude or score that each variable keeps, by name; empty before the masks are computed.
    /// Infinite where everything is pruned.
    pub fn thresholds(&self) -> &BTreeMap<String, f64> {
        &self.thresholds
    }

    /// Steps that are done, where the strategy counts them.
    pub fn steps(&self) -> Option<u64> {
        self.schedule.state().steps()
    }

    /// What has to be saved beside the masks.
    pub fn state(&self) -> PrunerState {
        PrunerState {
            schedule: self.schedule.state(),
            threshold: self.threshold.map(Exact),
            thresholds: self.thresholds.iter().map(|(name, &value)| (name.clone(), Exact(value))).collect(),
            observed: self.watch.steps,
        }
    }

    /// Goes on from a saved state and its masks. The weights are not touched.
    ///
    /// # Errors
    /// [`Error::RestoreNames`] and [`Error::RestoreLength`] if the masks belong to other variables,
    /// [`Error::RestoreSchedule`] if the state was saved with another strategy; the pruner then stands where it
    /// stood.
    pub fn restore(&mut self, state: PrunerState, masks: BTreeMap<String, Mask>) -> Result<()> {
        self.check_masks(&masks)?;
        self.schedule.restore(state.schedule)?;
        self.masks = masks;
        self.threshold = state.threshold.map(|value| value.0);
        self.thresholds = state.thresholds.into_iter().map(|(name, value)| (name, value.0)).collect();
        self.watch.steps = state.observed;
        Ok(())
    }

    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    pub(crate) fn prunable(&self) -> impl Iterator<Item = &Variable> {
        self.variables.iter().filter(|variable| variable.prunable)
    }

    /// Whether these are masks of the prunable variables.
    pub(crate) fn check_masks(&self, masks: &BTreeMap<String, Mask>) -> Result<()> {
        self.check_lengths(masks, Mask::len)
    }

    /// Whether these belong to the prunable variables; `len` gives the number of weights that one is for.
    pub(crate) fn check_lengths<T>(
        &self,
        saved: &BTreeMap<String, T>,
        len: impl Fn(&T) -> usize,
    ) -> Result<()> {
        let missing = missing_from(&self.masks, saved);
        let unknown = missing_from(saved, &self.masks);
        if !missing.is_empty() || !unknown.is_empty() {
            return Err(Error::RestoreNames { missing, unknown });
        }
        for (name, mask) in &self.masks {
            let (expected, got) = (mask.len(), len(&saved[name]));
            if expected != got {
                return Err(Error::RestoreLength { name: name.clone(), expected, got });
            }
        }
        Ok(())
    }

    pub(crate) fn criterion(&self) -> Option<&dyn Criterion> {
        self.criterion.as_deref()
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn watch_mut(&mut self) -> &mut Watch {
        &mut self.watch
    }

    /// What the weights are ranked by.
    pub(crate) fn scoring(&self) -> Scoring<'_> {
        Scoring { config: &self.config, criterion: self.criterion.as_deref(), watch: &self.watch }
    }

    /// Does one step of the schedule; none if there is no schedule.
    pub(crate) fn advance(&mut self) -> Option<Update> {
        self.schedule.advance()
    }

    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    pub(crate) fn set_schedule(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    pub(crate) fn ranks_by_magnitude(&self) -> bool {
        self.criterion.is_none()
    }

    pub(crate) fn set_masks(&mut self, masks: BTreeMap<String, Mask>) {
        self.masks = masks;
    }

    pub(crate) fn set_thresholds(&mut self, together: Option<f64>, by_name: BTreeMap<String, f64>) {
        (self.threshold, self.thresholds) = (together, by_name);
    }

    /// What is pruned where a schedule has reached a ratio.
    pub(crate) fn mode_at(&self, ratio: f64) -> Mode {
        match self.config.mode {
            Mode::Pattern(pattern) => Mode::Pattern(pattern.at(ratio)),
            _ => Mode::Ratio(ratio),
        }
    }

    fn reset_masks(&mut self) -> Result<()> {
        let all_kept = |variable: &Variable| (variable.name.clone(), Mask::all_kept(variable.len()));
        self.masks = self.prunable().map(all_kept).collect();
        if self.masks.is_empty() {
            return Err(Error::NothingToPrune { variables: self.variables.len() });
        }
        let shapes: Vec<_> =
            self.prunable().map(|variable| (variable.name.as_str(), variable.var.dims())).collect();
        self.own_ratios = own_ratios(&self.config, &shapes)?;
        if let Mode::Pattern(pattern) = self.config.mode {
            self.prunable().try_for_each(|variable| pattern.check(&variable.name, variable.var.dims()))?;
        }
        self.check_something_is_kept()
    }

    /// Refuses a ratio that rounds to all weights it counts over; PaddleSlim's rules allow it.
    fn check_something_is_kept(&self) -> Result<()> {
        let Mode::Ratio(ratio) = self.config.mode else { return Ok(()) };
        if self.config.paddle_compat {
            return Ok(());
        }
        let weights_of =
            |group: &Ranked<'_>| group.names.iter().map(|&name| self.masks[name].len() as u64).sum();
        let groups = self.ranked().into_iter().map(|group| (weights_of(&group), group));
        let emptied = |&(weights, ref group): &(u64, Ranked<'_>)| {
            count_of_share(self.ratio_of(group, ratio), weights) >= weights
        };
        // The smallest is the first that a rising ratio empties.
        let Some((weights, group)) = groups.filter(emptied).min_by_key(|(weights, _)| *weights) else {
            return Ok(());
        };
        let of = match (group.own, self.config.scope, &group.names[..]) {
            (Some(_), _, [name, ..]) => format!("`{name}` (a ratio of its own)"),
            (None, Scope::LayerWise, [name, ..]) => format!("`{name}` (local sparsity)"),
            _ => "the prunable variables".to_owned(),
        };
        let ratio = self.ratio_of(&group, ratio);
        Err(Error::NothingKept { ratio, of, weights, highest: highest_ratio(weights) })
    }

    fn compute(&self, mode: Mode) -> Result<Computed> {
        let readers: Vec<Reader<'_>> = self.prunable().map(Variable::read).collect();
        let names: Vec<&str> = readers.iter().map(|reader| reader.variable.name.as_str()).collect();
        let scoring = self.scoring();
        let amount = match mode {
            Mode::Pattern(pattern) => return self.compute_pattern(&readers, pattern),
            Mode::Threshold(threshold) => Amount::Threshold(threshold),
            Mode::Ratio(ratio) => Amount::Ratio(ratio),
        };
        let score = |reader| scoring.score(reader, self.masks.get(&reader.variable.name));
        let scored = readers.iter().map(score).collect::<Result<Vec<Scored<'_>>>>()?;
        let mut scored: BTreeMap<&str, Scored<'_>> = names.iter().copied().zip(scored).collect();
        let groups = match amount {
            Amount::Ratio(_) => self.ranked(),
            Amount::Threshold(_) => self.one_by_one(),
        };
        let signed = self.criterion.as_ref().is_some_and(|criterion| criterion.is_signed());
        let together = self.config.scope == Scope::Global && groups.len() == 1;
        let mut masks = BTreeMap::new();
        let mut thresholds = BTreeMap::new();
        for group in groups {
            let members = group.names.iter().filter_map(|name| scored.remove(name)).collect();
            let amount = match amount {
                Amount::Ratio(ratio) => Amount::Ratio(self.ratio_of(&group, ratio)),
                Amount::Threshold(_) => amount,
            };
            let selected: Selected = masks_of_group(&Group::of(members), amount, self.config.paddle_compat)?;
            let threshold = if signed { from_magnitude(selected.threshold) } else { selected.threshold };
            thresholds.extend(group.names.iter().map(|&name| (name.to_owned(), threshold)));
            masks.extend(group.names.iter().map(|&name| name.to_owned()).zip(selected.masks));
        }
        if !self.config.regrow {
            for (name, mask) in &mut masks {
                mask.intersect(&self.masks[name])?;
            }
        }
        let threshold = match amount {
            Amount::Threshold(threshold) => Some(threshold),
            Amount::Ratio(_) => thresholds.values().next().copied().filter(|_| together),
        };
        Ok(Computed { masks, threshold, thresholds })
    }
}

impl Pruner {
    /// The prunable variables that are ranked together; those that have a ratio of their own one by one.
    pub(crate) fn ranked(&self) -> Vec<Ranked<'_>> {
        let own = |name: &str| self.own_ratios.get(name).copied();
        match self.config.scope {
            Scope::LayerWise => self.one_by_one(),
            Scope::Global => {
                let (alone, together): (Vec<&str>, Vec<&str>) = self
                    .prunable()
                    .map(|variable| variable.name.as_str())
                    .partition(|name| own(name).is_some());
                let together = (!together.is_empty()).then_some(Ranked { names: together, own: None });
                let alone = alone.into_iter().map(|name| Ranked { names: vec![name], own: own(name) });
                together.into_iter().chain(alone).collect()
            }
        }
    }

    /// Each prunable variable on its own.
    fn one_by_one(&self) -> Vec<Ranked<'_>> {
        let names = self.prunable().map(|variable| variable.name.as_str());
        names.map(|name| Ranked { names: vec![name], own: self.own_ratios.get(name).copied() }).collect()
    }

    /// The ratio of a group where that of all is `ratio`, which may be on its way to the target.
    pub(crate) fn ratio_of(&self, group: &Ranked<'_>, ratio: f64) -> f64 {
        match (group.own, self.config.mode) {
            (Some(own), Mode::Ratio(target)) if target > 0.0 => (own * (ratio / target)).min(1.0),
            (Some(own), _) => own,
            (None, _) => ratio,
        }
    }

    /// As [`Pruner::compute`], by groups of inputs; there is no threshold.
    fn compute_pattern(&self, readers: &[Reader<'_>], pattern: Pattern) -> Result<Computed> {
        let scoring = self.scoring();
        let scores = readers.iter().map(|reader| {
            let Variable { name, var, .. } = reader.variable;
            Ok((name, var.dims(), scoring.of_weights(reader, self.masks.get(name))?))
        });
        let scores: Vec<(&String, &[usize], Vec<f64>)> = scores.collect::<Result<_>>()?;
        let mask = |(name, shape, scores): &(&String, &[usize], Vec<f64>)| {
            let frozen = self.masks.get(*name).filter(|_| !self.config.regrow);
            let mut mask = pattern.mask(shape, scores, frozen);
            frozen.map_or(Ok(()), |frozen| mask.intersect(frozen))?;
            Ok(((*name).clone(), mask))
        };
        let masks = scores.par_iter().map(mask).collect::<Result<_>>()?;
        Ok(Computed { masks, threshold: None, thresholds: BTreeMap::new() })
    }
}

/// The highest ratio, to a digit more than `weights` has, that does not round to all of them.
fn highest_ratio(weights: u64) -> f64 {
    let parts = 10_u128.pow(weights.max(1).ilog10() + 2);
    let doubled = 2 * u128::from(weights.max(1));
    // Half a weight less than all of them rounds up.
    let highest = ((doubled - 1) * parts).div_ceil(doubled).saturating_sub(1);
    highest as f64 / parts as f64
}

/// Whether a criterion goes with the other settings.
fn check_criterion(config: &PrunerConfig, criterion: &dyn Criterion) -> Result<()> {
    if config.paddle_compat {
        return Err(Error::CriterionWithCompat);
    }
    if criterion.is_signed() && matches!(config.mode, Mode::Threshold(_)) {
        return Err(Error::SignedNeedsRatio);
    }
    Ok(())
}

fn missing_from<A, B>(wanted: &BTreeMap<String, A>, given: &BTreeMap<String, B>) -> Vec<String> {
    wanted.keys().filter(|name| !given.contains_key(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_ratio_is_the_last_that_keeps_a_weight() {
        for weights in (1..2000).chain([55_961, 4_209_088, u64::from(u32::MAX)]) {
            let highest = highest_ratio(weights);
            let step = 0.1_f64.powi(weights.ilog10() as i32 + 2);
            assert!(count_of_share(highest, weights) < weights, "{weights}: {highest}");
            assert_eq!(count_of_share(highest + step, weights), weights, "{weights}: {highest}");
        }
        assert_eq!((highest_ratio(1), highest_ratio(36)), (0.49, 0.986));
    }
}
