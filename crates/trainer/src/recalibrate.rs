//! Batch norm estimated anew: means and variances averaged over training batches, with the weights as they are.
//!
//! The moving averages of training lag behind the weights, and pruning changes these. An exact average over many
//! batches is what the final weights really produce.

use crate::datasets::Datasets;
use crate::error::{Error, Result};
use crate::evaluate::images_of;
use crate::learner::Learner;
use crate::plan::TrainPlan;
use crate::ranks::Ranks;
use crate::stop::StopFlag;
use crate::train::train_loader;

/// Averages over `train.bn_recal` batches: those that would come next if training went on, the same for any start.
///
/// # Errors
/// What data and operations report; [`Error::Stopped`] if a signal asked to stop, the estimates are then of no use.
pub(crate) fn recalibrate(
    learner: &mut Learner,
    plan: &TrainPlan,
    datasets: &Datasets,
    ranks: &Ranks,
    stop: &StopFlag,
) -> Result<()> {
    let wanted = plan.config.train.bn_recal;
    tracing::info!("estimating batch norm over {wanted} training batches");
    let mut seen = 0;
    while seen < wanted {
        for batch in train_loader(plan, datasets, plan.total_steps + seen)?.take(wanted - seen) {
            let batch = batch?;
            learner.average_statistics(&images_of(&batch)?, &batch.labels, seen)?;
            seen += 1;
            if let Some(signal) = ranks.signal(stop.signal())? {
                return Err(Error::Stopped { signal });
            }
        }
    }
    Ok(())
}
