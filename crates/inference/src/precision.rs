//! In which numbers products are computed.

use pulp::{Simd, WithSimd};
use sparse_vectors::arithmetic::{Arithmetic, Plain, join};
use std::marker::PhantomData;

/// The numbers that a product multiplies; sums, and all that lies in memory between products, are f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bf16 (the upper half of an f32), halves to even, with the same results on every processor but for numbers below 1.2e-38, which
    /// some take for 0.
    Bf16,
}

impl Precision {
    /// Whether this processor multiplies such numbers faster than f32. It multiplies two neighbouring inner indices at a time then, so that
    /// a block of 1 × 2 weights over input channels is what can be left out; others compute with rounded numbers as with f32.
    pub fn pays(self) -> bool {
        self.form() == Form::Pairs
    }

    /// Neighbouring inner indices whose weights must all be zero to be left out.
    pub fn block(self) -> usize {
        self.form().depth()
    }

    /// How its numbers lie.
    pub(super) fn form(self) -> Form {
        match self {
            Self::F32 => Form::Plain,
            #[cfg(target_arch = "x86_64")]
            Self::Bf16 if pairs() => Form::Pairs,
            Self::Bf16 => Form::Rounded,
        }
    }
}

/// Whether pairs are multiplied; in tests wherever they can be.
#[cfg(target_arch = "x86_64")]
fn pairs() -> bool {
    use sparse_vectors::arithmetic::Pairs;
    if cfg!(test) { Pairs::available() } else { Pairs::pay() }
}

/// How the numbers of a row lie that products multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Plain,
    /// Rounded to bf16, and each two in the other order, which is that in which a processor multiplies them.
    Rounded,
    /// Each two, rounded, in the place of one.
    Pairs,
}

impl Form {
    /// Inner indices that lie in the place of one number.
    pub(super) const fn depth(self) -> usize {
        match self {
            Self::Plain | Self::Rounded => 1,
            Self::Pairs => 2,
        }
    }

    /// A row so.
    pub(super) fn of_row(self, row: &[f32]) -> impl Iterator<Item = f32> {
        let rounded = |x: f32| half::bf16::from_f32(x).to_f32();
        row.chunks(2).flat_map(move |two| {
            let (first, second) = (two[0], two.get(1).copied());
            match (self, second) {
                (Self::Plain, second) => [Some(first), second],
                (Self::Rounded, None) => [Some(rounded(first)), None],
                (Self::Rounded, Some(second)) => [Some(rounded(second)), Some(rounded(first))],
                (Self::Pairs, second) => [Some(join([first, second.unwrap_or(0.0)])), None],
            }
            .into_iter()
            .flatten()
        })
    }

    /// Whether such a number stands for zeros alone.
    pub(super) fn is_zero(self, number: f32) -> bool {
        match self {
            Self::Plain | Self::Rounded => number == 0.0,
            Self::Pairs => number.to_bits() & 0x7fff_7fff == 0,
        }
    }
}

/// Work with numbers of any form.
pub(super) trait Work {
    /// Does it.
    fn run<A: Arithmetic<f32>, S: Simd>(self, simd: S);
}

/// Work with those of one.
struct In<W, A>(W, PhantomData<A>);

impl<W: Work, A: Arithmetic<f32>> WithSimd for In<W, A> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run::<A, S>(simd);
    }
}

/// Runs `work` compiled for the best instruction set of this processor, as a function by itself: inner loops that share one with much else
/// get fewer registers.
#[inline(never)]
pub(super) fn dispatch<W: Work>(form: Form, work: W) {
    match form {
        #[cfg(target_arch = "x86_64")]
        Form::Pairs => in_arithmetic::<W, sparse_vectors::arithmetic::Pairs>(work),
        _ => in_arithmetic::<W, Plain>(work),
    }
}

#[inline(always)]
fn in_arithmetic<W: Work, A: Arithmetic<f32>>(work: W) {
    A::dispatch(In::<W, A>(work, PhantomData));
}

/// A vector rounded to bf16, halves to even; a NaN stays one.
#[inline(always)]
pub(super) fn rounded<S: Simd>(simd: S, values: S::f32s) -> S::f32s {
    let bits = simd.transmute_u32s_f32s(values);
    let odd = simd.and_u32s(simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(16)), simd.splat_u32s(1));
    let nearest = simd.add_u32s(simd.add_u32s(bits, simd.splat_u32s(0x7fff)), odd);
    // The carry would make something else of some NaNs.
    let quiet = simd.or_u32s(bits, simd.splat_u32s(0x0040_0000));
    let nearest = simd.select_u32s(simd.equal_f32s(values, values), nearest, quiet);
    simd.transmute_f32s_u32s(simd.and_u32s(nearest, simd.splat_u32s(0xffff_0000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rounded<'a>(&'a [f32], &'a mut [f32]);

    impl WithSimd for Rounded<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for (&from, to) in S::as_simd_f32s(self.0).0.iter().zip(S::as_mut_simd_f32s(self.1).0) {
                *to = rounded(simd, from);
            }
        }
    }

    #[test]
    fn vectors_are_rounded_as_single_numbers_are() {
        // Halfway between two, even and odd; just beside; the greatest; tiny; infinite; no numbers, whose bits a carry would run through.
        let odd = [0x3f80_8000, 0x3f81_8000, 0xbf81_8001, 0x3f80_7fff, 0x7f7f_ffff, 0x0000_8001, 0x8000_0000];
        let no_numbers = [0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0x7fff_ffff, 0xffff_ffff, 0x7fc0_0000];
        let random = (0..499_u32).map(|at| at.wrapping_mul(2_654_435_761));
        let numbers: Vec<f32> = odd.into_iter().chain(no_numbers).chain(random).map(f32::from_bits).collect();
        for &level in sparse_vectors::level::Level::ALL {
            let mut results = vec![0.0; numbers.len()];
            level.run(1, || sparse_vectors::vector::dispatch(Rounded(&numbers, &mut results)));
            for (&x, y) in numbers.iter().zip(results) {
                let expected = half::bf16::from_f32(x).to_f32();
                assert!(
                    y.to_bits() == expected.to_bits() || y.is_nan() && x.is_nan(),
                    "{x:e}: {y:e}, {level:?}"
                );
            }
        }
    }
}
