//! Where a run computes.

use crate::config::{Gpu, TrainSection};
use crate::error::{Error, Result};
use sparse_collectives::place_on_this_machine;

/// The device of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The host's cores.
    Cpu {
        /// Compute threads, 1 or more.
        threads: usize,
    },
    /// A CUDA device; the host feeds it.
    Cuda {
        /// Number of the device, from 0.
        ordinal: usize,
        /// Compute threads of the host, 1 or more.
        threads: usize,
    },
}

impl DeviceChoice {
    /// The device that `train.device` or `train.use_gpu` asks for, or the best there is when both are left out.
    ///
    /// # Errors
    /// [`Error::NoCuda`] when a GPU is asked for and this build has no CUDA support.
    pub fn for_config(train: &TrainSection) -> Result<Self> {
        Self::of(train.gpu(), train.thread_count())
    }

    /// The device asked for, or the best there is when it is left open. Of several processes on a machine each gets one, from that on.
    ///
    /// # Errors
    /// [`Error::NoCuda`] when a GPU is asked for and this build has no CUDA support.
    pub fn of(gpu: Option<Gpu>, threads: usize) -> Result<Self> {
        match gpu {
            Some(Gpu::Cuda(_)) if !cfg!(feature = "cuda") => Err(Error::NoCuda),
            Some(Gpu::Cuda(ordinal)) => Ok(Self::Cuda { ordinal: own(ordinal), threads }),
            None if there_is_one() => Ok(Self::Cuda { ordinal: own(0), threads }),
            Some(Gpu::None) | None => Ok(Self::Cpu { threads }),
        }
    }

    /// What it is, in words.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Cpu { .. } => "the CPU",
            Self::Cuda { .. } => "a GPU",
        }
    }

    /// Compute threads of the host.
    pub fn threads(self) -> usize {
        match self {
            Self::Cpu { threads } | Self::Cuda { threads, .. } => threads,
        }
    }
}

/// Whether there is a device that the kernels run on.
fn there_is_one() -> bool {
    #[cfg(feature = "cuda")]
    {
        static THERE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *THERE.get_or_init(|| sparse_cuda::Stream::is_usable(0))
    }
    #[cfg(not(feature = "cuda"))]
    false
}

/// The device of this process, where the first process of the machine has `first`.
fn own(first: usize) -> usize {
    let place = place_on_this_machine(|name| std::env::var_os(name));
    #[cfg(feature = "cuda")]
    let visible = sparse_cuda::Stream::device_count().unwrap_or(0);
    #[cfg(not(feature = "cuda"))]
    let visible = 0;
    of_place(first, place, visible)
}

/// A launcher that shows each process one device has chosen already.
fn of_place(first: usize, place: usize, visible: usize) -> usize {
    if visible == 1 { first } else { first + place }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_of_a_machine_has_a_device_of_its_own() {
        assert_eq!([0, 1, 7].map(|place| of_place(0, place, 8)), [0, 1, 7]);
        assert_eq!([0, 1].map(|place| of_place(2, place, 4)), [2, 3]);
        assert_eq!([0, 1].map(|place| of_place(0, place, 1)), [0, 0]);
    }

    fn device(use_gpu: Option<bool>) -> Result<DeviceChoice> {
        DeviceChoice::for_config(&TrainSection { use_gpu, threads: Some(3), ..TrainSection::default() })
    }

    #[test]
    fn without_a_gpu_the_cpu_is_used_unless_one_is_asked_for() {
        assert_eq!(device(Some(false)).unwrap(), DeviceChoice::Cpu { threads: 3 });
        if cfg!(feature = "cuda") {
            assert_eq!(device(Some(true)).unwrap(), DeviceChoice::Cuda { ordinal: 0, threads: 3 });
            return;
        }
        assert_eq!(device(None).unwrap(), DeviceChoice::Cpu { threads: 3 });
        let message = device(Some(true)).unwrap_err().to_string();
        assert!(message.contains("built without CUDA: build it with --features cuda"), "{message}");
    }
}
