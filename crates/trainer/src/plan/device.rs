//! Where a run computes.

use crate::{
    config::TrainSection,
    error::{Error, Result},
};

/// The device of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The host's cores.
    Cpu {
        /// Compute threads, 1 or more.
        threads: usize,
    },
}

impl DeviceChoice {
    /// The device that `train.use_gpu` asks for, or the best there is when it is left out.
    ///
    /// # Errors
    /// [`Error::NoCuda`] when a GPU is asked for: this build has no CUDA support.
    pub fn for_config(train: &TrainSection) -> Result<Self> {
        match train.use_gpu {
            Some(true) => Err(Error::NoCuda),
            Some(false) | None => Ok(Self::Cpu { threads: train.thread_count() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(use_gpu: Option<bool>) -> Result<DeviceChoice> {
        DeviceChoice::for_config(&TrainSection { use_gpu, threads: Some(3), ..TrainSection::default() })
    }

    #[test]
    fn the_cpu_is_used_unless_a_gpu_is_asked_for() {
        assert_eq!(device(None).unwrap(), DeviceChoice::Cpu { threads: 3 });
        assert_eq!(device(Some(false)).unwrap(), DeviceChoice::Cpu { threads: 3 });
        let message = device(Some(true)).unwrap_err().to_string();
        assert!(message.contains("no CUDA support: pass --use_gpu False, or leave it out"), "{message}");
    }
}
