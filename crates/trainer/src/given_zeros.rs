//! Zeros in the weights that a run begins with: kept where nothing may grow back, else named in a warning.

use crate::config::{PruneSection, PruningMode, PruningStrategy};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::plan::TrainPlan;
use crate::state::State;

/// From this fraction of zeros on weights count as pruned.
const PRUNED: f64 = 0.01;

/// Makes the zeros of the weights from `file` part of the masks if nothing may grow back (`prune.regrow` is false), so that
/// they stay; otherwise warns if the run gives some of them up.
///
/// # Errors
/// What reading the weights reports.
pub(crate) fn take(learner: &mut Learner, plan: &TrainPlan, file: &str) -> Result<()> {
    let prune = &plan.config.prune;
    let zeros = learner.state()?.pruner().zeros()?;
    if zeros >= PRUNED && learner.teacher().is_some() && plan.config.train.teacher.is_none() {
        tracing::warn!(
            "{}, and the run learns from these very weights: name the dense network it is to learn from (--teacher)",
            found(file, zeros)
        );
    }
    if learner.state()?.prunes() && !prune.regrows() {
        learner.state_mut().pruner_mut().set_static_masks()?;
        if zeros >= PRUNED {
            tracing::info!("{}: they stay zero (prune.{})", found(file, zeros), why_held(prune));
        }
        return Ok(());
    }
    if zeros >= PRUNED
        && let Some(what) = gives_up(prune, zeros)
    {
        tracing::warn!("{}; {what}", found(file, zeros));
    }
    Ok(())
}

/// The setting that keeps zeros.
fn why_held(prune: &PruneSection) -> &'static str {
    if prune.regrow { "pruning_strategy = \"rewind\"" } else { "regrow = false" }
}

fn found(file: &str, zeros: f64) -> String {
    format!("{:.2} % of the prunable weights in {file} are zero", 100.0 * zeros)
}

/// What becomes of the zeros and how to keep them; `None` if the run prunes as many from the start.
fn gives_up(prune: &PruneSection, zeros: f64) -> Option<String> {
    const KEEP: &str = "--set prune.regrow=false keeps them zero";
    let first = match (prune.is_gmp(), prune.stable_epochs) {
        (false, 1..) if prune.pruning_strategy == PruningStrategy::Acdc => 0.0,
        (false, _) => prune.target(),
        (true, 0) => prune.initial_ratio,
        (true, _) => 0.0,
    };
    match prune.pruning_mode {
        PruningMode::Dense => Some(
            "this run prunes nothing and lets them grow back: --pruning_mode ratio --ratio 0 --set prune.regrow=false \
             trains without pruning more and keeps them zero"
                .to_owned(),
        ),
        PruningMode::Threshold => Some(format!(
            "this run prunes by threshold {:e} and lets those that grow beyond it come back: {KEEP}, --ratio R sets how many \
             weights are zero",
            prune.threshold
        )),
        // Half a weight of the smallest network there is makes no difference.
        PruningMode::Pattern => Some(format!(
            "this run prunes by pattern {} and lets the others grow back: {KEEP}",
            prune.pattern
        )),
        PruningMode::Ratio if first + 1e-4 >= zeros => None,
        PruningMode::Ratio if prune.is_gmp() => Some(format!(
            "this run begins at {:.2} % (GMP, target {:.2} %) and lets the others grow back: {KEEP}",
            100.0 * first,
            100.0 * prune.ratio
        )),
        PruningMode::Ratio => Some(format!(
            "this run prunes {:.2} % and lets the others grow back: {KEEP}, and so does a ratio as high",
            100.0 * prune.ratio
        )),
    }
}

/// Refuses a threshold above every weight that a run begins with: all would be zero after the first step.
///
/// # Errors
/// [`Error::ThresholdPrunesAll`]; what reading the weights reports.
pub(crate) fn refuse_threshold_above_all(state: &State, prune: &PruneSection) -> Result<()> {
    if !state.prunes() || prune.pruning_mode != PruningMode::Threshold {
        return Ok(());
    }
    let (threshold, largest) = (prune.threshold, state.pruner().largest_ranked()?);
    // The pruner compares in the type of the weights.
    if (largest as f32) < threshold as f32 {
        return Err(Error::ThresholdPrunesAll { threshold, largest });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_that_gives_zeros_up_says_so() {
        let section = |pruning_mode, ratio| PruneSection { pruning_mode, ratio, ..PruneSection::default() };
        let said = |section: &PruneSection| gives_up(section, 0.75).unwrap_or_default();
        assert!(said(&section(PruningMode::Dense, 0.9)).contains("--ratio 0 --set prune.regrow=false"));
        assert!(said(&section(PruningMode::Threshold, 0.9)).contains("prune.regrow=false"));
        assert!(said(&section(PruningMode::Ratio, 0.5)).contains("prunes 50.00 %"));
        assert_eq!(said(&section(PruningMode::Ratio, 0.75)), "");
        let gmp = |stable_epochs| PruneSection {
            pruning_strategy: PruningStrategy::Gmp,
            stable_epochs,
            initial_ratio: 0.8,
            ..section(PruningMode::Ratio, 0.9)
        };
        assert_eq!(said(&gmp(0)), "");
        assert!(said(&gmp(1)).contains("begins at 0.00 %"));
    }
}
