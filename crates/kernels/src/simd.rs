//! Reductions and run-time dispatch shared by the kernels.

use sparse_vectors::Real;

/// Independent partial sums of one reduction; a fixed count keeps the order of additions fixed.
const LANES: usize = 32;

/// Elements after which the partial sums are folded into the `f64` total.
const FOLD: usize = 4096;

/// Runs `body` compiled for the widest instruction set of this processor.
#[inline(always)]
pub(crate) fn dispatch<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// Σ `term(values at i)` over `N` slices of one length, in an order that depends on that length alone.
///
/// Meant to be inlined into a [`dispatch`] body.
#[inline(always)]
pub(crate) fn sum_terms<T: Real, const N: usize>(slices: [&[T]; N], term: impl Fn([T; N]) -> T) -> f64 {
    let len = slices[0].len();
    let slices = slices.map(|slice| &slice[..len]);
    let mut total = 0.0;
    let mut start = 0;
    while start < len {
        let end = (start + FOLD).min(len);
        total += sum_fold(slices.map(|slice| &slice[start..end]), &term);
        start = end;
    }
    total
}

/// One fold of [`sum_terms`]: lanes side by side, then the rest one by one.
#[inline(always)]
fn sum_fold<T: Real, const N: usize>(slices: [&[T]; N], term: &impl Fn([T; N]) -> T) -> f64 {
    let mut lanes = [T::zero(); LANES];
    let (blocks, rests): ([&[[T; LANES]]; N], [&[T]; N]) = {
        let split = slices.map(<[T]>::as_chunks::<LANES>);
        (split.map(|(blocks, _)| blocks), split.map(|(_, rest)| rest))
    };
    for block in 0..blocks[0].len() {
        let block = blocks.map(|blocks| &blocks[block]);
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(block.map(|values| values[lane]));
        }
    }
    let mut total = lanes.iter().fold(0.0, |sum, lane| sum + lane.widen());
    for i in 0..rests[0].len() {
        total += term(rests.map(|rest| rest[i])).widen();
    }
    total
}
