//! Runs the CUDA kernels on the CPU, for tests: [`Emulator`] is a [`Queue`] like a device's.
//!
//! `kernels/*.cu` are compiled by the C++ compiler through `cpp/emulator.h`, which makes each thread of a block a fiber. Which thread and
//! which block comes first follows from an order that the test chooses; a missing barrier shows as a result that depends on it. Memory
//! ends at a closed page, and what is written before it is found after the launch.
//!
//! Invariant: it knows no kernel; what runs here are the files that the device runs, launched by the same code.

#![allow(unsafe_code)]

mod between;
mod matmul;
mod memory;
mod under_test;

pub use between::Between;
pub use memory::HostMemory;
pub use sparse_cuda::{download, upload};
pub use under_test::{TestQueue, queue, reads};

use sparse_cuda::{Error, Launch, Product, Queue, Result, Slice};
use std::cell::Cell;

/// Whether tests have something to run kernels on: a device (feature `gpu`), or there was a C++ compiler when this was built.
pub const AVAILABLE: bool = cfg!(any(emulated, feature = "gpu"));

/// A device that is the CPU.
#[derive(Debug)]
pub struct Emulator {
    order: u64,
    memory: memory::Margins,
    reads: Cell<u64>,
}

impl Emulator {
    /// With threads and blocks in their order (0), backwards (1), or shuffled by a seed.
    pub fn new(order: u64) -> Self {
        Self { order, memory: memory::Margins::default(), reads: Cell::new(0) }
    }

    /// Copies to the host so far.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }
}

impl Queue for Emulator {
    type Memory = HostMemory;

    fn allocate(&self, bytes: usize) -> Result<HostMemory> {
        let full = || Error::Memory { bytes, reason: "the system has no more pages".to_owned() };
        self.memory.allocate(bytes).ok_or_else(full)
    }

    fn write(&self, from: &[u8], to: Slice<'_>) -> Result<()> {
        assert_eq!(from.len(), to.bytes(), "bytes of a copy");
        // SAFETY: a slice of this queue is memory of the host, which lives as long as the slice; nothing else runs.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.address() as *mut u8, from.len()) };
        Ok(())
    }

    fn write_aside(&self, from: [&[u8]; 2], to: Slice<'_>) -> Result<()> {
        let [first, second] = from.map(<[u8]>::len);
        self.write(from[0], to.part(0, first))?;
        self.write(from[1], to.part(first, second))
    }

    fn read(&self, from: Slice<'_>, to: &mut [u8]) -> Result<()> {
        assert_eq!(to.len(), from.bytes(), "bytes of a copy");
        self.reads.set(self.reads.get() + 1);
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy_nonoverlapping(from.address() as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    fn clear(&self, slice: Slice<'_>) -> Result<()> {
        // SAFETY: as in `write`.
        unsafe { std::ptr::write_bytes(slice.address() as *mut u8, 0, slice.bytes()) };
        Ok(())
    }

    /// # Safety
    /// As [`Queue::launch`] says.
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        let failed = |reason: String| Error::Kernel { kernel: launch.kernel.to_owned(), reason };
        run(launch, self.order).map_err(failed)?;
        self.memory.check().map_err(failed)
    }

    fn multiply(&self, product: Product<'_>) -> Result<()> {
        matmul::multiply(product);
        Ok(())
    }
}

#[cfg(emulated)]
fn run(launch: &Launch<'_>, order: u64) -> std::result::Result<(), String> {
    use std::ffi::{CStr, CString, c_char, c_uint, c_void};

    // SAFETY: as `cpp/launch.cpp` defines it.
    unsafe extern "C" {
        fn emulator_launch(
            name: *const c_char,
            blocks: *const c_uint,
            threads: *const c_uint,
            arguments: *mut *mut c_void,
            order: u64,
        ) -> *const c_char;
    }

    let name = CString::new(launch.kernel).map_err(|error| error.to_string())?;
    let threads = [launch.threads, 1, 1];
    let mut arguments: Vec<*mut c_void> =
        launch.arguments.iter().map(|argument| argument.pointer()).collect();
    // SAFETY: the caller of `launch` passes what the kernel takes; the message lives until the next launch of this thread.
    let error = unsafe {
        let error = emulator_launch(
            name.as_ptr(),
            launch.blocks.as_ptr(),
            threads.as_ptr(),
            arguments.as_mut_ptr(),
            order,
        );
        (!error.is_null()).then(|| CStr::from_ptr(error).to_string_lossy().into_owned())
    };
    error.map_or(Ok(()), Err)
}

#[cfg(not(emulated))]
fn run(_: &Launch<'_>, _: u64) -> std::result::Result<(), String> {
    Err("there was no C++ compiler when the emulator was built".to_owned())
}
