//! The number types the kernels run on.

use crate::vector::{Stored, Vectors};
use num_traits::{Float, NumAssign};

/// `f32` for training, `f64` for the reference path and gradient checks.
pub trait Real:
    Float + NumAssign + Default + Send + Sync + std::fmt::Debug + Vectors + Stored<Real = Self> + 'static
{
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;

    /// The same value in double precision.
    fn widen(self) -> f64;
}

impl Real for f32 {
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
}
