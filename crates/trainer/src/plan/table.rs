//! The plan as a short table for people.

use std::fmt;

use crate::config::{
    Allocation, Criterion, LrStrategy, ParamsType, PruneSection, PruningMode, PruningStrategy, TrainConfig,
};

use super::{DeviceChoice, TrainPlan, lr::linear_end};
use crate::pretrained::WeightsAt;
use crate::teacher::teacher_weights;

impl fmt::Display for TrainPlan {
    /// One line per fact: a name, padded, and a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            writeln!(f, "{name:<10}{value}")?;
        }
        Ok(())
    }
}

impl TrainPlan {
    fn rows(&self) -> [(&'static str, String); 8] {
        let (config, data) = (&self.config, &self.data);
        let [channels, height, width] = data.image_shape;
        let device = match self.device {
            DeviceChoice::Cpu { threads } => format!("CPU, {}", counted(threads, "thread")),
            DeviceChoice::Cuda { ordinal, .. } => format!("CUDA device {ordinal}"),
        };
        [
            (
                "data",
                format!(
                    "{} in {}, {} training and {} test images of {channels}x{height}x{width}, {} classes",
                    config.data.data.name(),
                    config.data.path.display(),
                    data.train_len,
                    data.test_len,
                    data.classes
                ),
            ),
            ("model", self.model_row()),
            (
                "steps",
                format!(
                    "{} = {} x {} of {}",
                    self.total_steps,
                    counted(config.train.num_epochs, "epoch"),
                    batches(self.steps_per_epoch),
                    config.train.batch_size
                ),
            ),
            ("lr", lr_row(config)),
            ("pruning", pruning_row(config)),
            ("gmp", self.gmp_row()),
            (
                "device",
                format!(
                    "{device}, activations in {}, about {} MiB of memory",
                    config.train.precision.name(),
                    self.memory.bytes().div_ceil(1 << 20)
                ),
            ),
            ("output", format!("{}", config.train.model_path.display())),
        ]
    }

    fn model_row(&self) -> String {
        let model = &self.config.model;
        let start = match WeightsAt::start(&self.config) {
            Some(weights) => format!("from {weights}"),
            None => format!("initialised with seed {}", self.config.train.seed),
        };
        let name = model.model.name();
        format!("{name} x{}, {} parameters, {start}", model.scale, self.model.parameters)
    }

    fn gmp_row(&self) -> String {
        match &self.gmp {
            None => "off".to_owned(),
            Some(gmp) => format!(
                "{} dense steps, {} pruning steps with {} updates from ratio {}, then fine-tuning",
                gmp.stable_steps, gmp.pruning_steps, gmp.updates, gmp.initial_ratio
            ),
        }
    }
}

/// So many of a thing.
fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

fn batches(count: usize) -> String {
    if count == 1 { "1 batch".to_owned() } else { format!("{count} batches") }
}

fn lr_row(config: &TrainConfig) -> String {
    let train = &config.train;
    let decay = match train.lr_strategy {
        LrStrategy::PiecewiseDecay => format!("a tenth at epochs {:?}", train.step_epochs),
        LrStrategy::CosineDecay => "cosine decay to 0".to_owned(),
        LrStrategy::LinearDecay => format!("linear decay to {}", linear_end(train.lr)),
    };
    let warmup = match train.warmup_epochs {
        epochs if epochs > 0.0 => format!(", {epochs} epochs of warm-up"),
        _ => String::new(),
    };
    let teacher = match teacher_weights(config) {
        Ok(Some(weights)) => format!(
            ", soft targets of {weights} (temperature {}, weight {}){}",
            train.distill_temperature,
            train.distill_weight,
            match train.distill_features {
                weight if weight > 0.0 => format!(" and its features (weight {weight})"),
                _ => String::new(),
            }
        ),
        _ => String::new(),
    };
    let ema = match train.ema {
        decay if decay > 0.0 => format!(", averages of the weights (EMA) with decay {decay}"),
        _ => String::new(),
    };
    format!("{}, {decay}{warmup}{teacher}{ema}", train.lr)
}

/// What may be pruned.
fn of(prune: &PruneSection) -> &'static str {
    match prune.prune_params_type {
        ParamsType::All => "all prunable weights",
        ParamsType::Conv1x1Only => "the pointwise weights",
    }
}

fn pruning_row(config: &TrainConfig) -> String {
    let prune = &config.prune;
    let amount = match prune.pruning_mode {
        PruningMode::Dense => return "none (dense training)".to_owned(),
        PruningMode::Ratio => format!("ratio {}", prune.ratio),
        PruningMode::Threshold => format!("threshold {}", prune.threshold),
        PruningMode::Pattern => {
            return format!("{} of neighbouring inputs over {}", prune.pattern, of(prune));
        }
    };
    let of = of(prune);
    let scope = match (prune.local_sparsity, prune.allocation) {
        (false, _) => "global",
        (true, Allocation::Uniform) => "layer-wise",
        (true, Allocation::Erk) => "layer-wise by ERK",
    };
    let block = match prune.sparse_block {
        [1, 1] => String::new(),
        [rows, columns] => format!(", blocks of {rows}x{columns}"),
    };
    let own = match prune.layers.len() {
        0 => String::new(),
        entries => format!(", {} by name", counted(entries, "ratio")),
    };
    let strategy = match prune.pruning_strategy {
        PruningStrategy::Base | PruningStrategy::Gmp => "",
        PruningStrategy::Acdc => ", in sparse phases between dense ones (AC/DC)",
        PruningStrategy::Rigl => ", dropping small weights and growing by gradients (RigL)",
        PruningStrategy::Rewind => ", in rounds from which training goes back (rewinding)",
        PruningStrategy::Set => ", dropping small weights and growing at random (SET)",
    };
    let solved = match prune.criterion() {
        Criterion::Obs => format!(", solved for by {} images", prune.obs_images),
        _ => String::new(),
    };
    format!("{amount} over {of}, {scope}{block}{own}{strategy}{solved}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::MNIST;
    use super::*;
    use crate::config::{Architecture, DataKind};

    #[test]
    fn the_table_has_a_line_per_fact() {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        config.train.threads = Some(2);
        config.train.batch_size = 128;
        config.train.warmup_epochs = 0.5;
        let plan = TrainPlan::resolve(&config, &MNIST).unwrap();
        let expected = "\
data      mnist in data/mnist, 60000 training and 10000 test images of 1x28x28, 10 classes
model     MobileNet x1, 3238538 parameters, initialised with seed 0
steps     56160 = 120 epochs x 468 batches of 128
lr        0.1, a tenth at epochs [30, 60, 90], 0.5 epochs of warm-up
pruning   threshold 0.00001 over all prunable weights, global
gmp       off
device    CPU, 2 threads, activations in f32, about 195 MiB of memory
output    ./models
";
        assert_eq!(plan.to_string(), expected);
    }

    #[test]
    fn one_of_a_thing_is_no_plural() {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        (config.train.threads, config.train.num_epochs, config.train.batch_size) = (Some(1), 1, 60_000);
        let text = TrainPlan::resolve(&config, &MNIST).unwrap().to_string();
        assert!(
            text.contains("1 = 1 epoch x 1 batch of 60000\n") && text.contains("CPU, 1 thread,"),
            "{text}"
        );
    }

    #[test]
    fn gradual_pruning_and_blocks_are_shown() {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        config.train.lr_strategy = LrStrategy::CosineDecay;
        config.model.pretrained_model = Some("weights".into());
        config.prune.pruning_mode = PruningMode::Ratio;
        config.prune.pruning_strategy = PruningStrategy::Gmp;
        config.prune.prune_params_type = ParamsType::Conv1x1Only;
        config.prune.local_sparsity = true;
        config.prune.sparse_block = [2, 1];
        let text = TrainPlan::resolve(&config, &MNIST).unwrap().to_string();
        for line in [
            "model     MobileNet x1, 3238538 parameters, from weights",
            "lr        0.1, cosine decay to 0",
            "pruning   ratio 0.55 over the pointwise weights, layer-wise, blocks of 2x1",
            "gmp       0 dense steps, 7020 pruning steps with 120 updates from ratio 0.15, then fine-tuning",
        ] {
            assert!(text.lines().any(|got| got == line), "{line}\nis not in\n{text}");
        }
        (config.model.model, config.train.lr_strategy) =
            (Architecture::MobileNetCifar, LrStrategy::LinearDecay);
        let text = TrainPlan::resolve(&config, &MNIST).unwrap().to_string();
        assert!(
            text.contains("MobileNetCifar x1, ") && text.contains("0.1, linear decay to 0.0001\n"),
            "{text}"
        );
        (config.prune.allocation, config.prune.layers) = (Allocation::Erk, [("a".to_owned(), 0.5)].into());
        let text = TrainPlan::resolve(&config, &MNIST).unwrap().to_string();
        assert!(text.contains("layer-wise by ERK, blocks of 2x1, 1 ratio by name\n"), "{text}");
        config.prune.pruning_mode = PruningMode::Pattern;
        config.prune.sparse_block = [1, 1];
        let text = TrainPlan::resolve(&config, &MNIST).unwrap().to_string();
        assert!(text.contains("pruning   2:4 of neighbouring inputs over the pointwise weights\n"), "{text}");
        config.prune.pruning_mode = PruningMode::Dense;
        let text = TrainPlan::resolve(&config, &MNIST).unwrap().to_string();
        assert!(text.contains("pruning   none (dense training)\ngmp       off\n"), "{text}");
    }
}
