//! What an instruction set offers for integers, and the choice of one.

#![allow(unsafe_code)]

use super::QUAD;
use super::portable::Portable;
use pulp::Simd;

/// Four weights of each channel of a quad: `[channel][weight]`.
pub(super) type Square = [[i8; QUAD]; QUAD];

/// Registers of quads and of sums, as many lanes of both.
///
/// In a *turned* register every four lanes hold, in place of four pixels of four channels, four channels of four pixels.
pub(super) trait Set: Copy {
    /// What moves numbers of 32 bits.
    type Simd: Simd;
    /// Quads of bytes.
    type Quads: Copy;
    /// Sums.
    type Sums: Copy;
    /// Weights by which each lane is multiplied.
    type Factors: Copy;
    /// Lanes, a multiple of four.
    const LANES: usize;
    /// Most vectors of a tile when four outputs share what they read.
    const DENSE_VECTORS: usize;
    /// Most vectors of a tile when each output reads by itself.
    const SPARSE_VECTORS: usize;

    fn simd(self) -> Self::Simd;

    /// Quads from memory of any alignment.
    ///
    /// # Safety
    /// There must be as many to read.
    unsafe fn load(self, from: *const u32) -> Self::Quads;

    /// The first `len` quads to memory of any alignment; all if there are fewer.
    ///
    /// # Safety
    /// There must be room for them.
    unsafe fn store(self, to: *mut u32, quads: Self::Quads, len: usize);

    /// Sums from memory of any alignment.
    ///
    /// # Safety
    /// There must be as many to read.
    unsafe fn load_sums(self, from: *const i32) -> Self::Sums;

    /// Sums to memory of any alignment.
    ///
    /// # Safety
    /// There must be room for them.
    unsafe fn store_sums(self, to: *mut i32, sums: Self::Sums);

    /// Weights of each lane from memory of any alignment.
    ///
    /// # Safety
    /// There must be as many to read.
    unsafe fn load_factors(self, from: *const [i8; QUAD]) -> Self::Factors;

    /// The same quad in all lanes.
    fn splat_quad(self, quad: [u8; QUAD]) -> Self::Quads;

    /// The same sum in all lanes.
    fn splat(self, sum: i32) -> Self::Sums;

    /// `a + b`.
    fn add(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;

    /// The same weights in all lanes.
    fn factors(self, weights: [i8; QUAD]) -> Self::Factors;

    /// Those of four channels in every four lanes.
    fn turned_factors(self, weights: &Square) -> Self::Factors;

    /// Those of four channels in every four lanes.
    fn turned_splat(self, sums: &[i32; QUAD]) -> Self::Sums;

    /// Adds the products of the bytes of each lane to its sum.
    fn dot(self, sums: Self::Sums, quads: Self::Quads, factors: Self::Factors) -> Self::Sums;

    /// Exchanges pixels and channels of every four lanes; `order` as [`TURN`], with bytes above 127 where the result is zero.
    ///
    /// # Safety
    /// `order` must point to a byte for each of all lanes.
    unsafe fn turn(self, quads: Self::Quads, order: *const u8) -> Self::Quads;

    /// Numbers of four channels become the nearest bytes; a NaN becomes the least.
    ///
    /// # Safety
    /// There must be as many numbers to read of each channel.
    unsafe fn quantize(self, from: [*const f32; QUAD], scale: f32, by: &Factored) -> Self::Quads;

    /// Sums of the channels of a quad become its bytes: `from[channel]`.
    fn requantise(self, from: [Self::Sums; QUAD], by: &Factored) -> Self::Quads;

    /// The same of turned registers: `from[pixel]`, pixel 0 to 3 of every four lanes.
    fn requantise_turned(self, from: [Self::Sums; QUAD], by: &Factored) -> Self::Quads;

    /// Pairs of quads, as [`Set::requantise_turned`] leaves pixels 0 and 1 of one half of a row beside those of the other, in the order of the row.
    fn halves(self, quads: Self::Quads) -> Self::Quads;
}

/// How the sums of a quad become bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factored {
    pub(super) multipliers: [f32; QUAD],
    pub(super) zero: u8,
    /// Least and greatest byte.
    pub(super) bounds: [u8; 2],
}

/// For each byte of every four lanes of a turned register which byte of the four it comes from, as often as the longest register needs.
pub(super) const TURN: [u8; 64] = turn();

const fn turn() -> [u8; 64] {
    let mut order = [0; 64];
    let mut at = 0;
    while at < 64 {
        order[at] = (at % 4 * 4 + at / 4 % 4) as u8;
        at += 1;
    }
    order
}

/// The most that may be used of a processor; less in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(test), allow(dead_code, reason = "only tests ask for less"))]
pub(super) enum Limit {
    Best,
    Avx512,
    AvxVnni,
    Avx2,
    Portable,
}

impl Limit {
    /// What holds for this thread.
    pub(super) fn here() -> Self {
        #[cfg(test)]
        {
            use sparse_vectors::level::Level;
            match Level::here() {
                Level::Widest => Self::Best,
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => Self::Avx512,
                #[cfg(target_arch = "x86_64")]
                Level::AvxVnni => Self::AvxVnni,
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => Self::Avx2,
                Level::Scalar => Self::Portable,
            }
        }
        #[cfg(not(test))]
        Self::Best
    }
}

/// Work for any instruction set.
pub(super) trait Work {
    /// What it gives.
    type Output;
    /// Does it.
    fn run<I: Set>(self, set: I) -> Self::Output;
}

/// Runs `work` compiled for the best instruction set of this processor.
#[inline]
pub(super) fn dispatch<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    let work = match super::x86::dispatch(work, Limit::here()) {
        Ok(output) => return output,
        Err(work) => work,
    };
    work.run(Portable)
}

/// Lanes of a register, and most vectors of a tile: dense, sparse.
pub(super) fn registers() -> (usize, [usize; 2]) {
    struct Ask;
    impl Work for Ask {
        type Output = (usize, [usize; 2]);
        #[inline(always)]
        fn run<I: Set>(self, _: I) -> Self::Output {
            (I::LANES, [I::DENSE_VECTORS, I::SPARSE_VECTORS])
        }
    }
    dispatch(Ask)
}
