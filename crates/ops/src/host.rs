//! Adapters from a kernel on slices to candle's custom operations, generic over f32 and f64.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, WithDType, bail,
};
use sparse_kernels::Real;

/// The element types the operations run on.
pub(crate) trait Element: WithDType + Real {
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
    fn gradients(&self, _a: &Tensor, _b: &Tensor, _dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
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
        self.0.gradients(a, b, &dy.contiguous()?)
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

/// Computes the gradient of an operand only if the graph needs it.
pub(crate) fn if_tracked(
    operand: &Tensor,
    gradient: impl FnOnce() -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    if operand.track_op() { gradient().map(Some) } else { Ok(None) }
}

/// Leaves out the gradients of operands that the graph does not need.
pub(crate) fn only_tracked(gradients: [Tensor; 3], tracked: [bool; 3]) -> [Option<Tensor>; 3] {
    let [a, b, c] = gradients;
    [tracked[0].then_some(a), tracked[1].then_some(b), tracked[2].then_some(c)]
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
