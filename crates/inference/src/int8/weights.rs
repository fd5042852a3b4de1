//! Weights of one byte as products read them: whole, or without the blocks of four that are zero.

use super::QUAD;

/// Weights `[outputs, quads of inputs]`, the inputs of a quad being neighbouring channels at one position of the kernel.
#[derive(Clone, Debug)]
pub struct Weights {
    pub(super) values: Values,
    outputs: usize,
    quads: usize,
    /// Σ w of each output, and Σ |w|.
    sums: Vec<[i32; 2]>,
}

#[derive(Clone, Debug)]
pub(super) enum Values {
    /// Per four outputs: `[quads][4 outputs]`, outputs that are not there as zeros.
    Dense(Vec<[[i8; QUAD]; QUAD]>),
    /// Blocks with a weight that is not zero.
    Sparse {
        /// One more than outputs up to a multiple of four: where each begins.
        starts: Vec<u32>,
        kept: Vec<Kept>,
    },
}

/// A block that is kept.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Kept {
    /// Which quad of inputs it is multiplied with.
    pub(super) quad: u32,
    pub(super) weights: [i8; QUAD],
}

impl Weights {
    /// All weights, zeros too. `weight: [outputs, inputs / groups, positions]`; the outputs belong to `groups` groups of equal size, which
    /// do not mix; products with the channels of other groups are products with zeros.
    pub fn dense(weight: &[i8], outputs: usize, groups: usize, positions: usize) -> Self {
        let blocks = Blocks::of(weight, outputs, groups, positions);
        let mut packed = Vec::with_capacity(outputs.div_ceil(QUAD) * blocks.quads);
        for first in (0..outputs).step_by(QUAD) {
            for quad in 0..blocks.quads {
                packed.push(std::array::from_fn(|row| blocks.block(first + row, quad)));
            }
        }
        blocks.with(Values::Dense(packed))
    }

    /// Only the blocks of four that are not zero; shapes as of [`Weights::dense`].
    pub fn sparse(weight: &[i8], outputs: usize, groups: usize, positions: usize) -> Self {
        let blocks = Blocks::of(weight, outputs, groups, positions);
        let (mut starts, mut kept) = (vec![0], Vec::new());
        for output in 0..outputs.next_multiple_of(QUAD) {
            for quad in 0..blocks.quads {
                let weights = blocks.block(output, quad);
                if weights != [0; QUAD] {
                    kept.push(Kept { quad: quad as u32, weights });
                }
            }
            starts.push(kept.len() as u32);
        }
        blocks.with(Values::Sparse { starts, kept })
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Quads of inputs: of channels, times positions of the kernel.
    pub fn quads(&self) -> usize {
        self.quads
    }

    /// Whether blocks of zeros are left out.
    pub fn is_sparse(&self) -> bool {
        matches!(self.values, Values::Sparse { .. })
    }

    /// Σ w of each output.
    pub(super) fn sums(&self) -> impl Iterator<Item = i32> {
        self.sums.iter().map(|sums| sums[0])
    }

    /// The greatest size that the sum of an output can have.
    pub(crate) fn greatest(&self, output: usize) -> i64 {
        255 * i64::from(self.sums[output][1])
    }
}

/// Weights in blocks of four over their input channels.
struct Blocks<'a> {
    weight: &'a [i8],
    outputs: usize,
    quads: usize,
    positions: usize,
    groups: usize,
    /// Inputs of a group.
    inputs: usize,
}

impl<'a> Blocks<'a> {
    fn of(weight: &'a [i8], outputs: usize, groups: usize, positions: usize) -> Self {
        let inputs = weight.len().checked_div(outputs * positions).unwrap_or(0);
        let quads = (inputs * groups).div_ceil(QUAD) * positions;
        Self { weight, outputs, quads, positions, groups, inputs }
    }

    /// The weights of an output for a quad of inputs; zero for what is not there.
    fn block(&self, output: usize, quad: usize) -> [i8; QUAD] {
        let (position, channel) = (quad % self.positions, quad / self.positions * QUAD);
        let group = output / (self.outputs / self.groups).max(1);
        std::array::from_fn(|at| {
            let input = (channel + at).checked_sub(group * self.inputs);
            match input.filter(|&input| output < self.outputs && input < self.inputs) {
                Some(input) => self.weight[(output * self.inputs + input) * self.positions + position],
                None => 0,
            }
        })
    }

    fn with(&self, values: Values) -> Weights {
        let row = self.weight.len().checked_div(self.outputs).unwrap_or(0);
        let sums = self.weight.chunks(row.max(1)).map(|row| {
            row.iter().fold([0; 2], |[sum, size], &w| [sum + i32::from(w), size + i32::from(w).abs()])
        });
        Weights { values, outputs: self.outputs, quads: self.quads, sums: sums.collect() }
    }
}
