//! Memory that begins at a cache line.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};

/// Numbers of a cache line, and the most that a vector has.
pub(super) const LINE: usize = 16;

/// Numbers that vectors may read past the end of planes: two vectors and two numbers, and a line to spare.
pub(super) const SLACK: usize = 4 * LINE;

/// `len` up to whole cache lines.
pub(super) const fn round_up(len: usize) -> usize {
    len.next_multiple_of(LINE)
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

// SAFETY: sixteen numbers and nothing else; 64 bytes aligned to 64, so there is no padding.
unsafe impl Zeroable for Line {}
// SAFETY: as above; every pattern of bits is a number.
unsafe impl Pod for Line {}

/// Numbers that begin at a cache line.
pub struct Buffer(Vec<Line>);

impl Buffer {
    /// Zeros, `len` up to whole cache lines.
    pub fn zeros(len: usize) -> Self {
        Self(vec![Line([0.0; LINE]); len.div_ceil(LINE)])
    }

    /// A copy, filled up with zeros.
    pub fn copy_of(values: &[f32]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer[..values.len()].copy_from_slice(values);
        buffer
    }
}

impl std::ops::Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Buffer({} numbers)", self.len())
    }
}
