//! What a pass shares with other ranks of the same run.

use crate::Result;

/// Adds numbers up over all ranks, in place.
pub type AddUp<'a> = dyn FnMut(&mut [f64]) -> Result<()> + 'a;

/// The part of a batch that one rank has, and what it learns of the others.
///
/// With `statistics` batch norm normalises by the mean and the variance of the whole batch, in both directions. Source: what
/// `SyncBatchNorm` of PaddlePaddle and PyTorch do.
#[derive(Default)]
pub struct Across<'a> {
    /// By how many ranks a batch is shared, in equal parts; 0 and 1 are one rank alone.
    pub ranks: usize,
    /// How statistics of batch norm are added up; `None` takes those of the own part.
    pub statistics: Option<&'a mut AddUp<'a>>,
}

impl Across<'_> {
    /// One rank has the whole batch.
    #[must_use]
    pub fn alone() -> Self {
        Self::default()
    }

    /// This rank's share of the batch.
    pub(super) fn share(&self) -> f64 {
        1.0 / self.ranks.max(1) as f64
    }

    /// Mean and variance of the whole batch in place of those of this rank's part, by sums around `shift`. Nothing changes
    /// without a way to add up.
    pub(super) fn moments<T: sparse_vectors::Real>(
        &mut self,
        shift: &[T],
        mean: &mut [T],
        variance: &mut [T],
    ) -> Result<()> {
        let share = self.share();
        let Some(add_up) = &mut self.statistics else { return Ok(()) };
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for ((&shift, &mean), &variance) in shift.iter().zip(mean.iter()).zip(variance.iter()) {
            let off = mean.widen() - shift.widen();
            first.push(off * share);
            second.push((variance.widen() + off * off) * share);
        }
        let channels = first.len();
        let mut sums = first;
        sums.append(&mut second);
        add_up(&mut sums)?;
        for channel in 0..channels {
            let (off, square) = (sums[channel], sums[channels + channel]);
            mean[channel] = T::from_f64(shift[channel].widen() + off);
            variance[channel] = T::from_f64((square - off * off).max(0.0));
        }
        Ok(())
    }

    /// Sums over the gradient of the whole batch; those of this rank's part without a way to add up.
    pub(super) fn sums<T: sparse_vectors::Real>(
        &mut self,
        sum: &[T],
        product: &[T],
    ) -> Result<[Vec<f64>; 2]> {
        let mut sums: Vec<f64> = sum.iter().chain(product).map(|value| value.widen()).collect();
        if let Some(add_up) = &mut self.statistics {
            add_up(&mut sums)?;
        }
        let products = sums.split_off(sum.len());
        Ok([sums, products])
    }

    /// Of how many parts of this size the sums of [`Across::sums`] are.
    pub(super) fn parts(&self) -> f64 {
        if self.statistics.is_some() { self.ranks.max(1) as f64 } else { 1.0 }
    }
}
