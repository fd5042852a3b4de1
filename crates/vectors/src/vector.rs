//! Vectors of the widest registers of this processor, for f32 and f64, and the element types that load into them.
//!
//! [`pulp`] chooses the instruction set at run time (AVX-512, AVX2, NEON, or one element at a time); this file puts
//! its two number types behind one trait, so that each kernel is written once.

use crate::Real;
#[cfg(any(test, feature = "levels"))]
use crate::level::Level;
use half::bf16;
use pulp::{Simd, WithSimd};

/// Most lanes a vector has: 512 bits of f32.
pub const MOST_LANES: usize = 16;

/// Runs `op` compiled for the widest instruction set of this processor.
#[inline]
pub fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    #[cfg(any(test, feature = "levels"))]
    match Level::here() {
        Level::Widest => {}
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {}
        #[cfg(target_arch = "x86_64")]
        Level::AvxVnni | Level::Avx2 => {
            if let Some(simd) = pulp::x86::V3::try_new() {
                return Simd::vectorize(simd, op);
            }
        }
        Level::Scalar => return Simd::vectorize(pulp::Scalar::new(), op),
    }
    pulp::Arch::new().dispatch(op)
}

/// Whether nothing but the widest instruction set is asked for; tests may ask for less.
pub fn widest() -> bool {
    #[cfg(any(test, feature = "levels"))]
    return Level::here() == Level::Widest;
    #[cfg(not(any(test, feature = "levels")))]
    true
}

/// Arithmetic on whole registers.
pub trait Vectors: Sized + Copy {
    /// A register of `LANES` numbers.
    type Vector<S: Simd>: bytemuck::Pod;
    /// The same number in every lane.
    fn v_splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// `a + b`.
    fn v_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a − b`.
    fn v_sub<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a · b`.
    fn v_mul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a · b + c`, rounded once.
    fn v_mul_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// `value` where `gate > 0`, else 0.
    fn where_positive<S: Simd>(simd: S, gate: Self::Vector<S>, value: Self::Vector<S>) -> Self::Vector<S>;
    /// `value` where `low < gate < high`, else 0.
    fn where_between<S: Simd>(
        simd: S,
        gate: Self::Vector<S>,
        low: Self::Vector<S>,
        high: Self::Vector<S>,
        value: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// `then` where `left < right`, else `otherwise`.
    fn where_less<S: Simd>(
        simd: S,
        left: Self::Vector<S>,
        right: Self::Vector<S>,
        then: Self::Vector<S>,
        otherwise: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// `value`, but `low` below that and `high` above it; a NaN passes.
    fn v_bound<S: Simd>(
        simd: S,
        value: Self::Vector<S>,
        low: Self::Vector<S>,
        high: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// Σ of all lanes, in an order fixed by the number of lanes.
    fn v_sum<S: Simd>(simd: S, value: Self::Vector<S>) -> Self;
    /// Σ of all lanes of each of four registers, each in an order fixed by the number of lanes.
    fn v_sum_four<S: Simd>(simd: S, values: [Self::Vector<S>; 4]) -> [Self; 4];
    /// Exchanges rows and columns of a square of registers; `rows` has as many as a register has lanes.
    fn v_transpose<S: Simd>(simd: S, rows: &mut [Self::Vector<S>]);
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache line of `values[at]`, if there is one: it will be needed soon.
#[inline(always)]
pub fn prefetch<T>(values: &[T], at: usize) {
    if let Some(value) = values.get(at) {
        prefetch_lines(value, 1);
    }
}

/// Asks for the cache lines of `len` elements. Nothing is read, so any address will do.
#[inline(always)]
pub fn prefetch_lines<T>(start: *const T, len: usize) {
    ask_for_lines::<T, false>(start, len);
}

/// Asks for the cache lines of `len` elements, which will be written. Nothing is read or written, so any address will do.
#[inline(always)]
pub fn prefetch_to_write<T>(start: *mut T, len: usize) {
    ask_for_lines::<T, true>(start, len);
}

#[inline(always)]
fn ask_for_lines<T, const TO_WRITE: bool>(start: *const T, len: usize) {
    for byte in (0..len * size_of::<T>()).step_by(LINE) {
        let address = start.cast::<i8>().wrapping_add(byte);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch changes nothing and cannot fault, and SSE is part of x86-64; processors that do not know the one for writing
        // take it for no operation.
        #[allow(unsafe_code)]
        unsafe {
            use core::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
            if TO_WRITE {
                _mm_prefetch::<_MM_HINT_ET0>(address);
            } else {
                _mm_prefetch::<_MM_HINT_T0>(address);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }
}

/// Numbers in one register.
pub const fn lanes<T: Real, S: Simd>() -> usize {
    size_of::<T::Vector<S>>() / size_of::<T>()
}

macro_rules! vectors {
    ($T:ty, $V:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $fma:ident, $less:ident, $select:ident, $sum:ident) => {
        impl Vectors for $T {
            type Vector<S: Simd> = S::$V;
            #[inline(always)]
            fn v_splat<S: Simd>(simd: S, value: Self) -> S::$V {
                simd.$splat(value)
            }
            #[inline(always)]
            fn v_add<S: Simd>(simd: S, a: S::$V, b: S::$V) -> S::$V {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn v_sub<S: Simd>(simd: S, a: S::$V, b: S::$V) -> S::$V {
                simd.$sub(a, b)
            }
            #[inline(always)]
            fn v_mul<S: Simd>(simd: S, a: S::$V, b: S::$V) -> S::$V {
                simd.$mul(a, b)
            }
            #[inline(always)]
            fn v_mul_add<S: Simd>(simd: S, a: S::$V, b: S::$V, c: S::$V) -> S::$V {
                simd.$fma(a, b, c)
            }
            #[inline(always)]
            fn where_positive<S: Simd>(simd: S, gate: S::$V, value: S::$V) -> S::$V {
                let zero = simd.$splat(0.0);
                simd.$select(simd.$less(zero, gate), value, zero)
            }
            #[inline(always)]
            fn where_between<S: Simd>(simd: S, gate: S::$V, low: S::$V, high: S::$V, value: S::$V) -> S::$V {
                let zero = simd.$splat(0.0);
                let below = simd.$select(simd.$less(gate, high), value, zero);
                simd.$select(simd.$less(low, gate), below, zero)
            }
            #[inline(always)]
            fn where_less<S: Simd>(
                simd: S,
                left: S::$V,
                right: S::$V,
                then: S::$V,
                otherwise: S::$V,
            ) -> S::$V {
                simd.$select(simd.$less(left, right), then, otherwise)
            }
            #[inline(always)]
            fn v_bound<S: Simd>(simd: S, value: S::$V, low: S::$V, high: S::$V) -> S::$V {
                let above = simd.$select(simd.$less(value, low), low, value);
                simd.$select(simd.$less(high, above), high, above)
            }
            #[inline(always)]
            fn v_sum<S: Simd>(simd: S, value: S::$V) -> Self {
                simd.$sum(value)
            }
            #[inline(always)]
            fn v_sum_four<S: Simd>(simd: S, values: [S::$V; 4]) -> [Self; 4] {
                match super::square::four_sums_in_registers(simd, values) {
                    Some(sums) => sums.map(|sum| sum as $T),
                    None => values.map(|value| simd.$sum(value)),
                }
            }
            #[inline(always)]
            fn v_transpose<S: Simd>(simd: S, rows: &mut [S::$V]) {
                if super::square::transposed_in_registers(simd, rows) {
                    return;
                }
                let lanes = lanes::<$T, S>();
                let mut square = [[0.0; MOST_LANES]; MOST_LANES];
                for (values, &row) in square.iter_mut().zip(rows.iter()) {
                    <$T>::store_vector(simd, values, row);
                }
                for (c, row) in rows.iter_mut().enumerate() {
                    let mut column = [0.0; MOST_LANES];
                    for (r, value) in column[..lanes].iter_mut().enumerate() {
                        *value = square[r][c];
                    }
                    *row = <$T>::load_vector(simd, &column);
                }
            }
        }
    };
}

vectors!(
    f32,
    f32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    mul_add_f32s,
    less_than_f32s,
    select_f32s,
    reduce_sum_f32s
);
vectors!(
    f64,
    f64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_f64s,
    mul_add_f64s,
    less_than_f64s,
    select_f64s,
    reduce_sum_f64s
);

/// How activations lie in memory: as the number type itself, or shorter.
pub trait Stored: bytemuck::Pod + Default + Send + Sync {
    /// The type of the arithmetic.
    type Real: Real;
    /// Whether elements are bf16, which some processors multiply faster.
    const BF16: bool = false;
    /// One element, widened.
    fn load(self) -> Self::Real;
    /// The nearest element.
    fn store(value: Self::Real) -> Self;
    /// The first elements of a slice as a vector.
    fn load_vector<S: Simd>(simd: S, from: &[Self]) -> <Self::Real as Vectors>::Vector<S>;
    /// Writes a vector to the start of a slice.
    fn store_vector<S: Simd>(simd: S, to: &mut [Self], value: <Self::Real as Vectors>::Vector<S>);
}

macro_rules! stored_as_itself {
    ($T:ty, $as_simd:ident, $as_mut_simd:ident) => {
        impl Stored for $T {
            type Real = $T;
            #[inline(always)]
            fn load(self) -> $T {
                self
            }
            #[inline(always)]
            fn store(value: $T) -> $T {
                value
            }
            #[inline(always)]
            fn load_vector<S: Simd>(_: S, from: &[$T]) -> <$T as Vectors>::Vector<S> {
                S::$as_simd(&from[..lanes::<$T, S>()]).0[0]
            }
            #[inline(always)]
            fn store_vector<S: Simd>(_: S, to: &mut [$T], value: <$T as Vectors>::Vector<S>) {
                S::$as_mut_simd(&mut to[..lanes::<$T, S>()]).0[0] = value;
            }
        }
    };
}

stored_as_itself!(f32, as_simd_f32s, as_mut_simd_f32s);
stored_as_itself!(f64, as_simd_f64s, as_mut_simd_f64s);

impl Stored for bf16 {
    type Real = f32;
    const BF16: bool = true;

    #[inline(always)]
    fn load(self) -> f32 {
        // Without the care that `half` takes of NaNs, which would cost a branch for each element.
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn store(value: f32) -> Self {
        Self::from_f32(value)
    }

    #[inline(always)]
    fn load_vector<S: Simd>(simd: S, from: &[Self]) -> S::f32s {
        let mut wide = [0.0; MOST_LANES];
        for (wide, &short) in wide[..lanes::<f32, S>()].iter_mut().zip(&from[..lanes::<f32, S>()]) {
            *wide = short.load();
        }
        f32::load_vector(simd, &wide)
    }

    #[inline(always)]
    fn store_vector<S: Simd>(simd: S, to: &mut [Self], value: S::f32s) {
        let mut wide = [0.0; MOST_LANES];
        f32::store_vector(simd, &mut wide, value);
        for (short, &wide) in to[..lanes::<f32, S>()].iter_mut().zip(&wide) {
            *short = Self::store(wide);
        }
    }
}
