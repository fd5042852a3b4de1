//! Exchange of rows and columns of 16 registers of 16 numbers, where the processor has registers that long.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::__m512;
use pulp::Simd;

/// Transposes 16 registers of 16 f32, and says so; leaves anything else as it is.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn transposed_in_registers<S: Simd, V: bytemuck::Pod>(simd: S, rows: &mut [V]) -> bool {
    use pulp::x86::V4;
    use std::any::{Any, TypeId};
    let Some(simd) = (&simd as &dyn Any).downcast_ref::<V4>() else { return false };
    if TypeId::of::<V>() != TypeId::of::<pulp::f32x16>() || rows.len() != 16 {
        return false;
    }
    let mut square: [__m512; 16] = std::array::from_fn(|row| bytemuck::cast(rows[row]));
    square_of_16(*simd, &mut square);
    for (row, transposed) in rows.iter_mut().zip(square) {
        *row = bytemuck::cast(transposed);
    }
    true
}

/// Σ of each of four registers of 16 f32; `None` for anything else.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn four_sums_in_registers<S: Simd, V: bytemuck::Pod>(simd: S, values: [V; 4]) -> Option<[f32; 4]> {
    use pulp::x86::V4;
    use std::any::{Any, TypeId};
    let simd = *(&simd as &dyn Any).downcast_ref::<V4>()?;
    if TypeId::of::<V>() != TypeId::of::<pulp::f32x16>() {
        return None;
    }
    let avx = simd.avx512f;
    let [a, b, c, d] = values;
    let (a, b, c, d): (__m512, __m512, __m512, __m512) =
        (bytemuck::cast(a), bytemuck::cast(b), bytemuck::cast(c), bytemuck::cast(d));
    let ab = avx._mm512_add_ps(avx._mm512_unpacklo_ps(a, b), avx._mm512_unpackhi_ps(a, b));
    let cd = avx._mm512_add_ps(avx._mm512_unpacklo_ps(c, d), avx._mm512_unpackhi_ps(c, d));
    let (ab, cd) = (avx._mm512_castps_pd(ab), avx._mm512_castps_pd(cd));
    let low = avx._mm512_castpd_ps(avx._mm512_unpacklo_pd(ab, cd));
    let high = avx._mm512_castpd_ps(avx._mm512_unpackhi_pd(ab, cd));
    // Each 128-bit lane now holds a part of the four sums.
    let lanes = avx._mm512_add_ps(low, high);
    let upper = avx._mm512_castpd_ps(
        avx._mm512_broadcast_f64x4(avx._mm512_extractf64x4_pd::<1>(avx._mm512_castps_pd(lanes))),
    );
    let halves = avx._mm512_add_ps(lanes, upper);
    let (low, high) = (avx._mm512_castps512_ps128(halves), avx._mm512_extractf32x4_ps::<1>(halves));
    Some(bytemuck::cast(simd.sse._mm_add_ps(low, high)))
}

/// No registers that long.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn four_sums_in_registers<S: Simd, V: bytemuck::Pod>(_: S, _: [V; 4]) -> Option<[f32; 4]> {
    None
}

/// No registers that long.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn transposed_in_registers<S: Simd, V: bytemuck::Pod>(_: S, _: &mut [V]) -> bool {
    false
}

/// Which of 32 elements are even.
#[cfg(target_arch = "x86_64")]
const EVENS: [i32; 16] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];
/// Which of 32 elements are odd.
#[cfg(target_arch = "x86_64")]
const ODDS: [i32; 16] = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31];

/// The even and the odd elements of two registers of f32, one behind the other.
#[inline(always)]
pub fn evens_and_odds<S: Simd>(simd: S, low: S::f32s, high: S::f32s) -> [S::f32s; 2] {
    #[cfg(target_arch = "x86_64")]
    {
        use pulp::x86::{V3, V4};
        use std::any::{Any, TypeId};
        let lanes = TypeId::of::<S::f32s>();
        if let Some(simd) = (&simd as &dyn Any).downcast_ref::<V4>()
            && lanes == TypeId::of::<pulp::f32x16>()
        {
            let (low, high) = (bytemuck::cast(low), bytemuck::cast(high));
            let avx = simd.avx512f;
            let evens = avx._mm512_permutex2var_ps(low, bytemuck::cast(EVENS), high);
            let odds = avx._mm512_permutex2var_ps(low, bytemuck::cast(ODDS), high);
            return [bytemuck::cast(evens), bytemuck::cast(odds)];
        }
        if let Some(simd) = (&simd as &dyn Any).downcast_ref::<V3>()
            && lanes == TypeId::of::<pulp::f32x8>()
        {
            let (low, high) = (bytemuck::cast(low), bytemuck::cast(high));
            let (avx, avx2) = (simd.avx, simd.avx2);
            // Halves of 128 bits come out in turn; the quarters in the middle change places.
            let evens = avx._mm256_castps_pd(avx._mm256_shuffle_ps::<0x88>(low, high));
            let odds = avx._mm256_castps_pd(avx._mm256_shuffle_ps::<0xdd>(low, high));
            let evens = avx._mm256_castpd_ps(avx2._mm256_permute4x64_pd::<0b11_01_10_00>(evens));
            let odds = avx._mm256_castpd_ps(avx2._mm256_permute4x64_pd::<0b11_01_10_00>(odds));
            return [bytemuck::cast(evens), bytemuck::cast(odds)];
        }
    }
    let lanes = super::vector::lanes::<f32, S>();
    let (low, high) = (bytemuck::bytes_of(&low), bytemuck::bytes_of(&high));
    let mut both = [0.0f32; 2 * super::vector::MOST_LANES];
    bytemuck::cast_slice_mut(&mut both[..lanes]).copy_from_slice(low);
    bytemuck::cast_slice_mut(&mut both[lanes..2 * lanes]).copy_from_slice(high);
    [0, 1].map(|first| {
        let mut every_second = [0.0; super::vector::MOST_LANES];
        for (lane, value) in every_second[..lanes].iter_mut().enumerate() {
            *value = both[2 * lane + first];
        }
        S::as_simd_f32s(&every_second[..lanes]).0[0]
    })
}

/// The numbers one place to the left and one to the right of a register of f32 between two others, zero where the bit of
/// the lane is not set; `None` for anything but registers of 16.
#[inline(always)]
pub fn shifted<S: Simd>(simd: S, row: [S::f32s; 3], bits: [u16; 2]) -> Option<[S::f32s; 2]> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::any::{Any, TypeId};
        if let Some(simd) = (&simd as &dyn Any).downcast_ref::<pulp::x86::V4>()
            && TypeId::of::<S::f32s>() == TypeId::of::<pulp::f32x16>()
        {
            let avx = simd.avx512f;
            let (before, here, after) =
                (bytemuck::cast(row[0]), bytemuck::cast(row[1]), bytemuck::cast(row[2]));
            let left = avx._mm512_maskz_alignr_epi32::<15>(bits[0], here, before);
            let right = avx._mm512_maskz_alignr_epi32::<1>(bits[1], after, here);
            return Some([bytemuck::cast(left), bytemuck::cast(right)]);
        }
    }
    let _ = (simd, row, bits);
    None
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn square_of_16(simd: pulp::x86::V4, r: &mut [__m512; 16]) {
    let avx = simd.avx512f;
    let mut t = *r;
    // Pairs of rows, then fours: each 128-bit lane becomes a transposed 4×4 square.
    for i in 0..8 {
        t[2 * i] = avx._mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = avx._mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    let low =
        |a, b| avx._mm512_castpd_ps(avx._mm512_unpacklo_pd(avx._mm512_castps_pd(a), avx._mm512_castps_pd(b)));
    let high =
        |a, b| avx._mm512_castpd_ps(avx._mm512_unpackhi_pd(avx._mm512_castps_pd(a), avx._mm512_castps_pd(b)));
    for i in (0..16).step_by(4) {
        r[i] = low(t[i], t[i + 2]);
        r[i + 1] = high(t[i], t[i + 2]);
        r[i + 2] = low(t[i + 1], t[i + 3]);
        r[i + 3] = high(t[i + 1], t[i + 3]);
    }
    // Then the lanes themselves.
    for i in 0..4 {
        for half in [0, 8] {
            t[half + i] = avx._mm512_shuffle_f32x4::<0x88>(r[half + i], r[half + 4 + i]);
            t[half + 4 + i] = avx._mm512_shuffle_f32x4::<0xdd>(r[half + i], r[half + 4 + i]);
        }
    }
    for i in 0..8 {
        r[i] = avx._mm512_shuffle_f32x4::<0x88>(t[i], t[8 + i]);
        r[8 + i] = avx._mm512_shuffle_f32x4::<0xdd>(t[i], t[8 + i]);
    }
}

#[cfg(test)]
mod tests {
    use crate::vector::{MOST_LANES, Stored, Vectors, lanes};
    use pulp::{Simd, WithSimd};

    struct Square;

    impl WithSimd for Square {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            let lanes = lanes::<f32, S>();
            let row = |r: usize| -> [f32; MOST_LANES] { std::array::from_fn(|c| (r * 100 + c) as f32) };
            let mut rows: Vec<S::f32s> = (0..lanes).map(|r| f32::load_vector(simd, &row(r))).collect();
            f32::v_transpose(simd, &mut rows);
            for (c, &transposed) in rows.iter().enumerate() {
                let mut values = [0.0; MOST_LANES];
                f32::store_vector(simd, &mut values, transposed);
                assert!((0..lanes).all(|r| values[r] == (r * 100 + c) as f32), "column {c}: {values:?}");
            }
        }
    }

    struct Pairs;

    impl WithSimd for Pairs {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            let lanes = lanes::<f32, S>();
            let numbers: Vec<f32> = (0..2 * lanes).map(|index| index as f32).collect();
            let halves = S::as_simd_f32s(&numbers).0;
            for (first, values) in super::evens_and_odds(simd, halves[0], halves[1]).into_iter().enumerate() {
                let mut found = [0.0; MOST_LANES];
                f32::store_vector(simd, &mut found, values);
                assert!((0..lanes).all(|lane| found[lane] == (2 * lane + first) as f32), "{found:?}");
            }
        }
    }

    #[test]
    fn even_and_odd_elements_part_in_every_instruction_set() {
        for level in crate::level::Level::ALL {
            level.run(1, || crate::vector::dispatch(Pairs));
        }
    }

    #[test]
    fn rows_become_columns_in_every_instruction_set() {
        pulp::Arch::new().dispatch(Square);
        Square.with_simd(pulp::Scalar::new());
    }
}
