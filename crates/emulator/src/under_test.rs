//! What tests of kernels run on: the emulator, or with feature `gpu` a CUDA device, so that one suite holds for both.

/// The queue of the tests.
#[cfg(not(feature = "gpu"))]
pub type TestQueue = crate::Emulator;

/// The queue of the tests.
#[cfg(feature = "gpu")]
pub type TestQueue = sparse_cuda::Stream;

/// A queue; the order of threads and blocks is the emulator's to choose, a device has its own.
#[cfg(not(feature = "gpu"))]
pub fn queue(order: u64) -> TestQueue {
    crate::Emulator::new(order)
}

/// A stream of the device that `SPARSE_GPU` names, or the first.
///
/// # Panics
/// Without a device: then there is nothing to test.
#[cfg(feature = "gpu")]
#[allow(clippy::expect_used, reason = "tests call it")]
pub fn queue(_order: u64) -> TestQueue {
    let ordinal = std::env::var("SPARSE_GPU").ok().and_then(|number| number.parse().ok()).unwrap_or(0);
    sparse_cuda::Stream::new(ordinal).expect("the tests of feature `gpu` need a CUDA device")
}

/// Copies to the host so far; a device does not count them.
pub fn reads(queue: &TestQueue) -> u64 {
    #[cfg(not(feature = "gpu"))]
    return queue.reads();
    #[cfg(feature = "gpu")]
    {
        let _ = queue;
        0
    }
}
