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
