//! Exponential moving averages of candle variables.

use crate::host::{Operand, by_dtype, elements_mut};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Var, bail};
use sparse_kernels::average;

/// `a += share · (w − a)` in place, for an average `a` and a value `w` of the same shape on the CPU. `share` is a fraction; with the words
/// of a mask (bit i of word i/64 belongs to weight i, 1 = kept) the average of a pruned weight is 0.
///
/// # Errors
/// If the shapes differ, or candle's.
pub fn move_average(average: &Var, value: &Var, share: f64, mask: Option<&[u64]>) -> Result<()> {
    if average.dims() != value.dims() {
        bail!("an average is {:?}, what goes into it {:?}", average.dims(), value.dims());
    }
    average.as_tensor().inplace_op2(value.as_tensor(), &MoveAverage { share, mask })
}

struct MoveAverage<'a> {
    share: f64,
    mask: Option<&'a [u64]>,
}

impl InplaceOp2 for MoveAverage<'_> {
    fn name(&self) -> &'static str {
        "move-average"
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<()> {
        by_dtype!(average.dtype(), "move-average", T => {
            let value = Operand::<T>::new(value, value_layout)?;
            average::update(elements_mut::<T>(average, layout)?, value.data, self.share, self.mask);
            Ok(())
        })
    }
}
