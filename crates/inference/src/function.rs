//! Functions of single numbers: activations other than bounds.
//!
//! They are written for one number, without branches or calls, and become vectors of whatever instruction set they are
//! inlined into. Every step is rounded as IEEE 754 says, so that the bits are the same in all of them. Relative errors
//! are a few units in the last place, of `erf` and what is made of it near 1e-6 far out.

use pulp::{Simd, WithSimd};
use sparse_vectors::vector;

/// A function of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
    /// `min(max(α · x + β, 0), 1)`.
    HardSigmoid {
        /// α.
        alpha: f32,
        /// β.
        beta: f32,
    },
    /// `x · min(max(x / 6 + 1/2, 0), 1)` (Howard et al. 2019, arXiv:1905.02244).
    HardSwish,
    /// `x · sigmoid(x)`, also called Swish (Ramachandran et al. 2017, arXiv:1710.05941).
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// `x` where it is positive, else `α · (exp(x) − 1)` (Clevert et al. 2015, arXiv:1511.07289).
    Elu {
        /// α.
        alpha: f32,
    },
    /// `x / 2 · (1 + erf(x / √2))` (Hendrycks and Gimpel 2016, arXiv:1606.08415).
    Gelu,
    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`, which is nearly [`Function::Gelu`].
    GeluTanh,
    /// The error function.
    Erf,
    /// `exp(x)`.
    Exp,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `x · tanh(softplus(x))` (Misra 2019, arXiv:1908.08681).
    Mish,
    /// The nearest of 256 steps: `(min(max(round(x / scale) + zero, 0), 255) − zero) · scale`, halves to even, as a byte
    /// can have it (Jacob et al. 2018, arXiv:1712.05877; `QuantizeLinear` and `DequantizeLinear` of ONNX).
    Quantize(Quantization),
}

/// The numbers that bytes stand for: byte `q` is `(q − zero) · scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// From one number to the next, above 0.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

impl Quantization {
    /// The byte of the nearest number that there is, halves to even; 0 for a NaN.
    #[inline(always)]
    pub fn byte(self, x: f32) -> u8 {
        ((x / self.scale).round_ties_even() + f32::from(self.zero)) as u8
    }

    /// What a byte stands for.
    #[inline(always)]
    pub fn number(self, byte: u8) -> f32 {
        f32::from(i16::from(byte) - i16::from(self.zero)) * self.scale
    }
}

impl Function {
    /// The numbers that it is given by, 0 in place of those that it does not have.
    pub fn parameters(self) -> [f32; 2] {
        match self {
            Self::HardSigmoid { alpha, beta } => [alpha, beta],
            Self::Elu { alpha } => [alpha, 0.0],
            Self::Quantize(Quantization { scale, zero }) => [scale, f32::from(zero)],
            _ => [0.0; 2],
        }
    }
}

/// What a function is given by, see [`Function::parameters`].
type Given = [f32; 2];

/// A function as a type, so that it is called directly and always inlined; the body of a closure, or a pointer to a function,
/// would stay outside of the code for the instruction set.
pub(super) trait Map {
    /// Its value.
    fn of(x: f32, given: Given) -> f32;
}

macro_rules! maps {
    ($($name:ident $function:ident),*) => {
        $(
            struct $name;
            impl Map for $name {
                #[inline(always)]
                fn of(x: f32, given: Given) -> f32 {
                    $function(x, given)
                }
            }
        )*
    };
}

maps!(
    Sigmoid sigmoid, HardSigmoid hard_sigmoid, HardSwish hard_swish, Silu silu, Tanh tanh, Elu elu, Gelu gelu,
    GeluTanh gelu_tanh, Erf erf, Exp exponential, Softplus softplus, Mish mish,
    Quantize quantize
);

/// What goes over numbers with a function: in place, or from one run of them to another.
pub(super) trait Numbers {
    /// Does so.
    fn apply<F: Map>(self, given: Given);
}

impl Numbers for &mut [f32] {
    #[inline(always)]
    fn apply<F: Map>(self, given: Given) {
        for x in self {
            *x = F::of(*x, given);
        }
    }
}

impl Numbers for (&[f32], &mut [f32]) {
    #[inline(always)]
    fn apply<F: Map>(self, given: Given) {
        for (&x, to) in self.0.iter().zip(self.1) {
            *to = F::of(x, given);
        }
    }
}

impl Function {
    /// Applies it to all of the numbers. Meant to be inlined into code for an instruction set.
    #[inline(always)]
    pub(super) fn apply(self, numbers: impl Numbers) {
        let given = self.parameters();
        match self {
            Self::Sigmoid => numbers.apply::<Sigmoid>(given),
            Self::HardSigmoid { .. } => numbers.apply::<HardSigmoid>(given),
            Self::HardSwish => numbers.apply::<HardSwish>(given),
            Self::Silu => numbers.apply::<Silu>(given),
            Self::Tanh => numbers.apply::<Tanh>(given),
            Self::Elu { .. } => numbers.apply::<Elu>(given),
            Self::Gelu => numbers.apply::<Gelu>(given),
            Self::GeluTanh => numbers.apply::<GeluTanh>(given),
            Self::Erf => numbers.apply::<Erf>(given),
            Self::Exp => numbers.apply::<Exp>(given),
            Self::Softplus => numbers.apply::<Softplus>(given),
            Self::Mish => numbers.apply::<Mish>(given),
            Self::Quantize(_) => numbers.apply::<Quantize>(given),
        }
    }

    /// Applies it to all of the numbers, in place, with the widest instruction set.
    #[inline(never)]
    pub(super) fn apply_in_place(self, numbers: &mut [f32]) {
        vector::dispatch(InPlace { function: self, numbers });
    }
}

struct InPlace<'a> {
    function: Function,
    numbers: &'a mut [f32],
}

impl WithSimd for InPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.function.apply(self.numbers);
    }
}

#[inline(always)]
fn sigmoid(x: f32, _: Given) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn hard_sigmoid(x: f32, [alpha, beta]: Given) -> f32 {
    within(x * alpha + beta, 0.0, 1.0)
}

#[inline(always)]
fn hard_swish(x: f32, _: Given) -> f32 {
    x * within(x * (1.0 / 6.0) + 0.5, 0.0, 1.0)
}

#[inline(always)]
fn silu(x: f32, _: Given) -> f32 {
    x / (1.0 + exp(-x))
}

#[inline(always)]
fn elu(x: f32, [alpha, _]: Given) -> f32 {
    let below = alpha * exp_less_one(within(x, -40.0, 0.0));
    if x > 0.0 { x } else { below }
}

/// `x · sigmoid(2u)` for `u = √(2/π) · (x + 0.044715 · x³)`.
#[inline(always)]
fn gelu_tanh(x: f32, _: Given) -> f32 {
    x / (1.0 + exp(x * (x * x).mul_add(-0.071_354_814, -1.595_769)))
}

#[inline(always)]
fn exponential(x: f32, _: Given) -> f32 {
    exp(x)
}

/// A value brought between two; a NaN stays.
#[inline(always)]
fn within(value: f32, low: f32, high: f32) -> f32 {
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}

/// `exp(x)` as `2^n · (1 + q)`: n and q. What is beyond the range of `f32` comes as its ends; a NaN makes q one.
#[inline(always)]
fn parts(x: f32) -> (i32, f32) {
    /// Numbers of this size have no fraction: adding it rounds.
    const WHOLE: f32 = 12_582_912.0;
    /// log 2, in two numbers of which the first has few digits, so that its products are exact (Cody and Waite 1980).
    const LOG_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    /// Of the Taylor series, from the square on; the rest is below 1e-8 where |r| ≤ log 2 / 2.
    const SERIES: [f32; 6] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];
    let x = within(x, -104.0, 89.0);
    let rounded = x.mul_add(std::f32::consts::LOG2_E, WHOLE);
    let n = rounded - WHOLE;
    let r = n.mul_add(-LOG_2[1], n.mul_add(-LOG_2[0], x));
    let q = (r * r).mul_add(polynomial(r, SERIES), r);
    (rounded.to_bits().wrapping_sub(WHOLE.to_bits()).cast_signed(), q)
}

/// `2^n` for n from −126 to 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(n.wrapping_add(127).cast_unsigned() << 23)
}

/// The polynomial of these coefficients, the one of the highest power first.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut value = coefficients[0];
    for &next in &coefficients[1..] {
        value = value.mul_add(x, next);
    }
    value
}

#[inline(always)]
fn exp(x: f32) -> f32 {
    let (n, q) = parts(x);
    // In two steps, since 2^128 is no number, and for results below the normal ones.
    let half = n >> 1;
    (1.0 + q) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `exp(x) − 1` without loss near 0, for x up to 88.
#[inline(always)]
fn exp_less_one(x: f32) -> f32 {
    let (n, q) = parts(if x < -40.0 { -40.0 } else { x });
    let scale = power_of_two(n);
    scale.mul_add(q, scale - 1.0)
}

#[inline(always)]
fn tanh(x: f32, _: Given) -> f32 {
    let e = exp_less_one(2.0 * within(x, -20.0, 20.0));
    e / (e + 2.0)
}

#[inline(always)]
fn softplus(x: f32, _: Given) -> f32 {
    // log(1 + u) = 2·artanh(u / (2 + u)), of which the series converges fast for u up to 1.
    let u = exp(-x.abs());
    let s = u / (2.0 + u);
    let series = [1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];
    let positive = if x > 0.0 { x } else { 0.0 };
    (2.0 * s).mul_add(polynomial(s * s, series), positive)
}

#[inline(always)]
fn mish(x: f32, _: Given) -> f32 {
    // tanh(log(1 + e)) = e·(e + 2) / (e·(e + 2) + 2).
    let e = exp(if x > 20.0 { 20.0 } else { x });
    let part = e * (e + 2.0);
    x * (part / (part + 2.0))
}

#[inline(always)]
fn quantize(x: f32, [scale, zero]: Given) -> f32 {
    // A NaN becomes the byte 0, as a conversion to an integer makes it.
    let step = (x / scale).round_ties_even() + zero;
    let step = if step > 0.0 { step } else { 0.0 };
    (if step > 255.0 { 255.0 } else { step } - zero) * scale
}

/// The error function up to 1 (Moshier, Cephes: `ndtrf.c`, as the next two).
const NEAR: [f32; 7] = [
    7.853_861e-5,
    -8.010_194e-4,
    5.188_327_6e-3,
    -2.685_381_2e-2,
    0.112_835_85,
    -0.376_126_26,
    std::f32::consts::FRAC_2_SQRT_PI,
];
/// `x · exp(x²) · (1 − erf(x))` in powers of `1/x²` from 1 to 2.
const MIDDLE: [f32; 9] = [
    2.326_82e-2,
    -0.138_703_94,
    0.368_742_47,
    -0.582_473_3,
    0.621_000_46,
    -0.494_451_53,
    0.340_488,
    -0.274_112_7,
    0.563_825_94,
];
/// The same from 2 on.
const FAR: [f32; 8] =
    [-10.477_664, 12.977_2, -7.495_519, 2.921_019, -1.015_265_3, 0.421_846_34, -0.282_076_77, 0.564_189_5];

/// `exp(−factor · x²)` for a power of two; what is lost of the square is made good.
#[inline(always)]
fn bell(x: f32, factor: f32) -> f32 {
    let square = x * x;
    let lost = x.mul_add(x, -square);
    exp(-factor * square) * (1.0 - factor * lost)
}

/// `1 − erf(x)` for x from 1 on, without loss where it is small; `bell` is `exp(−x²)`.
#[inline(always)]
fn erf_complement(x: f32, bell: f32) -> f32 {
    let inverse = 1.0 / x;
    let y = inverse * inverse;
    let series = if x < 2.0 { polynomial(y, MIDDLE) } else { polynomial(y, FAR) };
    bell * inverse * series
}

#[inline(always)]
fn erf(x: f32, _: Given) -> f32 {
    let size = x.abs();
    let near = x * polynomial(x * x, NEAR);
    let large = within(size, 1.0, 9.0);
    let far = (1.0 - erf_complement(large, bell(large, 1.0))).copysign(x);
    if size < 1.0 { near } else { far }
}

#[inline(always)]
fn gelu(x: f32, _: Given) -> f32 {
    let size = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let near = 1.0 - size * polynomial(size * size, NEAR);
    let far = erf_complement(within(size, 1.0, 12.0), bell(within(x, -15.0, 15.0), 0.5));
    let complement = if size < 1.0 { near } else { far };
    // 2 − c above 0, c below, by arithmetic: a choice between the two would be a branch, and no vectors.
    let base = if x > 0.0 { 2.0 } else { 0.0 };
    0.5 * x * (base - complement.copysign(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparse_vectors::level::Level;

    /// Numbers of all sizes and both signs, and between −12 and 12.
    fn numbers() -> Vec<f32> {
        let small = (0..50).map(|n| 1.9_f32.powi(n - 50));
        let dense = (0..24_000).map(|n| n as f32 / 1000.0 + 0.000_3);
        small.chain(dense).flat_map(|x| [x, -x]).chain([0.0]).collect()
    }

    /// By its Taylor series near 0.
    fn erf_of(x: f64) -> f64 {
        if x.abs() > 2.0 {
            return (1.0 - erf_complement_of(x.abs())).copysign(x);
        }
        let (mut sum, mut term) = (x, x);
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    /// `1 − erf(x)`, by Laplace's continued fraction far from 0.
    fn erf_complement_of(x: f64) -> f64 {
        if x < 2.0 {
            return 1.0 - erf_of(x);
        }
        let fraction = (1..300).rev().fold(x, |fraction, n| x + f64::from(n) / 2.0 / fraction);
        (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI / 2.0 / fraction
    }

    fn wide(function: Function, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match function {
            Function::Sigmoid => sigmoid(x),
            Function::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
            Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Function::Silu => x * sigmoid(x),
            Function::Tanh => x.tanh(),
            Function::Elu { alpha } => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(alpha) * x.exp_m1()
                }
            }
            Function::Gelu => x / 2.0 * erf_complement_of(-x / 2f64.sqrt()),
            Function::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                x * sigmoid(2.0 * inner)
            }
            Function::Erf => erf_of(x),
            Function::Exp => x.exp(),
            Function::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Function::Mish => x * (x.max(0.0) + (-x.abs()).exp().ln_1p()).tanh(),
            Function::Quantize(quantization) => quantization.number(quantization.byte(x as f32)).into(),
        }
    }

    const ALL: [Function; 13] = [
        Function::Sigmoid,
        Function::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Function::HardSwish,
        Function::Silu,
        Function::Tanh,
        Function::Elu { alpha: 0.7 },
        Function::Gelu,
        Function::GeluTanh,
        Function::Erf,
        Function::Exp,
        Function::Softplus,
        Function::Mish,
        Function::Quantize(Quantization { scale: 0.03, zero: 17 }),
    ];

    struct Apart<'a>(Function, &'a [f32], &'a mut [f32]);

    impl WithSimd for Apart<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            self.0.apply((self.1, self.2));
        }
    }

    fn results(function: Function, numbers: &[f32]) -> Vec<f32> {
        let mut results = vec![0.0; numbers.len()];
        vector::dispatch(Apart(function, numbers, &mut results));
        results
    }

    #[test]
    fn functions_are_right_to_a_millionth() {
        let numbers = numbers();
        for function in ALL {
            for (&x, got) in numbers.iter().zip(results(function, &numbers)) {
                let expected = wide(function, x.into());
                // Digits of 0.1 beside the steep end of a hard function, and of 0.01 where a rounded exponent is large.
                let least = match function {
                    Function::HardSigmoid { .. } | Function::HardSwish => 0.1,
                    Function::Gelu | Function::GeluTanh => 1e-2,
                    _ => 1e-37,
                };
                let error = (f64::from(got) - expected).abs() / expected.abs().max(least);
                assert!(error < 1e-6, "{function:?} of {x}: {got}, expected {expected}");
            }
        }
    }

    #[test]
    fn a_function_has_the_same_bits_in_every_length_and_instruction_set_and_in_place() {
        let numbers = numbers();
        for function in ALL {
            let all = results(function, &numbers);
            for len in [1, 2, 3, 5, 7, 15, 17, 33] {
                assert_eq!(results(function, &numbers[..len]), all[..len], "{function:?}");
            }
            let mut places = numbers.clone();
            function.apply_in_place(&mut places);
            assert_eq!(places, all);
            for &level in Level::ALL {
                assert_eq!(level.run(1, || results(function, &numbers)), all, "{function:?} {level:?}");
            }
            // One number at a time, without vectors.
            let mut single = numbers.clone();
            single.iter_mut().for_each(|x| function.apply(std::slice::from_mut(x)));
            assert_eq!(single, all);
        }
    }

    #[test]
    fn ends_of_the_range_give_limits_and_a_nan_stays() {
        let ends = [f32::MIN, -150.0, -100.0, 100.0, 150.0, f32::MAX, f32::NAN];
        let of = |function| {
            let results = results(function, &ends);
            assert!(results[6].is_nan(), "{function:?}");
            results
        };
        assert_eq!(of(Function::Sigmoid)[..6], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(of(Function::Silu)[..6], [0.0, 0.0, 0.0, 100.0, 150.0, f32::MAX]);
        assert_eq!(of(Function::Tanh)[..6], [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
        assert_eq!(of(Function::Erf)[..6], [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
        assert_eq!(of(Function::Mish)[3..6], [100.0, 150.0, f32::MAX]);
        assert!(of(Function::Mish)[..3].iter().all(|x| x.abs() < 1e-41));
        assert_eq!(of(Function::Softplus)[3..6], [100.0, 150.0, f32::MAX]);
        assert!(of(Function::Softplus)[..3].iter().all(|&x| (0.0..1e-43).contains(&x)));
        assert_eq!(of(Function::Exp)[..2], [0.0, 0.0]);
        assert_eq!(of(Function::Exp)[3..6], [f32::INFINITY; 3]);
        assert_eq!(of(Function::Elu { alpha: 1.0 })[..6], [-1.0, -1.0, -1.0, 100.0, 150.0, f32::MAX]);
        assert_eq!(of(Function::HardSwish)[1..5], [0.0, 0.0, 100.0, 150.0]);
        assert_eq!(of(Function::Gelu)[1..5], [0.0, 0.0, 100.0, 150.0]);
        for function in [Function::GeluTanh, Function::HardSigmoid { alpha: 0.2, beta: 0.5 }] {
            of(function);
        }
    }
}
