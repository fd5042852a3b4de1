//! Integers on x86-64: registers of 512 or 256 bits, with the dot product of VNNI or with products of 16 bits.
//!
//! Without VNNI, bytes are widened to 16 bits before they are multiplied (`vpmaddwd`): `vpmaddubsw` would need no widening, but its sums of
//! two products saturate.

#![allow(unsafe_code)]

use super::QUAD;
use super::set::{Factored, Limit, Set, Square, Work};
use core::arch::x86_64::*;
use pulp::x86::{V3, V4};

/// Registers of 512 bits, dot products of bytes (Ice Lake, Zen 4 and later).
#[derive(Clone, Copy)]
struct Avx512Vnni(V4);
/// Registers of 512 bits (Skylake-X).
#[derive(Clone, Copy)]
struct Avx512(V4);
/// Registers of 256 bits, dot products of bytes (Alder Lake and later).
#[derive(Clone, Copy)]
struct AvxVnni(V3);
/// Registers of 256 bits (Haswell, Zen and later).
#[derive(Clone, Copy)]
struct Avx2(V3);

/// Runs `work` compiled for the best of these within `limit`; gives it back if there is none.
#[inline]
pub(super) fn dispatch<W: Work>(work: W, limit: Limit) -> Result<W::Output, W> {
    if limit <= Limit::Avx512
        && let Some(simd) = V4::try_new()
    {
        // SAFETY: the processor has what V4 stands for, and VNNI where that is looked for.
        return Ok(unsafe {
            if limit == Limit::Best && std::arch::is_x86_feature_detected!("avx512vnni") {
                with_avx512_vnni(work, Avx512Vnni(simd))
            } else {
                with_avx512(work, Avx512(simd))
            }
        });
    }
    if limit <= Limit::Avx2
        && let Some(simd) = V3::try_new()
    {
        // SAFETY: as above, for V3.
        return Ok(unsafe {
            if limit <= Limit::AvxVnni && std::arch::is_x86_feature_detected!("avxvnni") {
                with_avx_vnni(work, AvxVnni(simd))
            } else {
                with_avx2(work, Avx2(simd))
            }
        });
    }
    Err(work)
}

/// # Safety
/// The processor must have these instructions, as of the next three.
#[target_feature(
    enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,bmi1,bmi2,lzcnt,popcnt,fma"
)]
unsafe fn with_avx512_vnni<W: Work>(work: W, set: Avx512Vnni) -> W::Output {
    work.run(set)
}

/// # Safety
/// As above.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt,fma")]
unsafe fn with_avx512<W: Work>(work: W, set: Avx512) -> W::Output {
    work.run(set)
}

/// # Safety
/// As above.
#[target_feature(enable = "avx2,avxvnni,bmi1,bmi2,lzcnt,popcnt,fma")]
unsafe fn with_avx_vnni<W: Work>(work: W, set: AvxVnni) -> W::Output {
    work.run(set)
}

/// # Safety
/// As above.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,fma")]
unsafe fn with_avx2<W: Work>(work: W, set: Avx2) -> W::Output {
    work.run(set)
}

/// The parts that registers of 512 bits have in common.
macro_rules! registers_512 {
    () => {
        type Simd = V4;
        type Quads = __m512i;
        type Sums = __m512i;
        const LANES: usize = 16;

        #[inline(always)]
        fn simd(self) -> V4 {
            self.0
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn load(self, from: *const u32) -> __m512i {
            // SAFETY: the caller promises sixteen quads; the set is made where the processor has its instructions, as below.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn store(self, to: *mut u32, quads: __m512i, len: usize) {
            // SAFETY: the caller promises the room.
            unsafe {
                if len >= Self::LANES {
                    _mm512_storeu_si512(to.cast(), quads);
                } else {
                    _mm512_mask_storeu_epi32(to.cast(), ((1_u32 << len) - 1) as u16, quads);
                }
            }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn load_sums(self, from: *const i32) -> __m512i {
            // SAFETY: the caller promises as many sums.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn store_sums(self, to: *mut i32, sums: __m512i) {
            // SAFETY: the caller promises the room.
            unsafe { _mm512_storeu_si512(to.cast(), sums) }
        }

        #[inline(always)]
        fn splat_quad(self, quad: [u8; QUAD]) -> __m512i {
            self.splat(bytemuck::cast(quad))
        }

        #[inline(always)]
        fn splat(self, sum: i32) -> __m512i {
            // SAFETY: as in `load`.
            unsafe { _mm512_set1_epi32(sum) }
        }

        #[inline(always)]
        fn add(self, a: __m512i, b: __m512i) -> __m512i {
            // SAFETY: as in `load`.
            unsafe { _mm512_add_epi32(a, b) }
        }

        #[inline(always)]
        fn turned_splat(self, sums: &[i32; QUAD]) -> __m512i {
            // SAFETY: there are sixteen bytes.
            unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(sums.as_ptr().cast())) }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn turn(self, quads: __m512i, order: *const u8) -> __m512i {
            // SAFETY: the caller promises a byte for each of all lanes.
            unsafe { _mm512_shuffle_epi8(quads, _mm512_loadu_si512(order.cast())) }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn quantize(self, from: [*const f32; QUAD], scale: f32, by: &Factored) -> __m512i {
            // SAFETY: the caller promises the numbers.
            unsafe {
                let scale = _mm512_set1_ps(scale);
                // Far beyond any byte, and whole in 32 bits. The second argument is what comes of a NaN.
                let (least, greatest) = (_mm512_set1_ps(-65536.0), _mm512_set1_ps(65536.0));
                let mut rounded = [_mm512_setzero_si512(); QUAD];
                for (rounded, from) in rounded.iter_mut().zip(from) {
                    let steps = _mm512_div_ps(_mm512_loadu_ps(from), scale);
                    let steps = _mm512_min_ps(_mm512_max_ps(steps, least), greatest);
                    *rounded = _mm512_cvtps_epi32(steps);
                }
                _mm512_shuffle_epi8(
                    pack_512(rounded, by),
                    _mm512_broadcast_i32x4(_mm_loadu_si128(super::set::TURN.as_ptr().cast())),
                )
            }
        }

        #[inline(always)]
        fn requantise(self, from: [__m512i; QUAD], by: &Factored) -> __m512i {
            // SAFETY: as in `load`.
            unsafe {
                let mut scaled = from;
                for (sum, &multiplier) in scaled.iter_mut().zip(&by.multipliers) {
                    *sum = scale_512(*sum, _mm512_set1_ps(multiplier));
                }
                let bytes = pack_512(scaled, by);
                // Every four lanes hold four pixels of each channel.
                let turn = _mm512_broadcast_i32x4(_mm_loadu_si128(super::set::TURN.as_ptr().cast()));
                _mm512_shuffle_epi8(bytes, turn)
            }
        }

        #[inline(always)]
        fn requantise_turned(self, from: [__m512i; QUAD], by: &Factored) -> __m512i {
            // SAFETY: as in `turned_splat`.
            unsafe {
                let factors = _mm512_broadcast_f32x4(_mm_loadu_ps(by.multipliers.as_ptr()));
                let mut scaled = from;
                for sum in &mut scaled {
                    *sum = scale_512(*sum, factors);
                }
                pack_512(scaled, by)
            }
        }

        #[inline(always)]
        fn halves(self, quads: __m512i) -> __m512i {
            // SAFETY: as in `load`.
            unsafe { _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), quads) }
        }
    };
}

/// Sums times a factor, to the nearest whole number, halves to even.
///
/// # Safety
/// The processor must have the instructions.
#[inline(always)]
unsafe fn scale_512(sums: __m512i, factor: __m512) -> __m512i {
    // SAFETY: the caller promises the instructions.
    unsafe { _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), factor)) }
}

/// Sums to bytes, saturating, then zero added and bounded.
///
/// # Safety
/// The processor must have the instructions.
#[inline(always)]
unsafe fn pack_512(scaled: [__m512i; QUAD], by: &Factored) -> __m512i {
    // SAFETY: the caller promises the instructions.
    unsafe {
        let zero = _mm512_set1_epi16(by.zero.into());
        let low = _mm512_adds_epi16(_mm512_packs_epi32(scaled[0], scaled[1]), zero);
        let high = _mm512_adds_epi16(_mm512_packs_epi32(scaled[2], scaled[3]), zero);
        let bytes = _mm512_packus_epi16(low, high);
        let least = _mm512_set1_epi8(by.bounds[0].cast_signed());
        let greatest = _mm512_set1_epi8(by.bounds[1].cast_signed());
        _mm512_min_epu8(_mm512_max_epu8(bytes, least), greatest)
    }
}

/// The parts that registers of 256 bits have in common.
macro_rules! registers_256 {
    () => {
        type Simd = V3;
        type Quads = __m256i;
        type Sums = __m256i;
        const LANES: usize = 8;

        #[inline(always)]
        fn simd(self) -> V3 {
            self.0
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn load(self, from: *const u32) -> __m256i {
            // SAFETY: the caller promises eight quads; the set is made where the processor has its instructions, as below.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn store(self, to: *mut u32, quads: __m256i, len: usize) {
            // SAFETY: the caller promises the room.
            unsafe {
                if len >= Self::LANES {
                    _mm256_storeu_si256(to.cast(), quads);
                } else {
                    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                    let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(len as i32), lanes);
                    _mm256_maskstore_epi32(to.cast(), mask, quads);
                }
            }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn load_sums(self, from: *const i32) -> __m256i {
            // SAFETY: the caller promises as many sums.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn store_sums(self, to: *mut i32, sums: __m256i) {
            // SAFETY: the caller promises the room.
            unsafe { _mm256_storeu_si256(to.cast(), sums) }
        }

        #[inline(always)]
        fn splat_quad(self, quad: [u8; QUAD]) -> __m256i {
            self.splat(bytemuck::cast(quad))
        }

        #[inline(always)]
        fn splat(self, sum: i32) -> __m256i {
            // SAFETY: as in `load`.
            unsafe { _mm256_set1_epi32(sum) }
        }

        #[inline(always)]
        fn add(self, a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: as in `load`.
            unsafe { _mm256_add_epi32(a, b) }
        }

        #[inline(always)]
        fn turned_splat(self, sums: &[i32; QUAD]) -> __m256i {
            // SAFETY: there are sixteen bytes.
            unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(sums.as_ptr().cast())) }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn turn(self, quads: __m256i, order: *const u8) -> __m256i {
            // SAFETY: the caller promises a byte for each of all lanes.
            unsafe { _mm256_shuffle_epi8(quads, _mm256_loadu_si256(order.cast())) }
        }

        /// # Safety
        /// As the trait says.
        #[inline(always)]
        unsafe fn quantize(self, from: [*const f32; QUAD], scale: f32, by: &Factored) -> __m256i {
            // SAFETY: the caller promises the numbers.
            unsafe {
                let scale = _mm256_set1_ps(scale);
                // Far beyond any byte, and whole in 32 bits. The second argument is what comes of a NaN.
                let (least, greatest) = (_mm256_set1_ps(-65536.0), _mm256_set1_ps(65536.0));
                let mut rounded = [_mm256_setzero_si256(); QUAD];
                for (rounded, from) in rounded.iter_mut().zip(from) {
                    let steps = _mm256_div_ps(_mm256_loadu_ps(from), scale);
                    let steps = _mm256_min_ps(_mm256_max_ps(steps, least), greatest);
                    *rounded = _mm256_cvtps_epi32(steps);
                }
                _mm256_shuffle_epi8(
                    pack_256(rounded, by),
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(super::set::TURN.as_ptr().cast())),
                )
            }
        }

        #[inline(always)]
        fn requantise(self, from: [__m256i; QUAD], by: &Factored) -> __m256i {
            // SAFETY: as in `load`.
            unsafe {
                let mut scaled = from;
                for (sum, &multiplier) in scaled.iter_mut().zip(&by.multipliers) {
                    *sum = scale_256(*sum, _mm256_set1_ps(multiplier));
                }
                let bytes = pack_256(scaled, by);
                let turn = _mm_loadu_si128(super::set::TURN.as_ptr().cast());
                // Every four lanes hold four pixels of each channel.
                _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(turn))
            }
        }

        #[inline(always)]
        fn requantise_turned(self, from: [__m256i; QUAD], by: &Factored) -> __m256i {
            // SAFETY: as in `turned_splat`.
            unsafe {
                let factors = _mm256_broadcast_ps(&_mm_loadu_ps(by.multipliers.as_ptr()));
                let mut scaled = from;
                for sum in &mut scaled {
                    *sum = scale_256(*sum, factors);
                }
                pack_256(scaled, by)
            }
        }

        #[inline(always)]
        fn halves(self, quads: __m256i) -> __m256i {
            // SAFETY: as in `load`.
            unsafe { _mm256_permute4x64_epi64::<0b11_01_10_00>(quads) }
        }
    };
}

/// Sums times a factor, to the nearest whole number, halves to even.
///
/// # Safety
/// The processor must have the instructions.
#[inline(always)]
unsafe fn scale_256(sums: __m256i, factor: __m256) -> __m256i {
    // SAFETY: the caller promises the instructions.
    unsafe { _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), factor)) }
}

/// As [`pack_512`].
///
/// # Safety
/// The processor must have the instructions.
#[inline(always)]
unsafe fn pack_256(scaled: [__m256i; QUAD], by: &Factored) -> __m256i {
    // SAFETY: the caller promises the instructions.
    unsafe {
        let zero = _mm256_set1_epi16(by.zero.into());
        let low = _mm256_adds_epi16(_mm256_packs_epi32(scaled[0], scaled[1]), zero);
        let high = _mm256_adds_epi16(_mm256_packs_epi32(scaled[2], scaled[3]), zero);
        let bytes = _mm256_packus_epi16(low, high);
        let least = _mm256_set1_epi8(by.bounds[0].cast_signed());
        let greatest = _mm256_set1_epi8(by.bounds[1].cast_signed());
        _mm256_min_epu8(_mm256_max_epu8(bytes, least), greatest)
    }
}

impl Set for Avx512Vnni {
    registers_512!();
    type Factors = __m512i;
    const DENSE_VECTORS: usize = 6;
    const SPARSE_VECTORS: usize = 5;

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn load_factors(self, from: *const [i8; QUAD]) -> __m512i {
        // SAFETY: the caller promises the weights of as many lanes.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn factors(self, weights: [i8; QUAD]) -> __m512i {
        self.splat(bytemuck::cast(weights))
    }

    #[inline(always)]
    fn turned_factors(self, weights: &Square) -> __m512i {
        self.turned_splat(&bytemuck::cast(*weights))
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, quads: __m512i, factors: __m512i) -> __m512i {
        // SAFETY: as in `load`.
        unsafe { _mm512_dpbusd_epi32(sums, quads, factors) }
    }
}

impl Set for AvxVnni {
    registers_256!();
    type Factors = __m256i;
    const DENSE_VECTORS: usize = 2;
    const SPARSE_VECTORS: usize = 3;

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn load_factors(self, from: *const [i8; QUAD]) -> __m256i {
        // SAFETY: the caller promises the weights of as many lanes.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    fn factors(self, weights: [i8; QUAD]) -> __m256i {
        self.splat(bytemuck::cast(weights))
    }

    #[inline(always)]
    fn turned_factors(self, weights: &Square) -> __m256i {
        self.turned_splat(&bytemuck::cast(*weights))
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, quads: __m256i, factors: __m256i) -> __m256i {
        // SAFETY: as in `load`.
        unsafe { _mm256_dpbusd_avx_epi32(sums, quads, factors) }
    }
}

impl Set for Avx512 {
    registers_512!();
    /// Weights 0 and 2, 1 and 3 of each lane, in 16 bits.
    type Factors = [__m512i; 2];
    const DENSE_VECTORS: usize = 3;
    const SPARSE_VECTORS: usize = 5;

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn load_factors(self, from: *const [i8; QUAD]) -> [__m512i; 2] {
        // SAFETY: the caller promises the weights of as many lanes.
        unsafe {
            let bytes = _mm512_loadu_si512(from.cast());
            let even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(bytes));
            [even, _mm512_srai_epi16::<8>(bytes)]
        }
    }

    #[inline(always)]
    fn factors(self, weights: [i8; QUAD]) -> [__m512i; 2] {
        let [even, odd] = in_pairs(weights);
        [self.splat(even), self.splat(odd)]
    }

    #[inline(always)]
    fn turned_factors(self, weights: &Square) -> [__m512i; 2] {
        let mut pairs = [[0; QUAD]; 2];
        for (at, &weights) in weights.iter().enumerate() {
            [pairs[0][at], pairs[1][at]] = in_pairs(weights);
        }
        [self.turned_splat(&pairs[0]), self.turned_splat(&pairs[1])]
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, quads: __m512i, [even, odd]: [__m512i; 2]) -> __m512i {
        // SAFETY: as in `load`.
        unsafe {
            let evens = _mm512_and_si512(quads, _mm512_set1_epi16(0xff));
            let odds = _mm512_srli_epi16::<8>(quads);
            let products = _mm512_add_epi32(_mm512_madd_epi16(evens, even), _mm512_madd_epi16(odds, odd));
            _mm512_add_epi32(sums, products)
        }
    }
}

impl Set for Avx2 {
    registers_256!();
    /// Weights 0 and 2, 1 and 3 of each lane, in 16 bits.
    type Factors = [__m256i; 2];
    const DENSE_VECTORS: usize = 1;
    const SPARSE_VECTORS: usize = 2;

    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn load_factors(self, from: *const [i8; QUAD]) -> [__m256i; 2] {
        // SAFETY: the caller promises the weights of as many lanes.
        unsafe {
            let bytes = _mm256_loadu_si256(from.cast());
            let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes));
            [even, _mm256_srai_epi16::<8>(bytes)]
        }
    }

    #[inline(always)]
    fn factors(self, weights: [i8; QUAD]) -> [__m256i; 2] {
        let [even, odd] = in_pairs(weights);
        [self.splat(even), self.splat(odd)]
    }

    #[inline(always)]
    fn turned_factors(self, weights: &Square) -> [__m256i; 2] {
        let mut pairs = [[0; QUAD]; 2];
        for (at, &weights) in weights.iter().enumerate() {
            [pairs[0][at], pairs[1][at]] = in_pairs(weights);
        }
        [self.turned_splat(&pairs[0]), self.turned_splat(&pairs[1])]
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, quads: __m256i, [even, odd]: [__m256i; 2]) -> __m256i {
        // SAFETY: as in `load`.
        unsafe {
            let evens = _mm256_and_si256(quads, _mm256_set1_epi16(0xff));
            let odds = _mm256_srli_epi16::<8>(quads);
            let products = _mm256_add_epi32(_mm256_madd_epi16(evens, even), _mm256_madd_epi16(odds, odd));
            _mm256_add_epi32(sums, products)
        }
    }
}

/// Weights 0 and 2 in 16 bits each, and weights 1 and 3.
#[inline(always)]
fn in_pairs(weights: [i8; QUAD]) -> [i32; 2] {
    let [a, b, c, d] = weights;
    let even = [i16::from(a), i16::from(c)];
    let odd = [i16::from(b), i16::from(d)];
    [bytemuck::cast(even), bytemuck::cast(odd)]
}
