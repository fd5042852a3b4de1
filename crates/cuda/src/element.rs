//! How activations are stored on a device.

use super::Matrix;

/// Storage of activations; all arithmetic is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Element {
    /// As the weights.
    #[default]
    F32,
    /// Eight bits of exponent, eight of fraction.
    Bf16,
    /// Five bits of exponent, eleven of fraction.
    F16,
}

impl Element {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Numbers that a thread moves at once, for runs of `run` numbers: 128 bits, or one where the run is no whole number of those.
    pub(crate) fn vector(self, run: usize) -> usize {
        let vector = 16 / self.size();
        if run.is_multiple_of(vector) { vector } else { 1 }
    }

    /// The entry point of a kernel for runs of `run` numbers.
    pub(crate) fn kernel(self, name: &str, run: usize) -> String {
        let single = if self.vector(run) == 1 { "_x" } else { "" };
        format!("{}{single}", self.scalar_kernel(name))
    }

    /// Numbers of a run that is as many vectors as so many columns of each row of these matrices are.
    pub(crate) fn run(self, columns: usize, matrices: &[Matrix<'_>]) -> usize {
        let aligned = matrices.iter().all(|matrix| matrix.is_aligned(self));
        if aligned { columns } else { 1 }
    }

    /// The entry point of a kernel that moves numbers one by one.
    pub(crate) fn scalar_kernel(self, name: &str) -> String {
        let suffix = match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        };
        format!("{name}_{suffix}")
    }
}
