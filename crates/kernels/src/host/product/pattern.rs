//! Which weights of a pointwise layer are kept, by row and by column.

use std::ops::Range;

/// The kept positions of a weight `[outputs, inputs]`; built when a mask changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    forward: Compressed,
    transposed: Compressed,
}

/// Kept positions row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Compressed {
    /// Where each row starts in `indices`, and where the last one ends.
    starts: Vec<u32>,
    indices: Vec<u32>,
}

/// Kept positions row by row, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    starts: &'a [u32],
    pub(crate) indices: &'a [u32],
}

impl Rows<'_> {
    /// Where the positions of one row lie among all.
    #[inline(always)]
    pub(crate) fn range(&self, row: usize) -> Range<usize> {
        self.starts[row] as usize..self.starts[row + 1] as usize
    }

    /// The kept positions of one row, rising.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &[u32] {
        &self.indices[self.range(row)]
    }
}

impl Pattern {
    /// From the words of a mask, row-major: bit i of word i/64 belongs to weight i, 1 = kept.
    pub fn new(words: &[u64], outputs: usize, inputs: usize) -> Self {
        let mut counts = vec![0u32; inputs + 1];
        let mut forward = Compressed { starts: vec![0], indices: Vec::new() };
        for output in 0..outputs {
            for_each_kept(words, output * inputs..(output + 1) * inputs, |position| {
                let input = position - output * inputs;
                forward.indices.push(input as u32);
                counts[input + 1] += 1;
            });
            forward.starts.push(forward.indices.len() as u32);
        }
        for input in 0..inputs {
            counts[input + 1] += counts[input];
        }
        let mut transposed = Compressed { starts: counts.clone(), indices: vec![0; forward.indices.len()] };
        for output in 0..outputs {
            for &input in forward.rows().row(output) {
                let next = &mut counts[input as usize];
                transposed.indices[*next as usize] = output as u32;
                *next += 1;
            }
        }
        Self { forward, transposed }
    }

    /// Number of kept weights.
    pub fn kept(&self) -> usize {
        self.forward.indices.len()
    }

    /// Kept inputs of each output.
    pub(crate) fn by_output(&self) -> Rows<'_> {
        self.forward.rows()
    }

    /// Kept outputs of each input.
    pub(crate) fn by_input(&self) -> Rows<'_> {
        self.transposed.rows()
    }
}

impl Compressed {
    fn rows(&self) -> Rows<'_> {
        Rows { starts: &self.starts, indices: &self.indices }
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
        let (outputs, inputs) = (5usize, 37);
        let kept = |i: usize| i.is_multiple_of(3) || i % 7 == 2;
        let mut words = vec![0u64; (outputs * inputs).div_ceil(64)];
        (0..outputs * inputs).filter(|&i| kept(i)).for_each(|i| words[i / 64] |= 1 << (i % 64));
        let pattern = Pattern::new(&words, outputs, inputs);
        for output in 0..outputs {
            let expected: Vec<u32> =
                (0..inputs).filter(|i| kept(output * inputs + i)).map(|i| i as u32).collect();
            assert_eq!(pattern.by_output().row(output), expected);
        }
        for input in 0..inputs {
            let expected: Vec<u32> =
                (0..outputs).filter(|o| kept(o * inputs + input)).map(|o| o as u32).collect();
            assert_eq!(pattern.by_input().row(input), expected);
        }
        assert_eq!(pattern.kept(), (0..outputs * inputs).filter(|&i| kept(i)).count());
    }
}
