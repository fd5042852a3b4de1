//! Adapters from a kernel on slices to candle's custom operations, generic over f32 and f64.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, WithDType, bail,
};
use sparse_vectors::Real;

/// The element types the operations run on: f32 and f64.
pub trait Element: WithDType + Real {
    /// The vector inside a storage, which candle's `WithDType` offers for reading only.
    fn vector(storage: &mut CpuStorage) -> Option<&mut Vec<Self>>;
}

impl Element for f32 {
    fn vector(storage: &mut CpuStorage) -> Option<&mut Vec<Self>> {
        if let CpuStorage::F32(data) = storage { Some(data) } else { None }
    }
}

impl Element for f64 {
    fn vector(storage: &mut CpuStorage) -> Option<&mut Vec<Self>> {
        if let CpuStorage::F64(data) = storage { Some(data) } else { None }
    }
}

/// Evaluates `$body` with `$T` bound to the element type of `$dtype`.
macro_rules! by_dtype {
    ($dtype:expr, $op:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err($crate::host::unsupported(other, $op)),
        }
    };
}
pub(crate) use by_dtype;

pub(crate) fn unsupported(dtype: DType, op: &'static str) -> candle_core::Error {
    candle_core::Error::UnsupportedDTypeForOp(dtype, op).bt()
}

/// A contiguous operand: its elements and its dimensions.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) dims: &'a [usize],
}

impl<'a, T: Element> Operand<'a, T> {
    pub(crate) fn new(storage: &'a CpuStorage, layout: &'a Layout) -> Result<Self> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("operand is not contiguous: {layout:?}")
        };
        Ok(Self { data: &T::cpu_storage_as_slice(storage)?[start..end], dims: layout.dims() })
    }
}

/// Calls `body` with the elements of contiguous tensors on the CPU, without a copy.
///
/// # Errors
/// If a tensor is elsewhere, not contiguous, or of another element type.
pub fn with_values<T: Element, R, const N: usize>(
    tensors: [&Tensor; N],
    body: impl FnOnce([&[T]; N]) -> R,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut values: [&[T]; N] = [&[]; N];
    for (values, (storage, layout)) in values.iter_mut().zip(&guards) {
        let candle_core::Storage::Cpu(storage) = &**storage else { bail!("tensor is not on the CPU") };
        *values = Operand::<T>::new(storage, layout)?.data;
    }
    Ok(body(values))
}

/// Gradients shaped like `x` and `weight`; `body` gets the elements of both and of `dy`, and writes the two.
pub(crate) fn two_gradients<T: Element>(
    [x, weight, dy]: [&Tensor; 3],
    body: impl FnOnce([&[T]; 3], [&mut [T]; 2]),
) -> Result<[Tensor; 2]> {
    let mut dx = vec![T::default(); x.elem_count()];
    let mut dw = vec![T::default(); weight.elem_count()];
    with_values([x, weight, dy], |operands| body(operands, [&mut dx, &mut dw]))?;
    Ok([
        Tensor::from_vec(dx, x.shape().clone(), x.device())?,
        Tensor::from_vec(dw, weight.shape().clone(), weight.device())?,
    ])
}

/// The elements of a contiguous operand, to be changed in place.
pub(crate) fn elements_mut<'a, T: Element>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> Result<&'a mut [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("operand is not contiguous: {layout:?}")
    };
    match T::vector(storage) {
        Some(data) => Ok(&mut data[start..end]),
        None => bail!("operands of different element types"),
    }
}

/// What an operation computed: elements and shape.
pub(crate) type Output<T> = Result<(Vec<T>, Shape)>;

fn stored<T: Element>((data, shape): (Vec<T>, Shape)) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(data), shape)
}

/// An operation of one operand. The gradient is a composition of further operations.
pub(crate) trait Unary {
    const NAME: &'static str;
    fn run<T: Element>(&self, x: Operand<'_, T>) -> Output<T>;
    fn gradient(&self, _x: &Tensor, _dy: &Tensor) -> Result<Tensor> {
        Err(candle_core::Error::BackwardNotSupported { op: Self::NAME })
    }
}

/// An operation of two operands.
pub(crate) trait Binary {
    const NAME: &'static str;
    fn run<T: Element>(&self, a: Operand<'_, T>, b: Operand<'_, T>) -> Output<T>;
    fn gradients(&self, _a: &Tensor, _b: &Tensor, _dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        Err(candle_core::Error::BackwardNotSupported { op: Self::NAME })
    }
}

/// An operation of three operands; `y` in `gradients` is its result.
pub(crate) trait Ternary {
    const NAME: &'static str;
    fn run<T: Element>(&self, operands: [Operand<'_, T>; 3]) -> Output<T>;
    fn gradients(&self, _operands: [&Tensor; 3], _y: &Tensor, _dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        Err(candle_core::Error::BackwardNotSupported { op: Self::NAME })
    }
}

/// Carries a kernel into candle's graph.
pub(crate) struct Op<K>(pub(crate) K);

impl<K: Unary> CustomOp1 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        by_dtype!(s.dtype(), K::NAME, T => self.0.run::<T>(Operand::new(s, l)?).map(stored))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        self.0.gradient(x, &dy.contiguous()?).map(Some)
    }
}

impl<K: Binary> CustomOp2 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_dtype!(s1.dtype(), K::NAME, T => {
            self.0.run::<T>(Operand::new(s1, l1)?, Operand::new(s2, l2)?).map(stored)
        })
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [da, db] = self.0.gradients(a, b, &dy.contiguous()?)?;
        Ok((da, db))
    }
}

impl<K: Ternary> CustomOp3 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_dtype!(s1.dtype(), K::NAME, T => {
            let operands = [Operand::new(s1, l1)?, Operand::new(s2, l2)?, Operand::new(s3, l3)?];
            self.0.run::<T>(operands).map(stored)
        })
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [da, db, dc] = self.0.gradients([a, b, c], y, &dy.contiguous()?)?;
        Ok((da, db, dc))
    }
}

/// Leaves out the gradients of operands that the graph does not need.
pub(crate) fn only_tracked<const N: usize>(
    gradients: [Tensor; N],
    tracked: [bool; N],
) -> [Option<Tensor>; N] {
    let mut tracked = tracked.into_iter();
    gradients.map(|gradient| tracked.next().unwrap_or(false).then_some(gradient))
}

/// The four dimensions of a tensor, or an error that names the operation.
pub(crate) fn dims4(dims: &[usize], op: &'static str) -> Result<[usize; 4]> {
    match dims.try_into() {
        Ok(dims) => Ok(dims),
        Err(_) => bail!("{op}: expected four dimensions, got {dims:?}"),
    }
}

/// Refuses operands whose sizes do not fit together.
pub(crate) fn ensure(fits: bool, op: &'static str, a: &[usize], b: &[usize]) -> Result<()> {
    if fits { Ok(()) } else { bail!("{op}: shapes {a:?} and {b:?} do not fit together") }
}
