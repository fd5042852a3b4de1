//! Running and timing.

use super::Batch;
use crate::error::Result;
use crate::learner::{Learner, StepTimes};
use sparse_prune::{Mode, Pruner, PrunerConfig};
use std::time::{Duration, Instant};

/// Steps before those that are timed: buffers are made and the paths of sparse layers chosen.
pub(super) const WARM_UP: usize = 2;
/// Times that the pruner's step is timed.
const PRUNER_RUNS: usize = 9;
const LEARNING_RATE: f64 = 0.01;

/// One timed step.
pub(super) struct Timed {
    /// The whole step.
    pub(super) step: Duration,
    /// Its parts.
    pub(super) times: StepTimes,
}

/// Times `count` steps after some that are not.
pub(super) fn steps(learner: &mut Learner, batch: &Batch, count: usize) -> Result<Vec<Timed>> {
    for _ in 0..WARM_UP {
        learner.step(&batch.images, &batch.labels, LEARNING_RATE)?;
    }
    learner.wait()?;
    learner.take_times();
    if learner.is_on_device() {
        return steps_on_device(learner, batch, count);
    }
    let mut timed = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        learner.step(&batch.images, &batch.labels, LEARNING_RATE)?;
        let step = start.elapsed();
        timed.push(Timed { step, times: learner.take_times() });
    }
    Ok(timed)
}

/// Steps that overlap with the copies of the next: waited for together, of equal shares.
fn steps_on_device(learner: &mut Learner, batch: &Batch, count: usize) -> Result<Vec<Timed>> {
    let start = Instant::now();
    for _ in 0..count {
        learner.step(&batch.images, &batch.labels, LEARNING_RATE)?;
    }
    learner.wait()?;
    let step = start.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
    Ok((0..count).map(|_| Timed { step, times: StepTimes::default() }).collect())
}

/// Milliseconds, median, of a pruner's step that makes all masks anew at this ratio over all prunable variables.
pub(super) fn pruner(learner: &mut Learner, ratio: f64) -> Result<f64> {
    let config = PrunerConfig { regrow: true, ..PrunerConfig::new(Mode::Ratio(ratio)) };
    let mut pruner = Pruner::new(&learner.state()?.model().var_map(), config)?;
    let mut spent = Vec::with_capacity(PRUNER_RUNS);
    for _ in 0..PRUNER_RUNS {
        let start = Instant::now();
        pruner.step()?;
        spent.push(start.elapsed());
    }
    Ok(median_ms(spent))
}

/// The median in milliseconds, of an even number the mean of the middle two; 0 of none.
pub(crate) fn median_ms(durations: impl IntoIterator<Item = Duration>) -> f64 {
    let mut sorted: Vec<Duration> = durations.into_iter().collect();
    sorted.sort_unstable();
    let middle = |at: usize| sorted.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3;
    (middle(sorted.len().saturating_sub(1) / 2) + middle(sorted.len() / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        let median = |ms: &[u64]| median_ms(ms.iter().map(|&ms| Duration::from_millis(ms)));
        assert_eq!(median(&[9, 1, 2]), 2.0);
        assert_eq!(median(&[9, 1, 2, 4]), 3.0);
        assert_eq!((median(&[7]), median(&[])), (7.0, 0.0));
    }
}
