//! One-shot pruning of a layer by data: which weights to keep, and what these become, so that the layer's output changes
//! least on what it reads. No labels, no training.
//!
//! A layer computes `W·x`. Of what it reads only means and covariances matter ([`Statistics`]): what the network that is pruned
//! so far gives it (H), and how that goes with what the dense network would give (C), so that a layer repairs what the layers
//! before it have changed. [`Problem`] is then a least squares problem, `min tr((B − W₀) H (B − W₀)ᵀ)`, with so many non-zeros
//! in B as a [`Support`] allows; [`Problem::prune`] solves it. Where weights may be is found by ADMM ([`Method::Admm`], Meng et al. 2024,
//! "ALPS", arXiv:2406.07831) or by eliminating them one by one ([`Method::Obs`], Frantar & Alistarh 2022, "Optimal Brain
//! Compression", arXiv:2208.11580); what they are is then solved exactly. The bias takes the difference of the means, which replaces
//! the re-estimation of batch norm. Where an activation with bounds comes next, such as ReLU, [`Problem::refine`] then lets go of what is beyond
//! them, at [`Places`] that were picked. [`Problem::quantize`] rounds the weights, pruned or not, to whole multiples of a scale for each output (Frantar et al. 2022, "GPTQ",
//! arXiv:2210.17323).
//!
//! Sums and decompositions are f64, and every number is the same for any number of threads.
//!
//! # Where things lie
//!
//! Pruning and rounding a layer by what it reads: `statistics.rs` sums covariances, `problem.rs` makes a least
//! squares problem of them, `admm.rs` and `exact.rs` choose which weights to keep (`support.rs`: anywhere, in
//! blocks, n of m), `least_squares.rs` solves for them, `order.rs` puts channels side by side that blocks may hold,
//! `quantize.rs` rounds weights to multiples of a scale (GPTQ), and `places.rs` holds what is seen of the
//! activation that follows, for which they are refined. Linear algebra is faer's, on one thread for each tile of
//! fixed size.
//!
//! ```
//! use sparse_oneshot::{Method, Statistics, Support};
//!
//! // A layer of one output that reads two inputs that are always equal: one of the weights can do the work of both.
//! let x = [1.0, 2.0, -1.0, 0.5, 1.0, 2.0, -1.0, 0.5];
//! let mut statistics = Statistics::new(2);
//! statistics.add(&x, None)?;
//! let problem = statistics.problem(&[0.5, 0.25], 0.0001)?;
//! let pruned = problem.prune(&Support::Count(1), Method::Admm)?;
//! assert_eq!(pruned.mask.kept(), 1);
//! assert!((pruned.weight.iter().sum::<f32>() - 0.75).abs() < 1e-3);
//! # Ok::<(), sparse_oneshot::Error>(())
//! ```

mod admm;
mod error;
mod exact;
#[cfg(test)]
mod golden;
mod least_squares;
mod order;
mod places;
mod problem;
mod quantize;
mod statistics;
mod support;

pub use error::{Error, Result};
pub use order::order;
pub use places::Places;
pub use problem::{Method, Problem, Pruned};
pub use quantize::{LARGEST, Quantized};
pub use statistics::Statistics;
pub use support::Support;
