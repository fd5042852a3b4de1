//! Numbers, and the widest registers of this processor that they go through.
//!
//! [`vector`] has the element types and what registers of them do, chosen at run time by [`pulp`] (AVX-512, AVX2, NEON, or one number
//! at a time); [`arithmetic`] how packed numbers are multiplied (f32, f64, pairs of bf16); [`square`] exchanges rows and columns
//! within registers. [`peak`] measures what the machine can do at most. Everything is inlined into the kernels of the crates above.
//!
//! ```
//! use sparse_vectors::vector::{dispatch, lanes, Vectors};
//! use pulp::{Simd, WithSimd};
//!
//! struct Sum<'a>(&'a [f32]);
//!
//! impl WithSimd for Sum<'_> {
//!     type Output = f32;
//!     #[inline(always)]
//!     fn with_simd<S: Simd>(self, simd: S) -> f32 {
//!         let (registers, rest) = S::as_simd_f32s(self.0);
//!         let zero = f32::v_splat(simd, 0.0);
//!         let sum = registers.iter().fold(zero, |sum, &register| f32::v_add(simd, sum, register));
//!         assert!(lanes::<f32, S>() >= 1);
//!         f32::v_sum(simd, sum) + rest.iter().sum::<f32>()
//!     }
//! }
//! assert_eq!(dispatch(Sum(&[1.0; 100])), 100.0);
//! ```

pub mod arithmetic;
#[cfg(any(test, feature = "levels"))]
pub mod level;
pub mod peak;
mod real;
pub mod square;
pub mod vector;

pub use real::Real;
