//! Integers without any instruction set: four lanes, one number at a time. What the others are held against.

#![allow(unsafe_code)]

use super::QUAD;
use super::set::{Factored, Set, Square};

/// Four lanes of plain numbers.
#[derive(Clone, Copy)]
pub(super) struct Portable;

/// Lanes.
const N: usize = 4;

impl Set for Portable {
    type Simd = pulp::Scalar;
    type Quads = [[u8; QUAD]; N];
    type Sums = [i32; N];
    type Factors = [[i8; QUAD]; N];
    const LANES: usize = N;
    const DENSE_VECTORS: usize = 2;
    const SPARSE_VECTORS: usize = 4;

    #[inline(always)]
    fn simd(self) -> pulp::Scalar {
        pulp::Scalar::new()
    }

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn load(self, from: *const u32) -> Self::Quads {
        // SAFETY: the caller promises four quads.
        unsafe { from.cast::<Self::Quads>().read_unaligned() }
    }

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn store(self, to: *mut u32, quads: Self::Quads, len: usize) {
        // SAFETY: the caller promises the room.
        unsafe { to.copy_from_nonoverlapping(quads.as_ptr().cast(), len.min(N)) }
    }

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn load_sums(self, from: *const i32) -> Self::Sums {
        // SAFETY: the caller promises four sums.
        unsafe { from.cast::<Self::Sums>().read_unaligned() }
    }

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn store_sums(self, to: *mut i32, sums: Self::Sums) {
        // SAFETY: the caller promises the room.
        unsafe { to.cast::<Self::Sums>().write_unaligned(sums) }
    }

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn load_factors(self, from: *const [i8; QUAD]) -> Self::Factors {
        // SAFETY: the caller promises the weights of four lanes.
        unsafe { from.cast::<Self::Factors>().read_unaligned() }
    }

    #[inline(always)]
    fn splat_quad(self, quad: [u8; QUAD]) -> Self::Quads {
        [quad; N]
    }

    #[inline(always)]
    fn splat(self, sum: i32) -> Self::Sums {
        [sum; N]
    }

    #[inline(always)]
    fn add(self, mut a: Self::Sums, b: Self::Sums) -> Self::Sums {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = a.wrapping_add(b));
        a
    }

    #[inline(always)]
    fn factors(self, weights: [i8; QUAD]) -> Self::Factors {
        [weights; N]
    }

    #[inline(always)]
    fn turned_factors(self, weights: &Square) -> Self::Factors {
        *weights
    }

    #[inline(always)]
    fn turned_splat(self, sums: &[i32; QUAD]) -> Self::Sums {
        *sums
    }

    #[inline(always)]
    fn dot(self, mut sums: Self::Sums, quads: Self::Quads, factors: Self::Factors) -> Self::Sums {
        for lane in 0..N {
            for at in 0..QUAD {
                sums[lane] =
                    sums[lane].wrapping_add(i32::from(quads[lane][at]) * i32::from(factors[lane][at]));
            }
        }
        sums
    }

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn turn(self, quads: Self::Quads, order: *const u8) -> Self::Quads {
        let mut turned = [[0; QUAD]; N];
        for at in 0..N * QUAD {
            // SAFETY: the caller promises a byte for each.
            let from = usize::from(unsafe { *order.add(at) });
            turned[at / QUAD][at % QUAD] = if from < 128 { quads[from / QUAD][from % QUAD] } else { 0 };
        }
        turned
    }

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn quantize(self, from: [*const f32; QUAD], scale: f32, by: &Factored) -> Self::Quads {
        let mut quads = [[0; QUAD]; N];
        for (lane, quad) in quads.iter_mut().enumerate() {
            for (channel, byte) in quad.iter_mut().enumerate() {
                // SAFETY: the caller promises the numbers.
                let x = unsafe { *from[channel].add(lane) };
                let step = (x / scale).round_ties_even() + f32::from(by.zero);
                *byte = (step as u8).clamp(by.bounds[0], by.bounds[1]);
            }
        }
        quads
    }

    #[inline(always)]
    fn requantise(self, from: [Self::Sums; QUAD], by: &Factored) -> Self::Quads {
        let mut quads = [[0; QUAD]; N];
        for (lane, quad) in quads.iter_mut().enumerate() {
            for (channel, byte) in quad.iter_mut().enumerate() {
                *byte = by.byte(channel, from[channel][lane]);
            }
        }
        quads
    }

    #[inline(always)]
    fn requantise_turned(self, from: [Self::Sums; QUAD], by: &Factored) -> Self::Quads {
        let mut quads = [[0; QUAD]; N];
        for (pixel, quad) in quads.iter_mut().enumerate() {
            for (channel, byte) in quad.iter_mut().enumerate() {
                *byte = by.byte(channel, from[pixel][channel]);
            }
        }
        quads
    }

    #[inline(always)]
    fn halves(self, quads: Self::Quads) -> Self::Quads {
        quads
    }
}
