//! The pruner over named candle variables: select, threshold, mask, enforce.
//!
//! A [`Pruner`] takes the variables of any candle `VarMap`, decides which of them may be pruned, and keeps one
//! [`Mask`](sparse_sparsity::Mask) for each. [`Pruner::step`], called after every optimizer step, computes the
//! masks anew: by a threshold on the magnitude or to an exact ratio, over all tensors together or layer by layer,
//! or so many of each group of inputs; weight by weight or in blocks, at once or gradually. [`Pruner::update_params`] sets the pruned weights to zero
//! in place. How weights are ranked ([`Ranking`], or a [`Criterion`] of one's own, by gradients as well) and which tensors are left alone ([`SkipRule`]) is open.
//! With `paddle_compat` the counting rule, the block scores and the gradual schedule are those of PaddleSlim.
//!
//! Invariant: it works on any `VarMap` and knows no model; the masks depend on the weights, the settings and the
//! names of the variables, never on the number of threads.
//!
//! # Where things lie
//!
//! The pruner over the named variables of a candle `VarMap`: which variables (`skip.rs`), what is ranked
//! (`score.rs`, `criterion.rs`), where the cut lies (`cutoff.rs`), the masks (`masks.rs`), when (`schedule.rs`),
//! setting weights to zero (`enforce.rs`). `pruner.rs` joins them; `elsewhere.rs` tells a device that holds the
//! weights what to compute. `watch.rs` tells a criterion of steps and keeps its sums (`taylor.rs`, `movement.rs`;
//! `signed.rs` ranks scores below zero); `pattern.rs` is N:M, `allocation.rs` ratios by variable, `acdc.rs`,
//! `drop_grow.rs` and `rewind.rs` are strategies.
//!
//! ```
//! use candle_core::{DType, Device};
//! use candle_nn::{VarBuilder, VarMap, linear};
//! use sparse_prune::{Mode, Pruner, PrunerConfig};
//!
//! let vars = VarMap::new();
//! let builder = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
//! let _hidden = linear(784, 64, builder.pp("hidden"))?;
//! let _output = linear(64, 10, builder.pp("output"))?;
//!
//! let mut pruner = Pruner::new(&vars, PrunerConfig::new(Mode::Ratio(0.75)))?;
//! pruner.step()?; // after each optimizer step
//! pruner.update_params()?; // before the next forward pass
//! let pruned: usize = pruner.masks().values().map(|mask| mask.pruned()).sum();
//! assert_eq!(pruned, (784 * 64 + 64 * 10) * 3 / 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acdc;
mod allocation;
mod config;
mod criterion;
mod cutoff;
mod drop_grow;
mod elsewhere;
mod enforce;
mod error;
mod masks;
mod measure;
mod movement;
mod pattern;
mod pruner;
mod rewind;
mod schedule;
mod score;
mod signed;
mod skip;
mod state;
mod taylor;
mod variables;
mod watch;

pub use acdc::AcdcConfig;
pub use allocation::Allocation;
pub use config::{GradientMode, Mode, ParamsType, PrunerConfig, Ranking, Scope, Strategy};
pub use criterion::{Criterion, Facts, Memory, Weights};
pub use drop_grow::{DropGrowConfig, Growth};
pub use elsewhere::Task;
pub use error::{Error, Result};
pub use measure::WeightSummary;
pub use pattern::Pattern;
pub use pruner::{Pruner, StepReport};
pub use rewind::RewindConfig;
pub use schedule::{GmpPosition, ScheduleState};
pub use skip::SkipRule;
pub use sparse_sparsity::report::Sparsity;
pub use sparse_sparsity::schedule::{GmpConfig, Phase};
pub use state::PrunerState;
