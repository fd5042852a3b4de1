//! A stream of a CUDA device.

#![allow(unsafe_code)]

use super::copies::{Copies, SmallCopies};
use super::ptx::module_source;
use super::{Element, Error, Launch, Memory, Product, Queue, Result, Slice, blas};
use cudarc::cublas::CudaBlas;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, result, sys};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Oldest compute capability of the kernels.
const OLDEST: (i32, i32) = (7, 0);
/// Why there is no device.
const NO_DRIVER: &str = "there is no NVIDIA driver (libcuda) on this machine";
/// Oldest compute capability with bf16.
const OLDEST_BF16: (i32, i32) = (8, 0);

/// A stream of a device: work is done in the order in which it was queued.
pub struct Stream {
    stream: Arc<CudaStream>,
    modules: Mutex<HashMap<String, Arc<CudaModule>>>,
    functions: Mutex<HashMap<String, CudaFunction>>,
    /// The library is looked for at the first product.
    blas: OnceLock<CudaBlas>,
    copies: Mutex<Option<Copies>>,
    small: Mutex<SmallCopies>,
    /// Whether memory was given out since the last copy beside the work: it is the work's stream that zeroes it.
    allocated: AtomicBool,
}

/// Memory of a device.
pub struct DeviceMemory {
    slice: CudaSlice<u8>,
    address: u64,
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Stream of device {}", self.stream.context().ordinal())
    }
}

impl Memory for DeviceMemory {
    fn slice(&self) -> Slice<'_> {
        // SAFETY: the memory of `self`, of this length.
        unsafe { Slice::new(self.address, self.slice.len()) }
    }
}

impl Stream {
    /// A stream of device `ordinal`, counted from 0.
    ///
    /// # Errors
    /// [`Error::NoDevice`] without a driver or without such a device, [`Error::TooOld`] if the kernels do not run there.
    pub fn new(ordinal: usize) -> Result<Self> {
        let none = |reason: String| Error::NoDevice { ordinal, reason };
        if !driver_is_there() {
            return Err(none(NO_DRIVER.to_owned()));
        }
        let context = CudaContext::new(ordinal).map_err(|error| none(error.to_string()))?;
        let (major, minor) = context.compute_capability().map_err(|error| none(error.to_string()))?;
        if (major, minor) < OLDEST {
            return Err(Error::TooOld { ordinal, major, minor });
        }
        let stream = context.new_stream().map_err(|error| none(error.to_string()))?;
        Ok(Self::on(stream))
    }

    /// Whether a device can be used at all: it is there, the kernels run on it, and there is cuBLAS.
    pub fn is_usable(ordinal: usize) -> bool {
        Self::new(ordinal).is_ok() && blas_is_there()
    }

    /// Checks that the device has the arithmetic of a storage.
    ///
    /// # Errors
    /// [`Error::NoBf16`] for bf16 before compute capability 8.0.
    pub fn check_element(&self, element: Element) -> Result<()> {
        let context = self.stream.context();
        let (major, minor) = context.compute_capability().map_err(failed("asking for its capability"))?;
        if element == Element::Bf16 && (major, minor) < OLDEST_BF16 {
            return Err(Error::NoBf16 { ordinal: context.ordinal(), major, minor });
        }
        Ok(())
    }

    /// A queue on a stream that is there already.
    pub fn on(stream: Arc<CudaStream>) -> Self {
        Self {
            stream,
            modules: Mutex::default(),
            functions: Mutex::default(),
            blas: OnceLock::new(),
            copies: Mutex::default(),
            small: Mutex::default(),
            allocated: AtomicBool::new(false),
        }
    }

    /// Numbers of someone else's on this device, as memory of kernels; what they write there the owner sees.
    ///
    /// # Panics
    /// If they belong to another stream, which would not wait for the kernels: a fault of the caller.
    pub fn view<'a, T>(&self, numbers: &'a CudaSlice<T>) -> Slice<'a> {
        assert!(Arc::ptr_eq(numbers.stream(), &self.stream), "numbers of another stream");
        let address = numbers.device_ptr(&self.stream).0;
        // SAFETY: the memory of `numbers`, of this length, for as long as they are borrowed.
        unsafe { Slice::new(address, numbers.len() * size_of::<T>()) }
    }

    /// The stream itself.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Waits for all work.
    ///
    /// # Errors
    /// The driver's, also of work queued before.
    pub fn wait(&self) -> Result<()> {
        self.stream.synchronize().map_err(failed("waiting"))
    }

    /// Whether all work is done.
    ///
    /// # Errors
    /// The driver's, also of work queued before.
    pub fn is_done(&self) -> Result<bool> {
        self.bind()?;
        // SAFETY: the stream is one until `self` is dropped.
        match unsafe { sys::cuStreamQuery(self.stream.cu_stream()) } {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            status => status.result().map(|()| true).map_err(failed("waiting")),
        }
    }

    /// Devices that this process sees.
    ///
    /// # Errors
    /// [`Error::NoDevice`] without a driver.
    pub fn device_count() -> Result<usize> {
        if !driver_is_there() {
            return Err(Error::NoDevice { ordinal: 0, reason: NO_DRIVER.to_owned() });
        }
        let count = CudaContext::device_count().map_err(failed("counting devices"))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// What tells the device from all others, also of other machines.
    ///
    /// # Errors
    /// The driver's.
    pub fn device_uuid(&self) -> Result<String> {
        let uuid = self.stream.context().uuid().map_err(failed("asking for its identity"))?;
        Ok(uuid.bytes.iter().map(|&byte| format!("{:02x}", byte as u8)).collect())
    }

    /// Copies within the device.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Panics
    /// If the lengths differ: a fault of the caller.
    pub fn copy(&self, from: Slice<'_>, to: Slice<'_>) -> Result<()> {
        assert_eq!(from.bytes(), to.bytes(), "bytes of a copy");
        self.bind()?;
        // SAFETY: both are memory of the device, and of the same length.
        let copied = unsafe {
            result::memcpy_dtod_async(to.address(), from.address(), from.bytes(), self.stream.cu_stream())
        };
        copied.map_err(failed("a copy on it"))
    }

    /// What the device is called, and its compute capability.
    ///
    /// # Errors
    /// The driver's.
    pub fn device_name(&self) -> Result<String> {
        let context = self.stream.context();
        let name = context.name().map_err(failed("asking for its name"))?;
        let (major, minor) = context.compute_capability().map_err(failed("asking for its capability"))?;
        Ok(format!("{name}, compute capability {major}.{minor}"))
    }

    fn function(&self, file: &str, kernel: &str) -> Result<CudaFunction> {
        if let Some(function) = lock(&self.functions).get(kernel) {
            return Ok(function.clone());
        }
        let broken = |reason: String| Error::Kernel { kernel: kernel.to_owned(), reason };
        let name = if kernel.contains("_bf16") { format!("{file}.bf16") } else { file.to_owned() };
        let mut modules = lock(&self.modules);
        if !modules.contains_key(&name) {
            let source =
                module_source(&name).ok_or_else(|| broken(format!("there is no file {name}.ptx")))?;
            let loaded = self.stream.context().load_module(Ptx::from_src(source));
            modules.insert(name.clone(), loaded.map_err(|error| broken(error.to_string()))?);
        }
        let function = modules[&name].load_function(kernel).map_err(|error| broken(error.to_string()))?;
        lock(&self.functions).insert(kernel.to_owned(), function.clone());
        Ok(function)
    }

    fn blas(&self) -> Result<&CudaBlas> {
        if self.blas.get().is_none() {
            if !blas_is_there() {
                let reason =
                    "cuBLAS 12 (libcublas.so.12) was not found; install it or put its folder into LD_LIBRARY_PATH"
                        .to_owned();
                return Err(Error::Device { what: "a matrix product", reason });
            }
            let blas = CudaBlas::new(self.stream.clone()).map_err(failed("starting cuBLAS"))?;
            blas::keep_sums_whole(&blas).map_err(failed("starting cuBLAS"))?;
            let _ = self.blas.set(blas);
        }
        self.blas
            .get()
            .ok_or_else(|| Error::Device { what: "a matrix product", reason: "no cuBLAS".to_owned() })
    }
}

impl Queue for Stream {
    type Memory = DeviceMemory;

    fn allocate(&self, bytes: usize) -> Result<DeviceMemory> {
        let full = |error: cudarc::driver::DriverError| Error::Memory { bytes, reason: error.to_string() };
        let slice = self.stream.alloc_zeros::<u8>(bytes.max(1)).map_err(full)?;
        self.allocated.store(true, Ordering::Relaxed);
        let address = slice.device_ptr(&self.stream).0;
        Ok(DeviceMemory { slice, address })
    }

    fn write(&self, from: &[u8], to: Slice<'_>) -> Result<()> {
        assert_eq!(from.len(), to.bytes(), "bytes of a copy");
        if from.is_empty() {
            return Ok(());
        }
        self.bind()?;
        if from.len() <= SmallCopies::MOST {
            return lock(&self.small).put(&self.stream, from, to).map_err(failed("a copy to it"));
        }
        // SAFETY: the lengths agree, and the copy is waited for while `from` is borrowed.
        unsafe { result::memcpy_htod_async(to.address(), from, self.stream.cu_stream()) }
            .map_err(failed("a copy to it"))?;
        self.wait()
    }

    fn write_aside(&self, from: [&[u8]; 2], to: Slice<'_>) -> Result<()> {
        assert_eq!(from[0].len() + from[1].len(), to.bytes(), "bytes of a copy");
        if to.bytes() == 0 {
            return Ok(());
        }
        let mut copies = lock(&self.copies);
        let all = self.allocated.swap(false, Ordering::Relaxed);
        let made = match copies.take() {
            Some(there) => Ok(there),
            None => Copies::new(&self.stream),
        };
        let put = made.and_then(|made| copies.insert(made).put(&self.stream, from, to, all));
        put.map_err(failed("a copy to it"))
    }

    fn read(&self, from: Slice<'_>, to: &mut [u8]) -> Result<()> {
        assert_eq!(to.len(), from.bytes(), "bytes of a copy");
        if to.is_empty() {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: the lengths agree, and the copy is waited for while `to` is borrowed.
        unsafe { result::memcpy_dtoh_async(to, from.address(), self.stream.cu_stream()) }
            .map_err(failed("a copy from it"))?;
        self.wait()
    }

    fn clear(&self, slice: Slice<'_>) -> Result<()> {
        self.bind()?;
        // SAFETY: the slice is memory of the device of this length.
        unsafe { result::memset_d8_async(slice.address(), 0, slice.bytes(), self.stream.cu_stream()) }
            .map_err(failed("clearing memory"))
    }

    /// # Safety
    /// As [`Queue::launch`] says.
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        self.bind()?;
        let function = self.function(launch.file, launch.kernel)?;
        let mut arguments: Vec<*mut c_void> =
            launch.arguments.iter().map(|argument| argument.pointer()).collect();
        let [x, y, z] = launch.blocks;
        // SAFETY: the caller passes what the kernel takes; the driver copies the arguments before it returns.
        let launched = unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, z),
                (launch.threads, 1, 1),
                0,
                self.stream.cu_stream(),
                &mut arguments,
            )
        };
        launched
            .map_err(|error| Error::Kernel { kernel: launch.kernel.to_owned(), reason: error.to_string() })
    }

    fn multiply(&self, product: Product<'_>) -> Result<()> {
        self.bind()?;
        blas::multiply(self.blas()?, product).map_err(failed("a matrix product"))
    }
}

impl Drop for Stream {
    /// Waits for what is queued before modules and memory go. After a fault of the device cuBLAS cannot be taken down, so it is left.
    fn drop(&mut self) {
        if self.bind().and_then(|()| self.wait()).is_err() {
            std::mem::forget(self.blas.take());
        }
    }
}

impl Stream {
    /// Makes the device that of this thread.
    pub(super) fn bind(&self) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(failed("taking it"))
    }
}

/// Whether the driver's library is on this machine: without it cudarc panics.
fn driver_is_there() -> bool {
    // SAFETY: only tries to load the library.
    unsafe { cudarc::driver::sys::is_culib_present() }
}

/// Whether cuBLAS is on this machine.
fn blas_is_there() -> bool {
    // SAFETY: only tries to load the library.
    unsafe { cudarc::cublas::sys::is_culib_present() }
}

fn failed<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Device { what, reason: error.to_string() }
}

/// A lock; what is behind it is whole after a panic as well.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error_that_says_so() {
        let error = Stream::new(1 << 20).unwrap_err().to_string();
        assert!(error.starts_with("no CUDA device 1048576: "), "{error}");
    }
}
