//! The flags that stand for config keys, section by section; each has its key's name.

use clap::Args;
use sparse_trainer::config::Layers;

use super::values::boolean;

/// Flags of section `data`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", next_help_heading = "Data")]
pub(super) struct DataFlags {
    /// Data set: mnist, cifar10 or imagenet [default: mnist]
    #[arg(long)]
    data: Option<String>,
    /// Loader threads [default: cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    num_workers: Option<i64>,
}

impl DataFlags {
    pub(super) fn add_to(self, layers: &mut Layers) {
        layers.flag("data.data", self.data);
        layers.flag("data.num_workers", self.num_workers);
    }
}

/// Flags of section `model`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", next_help_heading = "Model")]
pub(super) struct ModelFlags {
    /// Network: MobileNet [default: MobileNet]
    #[arg(long)]
    model: Option<String>,
    /// Outputs of the head [default: those of the weights given, else the classes of the data set]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    num_classes: Option<i64>,
    /// Weights to start from, or to test with --phase test; a run folder, or a file or folder of Paddle, PyTorch or
    /// safetensors [default: none]
    #[arg(long, value_name = "PATH")]
    pretrained_model: Option<String>,
}

impl ModelFlags {
    pub(super) fn add_to(self, layers: &mut Layers) {
        layers.flag("model.model", self.model);
        layers.flag("model.num_classes", self.num_classes);
        layers.flag("model.pretrained_model", self.pretrained_model);
    }
}

/// Flags of section `train`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", next_help_heading = "Training")]
pub(super) struct TrainFlags {
    /// Images per training step [default: 512]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    batch_size: Option<i64>,
    /// Images per test batch [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    batch_size_for_validation: Option<i64>,
    /// Base learning rate [default: 0.1]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Learning rate schedule: piecewise_decay or cosine_decay [default: piecewise_decay]
    #[arg(long, value_name = "NAME")]
    lr_strategy: Option<String>,
    /// Epochs at which piecewise decay falls to a tenth [default: 30 60 90]
    #[arg(long, value_name = "EPOCH", num_args = 1.., action = clap::ArgAction::Set, allow_negative_numbers = true)]
    step_epochs: Option<Vec<i64>>,
    /// L2 decay on all trainable tensors [default: 3e-5]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    l2_decay: Option<f64>,
    /// Momentum, a fraction [default: 0.9]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    momentum_rate: Option<f64>,
    /// Passes over the training set [default: 120]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    num_epochs: Option<i64>,
    /// Steps between log lines [default: 100]
    #[arg(long, value_name = "STEPS", allow_negative_numbers = true)]
    log_period: Option<i64>,
    /// Epochs between tests [default: 10]
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true)]
    test_period: Option<i64>,
    /// Run folder [default: ./models]
    #[arg(long, value_name = "DIR")]
    model_path: Option<String>,
    /// Epochs between checkpoints [default: 10]
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true)]
    model_period: Option<i64>,
    /// Seed of the initial weights, the order of the images and the augmentation [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<i64>,
    /// Train on a GPU, true or false [default: if there is one]
    #[arg(long, value_name = "BOOL", value_parser = boolean)]
    use_gpu: Option<bool>,
    /// Where to compute: cpu, cuda or cuda:N [default: as --use_gpu says]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Share of pruned weights from which pointwise layers leave their zeros out on a GPU, a fraction [default: 1, never]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    gpu_sparse_from: Option<f64>,
    /// Compute threads [default: cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    threads: Option<i64>,
    /// How activations are stored while training, f32 or bf16 [default: f32]
    #[arg(long, value_name = "NAME")]
    precision: Option<String>,
    /// Read the images in the order of their files, true or false [default: false]
    #[arg(long, value_name = "BOOL", value_parser = boolean)]
    ce_test: Option<bool>,
    /// Learn from the scores of the dense start, or of --teacher, as well [default: false]
    #[arg(long, value_name = "BOOL", value_parser = boolean, num_args = 0..=1, default_missing_value = "true")]
    distill: Option<bool>,
    /// Temperature of these soft targets [default: 4]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    distill_temperature: Option<f64>,
    /// Share of the soft targets in the loss, a fraction [default: 0.9]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    distill_weight: Option<f64>,
    /// Weights to learn from, a file or a run folder [default: those of --pretrained_model]
    #[arg(long, value_name = "PATH")]
    teacher: Option<String>,
    /// Estimate batch norm anew over N training batches after the last step [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    bn_recal: Option<i64>,
}

impl TrainFlags {
    pub(super) fn add_to(self, layers: &mut Layers) {
        layers
            .flag("train.batch_size", self.batch_size)
            .flag("train.batch_size_for_validation", self.batch_size_for_validation)
            .flag("train.lr", self.lr)
            .flag("train.lr_strategy", self.lr_strategy)
            .flag("train.step_epochs", self.step_epochs)
            .flag("train.l2_decay", self.l2_decay)
            .flag("train.momentum_rate", self.momentum_rate)
            .flag("train.num_epochs", self.num_epochs)
            .flag("train.log_period", self.log_period)
            .flag("train.test_period", self.test_period)
            .flag("train.model_path", self.model_path)
            .flag("train.model_period", self.model_period)
            .flag("train.seed", self.seed)
            .flag("train.use_gpu", self.use_gpu)
            .flag("train.device", self.device)
            .flag("train.gpu_sparse_from", self.gpu_sparse_from)
            .flag("train.threads", self.threads)
            .flag("train.precision", self.precision)
            .flag("train.ce_test", self.ce_test)
            .flag("train.distill", self.distill)
            .flag("train.distill_temperature", self.distill_temperature)
            .flag("train.distill_weight", self.distill_weight)
            .flag("train.teacher", self.teacher)
            .flag("train.bn_recal", self.bn_recal);
    }
}

/// Flags of section `prune`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", next_help_heading = "Pruning")]
pub(super) struct PruneFlags {
    /// What decides which weights go: ratio, threshold or none [default: ratio with --ratio, else threshold]
    #[arg(long, value_name = "MODE")]
    pruning_mode: Option<String>,
    /// Share of the prunable weights to prune, a fraction [default: 0.55]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    ratio: Option<f64>,
    /// Prune the weights whose magnitude is below it [default: 1e-5]
    #[arg(long, value_name = "MAGNITUDE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// When weights go: base (from the first step) or gmp (gradually) [default: base]
    #[arg(long, value_name = "NAME")]
    pruning_strategy: Option<String>,
    /// Which weights may go: None (all prunable) or conv1x1_only [default: None]
    #[arg(long, value_name = "NAME")]
    prune_params_type: Option<String>,
    /// One threshold per layer, true or false [default: false]
    #[arg(long, value_name = "BOOL", value_parser = boolean)]
    local_sparsity: Option<bool>,
    /// Rows and columns of the blocks that go together [default: 1 1]
    #[arg(long, value_name = "SIDE", num_args = 1.., action = clap::ArgAction::Set, allow_negative_numbers = true)]
    sparse_block: Option<Vec<i64>>,
    /// GMP: epochs of dense training at the start [default: 0]
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true)]
    stable_epochs: Option<i64>,
    /// GMP: epochs over which the ratio rises [default: 60]
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true)]
    pruning_epochs: Option<i64>,
    /// GMP: epochs of fine-tuning at the full ratio [default: 60]
    #[arg(long, value_name = "EPOCHS", allow_negative_numbers = true)]
    tunning_epochs: Option<i64>,
    /// GMP: how many times the ratio is raised [default: 120]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pruning_steps: Option<i64>,
    /// GMP: ratio at the start of the ramp, a fraction [default: 0.15]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    initial_ratio: Option<f64>,
}

impl PruneFlags {
    pub(super) fn add_to(self, layers: &mut Layers) {
        layers
            .flag("prune.pruning_mode", self.pruning_mode)
            .flag("prune.ratio", self.ratio)
            .flag("prune.threshold", self.threshold)
            .flag("prune.pruning_strategy", self.pruning_strategy)
            .flag("prune.prune_params_type", self.prune_params_type)
            .flag("prune.local_sparsity", self.local_sparsity)
            .flag("prune.sparse_block", self.sparse_block)
            .flag("prune.stable_epochs", self.stable_epochs)
            .flag("prune.pruning_epochs", self.pruning_epochs)
            .flag("prune.tunning_epochs", self.tunning_epochs)
            .flag("prune.pruning_steps", self.pruning_steps)
            .flag("prune.initial_ratio", self.initial_ratio);
    }
}
