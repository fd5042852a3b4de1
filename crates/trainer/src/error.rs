//! The crate's one error type.

use std::path::PathBuf;

use crate::advice::{device_advice, io_advice, kept, lower_updates};
use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::not_on_device::NotOnDevice;
use crate::shared_error::SharedError;
use crate::strategy_error::StrategyError;

/// What the training driver reports; every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong by itself, whatever the data.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// There is no network of this width, or it does not fit the images.
    #[error(transparent)]
    Model(#[from] sparse_model::Error),

    /// There is no network of this width.
    #[error(transparent)]
    Network(#[from] sparse_network::Error),

    /// A file or folder of the data set is not there.
    #[error(
        "{} is missing: put the {data} files there, or set data.path to their folder (--set data.path=FOLDER){hint}",
        .path.display()
    )]
    DataMissing {
        /// The first path that was looked for and is not there.
        path: PathBuf,
        /// The data set's name, as in `data.data`.
        data: &'static str,
        /// What lies there or nearby instead, with a semicolon in front.
        hint: String,
    },

    /// A training batch asks for more images than there are.
    #[error(
        "a batch of {batch_size} images is larger than the training set of {train_len}: \
         lower train.batch_size (--batch_size) to at most {train_len}"
    )]
    BatchTooLarge {
        /// Images per batch, `train.batch_size`.
        batch_size: usize,
        /// Images in the training set.
        train_len: usize,
    },

    /// The network has fewer outputs than the data set has classes.
    #[error(
        "the data set has {classes} classes but the network has {num_classes} outputs: \
         raise model.num_classes (--set model.num_classes={classes})"
    )]
    TooFewOutputs {
        /// Classes in the data set.
        classes: usize,
        /// Outputs of the network, `model.num_classes`.
        num_classes: usize,
    },

    /// The pruning phase of GMP is too short for its number of ratio updates.
    #[error(
        "GMP spreads {ratio_updates} ratio updates over {pruning_steps_total} training steps, {rule}: \
         {}raise prune.pruning_epochs (--pruning_epochs), or make more batches of an epoch (a lower --batch_size)",
        lower_updates(*.most, *.epochs)
    )]
    GmpTooShort {
        /// Ratio updates asked for.
        ratio_updates: usize,
        /// Training steps in the pruning phase.
        pruning_steps_total: usize,
        /// Which rule is broken, in words.
        rule: &'static str,
        /// The largest number of updates that the phase has room for.
        most: usize,
        /// Epochs of the phase, where `prune.ratio_steps_per_epoch` counts the updates of each.
        epochs: Option<usize>,
    },

    /// Training ends before GMP has reached its target ratio.
    #[error(
        "GMP reaches its target after {epochs_needed} epochs (prune.stable_epochs + prune.pruning_epochs) \
         but training ends after {num_epochs}: raise train.num_epochs (--num_epochs), or lower \
         prune.pruning_epochs (--pruning_epochs) or prune.stable_epochs (--stable_epochs)"
    )]
    GmpPastEnd {
        /// `prune.stable_epochs + prune.pruning_epochs`.
        epochs_needed: usize,
        /// `train.num_epochs`.
        num_epochs: usize,
    },

    /// A threshold that no weight reaches.
    #[error(
        "threshold {threshold:e} prunes all weights: the largest magnitude the run begins with is {largest:.3e}; lower \
         prune.threshold (--threshold), or give the share to prune (--ratio)"
    )]
    ThresholdPrunesAll {
        /// `prune.threshold`.
        threshold: f64,
        /// The largest magnitude of a prunable weight.
        largest: f64,
    },

    /// There is not so much memory.
    #[error(
        "this needs about {needed} of memory and {limit} has {available} left: {most} of it are for {says}"
    )]
    NotEnoughMemory {
        /// What is needed in all, for people.
        needed: String,
        /// What there is.
        available: String,
        /// What has no more.
        limit: &'static str,
        /// What the largest part takes.
        most: String,
        /// What that part is, and which setting makes it smaller.
        says: String,
    },

    /// A GPU was asked for and this build has none.
    #[error(
        "a GPU is asked for but this binary was built without CUDA: build it with --features cuda, \
         or train on the CPU (--device cpu)"
    )]
    NoCuda,

    /// A setting that a GPU does not follow.
    #[error(transparent)]
    NotOnDevice(#[from] NotOnDevice),

    /// A device, or what it was told to do, failed.
    #[error("{source}{}", device_advice(source))]
    Device {
        /// What failed.
        #[from]
        source: sparse_cuda::Error,
    },

    /// Soft targets are wanted and no weights are named to take them from.
    #[error(
        "train.distill is true but there is no dense network to learn from: give its weights with --pretrained_model, \
         or with --teacher if the run starts from others"
    )]
    NoTeacher,

    /// A folder of images to measure with holds none.
    #[error("{} is no folder with JPEG or PNG files below it", .path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
    },

    /// A setting of a benchmark is out of its range.
    #[error("{setting} = {value} (--{setting}): it must be {rule}")]
    BenchSetting {
        /// The setting, which is also the name of its flag.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it must be, in words.
        rule: &'static str,
    },

    /// The loss of a batch is NaN or infinite.
    #[error("the loss is {loss}")]
    LossNotFinite {
        /// The loss.
        loss: f64,
    },

    /// A weight is NaN or infinite.
    #[error("a weight of {name} is not finite")]
    WeightNotFinite {
        /// The variable.
        name: String,
    },

    /// Processes cannot share the run, or do not any longer.
    #[error(transparent)]
    Shared(#[from] SharedError),

    /// The phases of a strategy do not fit.
    #[error(transparent)]
    Strategy(#[from] StrategyError),

    /// A signal asked to stop an evaluation.
    #[error("stopped by signal {signal}")]
    Stopped {
        /// Number of the signal.
        signal: usize,
    },

    /// Training went out of bounds; what was saved before stays.
    #[error(
        "training diverged after step {step}: {what}; lower train.lr (--lr), or set train.clip_norm; {}",
        kept(.checkpoint.as_deref())
    )]
    Diverged {
        /// Updates done.
        step: usize,
        /// What is not finite.
        what: String,
        /// The newest checkpoint of the run.
        checkpoint: Option<PathBuf>,
    },

    /// Weights are asked for and not there.
    #[error(
        "{} is missing: wanted are a weights file (.safetensors) or the folder of a finished run (for a run or a test, \
         --pretrained_model PATH)",
        .path.display()
    )]
    NoWeights {
        /// Where they were looked for.
        path: PathBuf,
    },

    /// The weights of a run are asked for that has not come so far.
    #[error(
        "{} holds no weights yet, since the run was stopped before: finish it with --resume auto, or take the weights of a \
         checkpoint ({})", .path.display(), .newest.display()
    )]
    UnfinishedRun {
        /// The run folder.
        path: PathBuf,
        /// Its newest checkpoint.
        newest: PathBuf,
    },

    /// A config is given where weights are wanted.
    #[error(
        "{} is a config and no run's files lie beside it: give a weights file or a run folder, and the config with --config",
        .path.display()
    )]
    NotWeights {
        /// The file.
        path: PathBuf,
    },

    /// A tensor of the model is not in the file.
    #[error(
        "{} has no tensor {name} ({expected:?}): it holds another model; give the model.scale, model.num_classes and \
         data set it was trained with", .path.display()
    )]
    TensorMissing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the model.
        expected: Vec<usize>,
    },

    /// The file holds a tensor that the model has not.
    #[error("{} has a tensor {name} that the model has not: it holds another model", .path.display())]
    TensorExtra {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },

    /// A tensor is of another shape or type.
    #[error(
        "tensor {name} in {} is {got}, the model needs {expected}: give the model.scale, model.num_classes and data \
         set the file was trained with", .path.display()
    )]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Type and shape in the model.
        expected: String,
        /// Type and shape in the file.
        got: String,
    },

    /// Weights are whole numbers.
    #[error(
        "tensor {name} in {} holds whole numbers ({dtype}) and weights are f32, f64, f16 or bf16: save a quantised network \
         again after it was dequantised", .path.display()
    )]
    WholeNumbers {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: String,
    },

    /// A mask holds something else than zeros and ones.
    #[error(
        "{name} in {} is a mask by its name and holds {value}, where 0 and 1 are expected: multiply it into the weights and \
         save them without it", .path.display()
    )]
    BadMask {
        /// The file.
        path: PathBuf,
        /// The mask.
        name: String,
        /// The first other number in it.
        value: f32,
    },

    /// The network of a file cannot be chosen.
    #[error("{} is an ONNX file, which holds one network: leave --key out", .path.display())]
    KeyOfOnnx {
        /// The file.
        path: PathBuf,
    },

    /// The tensors of a file are not those of a MobileNetV1.
    #[error("{}: {source}", .path.display())]
    ForeignWeights {
        /// The file or folder.
        path: PathBuf,
        /// What does not fit.
        source: sparse_model::Error,
    },

    /// Another network is set than that of the weights.
    #[error("{} holds a {made}, and model.model is {given}; leave --model out to follow the file", .path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The network of the file.
        made: &'static str,
        /// That of the config.
        given: &'static str,
    },
    /// A width is set that the file of the weights has not.
    #[error(
        "{} holds a network of model.scale {scale} and model.scale = {given} is set: leave model.scale out, or set it to \
         {scale}", .path.display()
    )]
    OtherWidth {
        /// The file.
        path: PathBuf,
        /// Width multiplier of the file.
        scale: f64,
        /// Width multiplier of the config.
        given: f64,
    },

    /// Weights are to be tested whose head tells other classes apart.
    #[error(
        "{} tells {classes} classes apart and model.num_classes is {num_classes}: set model.num_classes={classes}, or \
         choose {num_classes} of its classes with data.classes", .path.display()
    )]
    OtherHead {
        /// The file.
        path: PathBuf,
        /// Classes of the file.
        classes: usize,
        /// `model.num_classes`.
        num_classes: usize,
    },

    /// A conversion or an export would write onto what it reads.
    #[error("{} is what is read: choose another file to write", .path.display())]
    OntoInput {
        /// The file to write.
        path: PathBuf,
    },

    /// Images cannot become the input of a network in the way that is asked for.
    #[error("{source}; say it with --size, --resize_short, --mean and --std")]
    ImageInput {
        /// What is wrong.
        source: sparse_data::Error,
    },

    /// A network takes no images of the usual kind.
    #[error(
        "{} takes images of {channels} channels, {height}x{width} pixels; only grey and colour images are made, as \
         squares: for another size give --size", .path.display()
    )]
    NoPhotoInput {
        /// The file.
        path: PathBuf,
        /// Channels.
        channels: usize,
        /// Pixels down.
        height: usize,
        /// Pixels across.
        width: usize,
    },

    /// A file with names of classes cannot be read.
    #[error("cannot read the names of the classes in {} (--classes)", .path.display())]
    ClassFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },

    /// A file names another number of classes than the network tells apart.
    #[error(
        "{} has {lines} lines and the network tells {classes} classes apart: give a file with a name for each class, one \
         a line, in their order (--classes)", .path.display()
    )]
    ClassCount {
        /// The file.
        path: PathBuf,
        /// Names in it.
        lines: usize,
        /// Outputs of the network.
        classes: usize,
    },

    /// A tensor holds a NaN.
    #[error("tensor {name} in {} holds a NaN: the run it came from diverged; use an earlier checkpoint", .path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },

    /// Another process works in the folder.
    #[error(
        "{} is in use by {holder}: wait until it is done or stop it, or choose another run folder (--model_path)",
        .folder.display()
    )]
    RunInUse {
        /// The folder.
        folder: PathBuf,
        /// Which process, and since when.
        holder: String,
    },

    /// A folder, a device or a pipe has the name of a file of a run.
    #[error("{} is {what}, where a file of a run is wanted: move it away", .path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// What is there, in words.
        what: &'static str,
    },

    /// A file or folder cannot be used.
    #[error("cannot {action} {}: {source}; {}", .path.display(), io_advice(action, source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },

    /// A result cannot be written as JSON.
    #[error("a result cannot be written as JSON")]
    Json {
        /// Why.
        source: serde_json::Error,
    },

    /// A result that was written as JSON does not read back.
    #[error("{} is cut or was altered ({source}): {advice}", .path.display())]
    BadJson {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
        /// What to do.
        advice: &'static str,
    },

    /// A folder has no predictions, or neither a summary nor the result of a test.
    #[error(
        "{} is missing: give the folder of a finished run, or make the file with --phase test --model_path FOLDER",
        .path.display()
    )]
    NoPredictions {
        /// Where they were looked for.
        path: PathBuf,
    },

    /// Two runs were tested on different images.
    #[error(
        "{run} was tested on other images than {reference}: compare runs of one data set, tested whole, in the same order"
    )]
    OtherImages {
        /// The run folder.
        run: String,
        /// The run folder it is compared with.
        reference: String,
    },

    /// A plot cannot be drawn.
    #[error("cannot draw {}: {reason}", .path.display())]
    Plot {
        /// The file it was for.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// The folder holds a sweep with other settings.
    #[error(
        "{} holds a sweep with another {key}: give it a folder of its own (--model_path), or the settings it began with",
        .folder.display()
    )]
    OtherSweep {
        /// The folder.
        folder: PathBuf,
        /// The setting that differs.
        key: String,
    },

    /// The folder holds a sweep over other training images.
    #[error(
        "{} holds a sweep over other training images: {difference}; bring back those it began with, or give it a folder of its \
         own (--model_path)", .folder.display()
    )]
    OtherSweepData {
        /// The folder.
        folder: PathBuf,
        /// What differs, in words.
        difference: String,
    },

    /// A file of predictions is malformed.
    #[error("line {line} of {} is malformed: make the file anew with --phase test --model_path FOLDER", .path.display())]
    BadPredictions {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },

    /// A checkpoint is missing, damaged or of another run.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    /// The data set.
    #[error(transparent)]
    Data(#[from] sparse_data::Error),

    /// A tensor file.
    #[error(transparent)]
    Formats(#[from] sparse_formats::Error),

    /// A network cannot be pruned by data.
    #[error(transparent)]
    Oneshot(#[from] crate::oneshot::OneshotError),

    /// Weights of 8 bits, where f32 is asked for.
    #[error(
        "{} is of 8 bits already: it can be run (predict, bench infer, export --to onnx) and looked at (inspect), and what trains, tests, prunes, rounds or converts          weights takes the f32 weights that it was made from", .path.display()
    )]
    QuantizedWeights {
        /// The file.
        path: PathBuf,
    },

    /// The inference engine.
    #[error(transparent)]
    Engine(#[from] sparse_engine::Error),

    /// The pruner.
    #[error(transparent)]
    Prune(#[from] sparse_prune::Error),

    /// A tensor operation.
    #[error("a tensor operation failed")]
    Candle(#[from] candle_core::Error),
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<sparse_collectives::Error> for Error {
    fn from(source: sparse_collectives::Error) -> Self {
        Self::Shared(source.into())
    }
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source }
    }
}
