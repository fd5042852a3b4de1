//! What can go wrong when building or running the model.

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings describe no network.
    #[error(transparent)]
    Network(#[from] sparse_network::Error),
    /// What a device reports.
    #[error(transparent)]
    Device(#[from] sparse_cuda::Error),
    /// The images do not fit the model.
    #[error(
        "images of shape {got:?} do not fit: expected [N, {channels}, H, W] with H and W at least {least}"
    )]
    Images {
        /// Shape given.
        got: Vec<usize>,
        /// Input channels of the model.
        channels: usize,
        /// The smallest height and width.
        least: usize,
    },
    /// A label that is no class.
    #[error(
        "label {label} with {classes} classes; set model.num_classes to the number of classes of the data"
    )]
    Label {
        /// The label.
        label: u32,
        /// Classes of the model.
        classes: usize,
    },
    /// Not one label per image.
    #[error("{labels} labels for {images} images")]
    Labels {
        /// Labels given.
        labels: usize,
        /// Images given.
        images: usize,
    },
    /// The teacher's scores are not those of this batch and these classes.
    #[error(
        "the teacher's scores have shape {got:?}, expected {expected:?}; use a teacher with as many classes"
    )]
    Teacher {
        /// Shape given.
        got: Vec<usize>,
        /// Images and classes.
        expected: [usize; 2],
    },
    /// The blocks of a teacher put out other channels.
    #[error(
        "{layer} of the teacher puts out {teacher} channels, that of this network {student}: features are compared block by block, so take \
         a teacher of the same width (model.scale), or leave train.distill_features out"
    )]
    Features {
        /// The first convolution that differs.
        layer: String,
        /// Channels of the teacher's.
        teacher: usize,
        /// Channels of this network's.
        student: usize,
    },
    /// Features of a teacher that is computed in another type.
    #[error("features of a teacher are compared in the same type: f64 with f64, f32 or bf16 with f32")]
    FeaturesOfOtherPrecision,
    /// Activations cannot be stored so.
    #[error(
        "a model of {dtype:?} cannot be trained with activations of {precision:?} precision; only f32 can with bf16"
    )]
    Precision {
        /// Element type of the model.
        dtype: candle_core::DType,
        /// What was asked for.
        precision: crate::Precision,
    },
    /// No room for the activations of a batch.
    #[error(
        "the system has no room for {bytes} bytes of activations; use a smaller train.batch_size, smaller images, or --precision bf16"
    )]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// What the system said.
        source: std::io::Error,
    },
    /// A backward pass without a forward pass.
    #[error("there is no forward pass to go back from; call forward first")]
    NoForward,
    /// No program known here calls the tensors of a MobileNetV1 so.
    #[error("the tensors are called as in no MobileNetV1 known here ({families}); they are: {names}")]
    ForeignNames {
        /// Some of the names.
        names: String,
        /// The programs whose names are known.
        families: String,
    },
    /// A file without tensors.
    #[error(
        "there are no tensors under names in it; save the state dict of the model, or the weights as safetensors"
    )]
    NoTensors,
    /// More than one dictionary of a file holds a network.
    #[error(
        "it holds several networks ({keys}): choose one with --key NAME (--pretrained_key or --teacher_key NAME in a \
         training run or a test)"
    )]
    SeveralNetworks {
        /// Where they are.
        keys: String,
    },
    /// There is no network where one was asked for.
    #[error("it holds no network under {key}; there is something under: {keys}")]
    NoSuchKey {
        /// What was asked for.
        key: String,
        /// What there is.
        keys: String,
    },
    /// The state of an optimizer where weights belong.
    #[error("it is the state of an optimizer (.pdopt: {names}); give the .pdparams file beside it")]
    OptimizerState {
        /// Some of the names.
        names: String,
    },
    /// Tensors under the names of a program that make no network.
    #[error("the tensors are called as in {family} but make no MobileNetV1 of model.scale {scale}: {faults}")]
    ForeignTensors {
        /// The program.
        family: &'static str,
        /// The width multiplier that stem and head suggest.
        scale: f64,
        /// What is missing, left over or of another shape.
        faults: String,
    },
    /// What other ranks were to do with numbers of this one failed.
    #[error(transparent)]
    Across(Box<dyn std::error::Error + Send + Sync>),
    /// A tensor operation failed.
    #[error("tensor operation failed")]
    Candle(#[from] candle_core::Error),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
