//! Depthwise 3×3 convolution, stride 1 or 2, with the batch norm and ReLU around it.
//!
//! With the batch innermost a row of a plane is one run of W·N numbers, and the neighbour to the left lies N numbers
//! before. Three rows with N zeros at their ends are kept in cache; every output vector is then nine products of
//! vectors read from them, whatever W and N are. With stride 2 the even and the odd pixels of a row lie apart, so that
//! both are runs again. Each activation in memory is read or written once.
//!
//! Source: Howard et al. 2017, arXiv:1704.04861, section 3.1.

mod backward;
mod forward;
#[cfg(test)]
mod tests;

use super::lanes::copy;
use sparse_network::Padding;
use sparse_vectors::Real;
use sparse_vectors::vector::MOST_LANES;

pub use backward::backward;
pub use forward::forward;

/// Fewest elements worth a task of their own.
const TASK: usize = 8192;

/// Sizes of one depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Channels, in and out.
    pub channels: usize,
    /// Input height.
    pub height: usize,
    /// Input width.
    pub width: usize,
    /// Images in the batch.
    pub batch: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Where the border of zeros lies.
    pub padding: Padding,
}

impl Dims {
    /// Output height.
    pub fn out_height(&self) -> usize {
        self.height.div_ceil(self.stride)
    }

    /// Output width.
    pub fn out_width(&self) -> usize {
        self.width.div_ceil(self.stride)
    }

    /// Zeros above the first row and before the first column: 1, or 0 with stride 2.
    #[inline(always)]
    pub fn before(&self) -> [usize; 2] {
        let before = |axis: usize, side: usize| self.padding.lines(axis, side, 3, self.stride)[0];
        [before(0, self.height), before(1, self.width)]
    }

    #[inline(always)]
    fn row(&self) -> usize {
        self.width * self.batch
    }

    #[inline(always)]
    fn out_row(&self) -> usize {
        self.out_width() * self.batch
    }

    /// Numbers of one input channel.
    pub fn plane(&self) -> usize {
        self.height * self.row()
    }

    /// Numbers of one output channel.
    pub fn out_plane(&self) -> usize {
        self.out_height() * self.out_row()
    }

    /// Channels that make a task together.
    fn channels_per_task(&self) -> usize {
        (TASK / self.plane()).max(1)
    }

    /// With stride 2, the odd pixels of a row times the batch; the even ones are [`Dims::out_row`].
    #[inline(always)]
    fn odd_row(&self) -> usize {
        self.row() - self.out_row()
    }

    /// Panics unless the sizes are usable and fit what was passed.
    fn check(&self, x: usize, weight: usize, y: usize) {
        assert!(self.stride == 1 || self.stride == 2, "stride {}", self.stride);
        assert!(self.plane() > 0, "an empty plane: {self:?}");
        assert_eq!(x, self.channels * self.plane(), "elements of the input");
        assert_eq!(y, self.channels * self.out_plane(), "elements of the output");
        assert_eq!(weight, self.channels * 9, "elements of the weight");
    }
}

/// Three lines of a plane with zeros around them. Line 0 is the zero line above the plane, line `i + 1` is row `i`.
struct Lines<T> {
    values: Vec<T>,
    /// Where the first line begins: at a cache line.
    start: usize,
    pitch: usize,
}

impl<T: Real> Lines<T> {
    /// Zeros; a line holds `len` numbers, and a whole vector may be read at each of them.
    fn new(len: usize) -> Self {
        let pitch = (len + MOST_LANES).next_multiple_of(MOST_LANES);
        let values = vec![T::zero(); 3 * pitch + MOST_LANES];
        let start = values.as_ptr().align_offset(MOST_LANES * size_of::<f32>()).min(MOST_LANES);
        Self { values, start, pitch }
    }

    #[inline(always)]
    fn get(&self, line: usize) -> &[T] {
        &self.values[self.start + line % 3 * self.pitch..][..self.pitch]
    }

    #[inline(always)]
    fn get_mut(&mut self, line: usize) -> &mut [T] {
        &mut self.values[self.start + line % 3 * self.pitch..][..self.pitch]
    }
}

/// Takes the even and the odd pixels of a row apart; a pixel is `batch` elements. `even` and `odd` may be longer.
#[inline(always)]
fn split_row<E: Copy>(row: &[E], even: &mut [E], odd: &mut [E], batch: usize) {
    if batch == 1 {
        let (pairs, last) = row.as_chunks::<2>();
        let (even, even_last) = even.split_at_mut(pairs.len());
        for ((pair, even), odd) in pairs.iter().zip(even).zip(odd) {
            [*even, *odd] = *pair;
        }
        copy(last, &mut even_last[..last.len()]);
        return;
    }
    let (mut from, mut to) = (0, 0);
    while from < row.len() {
        copy(&row[from..from + batch], &mut even[to..to + batch]);
        from += batch;
        if from < row.len() {
            copy(&row[from..from + batch], &mut odd[to..to + batch]);
        }
        from += batch;
        to += batch;
    }
}

/// Puts the even and the odd pixels of a row together.
#[inline(always)]
fn merge_row<E: Copy>(even: &[E], odd: &[E], row: &mut [E], batch: usize) {
    if batch == 1 {
        let (pairs, last) = row.as_chunks_mut::<2>();
        let (even, even_last) = even.split_at(pairs.len());
        for ((pair, &even), &odd) in pairs.iter_mut().zip(even).zip(odd) {
            *pair = [even, odd];
        }
        copy(&even_last[..last.len()], last);
        return;
    }
    let (mut from, mut to) = (0, 0);
    while to < row.len() {
        copy(&even[from..from + batch], &mut row[to..to + batch]);
        to += batch;
        if to < row.len() {
            copy(&odd[from..from + batch], &mut row[to..to + batch]);
        }
        to += batch;
        from += batch;
    }
}
