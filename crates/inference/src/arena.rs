//! Memory that begins at a pair of cache lines.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};

/// Numbers of a cache line, and the most that a vector has.
pub(super) const LINE: usize = 16;

/// Numbers that vectors may read past the end of planes: two vectors and two numbers, and a line to spare.
pub(super) const SLACK: usize = 4 * LINE;

/// Numbers of two cache lines. Processors fetch them together, so that threads which write to one each take them from each other all the time.
pub(super) const PAIR: usize = 2 * LINE;

/// `len` up to whole pairs of cache lines.
pub(super) const fn round_up(len: usize) -> usize {
    len.next_multiple_of(PAIR)
}

#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Lines([f32; PAIR]);

// SAFETY: 32 numbers and nothing else; 128 bytes aligned to 128, so there is no padding.
unsafe impl Zeroable for Lines {}
// SAFETY: as above; every pattern of bits is a number.
unsafe impl Pod for Lines {}

/// Numbers that begin at a pair of cache lines.
pub struct Buffer(Vec<Lines>);

impl Buffer {
    /// Zeros, `len` up to whole pairs of cache lines.
    pub fn zeros(len: usize) -> Self {
        Self(vec![Lines([0.0; PAIR]); len.div_ceil(PAIR)])
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
