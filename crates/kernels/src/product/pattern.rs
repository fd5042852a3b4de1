//! Which weights are kept, by row and by column.

use std::ops::Range;

/// Inner indices of a segment: so many rows of a panel stay in the first-level cache.
const SEGMENT: usize = 96;

/// The kept positions of a weight `[outputs, inputs]` or `[outputs, inputs, taps]`; built when a mask changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    outputs: usize,
    inner: usize,
    by_output: Kept,
    /// For each class of input pixels, which see the gradient through some of the taps.
    by_input: Vec<Kept>,
}

/// The kept positions of a matrix `[rows, inner]`: first those of all rows in the first segment of the inner dimension, row
/// after row, then those in the second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    rows: usize,
    segments: usize,
    /// Where each row of each segment starts in `indices`, and where the last one ends.
    starts: Vec<u32>,
    /// Inner indices, counted from the start of the segment; rising in each row.
    indices: Vec<u16>,
    /// Where each kept weight lies in the weight as it is stored.
    positions: Vec<u32>,
}

impl Pattern {
    /// From the words of a mask, row-major: bit i of word i/64 belongs to weight i, 1 = kept.
    ///
    /// # Panics
    /// If there are too few words for the shape: a fault of the caller.
    pub fn new(words: &[u64], outputs: usize, inputs: usize) -> Self {
        Self::with_taps(words, [outputs, inputs, 1], &[vec![0]])
    }

    /// As [`Pattern::new`], of a weight `[outputs, inputs, taps]`, of which the input pixels of each class see the taps given.
    ///
    /// # Panics
    /// If there are too few words for the shape: a fault of the caller.
    pub fn with_taps(words: &[u64], [outputs, inputs, taps]: [usize; 3], classes: &[Vec<usize>]) -> Self {
        let inner = inputs * taps;
        assert!(
            words.len() >= (outputs * inner).div_ceil(64),
            "mask of {outputs}x{inner} weights is too short"
        );
        let by_output = Kept::by_row(words, outputs, inner);
        let by_input = classes.iter().map(|class| Kept::by_column(words, [outputs, inputs, taps], class));
        Self { outputs, inner, by_output, by_input: by_input.collect() }
    }

    /// Panics if it is not the pattern of a weight `[outputs, inner]`: sparse products trust its indices.
    pub(crate) fn check(&self, outputs: usize, inner: usize) {
        let shape = (self.outputs, self.inner);
        assert_eq!(shape, (outputs, inner), "pattern of another weight");
    }

    /// Number of kept weights.
    pub fn kept(&self) -> usize {
        self.by_output.indices.len()
    }

    /// Kept inputs of each output.
    pub(crate) fn by_output(&self) -> &Kept {
        &self.by_output
    }

    /// Kept outputs of each input, for the only class of pixels.
    pub(crate) fn by_input(&self) -> &Kept {
        &self.by_input[0]
    }

    /// Kept outputs and taps of each input, for a class of pixels.
    pub(crate) fn by_class(&self, class: usize) -> &Kept {
        &self.by_input[class]
    }
}

impl Kept {
    /// Row by row of a mask.
    fn by_row(words: &[u64], rows: usize, inner: usize) -> Self {
        let segments = inner.div_ceil(SEGMENT);
        let mut kept = Self { rows, segments, starts: vec![0], ..Self::default() };
        for segment in 0..segments {
            let (first, end) = (segment * SEGMENT, inner.min((segment + 1) * SEGMENT));
            for row in 0..rows {
                for_each_kept(words, row * inner + first..row * inner + end, |position| {
                    kept.indices.push((position - row * inner - first) as u16);
                    kept.positions.push(position as u32);
                });
                kept.starts.push(kept.indices.len() as u32);
            }
        }
        kept
    }

    /// Column by column of a mask `[outputs, columns, taps]`, of whose taps some count: the inner index of tap `class[t]` of an
    /// output is `output · class.len() + t`. First all are counted, then each is put in its place.
    fn by_column(words: &[u64], [outputs, columns, taps]: [usize; 3], class: &[usize]) -> Self {
        let inner = outputs * class.len();
        let segments = inner.div_ceil(SEGMENT);
        // Inner index and column of a weight, if its tap counts.
        let place = |at: usize| {
            if taps == 1 && class.len() == 1 {
                return Some((at / columns, at % columns));
            }
            let (row, tap) = (at / taps, at % taps);
            let t = class.iter().position(|&counted| counted == tap)?;
            Some((row / columns * class.len() + t, row % columns))
        };
        let mut starts = vec![0u32; segments * columns + 1];
        for_each_kept(words, 0..outputs * columns * taps, |at| {
            if let Some((k, column)) = place(at) {
                starts[k / SEGMENT * columns + 1 + column] += 1;
            }
        });
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let total = starts[starts.len() - 1] as usize;
        let (mut indices, mut positions) = (vec![0; total], vec![0; total]);
        let mut next = starts.clone();
        for_each_kept(words, 0..outputs * columns * taps, |at| {
            if let Some((k, column)) = place(at) {
                let place = &mut next[k / SEGMENT * columns + column];
                indices[*place as usize] = (k % SEGMENT) as u16;
                positions[*place as usize] = at as u32;
                *place += 1;
            }
        });
        Self { rows: columns, segments, starts, indices, positions }
    }

    /// Number of segments.
    pub(crate) fn segments(&self) -> usize {
        self.segments
    }

    /// First inner index of a segment.
    #[inline(always)]
    pub(crate) fn first(&self, segment: usize) -> usize {
        segment * SEGMENT
    }

    /// Where the positions of one row in one segment lie among all.
    #[inline(always)]
    pub(crate) fn range(&self, segment: usize, row: usize) -> Range<usize> {
        let at = segment * self.rows + row;
        self.starts[at] as usize..self.starts[at + 1] as usize
    }

    /// Inner indices of all positions, each counted from the start of its segment.
    #[inline(always)]
    pub(crate) fn indices(&self) -> &[u16] {
        &self.indices
    }

    /// Where each kept weight lies in the weight as it is stored, in the order of [`Kept::indices`].
    pub(crate) fn positions(&self) -> &[u32] {
        &self.positions
    }
}

/// Calls `visit` for each set bit of `range`, rising.
fn for_each_kept(words: &[u64], range: Range<usize>, mut visit: impl FnMut(usize)) {
    let mut start = range.start;
    while start < range.end {
        let end = (start / 64 * 64 + 64).min(range.end);
        let mut word = words[start / 64] >> (start % 64);
        if end - start < 64 {
            word &= (1 << (end - start)) - 1;
        }
        while word != 0 {
            visit(start + word.trailing_zeros() as usize);
            word &= word - 1;
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_of_a_mask() {
        let (outputs, inputs) = (5usize, 237);
        let kept = |i: usize| i.is_multiple_of(3) || i % 7 == 2;
        let mut words = vec![0u64; (outputs * inputs).div_ceil(64)];
        (0..outputs * inputs).filter(|&i| kept(i)).for_each(|i| words[i / 64] |= 1 << (i % 64));
        let pattern = Pattern::new(&words, outputs, inputs);
        let expected: Vec<u32> = (0..outputs * inputs).filter(|&i| kept(i)).map(|i| i as u32).collect();
        for side in [pattern.by_output(), pattern.by_input()] {
            let mut positions = side.positions().to_vec();
            positions.sort_unstable();
            assert_eq!(positions, expected);
        }
        // Row, segment and index say the same as the position.
        let side = pattern.by_input();
        for segment in 0..side.segments() {
            for input in 0..inputs {
                for at in side.range(segment, input) {
                    let output = side.first(segment) + usize::from(side.indices()[at]);
                    assert_eq!(side.positions()[at] as usize, output * inputs + input);
                }
            }
        }
    }

    #[test]
    fn indices_count_from_the_segment_and_rise() {
        let words = vec![u64::MAX; 2 * SEGMENT * 3];
        let pattern = Pattern::new(&words, 3, 2 * SEGMENT + 1);
        let kept = pattern.by_output();
        assert_eq!((kept.segments(), kept.first(1)), (3, SEGMENT));
        let row: Vec<u16> = (0..SEGMENT as u16).collect();
        assert_eq!(kept.indices()[kept.range(1, 2)], row);
        assert_eq!(kept.indices()[kept.range(2, 0)], [0]);
    }
}
