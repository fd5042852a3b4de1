//! The training step on a device: the passes of [`crate::TrainPass`] as a sequence of launches, over the same steps of the same
//! [`crate::Plan`].
//!
//! Everything stays on the device: parameters, gradients, momentum and masks lie in one run of memory each
//! ([`DeviceParameters`]), activations in buffers that are kept ([`DevicePass`]). What crosses to the host are the scalars of a
//! batch, when they are asked for. The queue decides where it runs: a CUDA device, or in tests the same kernels on the CPU.

mod across;
mod backward;
mod convolve;
mod convolve_back;
mod feed;
mod forward;
mod gradients;
mod parameters;
mod pass;
mod room;
mod scratch;
mod values;

pub use across::DeviceAcross;
pub use feed::{Fed, Feed};
pub use parameters::DeviceParameters;
pub use pass::{BatchResults, DevicePass, DeviceSoftTargets, DeviceTargets};
