//! What a tile does with one step of the inner index: a fused multiply-add, or two products of bf16 at once.

use crate::Real;
use crate::vector::dispatch;
use pulp::{Simd, WithSimd};

/// How packed numbers are multiplied.
pub trait Arithmetic<T: Real>: Copy + Send + Sync {
    /// Inner indices that one packed number holds.
    const DEPTH: usize;

    /// `c + a · b`, summed over the inner indices that a number holds.
    fn fused<S: Simd>(simd: S, a: T::Vector<S>, b: T::Vector<S>, c: T::Vector<S>) -> T::Vector<S>;

    /// Packs [`Self::DEPTH`] = 2 rows, number by number.
    fn join_rows<S: Simd>(simd: S, rows: [T::Vector<S>; 2]) -> T::Vector<S>;

    /// Packs [`Self::DEPTH`] = 2 registers of one row, neighbour with neighbour.
    fn join_neighbours<S: Simd>(simd: S, registers: [T::Vector<S>; 2]) -> T::Vector<S>;

    /// Packs two numbers.
    fn join(numbers: [T; 2]) -> T;

    /// Runs `op` compiled for what this arithmetic needs.
    fn dispatch<Op: WithSimd>(op: Op) -> Op::Output;
}

/// Numbers as they are.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl<T: Real> Arithmetic<T> for Plain {
    const DEPTH: usize = 1;

    #[inline(always)]
    fn fused<S: Simd>(simd: S, a: T::Vector<S>, b: T::Vector<S>, c: T::Vector<S>) -> T::Vector<S> {
        T::v_mul_add(simd, a, b, c)
    }

    #[inline(always)]
    fn join_rows<S: Simd>(_: S, [row, _]: [T::Vector<S>; 2]) -> T::Vector<S> {
        row
    }

    #[inline(always)]
    fn join_neighbours<S: Simd>(_: S, [register, _]: [T::Vector<S>; 2]) -> T::Vector<S> {
        register
    }

    #[inline(always)]
    fn join([number, _]: [T; 2]) -> T {
        number
    }

    #[inline(always)]
    fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
        dispatch(op)
    }
}

/// The nearest two bf16 in the place of an f32, the first in the low half.
#[inline(always)]
pub fn join(numbers: [f32; 2]) -> f32 {
    let [low, high] = numbers.map(|number| u32::from(half::bf16::from_f32(number).to_bits()));
    f32::from_bits(high << 16 | low)
}

#[cfg(target_arch = "x86_64")]
pub use pairs::Pairs;

/// Products of two bf16 at once, summed in f32 (`vdpbf16ps`).
#[cfg(target_arch = "x86_64")]
mod pairs {
    #![allow(unsafe_code)]

    use super::{Arithmetic, Real, Simd, WithSimd};
    use crate::vector::widest;
    use bytemuck::cast;
    use core::arch::x86_64::{
        __m256bh, __m256i, __m512, __m512bh, __m512i, _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh,
        _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_or_si512, _mm512_slli_epi32,
    };
    use pulp::x86::V4;

    /// Two bf16 in the place of an f32, the first in the low half.
    #[derive(Clone, Copy, Debug)]
    pub struct Pairs(());

    impl Pairs {
        /// If this processor has the instructions.
        pub fn available() -> bool {
            widest() && V4::try_new().is_some() && std::arch::is_x86_feature_detected!("avx512bf16")
        }

        /// If they are faster than f32: on AMD twice as fast (Zen 4 and later), where processors of Intel take four times as long for one
        /// of them as for a multiply-add of f32.
        pub fn pay() -> bool {
            static PAY: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
            // Asking the processor takes long in a virtual machine.
            *PAY.get_or_init(|| Self::available() && is_of_amd())
        }
    }

    /// Whether the processor calls itself one of AMD's.
    fn is_of_amd() -> bool {
        let vendor = core::arch::x86_64::__cpuid(0);
        [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
    }

    /// Compiles `op` with bf16 instructions.
    ///
    /// # Safety
    /// The processor must have the features named.
    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,sse4.2")]
    unsafe fn with_bf16<Op: WithSimd>(simd: V4, op: Op) -> Op::Output {
        op.with_simd(simd)
    }

    /// A register of 16 f32 as the type of the intrinsics, and back.
    #[inline(always)]
    fn change<A: bytemuck::Pod, B: bytemuck::Pod>(register: A) -> B {
        cast(register)
    }

    impl<T: Real> Arithmetic<T> for Pairs {
        const DEPTH: usize = 2;

        #[inline(always)]
        fn fused<S: Simd>(_: S, a: T::Vector<S>, b: T::Vector<S>, c: T::Vector<S>) -> T::Vector<S> {
            let (a, b): (__m512i, __m512i) = (change(a), change(b));
            // SAFETY: `dispatch` below is the only way here, and it is called if `available`. Any bits are bf16.
            let sum: __m512 = unsafe {
                let a = std::mem::transmute::<__m512i, __m512bh>(a);
                let b = std::mem::transmute::<__m512i, __m512bh>(b);
                _mm512_dpbf16_ps(change(c), a, b)
            };
            change(sum)
        }

        #[inline(always)]
        fn join_rows<S: Simd>(_: S, rows: [T::Vector<S>; 2]) -> T::Vector<S> {
            let [low, high]: [__m512; 2] = [change(rows[0]), change(rows[1])];
            // SAFETY: as above.
            let joined: __m512i = unsafe {
                let narrow = |register: __m512| -> __m512i {
                    let short: __m256bh = _mm512_cvtneps_pbh(register);
                    _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(short))
                };
                _mm512_or_si512(narrow(low), _mm512_slli_epi32::<16>(narrow(high)))
            };
            change(joined)
        }

        #[inline(always)]
        fn join_neighbours<S: Simd>(_: S, registers: [T::Vector<S>; 2]) -> T::Vector<S> {
            let [low, high]: [__m512; 2] = [change(registers[0]), change(registers[1])];
            // SAFETY: as above.
            let joined: __m512i =
                unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
            change(joined)
        }

        #[inline(always)]
        fn join(numbers: [T; 2]) -> T {
            let bits = super::join(numbers.map(|number| number.widen() as f32));
            // Only f32 is ever packed so; the bits must not pass through an arithmetic conversion.
            (&bits as &dyn std::any::Any).downcast_ref::<T>().copied().unwrap_or_default()
        }

        #[inline(always)]
        fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
            match V4::try_new() {
                // SAFETY: V4 is here, and callers choose `Pairs` only if `available`, which checks for bf16.
                Some(simd) => unsafe { with_bf16(simd, op) },
                None => super::dispatch(op),
            }
        }
    }
}
