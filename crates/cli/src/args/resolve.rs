//! From flags to a checked config and what to do with it.

use std::path::{Path, PathBuf};

use sparse_trainer::config::{Layers, Origin, Phase, Resume, TrainConfig};
use sparse_trainer::{Pretrained, Ranks, WeightsAt, run_beside};

use super::{
    UsageError,
    flags::{Flags, PhaseFlag, PrintFlags, ResumeFlags},
};

/// A command line, resolved.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The checked config.
    pub(crate) config: TrainConfig,
    /// What it was made from.
    layers: Layers,
    /// Train or test.
    pub(crate) phase: Phase,
    /// Where training starts.
    pub(crate) resume: Resume,
    /// Folder whose checkpoints to resume from; `None` = the run folder.
    pub(crate) checkpoint: Option<PathBuf>,
    /// Weights to test; `None` = those of `model.pretrained_model`, else those in the run folder.
    pub(crate) pruned_model: Option<PathBuf>,
    /// Print results as JSON on stdout.
    pub(crate) json: bool,
}

/// What is printed in place of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Print {
    /// The resolved config.
    Config,
    /// The JSON schema of configs.
    Schema,
    /// All keys and flags.
    Keys,
}

impl Resolved {
    /// The weights to test, or to start from if there are any.
    pub(crate) fn weights(&self) -> Option<WeightsAt<'_>> {
        let model = &self.config.model;
        let pretrained = model.pretrained_model.as_deref();
        let path = match self.phase {
            Phase::Train => pretrained?,
            Phase::Test => {
                self.pruned_model.as_deref().or(pretrained).unwrap_or(&self.config.train.model_path)
            }
        };
        Some(WeightsAt::from(path).under(model.pretrained_key.as_deref()))
    }

    /// The config as TOML, with the source of each value.
    ///
    /// # Errors
    /// When a value has no TOML form.
    pub(crate) fn described(&self) -> Result<String, UsageError> {
        Ok(self.layers.describe(&self.config)?)
    }

    /// Refuses more threads than this machine has any use for, and tells of settings without effect.
    ///
    /// # Errors
    /// [`UsageError`], for which the program exits with 2.
    pub(crate) fn check(&self) -> Result<(), UsageError> {
        check(&self.layers, &self.config, self.phase)?;
        let origin = self.layers.origin("model.pretrained_model");
        if self.pruned_model.is_some() && matches!(origin, Origin::Flag(_) | Origin::Set(_)) {
            tracing::warn!(
                "model.pretrained_model{origin} has no effect beside --pruned_model, which names the weights to test"
            );
        }
        let model = &self.config.model;
        if model.pretrained_key.is_some() && model.pretrained_model.is_none() && self.pruned_model.is_none() {
            tracing::warn!(
                "model.pretrained_key{} has no effect without --pretrained_model, whose file it looks into",
                self.layers.origin("model.pretrained_key")
            );
        }
        if self.phase == Phase::Test && self.resume != Resume::Fresh {
            tracing::warn!(
                "a test goes on from no checkpoint: --resume, --resume_epoch, --last_epoch and --checkpoint have no effect \
                 with --phase test; name the weights with --pruned_model, or their run with --model_path"
            );
        }
        Ok(())
    }

    /// Lets the config take from the file of the weights, that of the first of the ranks, what it leaves open.
    ///
    /// # Errors
    /// If the weights cannot be read or do not fit an explicit setting.
    pub(crate) fn settle(&mut self, ranks: &Ranks) -> anyhow::Result<()> {
        // A run that goes on from a checkpoint does not need the weights it started from.
        let needed = |weights: &WeightsAt<'_>| self.resume == Resume::Fresh || weights.path.exists();
        let weights = self.weights().filter(needed);
        if let Some(config) = Pretrained::settle_shared(weights, &self.layers, ranks)? {
            self.config = config;
        }
        Ok(())
    }
}

/// Refuses more threads than this machine has any use for, and tells of settings without effect.
///
/// # Errors
/// [`UsageError`], for which the program exits with 2.
pub(super) fn check(layers: &Layers, config: &TrainConfig, phase: Phase) -> Result<(), UsageError> {
    let threads = layers.check_threads(config)?;
    for warning in threads.into_iter().chain(layers.without_effect(config, phase)) {
        tracing::warn!("{warning}");
    }
    Ok(())
}

impl Flags {
    /// What to print in place of a run.
    pub(crate) fn print(&self) -> Option<Print> {
        let PrintFlags { print_config, print_schema, print_keys } = self.print;
        let wanted =
            [(print_config, Print::Config), (print_schema, Print::Schema), (print_keys, Print::Keys)];
        wanted.into_iter().find_map(|(wanted, what)| wanted.then_some(what))
    }

    /// Stacks flag over `--set` over config file over default.
    ///
    /// # Errors
    /// [`UsageError`], for which the program exits with 2.
    pub(crate) fn into_config(self) -> Result<Resolved, UsageError> {
        let phase = self.phase()?;
        let resume = self.resume.resume()?;
        let ResumeFlags { checkpoint, pruned_model, .. } = self.resume;
        if checkpoint.is_some() && resume == Resume::Fresh {
            return Err(UsageError::CheckpointAlone);
        }
        let run = self.config.file().and_then(run_beside);
        let mut layers = self.config.layers()?;
        let mut pruned_model = pruned_model;
        if let Some(run) = run.filter(|_| phase == Phase::Test || resume != Resume::Fresh) {
            take_run(&mut layers, &run);
            if phase == Phase::Test && !layers.is_on_command_line("model.pretrained_model") {
                pruned_model.get_or_insert(run);
            }
        }
        let config = layers.resolve()?;
        Ok(Resolved { config, layers, phase, resume, checkpoint, pruned_model, json: self.json })
    }

    fn phase(&self) -> Result<Phase, UsageError> {
        match (self.phase, self.resume.pruned_model.is_some()) {
            (Some(PhaseFlag::Train), true) => Err(UsageError::Conflict {
                flag: "--phase train".to_owned(),
                other: "--pruned_model".to_owned(),
                advice: "--pruned_model names weights to test; to train from weights use --pretrained_model",
            }),
            (Some(PhaseFlag::Test), _) | (None, true) => Ok(Phase::Test),
            (Some(PhaseFlag::Train) | None, false) => Ok(Phase::Train),
        }
    }
}

/// Makes the folder of a run's config the run folder, unless the command line names one: the run may have been moved or
/// copied since its config was written.
fn take_run(layers: &mut Layers, run: &Path) {
    const KEY: &str = "train.model_path";
    if !layers.is_on_command_line(KEY)
        && let Some(run) = run.to_str()
    {
        layers.flag(KEY, Some(run));
    }
}

impl ResumeFlags {
    /// `--resume`, `--resume_epoch` and `--last_epoch` as one wish; PaddleSlim's defaults (0 and -1) wish nothing.
    fn resume(&self) -> Result<Resume, UsageError> {
        let by_number = epochs_done("resume_epoch", self.resume_epoch, 0)?;
        let by_last = epochs_done("last_epoch", self.last_epoch, 1)?;
        let epochs = match (by_number, by_last) {
            (0, epochs) | (epochs, 0) => epochs,
            (epochs, same) if epochs == same => epochs,
            (epochs, other) => {
                return Err(UsageError::Conflict {
                    flag: format!("--resume_epoch {epochs}"),
                    other: format!("--last_epoch {}", other - 1),
                    advice: "--last_epoch E means --resume_epoch E+1; give one of them",
                });
            }
        };
        match (self.resume, epochs) {
            (None, 0) => Ok(Resume::Fresh),
            (None, epochs) => Ok(Resume::Epoch(epochs)),
            (Some(_), 0) => Ok(Resume::Auto),
            (Some(_), epochs) => Err(UsageError::Conflict {
                flag: "--resume auto".to_owned(),
                other: format!("resuming from epoch {epochs}"),
                advice: "give one of --resume, --resume_epoch and --last_epoch",
            }),
        }
    }
}

/// The epochs done that `--name value` stands for, which is `value + offset`; 0 if it was not given.
fn epochs_done(name: &str, value: Option<i64>, offset: i64) -> Result<usize, UsageError> {
    let Some(value) = value else { return Ok(0) };
    let epochs = value.checked_add(offset).and_then(|epochs| usize::try_from(epochs).ok());
    epochs.ok_or_else(|| UsageError::Value {
        flag: format!("--{name} {value}"),
        expects: if offset == 0 {
            "a whole number of epochs, 0 or more"
        } else {
            "a whole number of epochs, 0 or more, or -1 to start from the beginning"
        },
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::args::{Action, parse};
    use sparse_trainer::config::{DataKind, LrStrategy, ParamsType, PruningMode, PruningStrategy};

    fn try_resolve(line: &str) -> Result<Resolved, String> {
        let words = std::iter::once("sparse-train").chain(line.split_whitespace()).map(OsString::from);
        match parse(words).map_err(|error| error.to_string())? {
            Action::Run(flags) => flags.into_config().map_err(|error| error.to_string()),
            _ => Err("a subcommand".to_owned()),
        }
    }

    fn resolve(line: &str) -> Resolved {
        try_resolve(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn message(line: &str) -> String {
        try_resolve(line).unwrap_err()
    }

    fn in_config(name: &str) -> String {
        format!("--config {}/../../configs/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn a_second_config_is_refused() {
        let said = message(&format!("{} {}", in_config("mbv1.toml"), in_config("mbv1.toml")));
        assert!(said.contains("mbv1.toml contradict each other") && said.contains("--set"), "{said}");
    }

    #[test]
    fn the_line_of_the_readme_works_pasted() {
        let line = "--batch_size 64 --data mnist --lr 0.05 --pruning_mode threshold --threshold 0.01";
        let Resolved { config, phase, resume, .. } = resolve(line);
        assert_eq!((config.train.batch_size, config.train.lr, config.data.data), (64, 0.05, DataKind::Mnist));
        assert_eq!((config.prune.pruning_mode, config.prune.threshold), (PruningMode::Threshold, 0.01));
        assert_eq!((phase, resume), (Phase::Train, Resume::Fresh));
    }

    #[test]
    fn the_commands_of_the_seed_work_pasted() {
        let dir = "../pretrained_model/MobileNetV1_pretrained";
        let train = resolve(&format!("--pretrained_model {dir} --data imagenet --lr 0.05"));
        assert_eq!(train.config.model.pretrained_model.as_deref(), Some(Path::new(dir)));
        assert_eq!(train.config.model.num_classes, 1000);
        assert_eq!((train.phase, train.config.prune.pruning_mode), (Phase::Train, PruningMode::Threshold));
        let test = resolve("--pretrained_model models/ --phase test --data imagenet");
        assert_eq!((test.phase, test.pruned_model), (Phase::Test, None));
        assert_eq!(test.config.model.pretrained_model.as_deref(), Some(Path::new("models/")));
        assert!(message("--help").contains("--batch_size"));
    }

    #[test]
    fn all_defaults_of_the_seed_written_out_are_the_defaults() {
        let line = "--batch_size 512 --use_gpu True --model MobileNet --lr 0.1 --lr_strategy piecewise_decay \
                    --l2_decay 3e-5 --momentum_rate 0.9 --threshold 1e-5 --num_epochs 120 --step_epochs 30 60 90 \
                    --data mnist --log_period 100 --phase train --test_period 10 --model_path ./models \
                    --model_period 10 --resume_epoch 0";
        let mut config = resolve(line).config;
        assert_eq!(config.train.use_gpu.take(), Some(true));
        assert_eq!(config, resolve("").config);
        assert_eq!(config, TrainConfig::defaults(DataKind::Mnist));
    }

    #[test]
    fn a_full_line_of_the_later_version_works_pasted() {
        let line = "--batch_size 64 --batch_size_for_validation 32 --use_gpu False --data imagenet \
                    --pretrained_model weights --lr 0.005 --lr_strategy piecewise_decay --l2_decay 3e-05 \
                    --momentum_rate 0.9 --ratio 0.75 --pruning_mode ratio --num_epochs 108 --step_epochs 71 88 \
                    --log_period 100 --test_period 5 --model_path ./out --model_period 10 --last_epoch -1 \
                    --num_workers 16 --stable_epochs 0 --pruning_epochs 54 --tunning_epochs 54 \
                    --pruning_steps 100 --initial_ratio 0.15 --prune_params_type conv1x1_only \
                    --pruning_strategy gmp --local_sparsity True --sparse_block 2 1 --ce_test False";
        let Resolved { config, resume, .. } = resolve(line);
        let prune = &config.prune;
        assert_eq!((prune.pruning_strategy, prune.ratio), (PruningStrategy::Gmp, 0.75));
        assert_eq!((prune.prune_params_type, prune.sparse_block), (ParamsType::Conv1x1Only, [2, 1]));
        assert_eq!((prune.pruning_epochs, prune.pruning_steps), (54, 100));
        assert!(prune.local_sparsity);
        assert_eq!((config.train.step_epochs, config.data.num_workers), (vec![71, 88], Some(16)));
        assert_eq!((config.train.use_gpu, resume), (Some(false), Resume::Fresh));
    }

    #[test]
    fn the_evaluation_line_of_the_later_version_tests() {
        let test = resolve("--pruned_model models/ --data mnist");
        assert_eq!((test.phase, test.pruned_model.as_deref()), (Phase::Test, Some(Path::new("models/"))));
        assert!(message("--phase train --pruned_model x").contains("use --pretrained_model"));
    }

    #[test]
    fn hyphens_equals_signs_and_repeated_flags_work() {
        let config =
            resolve("--batch-size=64 --lr-strategy cosine_decay --step-epochs=5 --num-epochs 2").config;
        assert_eq!((config.train.batch_size, config.train.num_epochs), (64, 2));
        assert_eq!((config.train.lr_strategy, config.train.step_epochs), (LrStrategy::CosineDecay, vec![5]));
        let config = resolve("--lr 1 --step_epochs 1 2 --lr .5 --step_epochs 3 4").config;
        assert_eq!((config.train.lr, config.train.step_epochs), (0.5, vec![3, 4]));
    }

    #[test]
    fn every_flag_sets_the_key_of_its_name_and_no_other() {
        let lines = |line: &str| resolve(line).config.to_toml().unwrap();
        let before = lines("");
        let flags = "num_workers 7, model MobileNet, num_classes 7, pretrained_model 7, pretrained_key 7, batch_size 7, \
                     batch_size_for_validation 7, lr 7, lr_strategy cosine_decay, step_epochs 7, l2_decay 7, \
                     momentum_rate 0.7, num_epochs 7, log_period 7, test_period 7, model_path 7, model_period 7, \
                     seed 7, use_gpu 1, device cuda:1, gpu_sparse_from 0.5, threads 7, precision bf16, ce_test 1, distill 1, distill_temperature 7, distill_weight 0.5, distill_features 7, \
                     teacher dense, teacher_key 7, ema 0.7, bn_recal 7, pruning_mode ratio, threshold 7, \
                     prune_params_type conv1x1_only, local_sparsity 1, sparse_block 7 7, stable_epochs 7, \
                     pruning_epochs 7, tunning_epochs 7, pruning_steps 7, ratio_steps_per_epoch 7, initial_ratio 0.7";
        for flag in flags.split(", ") {
            let after = lines(&format!("--{flag}"));
            let changed: Vec<&str> =
                after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
            let name = flag.split(' ').next().unwrap();
            let expected = if flag == "model MobileNet" { 0 } else { 1 };
            assert_eq!(changed.len(), expected, "{flag}: {changed:?}");
            assert!(
                changed.iter().all(|line| line.starts_with(&format!("{name} = "))),
                "{flag}: {changed:?}"
            );
        }
    }

    #[test]
    fn booleans_and_none_are_read_as_paddleslim_reads_them() {
        let config =
            resolve("--local_sparsity yes --ce_test=1 --use_gpu FALSE --prune_params_type None").config;
        assert!(config.prune.local_sparsity && config.train.ce_test);
        assert_eq!((config.train.use_gpu, config.prune.prune_params_type), (Some(false), ParamsType::All));
        assert!(message("--use_gpu maybe").contains("it must be true or false"));
    }

    #[test]
    fn the_mode_follows_the_flag_that_is_given() {
        let mode = |line: &str| resolve(line).config.prune.pruning_mode;
        assert_eq!(mode(""), PruningMode::Threshold);
        assert_eq!(mode("--ratio 0.3"), PruningMode::Ratio);
        assert_eq!(mode("--ratio 0.3 --threshold 1 --pruning_mode threshold"), PruningMode::Threshold);
        assert_eq!(mode("--pruning_mode none"), PruningMode::Dense);
        assert_eq!(mode("--set prune.ratio=0.3"), PruningMode::Ratio);
        let error = message("--ratio 0.3 --threshold 0.1");
        assert!(
            error.starts_with("both ratio and threshold are given (flag --ratio and --threshold)"),
            "{error}"
        );
        let error = message("--set prune.ratio=0.3 --set prune.threshold=0.1");
        assert!(error.starts_with("both ratio and threshold are given (--set prune.ratio and"), "{error}");
    }

    #[test]
    fn flag_beats_set_beats_file() {
        let line = format!("{} --set train.batch_size=2 --set train.lr=0.2", in_config("mnist.toml"));
        let config = resolve(&format!("{line} --lr 0.3")).config;
        assert_eq!((config.train.batch_size, config.train.lr, config.prune.ratio), (2, 0.3, 0.5));
        let config = resolve(&format!("{} --threshold 0.1", in_config("mnist.toml"))).config;
        assert_eq!((config.prune.pruning_mode, config.prune.threshold), (PruningMode::Threshold, 0.1));
    }

    #[test]
    fn values_out_of_range_reach_the_validation_and_name_the_flag() {
        for (line, expected) in [
            (
                "--threshold -1",
                "prune.threshold = -1.0 (flag --threshold): must be a finite number, 0 or more",
            ),
            ("--threshold -1e-5", "prune.threshold = -0.00001 (flag --threshold): must be"),
            ("--threshold nan", "prune.threshold = nan (flag --threshold): must be"),
            ("--ratio=-0.1", "prune.ratio = -0.1 (flag --ratio): must be"),
            ("--ratio 1", "prune.ratio = 1.0 (flag --ratio): must be"),
            ("--batch_size -1", "train.batch_size = -1 (flag --batch_size): must be"),
            ("--num-epochs 0", "train.num_epochs = 0 (flag --num_epochs): must be"),
            ("--seed -1", "train.seed = -1 (flag --seed): must be"),
            ("--sparse_block 2", "prune.sparse_block = [2] (flag --sparse_block): must be two whole numbers"),
            ("--step_epochs 88 71", "train.step_epochs = [88, 71] (flag --step_epochs): must be"),
            (
                "--model ResNet5",
                "model.model = \"ResNet5\" (flag --model): must be \"MobileNet\", \"MobileNetCifar\"",
            ),
            ("--data coco", "data.data = \"coco\" (flag --data): must be"),
            (
                "--pruning_strategy gmp",
                "prune.pruning_strategy = \"gmp\" (flag --pruning_strategy): raises a ratio",
            ),
            (
                "--set prune.rato=1",
                "unknown key `prune.rato` (--set prune.rato=1): did you mean `prune.ratio`?",
            ),
        ] {
            let error = message(line);
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }

    #[test]
    fn resuming_is_asked_for_in_three_ways() {
        let resume = |line: &str| resolve(line).resume;
        assert_eq!(resume("--resume auto"), Resume::Auto);
        assert_eq!(resume("--resume auto --resume_epoch 0 --last_epoch -1"), Resume::Auto);
        assert_eq!(resume("--resume_epoch 3"), Resume::Epoch(3));
        assert_eq!(resume("--last_epoch 2"), Resume::Epoch(3));
        assert_eq!(resume("--last_epoch 0"), Resume::Epoch(1));
        assert_eq!(resume("--resume_epoch 3 --last_epoch 2"), Resume::Epoch(3));
        assert_eq!(resume("--last_epoch -1 --resume_epoch 3"), Resume::Epoch(3));
        for line in [
            "--resume auto --resume_epoch 3",
            "--resume_epoch 3 --last_epoch 3",
            "--resume_epoch -1",
            "--last_epoch -2",
            "--last_epoch 9223372036854775807",
            "--resume always",
        ] {
            assert!(try_resolve(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_checkpoint_folder_needs_the_wish_to_resume() {
        let resolved = resolve("--checkpoint runs/a --last_epoch 4");
        assert_eq!(resolved.checkpoint.as_deref(), Some(Path::new("runs/a")));
        assert!(message("--checkpoint runs/a").contains("add --resume auto or --resume_epoch N"));
    }

    #[test]
    fn inspect_stands_beside_the_flags() {
        let words = ["sparse-train", "inspect", "models/weights.safetensors", "--json"].map(OsString::from);
        let Ok(Action::Inspect(inspect)) = parse(words) else { panic!("not inspect") };
        assert_eq!(
            (inspect.weights.as_path(), inspect.json),
            (Path::new("models/weights.safetensors"), true)
        );
        assert!(resolve("--json").json && !resolve("").json);
    }

    #[test]
    fn a_usage_error_of_clap_exits_with_2() {
        for line in ["--no_such_flag", "--batch_size", "--batch_size many", "inspect", "stray"] {
            let words = std::iter::once("sparse-train").chain(line.split(' ')).map(OsString::from);
            assert_eq!(parse(words).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
