//! From a plan to a learner at the step where the run begins.

use crate::checkpoint::{Checkpoint, CheckpointError, Store};
use crate::config::{
    self, Allocation, Criterion, Gradient, ParamsType, PruneSection, PruningMode, Resume, TrainConfig,
    parse_pattern,
};
use crate::error::{Error, Result};
use crate::given_zeros;
use crate::learner::{Learner, LearnerConfig};
use crate::plan::{DeviceChoice, TrainPlan};
use crate::pretrained::{Pretrained, WeightsAt};
use crate::ranks::Ranks;
use crate::recipe::Recipe;
#[cfg(feature = "cuda")]
use crate::shared_device::connect;
use crate::teacher::Teacher;
use candle_core::{DType, Device};
use sparse_data::Fingerprint;
use sparse_model::{Model, Precision};
use sparse_ops::SgdConfig;
use sparse_prune::{GradientMode, Mode, Pattern, Pruner, PrunerConfig, Ranking, Scope};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where a run begins.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Fresh, from the newest checkpoint, or from an epoch.
    pub resume: Resume,
    /// Another run's folder to take the checkpoint from; `None` = the run folder. Not used for a fresh start.
    pub checkpoint: Option<PathBuf>,
}

/// The network of a config for images of `channels` channels, freshly initialised from `train.seed`.
///
/// # Errors
/// If the settings make no network.
pub fn build_model(config: &TrainConfig, channels: usize) -> Result<Model> {
    Ok(Model::new(config.model.network(channels), config.train.seed, DType::F32, &Device::Cpu)?)
}

/// A learner at the step where its run begins.
pub(crate) struct Started {
    pub(crate) learner: Learner,
    /// Updates behind it.
    pub(crate) step: usize,
    /// Whether it goes on from a checkpoint, and not from initial or given weights.
    pub(crate) resumed: bool,
}

/// Builds the learner a run begins with.
///
/// # Errors
/// If a checkpoint or weights asked for are missing, damaged or of another run.
pub(crate) fn start_learner(plan: &TrainPlan, start: &Start, data: &Fingerprint) -> Result<Started> {
    if let Some((folder, checkpoint)) = find_checkpoint(plan, start, data)? {
        let step = checkpoint.step;
        let mut learner = new_learner(plan, build_model(&plan.config, plan.data.image_shape[0])?, 0)?;
        checkpoint.recipe.check_resume(&learner.recipe(&plan.config), &folder)?;
        checkpoint.check_data(data, &folder)?;
        if step > plan.total_steps {
            let (epochs, num_epochs) = (step.div_ceil(plan.steps_per_epoch), plan.config.train.num_epochs);
            return Err(CheckpointError::PastEnd { folder, epochs, num_epochs }.into());
        }
        checkpoint.restore(&mut learner, &folder)?;
        tracing::info!("resumed from {} ({step} of {} steps done)", folder.display(), plan.total_steps);
        return Ok(Started { learner, step, resumed: true });
    }
    let model = build_model(&plan.config, plan.data.image_shape[0])?;
    let (mut step, mut given) = (0, None);
    if let Some(weights) = WeightsAt::start(&plan.config) {
        let pretrained = Pretrained::read(weights)?;
        let file = pretrained.path.display().to_string();
        let head = pretrained.load(&model, plan.config.data.classes.as_deref())?;
        tracing::info!("starting from the weights of {file}, {head}");
        given = Some(file);
        if let Resume::Epoch(epoch) = start.resume {
            step = epoch.saturating_mul(plan.steps_per_epoch);
            tracing::info!("no checkpoint of epoch {epoch}: going on from those weights with zero momentum");
        }
    }
    let mut learner = new_learner(plan, model, step)?;
    learner.state()?.rewind().map_or(Ok(()), |rewind| rewind.check(step as u64))?;
    given_zeros::refuse_threshold_above_all(learner.state()?, &plan.config.prune)?;
    if let Some(file) = given {
        given_zeros::take(&mut learner, plan, &file)?;
    }
    Ok(Started { learner, step, resumed: false })
}

/// As [`start_learner`] on the first rank; the others begin with what it has, wherever that came from.
///
/// # Errors
/// As [`start_learner`].
pub(crate) fn start_shared(
    plan: &TrainPlan,
    start: &Start,
    data: &Fingerprint,
    ranks: &Ranks,
) -> Result<Started> {
    let sync_bn = plan.config.train.sync_bn;
    let begin = || start_learner(plan, start, data).map_err(|error| other_batch(error, plan));
    let first = ranks.place().is_first().then(begin).transpose()?;
    let (step, resumed) = ranks
        .of_first(|| Ok(first.as_ref().map_or((0, false), |started| (started.step, started.resumed))))?;
    let mut learner = match first {
        Some(started) if ranks.is_alone() => {
            let mut learner = started.learner;
            place(&mut learner, plan.device, plan.config.train.gpu_sparse_from)?;
            return Ok(Started { learner, ..started });
        }
        Some(started) => started.learner,
        None => bare_learner(plan, build_model(&plan.config, plan.data.image_shape[0])?, step)?,
    };
    if let Some(teacher) = Teacher::of_first(plan, learner.teacher(), ranks)? {
        learner = learner.with_teacher(Some(teacher));
    }
    let mut files: BTreeMap<String, Vec<u8>> = match ranks.place().is_first() {
        true => Checkpoint::files(&mut learner, &plan.config, *data, step)?.into_iter().collect(),
        false => BTreeMap::new(),
    };
    let mut received = BTreeMap::new();
    for name in Checkpoint::FILES {
        // One that is not there is sent as nothing.
        let bytes = files.remove(name).unwrap_or_default();
        received.insert(name.to_owned(), ranks.bytes_of_first(|| Ok(bytes))?);
    }
    if !ranks.place().is_first() {
        let folder = &plan.config.train.model_path;
        let state = Checkpoint::of(folder, |name| Ok(received.get(name).cloned().unwrap_or_default()))?;
        state.restore(&mut learner, folder)?;
    }
    let mut learner = learner.with_ranks(ranks.clone(), sync_bn);
    place(&mut learner, plan.device, plan.config.train.gpu_sparse_from)?;
    Ok(Started { learner, step, resumed })
}

/// Says of another batch in a checkpoint how many images of each process make it, where that is what was given.
fn other_batch(error: Error, plan: &TrainPlan) -> Error {
    let Some(per_card) = plan.config.train.batch_size_per_card else { return error };
    match error {
        Error::Checkpoint(CheckpointError::OtherRun { folder, key, saved, given }) => {
            match saved.parse().ok().filter(|_| key == "train.batch_size") {
                Some(saved) => {
                    CheckpointError::OtherBatch { folder, saved, ranks: plan.place.ranks, per_card }.into()
                }
                None => CheckpointError::OtherRun { folder, key, saved, given }.into(),
            }
        }
        error => error,
    }
}

/// Moves a learner to where it is to compute, on every rank at once; `sparse_from` is `train.gpu_sparse_from`.
#[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "there is only the host"))]
pub(crate) fn place(learner: &mut Learner, device: DeviceChoice, sparse_from: f64) -> Result<()> {
    learner.ranks().check_same("kind of device", device.kind())?;
    let DeviceChoice::Cuda { ordinal, .. } = device else { return Ok(()) };
    #[cfg(feature = "cuda")]
    {
        let stream = sparse_cuda::Stream::new(ordinal)?;
        stream.check_element(element(learner.precision()))?;
        tracing::info!("computing on CUDA device {ordinal}: {}", stream.device_name()?);
        if learner.ranks().is_alone() {
            return learner.move_to(stream, sparse_from);
        }
        let all_reduce = connect(&stream, learner.ranks())?;
        learner.move_to_share(stream, sparse_from, all_reduce)
    }
    #[cfg(not(feature = "cuda"))]
    Err(crate::error::Error::NoCuda)
}

/// The checkpoint to go on from; `None` starts from initial or pretrained weights.
fn find_checkpoint(
    plan: &TrainPlan,
    start: &Start,
    data: &Fingerprint,
) -> Result<Option<(PathBuf, Checkpoint)>> {
    let store = match &start.checkpoint {
        Some(path) => Store::named(path),
        None => Store::of_run(&plan.config.train.model_path),
    };
    // Who names a folder does not want to begin without it.
    if start.resume != Resume::Fresh && start.checkpoint.is_some() && store.list()?.is_empty() {
        return Err(CheckpointError::NoCheckpoints { folder: store.folder().to_path_buf() }.into());
    }
    match start.resume {
        Resume::Fresh => Ok(None),
        Resume::Auto => match (store.newest()?, &start.checkpoint) {
            (None, Some(named)) => Err(CheckpointError::NoneThere { folder: named.clone() }.into()),
            (found, _) => Ok(found),
        },
        Resume::Epoch(epoch) => {
            let found = store.at(epoch.saturating_mul(plan.steps_per_epoch))?;
            let from_weights = plan.config.model.pretrained_model.is_some() && start.checkpoint.is_none();
            if found.is_none() && !from_weights {
                // With another batch size or other images epochs are counted otherwise than in the run that was saved.
                if let Some((folder, newest)) = store.newest()? {
                    newest.recipe.check_agrees(&Recipe::of(&plan.config), &folder)?;
                    newest.check_data(data, &folder)?;
                }
                return Err(store.no_epoch(epoch, plan.steps_per_epoch)?.into());
            }
            Ok(found)
        }
    }
}

/// Checks that the settings of a plan choose something to prune and leave something.
///
/// # Errors
/// What the pruner refuses.
pub(crate) fn check_pruner(plan: &TrainPlan) -> Result<()> {
    if let Some(config) = pruner_config(plan, 0) {
        Pruner::new(&build_model(&plan.config, plan.data.image_shape[0])?.var_map(), config)?;
    }
    Ok(())
}

fn new_learner(plan: &TrainPlan, model: Model, step: usize) -> Result<Learner> {
    Ok(bare_learner(plan, model, step)?.with_teacher(Teacher::of_plan(plan)?))
}

/// A learner without a teacher.
fn bare_learner(plan: &TrainPlan, model: Model, step: usize) -> Result<Learner> {
    let train = &plan.config.train;
    let config = LearnerConfig {
        sgd: SgdConfig {
            momentum: train.momentum_rate,
            l2_decay: train.l2_decay,
            clip_norm: train.clip_norm,
        },
        label_smoothing: train.label_smoothing,
        precision: storage(train.precision),
        pruner: pruner_config(plan, step),
    };
    Learner::new(model, config)?.with_ema(train.ema)
}

/// How the passes of a model of f32 store activations.
pub(crate) fn storage(precision: config::Precision) -> Precision {
    match precision {
        config::Precision::F32 => Precision::Full,
        config::Precision::Bf16 => Precision::Bf16,
    }
}

/// How a device stores activations of a precision.
#[cfg(feature = "cuda")]
fn element(precision: Precision) -> sparse_cuda::Element {
    match precision {
        Precision::Full => sparse_cuda::Element::F32,
        Precision::Bf16 => sparse_cuda::Element::Bf16,
    }
}

/// The pruner's settings; `None` for a dense run.
fn pruner_config(plan: &TrainPlan, step: usize) -> Option<PrunerConfig> {
    let prune: &PruneSection = &plan.config.prune;
    let mode = match prune.pruning_mode {
        PruningMode::Dense => return None,
        PruningMode::Ratio => Mode::Ratio(prune.ratio),
        PruningMode::Threshold => Mode::Threshold(prune.threshold),
        PruningMode::Pattern => {
            let [n, m] = parse_pattern(&prune.pattern)?;
            // The head is stored as [in, classes].
            Mode::Pattern(Pattern { n, m, linear_inputs: 0 })
        }
    };
    let strategy = plan.strategy(step);
    Some(PrunerConfig {
        mode,
        ranking: match prune.criterion() {
            // How many weights each layer keeps is ranked so, too, where which they are is chosen by data.
            Criterion::Magnitude | Criterion::Obs => Ranking::Magnitude,
            Criterion::Taylor => Ranking::Taylor,
            Criterion::Movement => Ranking::Movement,
        },
        strategy,
        params_type: match prune.prune_params_type {
            ParamsType::All => sparse_prune::ParamsType::All,
            ParamsType::Conv1x1Only => sparse_prune::ParamsType::Conv1x1Only,
        },
        include: prune.include.clone(),
        exclude: prune.exclude.clone(),
        scope: if prune.local_sparsity { Scope::LayerWise } else { Scope::Global },
        allocation: match prune.allocation {
            Allocation::Uniform => sparse_prune::Allocation::Uniform,
            Allocation::Erk => sparse_prune::Allocation::Erk,
        },
        layers: prune.layers.clone(),
        block: prune.sparse_block,
        regrow: prune.regrows(),
        gradient: match prune.gradient {
            Gradient::Masked => GradientMode::Masked,
            Gradient::Dense => GradientMode::Dense,
        },
        paddle_compat: prune.paddle_compat,
    })
}
