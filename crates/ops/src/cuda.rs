//! The operations on CUDA tensors: candle's memory, the kernels of [`sparse_kernels::cuda`].
//!
//! Products (pointwise, head) and small things (pooling, loss) are left to candle, whose products are cuBLAS's. f32 only.

use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};
use sparse_kernels::cuda::{DeviceMemory, Queue, Slice, Stream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A candle device and the queue on its stream.
pub(crate) struct Place {
    pub(crate) queue: Arc<Stream>,
    device: CudaDevice,
}

/// A contiguous operand on the device, f32.
#[derive(Clone, Copy)]
pub(crate) struct DeviceOperand<'a> {
    pub(crate) slice: Slice<'a>,
    pub(crate) dims: &'a [usize],
}

/// What an operation computed.
pub(crate) type DeviceOutput = Result<(CudaSlice<f32>, Shape)>;

/// An error of the kernels as one of candle's.
pub(crate) fn error(error: sparse_kernels::cuda::Error) -> candle_core::Error {
    candle_core::Error::Cuda(Box::new(error)).bt()
}

/// For operations without a kernel.
pub(crate) fn no_kernel(op: &'static str) -> DeviceOutput {
    bail!("{op} has no CUDA kernel: it is not part of training; compute it on the CPU")
}

impl Place {
    /// The queue on a device's stream; kernels that were loaded there stay loaded.
    pub(crate) fn of(device: &CudaDevice) -> Self {
        static QUEUES: OnceLock<Mutex<HashMap<String, Arc<Stream>>>> = OnceLock::new();
        let mut queues = QUEUES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{:?}", device.id());
        let queue = queues.entry(key).or_insert_with(|| Arc::new(Stream::on(device.cuda_stream())));
        Self { queue: queue.clone(), device: device.clone() }
    }

    /// The place of a tensor.
    ///
    /// # Errors
    /// If it is not on a CUDA device.
    pub(crate) fn of_tensor(tensor: &Tensor) -> Result<Self> {
        match tensor.device() {
            Device::Cuda(device) => Ok(Self::of(device)),
            _ => bail!("tensor is not on a CUDA device"),
        }
    }

    /// Zeroed numbers for a result.
    pub(crate) fn zeros(&self, count: usize) -> Result<CudaSlice<f32>> {
        self.device.alloc_zeros::<f32>(count)
    }

    /// Memory for what lies between kernels.
    pub(crate) fn scratch(&self, bytes: usize) -> Result<DeviceMemory> {
        self.queue.allocate(bytes).map_err(error)
    }

    /// A result as memory of kernels.
    pub(crate) fn view<'a>(&self, numbers: &'a CudaSlice<f32>) -> Slice<'a> {
        self.queue.view(numbers)
    }

    /// An operand.
    ///
    /// # Errors
    /// If it is not contiguous or not f32.
    pub(crate) fn operand<'a>(
        &self,
        storage: &'a CudaStorage,
        layout: &'a Layout,
    ) -> Result<DeviceOperand<'a>> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("operand is not contiguous: {layout:?}")
        };
        // Kernels read 16 bytes at a time.
        if start % 4 != 0 {
            bail!(
                "operand begins at element {start} of its memory, not at a multiple of 4: copy it with force_contiguous"
            )
        }
        let all = self.queue.view(storage.as_cuda_slice::<f32>()?);
        let slice = all.part(start * size_of::<f32>(), (end - start) * size_of::<f32>());
        Ok(DeviceOperand { slice, dims: layout.dims() })
    }

    /// Calls `body` with contiguous tensors.
    ///
    /// # Errors
    /// If a tensor is elsewhere, not contiguous or not f32.
    pub(crate) fn with<R, const N: usize>(
        &self,
        tensors: [&Tensor; N],
        body: impl FnOnce([Slice<'_>; N]) -> Result<R>,
    ) -> Result<R> {
        let guards = tensors.map(Tensor::storage_and_layout);
        let mut slices = [Slice::EMPTY; N];
        for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
            let Storage::Cuda(storage) = &**storage else { bail!("tensor is not on the CUDA device") };
            *slice = self.operand(storage, layout)?.slice;
        }
        body(slices)
    }

    /// A result as a tensor.
    pub(crate) fn tensor(&self, numbers: CudaSlice<f32>, shape: impl Into<Shape>) -> Tensor {
        let storage = CudaStorage::wrap_cuda_slice(numbers, self.device.clone());
        Tensor::from_storage(Storage::Cuda(storage), shape, candle_core::op::BackpropOp::none(), false)
    }

    /// A result as candle's storage.
    pub(crate) fn stored(&self, (numbers, shape): (CudaSlice<f32>, Shape)) -> (CudaStorage, Shape) {
        (CudaStorage::wrap_cuda_slice(numbers, self.device.clone()), shape)
    }
}

/// A mask as numbers, 1 = kept.
pub(crate) fn mask_tensor(words: &[u64], like: &Tensor) -> Result<Tensor> {
    let bit = |i: usize| f32::from(u8::from(words[i / 64] >> (i % 64) & 1 == 1));
    let bits: Vec<f32> = (0..like.elem_count()).map(bit).collect();
    Tensor::from_vec(bits, like.shape(), like.device())?.to_dtype(DType::F32)
}
