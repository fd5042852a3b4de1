//! Pure maths of sparsity on slices: masks, exact thresholds, blocks, schedules, reports.
//!
//! A [`Mask`] holds one bit per weight, 1 = kept. [`select`] finds the smallest magnitudes without sorting and
//! to the exact count, ties broken by index, and [`bracket`] makes it quick; [`threshold`] masks by a given magnitude; [`paddle`] follows the
//! counting rule of PaddleSlim instead of the exact one; [`block`] ranks rectangles of weights as one;
//! [`schedule`] says which ratio to ask for at which step; [`report`] counts zeros and tabulates magnitudes.
//! Everything works on chunks whose counts add up, so that a caller may run chunks on threads of its own.
//!
//! Invariant: no threads, no input or output, no `unsafe`; a result depends on the weights, the settings and
//! the order of the weights, and on nothing else.
//!
//! # Where things lie
//!
//! Masks (`mask.rs`, one bit per weight), masks from a threshold (`threshold.rs`), the exact selection of the n
//! smallest magnitudes without a sort (`select.rs`, with a quick guess in `bracket.rs`), blocks (`block.rs`),
//! PaddleSlim's counting rule (`paddle.rs`), GMP schedules (`schedule/`) and counts of zeros (`report.rs`).
//! Everything works on chunks whose counts add up, so that a caller may use threads.
//!
//! ```
//! use sparse_sparsity::{select, threshold};
//!
//! let mut weights = [0.5_f32, -0.1, 0.1, -2.0, 0.0];
//! // Two of five weights go: the zero, and the first of the two magnitudes that tie.
//! let mask = select::prune_smallest(&weights, 2)?;
//! assert_eq!((mask.pruned(), mask.get(1), mask.get(2), mask.get(4)), (2, false, true, false));
//! mask.apply(&mut weights);
//! assert_eq!(weights, [0.5, 0.0, 0.1, -2.0, 0.0]);
//! assert_eq!(threshold::mask_by_threshold(&weights, 0.3)?.kept(), 2);
//! # Ok::<(), sparse_sparsity::Error>(())
//! ```

pub mod block;
pub mod bracket;
mod error;
pub mod mask;
pub mod paddle;
pub mod report;
pub mod schedule;
pub mod select;
pub mod threshold;
mod weight;

pub use error::{Error, Result};
pub use mask::Mask;
pub use weight::{Weight, first_nan};
