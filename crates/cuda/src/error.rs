//! What can go wrong on a device.

/// An error of a device.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no driver, or no device of this number.
    #[error("no CUDA device {ordinal}: {reason}")]
    NoDevice {
        /// Number of the device.
        ordinal: usize,
        /// What the driver says, or that there is none.
        reason: String,
    },
    /// The device is older than the kernels.
    #[error(
        "CUDA device {ordinal} has compute capability {major}.{minor}, the kernels need 7.0 (Volta) or above"
    )]
    TooOld {
        /// Number of the device.
        ordinal: usize,
        /// Compute capability, first number.
        major: i32,
        /// Compute capability, second number.
        minor: i32,
    },
    /// The device has no bf16.
    #[error("CUDA device {ordinal} has compute capability {major}.{minor}, bf16 needs 8.0 (Ampere) or above")]
    NoBf16 {
        /// Number of the device.
        ordinal: usize,
        /// Compute capability, first number.
        major: i32,
        /// Compute capability, second number.
        minor: i32,
    },
    /// There is no room.
    #[error("the device has no room for {bytes} bytes more: {reason}; a smaller batch_size needs less")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// What the driver says.
        reason: String,
    },
    /// A kernel could not be loaded or launched.
    #[error("kernel {kernel}: {reason}")]
    Kernel {
        /// Its entry point.
        kernel: String,
        /// What the driver says.
        reason: String,
    },
    /// A copy, a matrix product or a wait failed.
    #[error("{what} on the device: {reason}")]
    Device {
        /// What was being done.
        what: &'static str,
        /// What the driver says.
        reason: String,
    },
    /// Sums over all ranks failed between the hosts.
    #[error(transparent)]
    Ranks(Box<dyn std::error::Error + Send + Sync>),
    /// A weight is NaN.
    #[error("a weight is NaN, so there is no order of magnitudes")]
    NotANumber,
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;
