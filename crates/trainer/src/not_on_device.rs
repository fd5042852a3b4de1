//! What is computed on the CPU alone.

use crate::config::{Criterion, PruningMode, PruningStrategy, TrainConfig};
use crate::plan::DeviceChoice;
use sparse_prune::Growth;

/// A setting that a GPU does not follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} works on the CPU only: leave it out, or train there (--device cpu)")]
pub struct NotOnDevice {
    /// The setting, `section.name`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// Refuses settings that `device` does not follow.
///
/// # Errors
/// [`NotOnDevice`] naming the first.
pub(crate) fn check(config: &TrainConfig, device: DeviceChoice) -> Result<(), NotOnDevice> {
    let train = &config.train;
    let number = |key, value: f64| (value > 0.0).then(|| NotOnDevice { key, value: value.to_string() });
    let named = |key, value: &str| NotOnDevice { key, value: format!("\"{value}\"") };
    // A GPU keeps gradients to itself.
    let criterion = || match config.prune.criterion() {
        Criterion::Magnitude => None,
        other => Some(named("prune.criterion", other.name())),
    };
    let features = if train.distill { train.distill_features } else { 0.0 };
    let refused = number("train.ema", train.ema)
        .or_else(|| number("train.distill_features", features))
        .or_else(criterion)
        .or_else(|| moving_masks(config));
    match (device, refused) {
        (DeviceChoice::Cuda { .. }, Some(refused)) => Err(refused),
        _ => Ok(()),
    }
}

/// A strategy that changes weights, or looks at the gradients of those that are pruned.
fn moving_masks(config: &TrainConfig) -> Option<NotOnDevice> {
    match (config.prune.pruning_mode, config.prune.pruning_strategy) {
        (PruningMode::Dense, _) => None,
        (_, PruningStrategy::Rigl) => Some(drop_and_grow(Growth::Gradient)),
        (_, PruningStrategy::Set) => Some(drop_and_grow(Growth::Random)),
        (_, PruningStrategy::Rewind) => Some(rewinding()),
        (_, PruningStrategy::Base | PruningStrategy::Gmp | PruningStrategy::Acdc) => None,
    }
}

/// The error for a strategy that goes back.
pub(crate) fn rewinding() -> NotOnDevice {
    NotOnDevice { key: "prune.pruning_strategy", value: format!("\"{}\"", PruningStrategy::Rewind.name()) }
}

/// The error for a strategy of moving masks.
pub(crate) fn drop_and_grow(growth: Growth) -> NotOnDevice {
    let name = match growth {
        Growth::Gradient => PruningStrategy::Rigl.name(),
        Growth::Random => PruningStrategy::Set.name(),
    };
    NotOnDevice { key: "prune.pruning_strategy", value: format!("\"{name}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataKind;

    #[test]
    fn a_gpu_refuses_by_name_what_the_cpu_does() {
        let gpu = DeviceChoice::Cuda { ordinal: 0, threads: 1 };
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        assert_eq!(check(&config, gpu), Ok(()));
        config.train.distill_features = 2.0;
        assert_eq!(check(&config, gpu), Ok(()), "it has no effect without a teacher");
        config.train.distill = true;
        assert_eq!(check(&config, gpu).unwrap_err().key, "train.distill_features");
        config.train.ema = 0.999;
        assert_eq!(check(&config, DeviceChoice::Cpu { threads: 1 }), Ok(()));
        let message = check(&config, gpu).unwrap_err().to_string();
        assert!(message.starts_with("train.ema = 0.999 ") && message.contains("--device cpu"), "{message}");
        (config.train.ema, config.train.distill) = (0.0, false);
        (config.prune.criterion, config.prune.pruning_mode) = (Criterion::Taylor, PruningMode::Ratio);
        let message = check(&config, gpu).unwrap_err().to_string();
        assert!(message.starts_with("prune.criterion = \"taylor\" "), "{message}");
        config.prune.criterion = Criterion::Obs;
        let message = check(&config, gpu).unwrap_err().to_string();
        assert!(message.starts_with("prune.criterion = \"obs\" "), "{message}");
        config.prune.criterion = Criterion::Magnitude;
        for (strategy, refused) in [
            (PruningStrategy::Rigl, true),
            (PruningStrategy::Set, true),
            (PruningStrategy::Rewind, true),
            (PruningStrategy::Acdc, false),
        ] {
            config.prune.pruning_strategy = strategy;
            assert_eq!(check(&config, gpu).is_err(), refused, "{}", strategy.name());
        }
        config.prune.pruning_mode = PruningMode::Dense;
        assert_eq!(check(&config, gpu), Ok(()));
    }
}
