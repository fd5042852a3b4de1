//! The training driver: config → plan → loop, evaluation, checkpoints, outputs.
//!
//! A [`config::TrainConfig`] is read from TOML, `--set` and flags; [`plan::TrainPlan`] resolves it for a data set;
//! [`train`] runs it and leaves weights, checkpoints, metrics and a summary in the run folder; [`test()`] measures
//! given weights. A run that is stopped anywhere and resumed ends with the same bytes as one that was not: the
//! order and augmentation of images are functions of (seed, epoch, index), and a checkpoint holds the rest.
//! Bring your own images by implementing [`Dataset`] (see `examples/own_data.rs`).
//!
//! Invariant: the only crate that knows what an epoch is.
//!
//! # Where things lie
//!
//! `config/` declares each key once (`declare.rs`, `key.rs`) and parses (flag over `--set` over file over default);
//! checks, flags, help, warnings (`without_effect.rs`), the JSON schema, `docs/keys.md` and the recipe follow from
//! the declarations. `plan/` resolves for the data that is there, `setup.rs` builds the learner, `pretrained/`
//! brings weights of other programs under our names (`read.rs` chooses the network, applies masks and notes what is
//! odd; `place.rs` is a path with a key), writes them as ours (`convert.rs`), small (`export.rs`) or as ONNX
//! (`onnx.rs`), knows how its images are seen (`input.rs`) and lets the config take from them what it leaves open,
//! `learner.rs` does one step (with the scores of `teacher.rs`, if there is one; on a device through
//! `on_device.rs`), `train.rs` is the loop, `recalibrate.rs` estimates batch norm anew at its end, `ema.rs` keeps
//! averages of the weights, `not_on_device.rs` refuses what only the CPU does, `usage.rs` says which errors are
//! settings, `ranks.rs` is what all of them know of other processes, `same_run.rs` what these compare at the start,
//! before a test, at log lines and checkpoints, and `buckets.rs` sends gradients to these while the backward pass
//! is at work, `shared_device.rs` joins their GPUs by NCCL (`through_host.rs` where there is none), `evaluate.rs`
//! and `test.rs` measure, `checkpoint/` and `run_folder.rs` keep state and results, `run_lock.rs` keeps other
//! processes out of a run folder. `plan/need.rs` and `plan/available.rs` hold the estimate of memory against what
//! there is, `given_zeros.rs` keeps or names zeros in the weights a run starts from, `advice.rs` is what error
//! messages advise. `predictions.rs` keeps what a run says of each test image, `compare/` pairs runs over them,
//! `sweep/` looks for the highest ratio within a given loss, `plot.rs` draws both. `bench/` times the same step on
//! random images, and the engine (`bench/infer/`). `predict/` looks at image files through the engine, with the
//! input that a test would make (`image_input.rs`). `oneshot/` prunes a network by data: `activations.rs` leads the
//! images from layer to layer through the dense network and the pruned one, `layers.rs` shows layers as matrices,
//! `seen.rs` is what a layer reads of the images, `allocate/` shares the zeros out (`timings.rs` measures for that,
//! with `layer_times.rs`), `partial.rs` keeps what is done, `reorder.rs` puts channels into another order,
//! `sensitivity.rs` prunes one layer at a time to see what that costs, `file.rs` puts it back into weights or ONNX,
//! `quantize/` rounds weights and activations to eight bits (`plan.rs` where, `range.rs` to what, `walk.rs` layer
//! by layer, after pruning if that is asked for, `loss.rs` what stays f32), `in_training.rs` does the same at
//! updates of the masks. `rewind.rs` takes weights back to an early step. `file_lock.rs` is one process at a time
//! on a file: a run folder, or what is pruned into. It tells what happens through the `Observer` trait and is asked
//! to stop through a `StopFlag`.
//!
//! ```
//! use sparse_trainer::config::{DataKind, TrainConfig};
//! use sparse_trainer::plan::{DataSize, TrainPlan};
//!
//! let mut config = TrainConfig::defaults(DataKind::Mnist);
//! config.train.num_epochs = 3;
//! let data = DataSize { train_len: 60_000, test_len: 10_000, classes: 10, image_shape: [1, 28, 28] };
//! let plan = TrainPlan::resolve(&config, &data)?;
//! assert_eq!(plan.total_steps, 3 * (60_000 / 512));
//! # Ok::<(), sparse_trainer::Error>(())
//! ```

mod advice;
mod bad_images;
pub mod bench;
mod buckets;
pub mod checkpoint;
pub mod compare;
pub mod config;
pub mod error;
pub mod oneshot;
pub mod plan;
pub mod plot;
pub mod sweep;

mod datasets;
mod ema;
mod emptied;
mod evaluate;
mod file_lock;
mod given_zeros;
mod image_input;
mod inspect;
mod layer_times;
mod learner;
mod metrics;
mod not_on_device;
mod observer;
mod on_device;
mod outcome;
mod predict;
mod predictions;
mod pretrained;
mod ranks;
mod recalibrate;
mod recipe;
mod rewind;
mod run_file;
mod run_folder;
mod run_lock;
mod same_run;
mod setup;
#[cfg(feature = "cuda")]
mod shared_device;
mod shared_error;
mod start_weights;
mod state;
mod stop;
mod strategy_error;
mod teacher;
mod test;
mod through_host;
mod train;
mod usage;
mod weights;

pub use datasets::{Datasets, open_split};
pub use ema::{EMA_WEIGHTS_FILE, Ema};
pub use error::{Error, Result};
pub use evaluate::{Evaluation, Feed, evaluate};
pub use image_input::ImageInput;
pub use inspect::{Inspection, LayerReport, inspect};
pub use learner::{Learner, LearnerConfig, StepResults, StepTimes};
pub use metrics::Accuracy;
pub use not_on_device::NotOnDevice;
pub use observer::{EmaRecord, EvaluationRecord, LogRecord, Observer, Silent};
pub use outcome::{Outcome, Summary, TestReport};
pub use predict::{Guess, ImageGuesses, PredictOptions, Predictions, Predictor, UnusableImage};
pub use predictions::{PREDICTIONS_FILE, Prediction, read_predictions};
pub use pretrained::{
    Converted, ExportedOnnx, Head, InputHint, OnnxOptions, Packed, Pretrained, WeightsAt, convert,
    export_onnx, export_packed,
};
pub use ranks::{Place, Ranks};
pub use recipe::Recipe;
pub use run_folder::{RunFolder, run_beside};
pub use setup::{Start, build_model};
pub use shared_error::SharedError;
pub use sparse_collectives as collectives;
pub use sparse_data as data;
pub use sparse_data::{Dataset, View};
pub use sparse_formats::packed::Values as PackedValues;
pub use sparse_prune::{Pruner, PrunerConfig, Sparsity};
pub use state::State;
pub use stop::StopFlag;
pub use strategy_error::StrategyError;
pub use teacher::Teacher;
pub use test::{test, test_shared};
pub use train::{train, train_shared};
pub use weights::{WEIGHTS_FILE, weights_file};
