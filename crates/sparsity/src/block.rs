//! Blocks: rectangles of weights that are kept or pruned together.
//!
//! A tensor `[R, C, ...]` is cut into blocks of m rows and n columns of its first two dimensions; a block holds
//! all further dimensions (the whole kernel of a convolution). At the edges a block holds what is there. Blocks
//! are numbered row by row.

use std::ops::Range;

use crate::{Error, Mask, Result, Weight};

/// How one tensor is cut into blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    rows: usize,
    columns: usize,
    /// Weights of one row and one column: the product of the further dimensions.
    inner: usize,
    block: [usize; 2],
    /// Blocks side by side.
    across: usize,
    len: usize,
}

impl Blocks {
    /// Cuts a tensor of shape `[R, C, ...]` into blocks of `block = [m, n]`.
    ///
    /// # Errors
    /// [`Error::BlockSize`] if m or n is 0, [`Error::BlockShape`] if there are fewer than two dimensions.
    pub fn new(shape: &[usize], block: [usize; 2]) -> Result<Self> {
        if block.contains(&0) {
            return Err(Error::BlockSize { block });
        }
        let &[rows, columns, ref rest @ ..] = shape else {
            return Err(Error::BlockShape { shape: shape.to_vec() });
        };
        let across = columns.div_ceil(block[1]);
        let len = rows.div_ceil(block[0]) * across;
        Ok(Self { rows, columns, inner: rest.iter().product(), block, across, len })
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of weights of the tensor.
    pub fn weights(&self) -> usize {
        self.rows * self.columns * self.inner
    }

    /// Number of weights of block `index`; blocks at the edges may be smaller than the others.
    pub fn size(&self, index: usize) -> usize {
        let (rows, columns) = self.extent(index);
        rows.len() * columns.len() * self.inner
    }

    /// Number of weights of every block, if it is the same for all.
    pub fn size_of_all(&self) -> Option<usize> {
        let [m, n] = self.block;
        let whole = self.rows.is_multiple_of(m) && self.columns.is_multiple_of(n);
        whole.then_some(m * n * self.inner)
    }

    /// Number of blocks side by side.
    pub fn across(&self) -> usize {
        self.across
    }

    /// The weights of block `index`, as ranges of the flattened tensor in ascending order.
    pub fn runs(&self, index: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, columns) = self.extent(index);
        let (width, inner) = (self.columns, self.inner);
        rows.map(move |row| {
            let start = row * width;
            (start + columns.start) * inner..(start + columns.end) * inner
        })
    }

    /// The mask that keeps the blocks for which `keep(index)` is true.
    pub fn mask(&self, keep: impl Fn(usize) -> bool) -> Mask {
        let mut mask = Mask::all_pruned(self.weights());
        for block_row in 0..self.rows.div_ceil(self.block[0]) {
            for block_column in (0..self.across).filter(|column| keep(block_row * self.across + column)) {
                let columns = self.columns_of(block_column);
                for row in self.rows_of(block_row) {
                    let start = row * self.columns;
                    mask.keep_range((start + columns.start) * self.inner..(start + columns.end) * self.inner);
                }
            }
        }
        mask
    }

    /// Writes the mean magnitudes of one row of blocks, summed in `f64` in index order: our score.
    ///
    /// `weights` is the flattened tensor; `means` has one place for each of the [`Blocks::across`] blocks of row
    /// of blocks `row`.
    pub fn mean_magnitudes<T: Weight>(&self, row: usize, weights: &[T], means: &mut [f64]) {
        means.fill(0.0);
        let (width, run) = (self.columns * self.inner, self.block[1] * self.inner);
        let rows = self.rows_of(row);
        for row in rows.clone() {
            let weights = weights.get(row * width..(row + 1) * width).unwrap_or_default();
            for (mean, weights) in means.iter_mut().zip(weights.chunks(run.max(1))) {
                *mean = weights.iter().fold(*mean, |sum, weight| sum + weight.magnitude().to_f64());
            }
        }
        for (column, mean) in means.iter_mut().enumerate() {
            *mean /= (rows.len() * self.columns_of(column).len() * self.inner) as f64;
        }
    }

    /// The magnitude of the mean of the signed values of block `index`, as NumPy computes it in the weights' own
    /// precision: the score of PaddleSlim.
    ///
    /// `buffer` is scratch space; what lies outside `weights` is left out.
    ///
    /// Source: PaddleSlim, unstructured_pruner; for the order of summation NumPy's `add.reduce` (see [`numpy_sum`]).
    pub fn magnitude_of_mean<T: Weight>(&self, index: usize, weights: &[T], buffer: &mut Vec<T>) -> T {
        buffer.clear();
        for run in self.runs(index) {
            buffer.extend_from_slice(weights.get(run).unwrap_or_default());
        }
        let mean = numpy_sum(buffer).to_f64() / self.size(index) as f64;
        T::from_f64(mean).magnitude()
    }

    /// Rows and columns of block `index`.
    fn extent(&self, index: usize) -> (Range<usize>, Range<usize>) {
        (self.rows_of(index / self.across), self.columns_of(index % self.across))
    }

    #[inline]
    fn rows_of(&self, block_row: usize) -> Range<usize> {
        let first = block_row * self.block[0];
        first..(first + self.block[0]).min(self.rows)
    }

    #[inline]
    fn columns_of(&self, block_column: usize) -> Range<usize> {
        let first = block_column * self.block[1];
        first..(first + self.block[1]).min(self.columns)
    }
}

/// Values that NumPy reduces at a time.
const NUMPY_BUFFER: usize = 8192;

/// Sums as `numpy.add.reduce` does over all axes of an array whose elements are `values` in C order.
///
/// NumPy copies the elements into a buffer of 8192, sums each full buffer pairwise, and adds these sums up in
/// order, starting from 0. This holds for contiguous arrays and for rectangular slices of them.
pub fn numpy_sum<T: Weight>(values: &[T]) -> T {
    values.chunks(NUMPY_BUFFER).fold(T::ZERO, |sum, part| sum + pairwise_sum(part))
}

/// NumPy's pairwise sum: halves down to 128 values; there eight running sums, combined as a tree.
fn pairwise_sum<T: Weight>(values: &[T]) -> T {
    let sum = |start: T, values: &[T]| values.iter().fold(start, |sum, &value| sum + value);
    match values.len() {
        ..8 => sum(T::ZERO, values),
        8..=128 => {
            let (groups, rest) = values.as_chunks::<8>();
            let mut lanes = [T::ZERO; 8];
            for (position, group) in groups.iter().enumerate() {
                for (lane, &value) in lanes.iter_mut().zip(group) {
                    *lane = if position == 0 { value } else { *lane + value };
                }
            }
            let [a, b, c, d, e, f, g, h] = lanes;
            sum(((a + b) + (c + d)) + ((e + f) + (g + h)), rest)
        }
        len => {
            let half = len / 2 / 8 * 8;
            pairwise_sum(&values[..half]) + pairwise_sum(&values[half..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_lies_in_exactly_one_block() {
        for (shape, block) in [(&[5, 7][..], [3, 2]), (&[8, 3, 3, 3], [2, 2]), (&[4, 1, 3], [8, 4])] {
            let blocks = Blocks::new(shape, block).unwrap();
            let mut seen = vec![0; blocks.weights()];
            for index in 0..blocks.len() {
                let positions: Vec<usize> = blocks.runs(index).flatten().collect();
                assert!(positions.is_sorted());
                assert!(blocks.size_of_all().is_none_or(|size| size == positions.len()));
                assert_eq!(positions.len(), blocks.size(index));
                positions.into_iter().for_each(|position| seen[position] += 1);
            }
            assert!(seen.iter().all(|&count| count == 1), "{shape:?} {block:?}");
        }
    }

    #[test]
    fn a_ragged_edge_averages_what_is_there() {
        let blocks = Blocks::new(&[3, 3], [2, 2]).unwrap();
        let weights: Vec<f32> = (1..=9).map(|value| -(value as f32)).collect();
        let mut means = [0.0; 4];
        for (row, means) in means.chunks_mut(blocks.across()).enumerate() {
            blocks.mean_magnitudes(row, &weights, means);
        }
        assert_eq!(means, [3.0, 4.5, 7.5, 9.0]);
        let mut buffer = Vec::new();
        let signed = |index| {
            blocks.magnitude_of_mean(
                index,
                &[1.0_f32, -1.0, 2.0, 1.0, -1.0, 4.0, 0.0, 0.0, -6.0],
                &mut buffer,
            )
        };
        assert_eq!((0..4).map(signed).collect::<Vec<_>>(), [0.0, 3.0, 0.0, 6.0]);
    }

    #[test]
    fn the_mask_of_blocks_follows_their_weights() {
        let blocks = Blocks::new(&[70, 3, 2], [4, 2]).unwrap();
        let mask = blocks.mask(|index| index % 3 == 0);
        for index in 0..blocks.len() {
            assert!(blocks.runs(index).flatten().all(|position| mask.get(position) == (index % 3 == 0)));
        }
    }

    #[test]
    fn sums_follow_numpy_bit_for_bit() {
        // Values and sums from NumPy 1.26.4: x[i] = float32((i * 7919 % 1000 - 500) / 997).
        let values: Vec<f32> =
            (0..30_000).map(|index| (f64::from(index * 7919 % 1000 - 500) / 997.0) as f32).collect();
        for (len, bits) in NUMPY_SUMS {
            assert_eq!(numpy_sum(&values[..len]).to_bits(), bits, "{len} values");
        }
    }

    const NUMPY_SUMS: [(usize, u32); 9] = [
        (1, 0xbf00629a),
        (7, 0x3f4d28d3),
        (8, 0x3f3bf4b4),
        (37, 0xbee50a05),
        (128, 0xbebcfba6),
        (129, 0xbe726431),
        (1000, 0xbf0062a0),
        (8193, 0xc088fcac),
        (30000, 0xc170b8e4),
    ];

    #[test]
    fn impossible_blocks_are_refused() {
        assert_eq!(Blocks::new(&[4, 4], [0, 1]), Err(Error::BlockSize { block: [0, 1] }));
        assert_eq!(Blocks::new(&[4], [1, 1]), Err(Error::BlockShape { shape: vec![4] }));
        assert!(Blocks::new(&[0, 4], [2, 2]).unwrap().is_empty());
    }
}
