//! The number types that weights and scores come in.

use std::ops::Add;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A weight, `f32` or `f64`, and the key by which magnitudes are ranked.
///
/// The key of `w` is the bit pattern of |w| as an integer: for every two numbers that are not NaN,
/// `|a| < |b|` exactly when `a.magnitude_key() < b.magnitude_key()`. Both zeros have key 0, and a NaN has a key
/// above [`Weight::INFINITY_KEY`].
pub trait Weight:
    Copy + PartialOrd + Add<Output = Self> + Default + Send + Sync + sealed::Sealed + 'static
{
    /// Number of bits of a key: 31 for `f32`, 63 for `f64`.
    const KEY_BITS: u32;
    /// The key of infinity; the keys above it are those of NaN.
    const INFINITY_KEY: u64;
    /// Positive zero.
    const ZERO: Self;

    /// Bits of |self| in an order that follows the magnitude.
    fn magnitude_key(self) -> u64;
    /// The magnitude with this key; keys above [`Weight::INFINITY_KEY`] give NaN.
    fn from_magnitude_key(key: u64) -> Self;
    /// |self|.
    fn magnitude(self) -> Self;
    /// The same number as `f64`; exact.
    fn to_f64(self) -> f64;
    /// The nearest number of this type.
    fn from_f64(value: f64) -> Self;
    /// The same bits where `keep` is true, else +0; without a branch.
    fn masked(self, keep: bool) -> Self;
    /// Whether this is not a number.
    fn is_nan(self) -> bool {
        self.magnitude_key() > Self::INFINITY_KEY
    }
}

impl Weight for f32 {
    const KEY_BITS: u32 = 31;
    const INFINITY_KEY: u64 = 0x7f80_0000;
    const ZERO: Self = 0.0;

    #[inline]
    fn magnitude_key(self) -> u64 {
        u64::from(self.to_bits() & 0x7fff_ffff)
    }

    #[inline]
    fn from_magnitude_key(key: u64) -> Self {
        Self::from_bits((key & 0x7fff_ffff) as u32)
    }

    #[inline]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline]
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    #[inline]
    fn masked(self, keep: bool) -> Self {
        Self::from_bits(self.to_bits() & u32::from(keep).wrapping_neg())
    }
}

impl Weight for f64 {
    const KEY_BITS: u32 = 63;
    const INFINITY_KEY: u64 = 0x7ff0_0000_0000_0000;
    const ZERO: Self = 0.0;

    #[inline]
    fn magnitude_key(self) -> u64 {
        self.to_bits() & 0x7fff_ffff_ffff_ffff
    }

    #[inline]
    fn from_magnitude_key(key: u64) -> Self {
        Self::from_bits(key & 0x7fff_ffff_ffff_ffff)
    }

    #[inline]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline]
    fn masked(self, keep: bool) -> Self {
        Self::from_bits(self.to_bits() & u64::from(keep).wrapping_neg())
    }
}

/// Index of the first NaN, if there is one.
pub fn first_nan<T: Weight>(values: &[T]) -> Option<usize> {
    // The whole-slice test has no early exit and runs many values at a time; a NaN is rare.
    if !values.iter().fold(false, |found, value| found | value.is_nan()) {
        return None;
    }
    values.iter().position(|value| value.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_order<T: Weight + std::fmt::Debug>(ascending: &[T]) {
        for pair in ascending.windows(2) {
            assert!(pair[0].magnitude_key() < pair[1].magnitude_key(), "{pair:?}");
        }
        for &value in ascending {
            assert!(value.magnitude_key() < 1 << T::KEY_BITS);
            assert_eq!(T::from_magnitude_key(value.magnitude_key()), value.magnitude());
            assert!(!value.is_nan());
        }
        assert_eq!(ascending.last().map(|value| value.magnitude_key()), Some(T::INFINITY_KEY));
    }

    #[test]
    fn keys_follow_magnitudes() {
        check_order(&[-0.0_f32, 1e-45, -1e-38, 0.1, -0.5, f32::MAX, f32::NEG_INFINITY]);
        check_order(&[-0.0_f64, 5e-324, -1e-300, 0.1, -0.5, f64::MAX, f64::NEG_INFINITY]);
        assert_eq!((-0.0_f32).magnitude_key(), 0);
    }

    #[test]
    fn nan_lies_above_infinity() {
        assert!(f32::NAN.is_nan() && (-f64::NAN).is_nan());
        assert_eq!(first_nan(&[1.0_f32, f32::INFINITY]), None);
        assert_eq!(first_nan(&[1.0_f64, f64::NAN, f64::NAN]), Some(1));
    }
}
