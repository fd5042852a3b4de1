//! `sparse-train prune`: zeros by data, without labels and without training.
//!
//! The layers of the engine's graph are pruned in their order. What a layer reads is computed twice, by the dense network and by the one that is
//! pruned so far (`activations.rs`), and what it is to keep follows from both (`sparse-oneshot`). Batch norms are part of the convolutions then; where
//! weights of ours are written they are taken out again (`file.rs`).

mod activations;
mod allocate;
mod chart;
mod error;
mod file;
mod images;
mod in_training;
mod layers;
mod magnitude;
mod memory;
mod partial;
mod quantize;
mod reorder;
mod report;
mod scores;
mod seen;
mod sensitivity;
mod settle;
mod timings;

pub use allocate::Allocation;
pub use chart::chart;
pub use error::OneshotError;
pub(crate) use in_training::{ACTIVATIONS, ByData};
pub use memory::bytes;
pub use quantize::{QuantizeConfig, QuantizeReport, QuantizedLayer, quantize};
pub use report::{OneshotObserver, OneshotReport, PrunedLayer};
pub use sensitivity::{
    LayerSensitivity, SensitivityConfig, SensitivityPoint, SensitivityReport, sensitivity,
};
pub use settle::settled;
pub use sparse_oneshot::Method;

use crate::bench::peak_rss_bytes;
use crate::config::{ParamsType, TrainConfig};
use crate::error::{Error, Result};
use crate::pretrained::WeightsAt;
use crate::stop::StopFlag;
use activations::{Activations, Networks};
use allocate::Wanted;
use file::File;
use images::Pool;
use layers::{Found, Layer, Spread, spread};
use partial::Partial;
use seen::Seen;
use sparse_data::Split;
use sparse_engine::graph::Graph;
use sparse_formats::atomic;
use sparse_formats::packed::Values;
use sparse_oneshot::{Places, Problem, Pruned, Statistics, Support};
use sparse_prune::Scope;
use sparse_sparsity::Mask;
use std::path::{Path, PathBuf};
use std::time::Instant;
use timings::Timings;

/// More inputs than these are not pruned by ExactOBS, which takes outputs × inputs³ operations.
const MOST_INPUTS_OF_OBS: usize = 256;
/// Images that are enough to see how the output depends on a layer.
const IMAGES_OF_CURVES: usize = 320;

/// How layers are pruned.
#[derive(Clone, Debug, PartialEq)]
pub struct OneshotConfig {
    /// Share of zeros among the weights that may be pruned, fraction.
    pub ratio: f64,
    /// Whether weights are chosen by their magnitude alone, and left as they are.
    pub magnitude: bool,
    /// How zeros are shared among layers.
    pub allocation: Allocation,
    /// How many times as fast the network is to be, for [`Allocation::Time`].
    pub speedup: f64,
    /// What the layers take: read if the file is there, else measured and written. For [`Allocation::Time`].
    pub timings: Option<PathBuf>,
    /// Images to look at.
    pub images: usize,
    /// Share of the mean variance of a layer's inputs that is added to each.
    pub damp: f64,
    /// Which parameters may be pruned.
    pub params_type: ParamsType,
    /// Regular expressions: if there are any, only these parameters.
    pub include: Vec<String>,
    /// Regular expressions: these parameters not.
    pub exclude: Vec<String>,
    /// Rows and columns that are pruned together, over the first two dimensions of a weight.
    pub block: [usize; 2],
    /// Whether channels are put into an order in which blocks lose little.
    pub reorder: bool,
    /// `n` weights of every `m` are kept, instead of a ratio.
    pub pattern: Option<[usize; 2]>,
    /// Type of the numbers in a packed file; none: it is not packed.
    pub packed: Option<Values>,
    /// How layers are rounded to integers, if they are: after they are pruned, if they are that too.
    pub quantize: Option<QuantizeConfig>,
    /// Most memory that the process may take, in bytes.
    pub memory: usize,
    /// Threads that compute.
    pub threads: usize,
}

/// Prunes the network in a file by images of the training split, and writes it as it was: weights as ours, ONNX as ONNX.
///
/// What is done is kept beside `to`, and the same call goes on from it after an early end.
///
/// # Errors
/// What reading weights and images reports, [`OneshotError`] naming the layer that cannot be pruned,
/// [`crate::Error::Stopped`] if a signal asked to stop; nothing is written to `to` then.
pub fn prune(
    config: &TrainConfig,
    oneshot: &OneshotConfig,
    from: WeightsAt<'_>,
    to: &Path,
    stop: &StopFlag,
    observer: &mut dyn OneshotObserver,
) -> Result<OneshotReport> {
    let start = Instant::now();
    let mut file = File::read(from, oneshot.packed, Some(to))?;
    let layers = layers::of(&file.graph, &file.raw, oneshot)?;
    let pool = Pool::open(config, Split::Train, file.input_shape())?;
    atomic::check_target(to)?;
    if oneshot.reorder {
        let job = Job { config, oneshot, file: &file, layers: &layers, pool: &pool, stop };
        let orders = reorder::orders(&job, observer)?;
        reorder::apply(&mut file, &orders)?;
    }
    let job = Job { config, oneshot, file: &file, layers: &layers, pool: &pool, stop };
    let mut partial = Partial::open(to, job.asked()?)?;
    if let Some(path) = oneshot.timings.as_ref().filter(|path| !path.exists()) {
        atomic::check_target(path)?;
    }
    let supports = job.supports(&partial, observer)?;
    partial.set_kept(supports.kept.clone());
    let mut graph = file.graph.clone();
    if oneshot.quantize.is_some() {
        let found = quantize::both(&job, &supports, &mut partial, observer)?;
        let (quantized, pruned) = found.finish(&job, to, start)?;
        partial.remove();
        let layers = pruned.iter();
        let (kept, weights) =
            layers.fold((0, 0), |(kept, all), layer| (kept + layer.kept, all + layer.weights));
        return Ok(OneshotReport {
            from: from.path.display().to_string(),
            to: to.display().to_string(),
            images: quantized.images,
            sparsity: 1.0 - kept as f64 / weights.max(1) as f64,
            layers: pruned,
            network_ms: quantized.network_ms,
            seconds: start.elapsed().as_secs_f64(),
            peak_bytes: peak_rss_bytes(),
            quantized: Some(quantized),
        });
    }
    let (done, images) = job.prune(&mut graph, &supports.supports, &mut partial, observer)?;
    let (mut done, spreads): (Vec<PrunedLayer>, Vec<Spread>) = done.into_iter().unzip();
    let (ms, network_ms) = timings::before_and_after([&file.graph, &graph], &layers, oneshot.threads)?;
    done.iter_mut().zip(ms).for_each(|(layer, ms)| layer.ms = ms);
    file.write(&graph, layers.iter().zip(&spreads), to, oneshot.packed)?;
    partial.remove();
    let (kept, weights) =
        done.iter().fold((0, 0), |(kept, all), layer| (kept + layer.kept, all + layer.weights));
    Ok(OneshotReport {
        from: from.path.display().to_string(),
        to: to.display().to_string(),
        images,
        sparsity: 1.0 - kept as f64 / weights.max(1) as f64,
        layers: done,
        network_ms,
        seconds: start.elapsed().as_secs_f64(),
        peak_bytes: peak_rss_bytes(),
        quantized: None,
    })
}

/// What is to be done.
struct Job<'a> {
    config: &'a TrainConfig,
    oneshot: &'a OneshotConfig,
    file: &'a File,
    layers: &'a [Layer],
    pool: &'a Pool,
    stop: &'a StopFlag,
}

/// A layer that is pruned, and what comes out of it.
type Done = (PrunedLayer, Spread);

/// What the layers may keep.
struct Supports {
    supports: Vec<Support>,
    /// Weights of each.
    kept: Vec<usize>,
}

impl Job<'_> {
    /// The images, before the first layer.
    fn activations(&self, count: usize, observer: &mut dyn OneshotObserver) -> Result<Activations> {
        let per_image = self.file.input_shape().iter().product::<usize>();
        let wanted = count.min(self.pool.len());
        let memory = memory::for_activations(self.oneshot, self.layers, per_image, wanted)?;
        let images = self.pool.read(self.config, wanted, self.stop, observer)?;
        if !self.oneshot.magnitude {
            images.differ(per_image, &self.config.data.path)?;
        }
        let activations = Activations::of(images.batches, per_image, memory, self.oneshot.threads);
        if activations.images() < count {
            tracing::warn!("there are {} images to look at, and not {count}", activations.images());
        }
        Ok(activations)
    }

    /// What each layer may keep: as it was decided before, or decided now.
    fn supports(&self, partial: &Partial, observer: &mut dyn OneshotObserver) -> Result<Supports> {
        let kept = match partial.kept().filter(|kept| kept.len() == self.layers.len()) {
            Some(kept) => kept,
            None => self.allocate(observer)?.into_iter().map(|kept| kept.round() as usize).collect(),
        };
        let numbers: Vec<f64> = kept.iter().map(|&kept| kept as f64).collect();
        let supports = allocate::supports(self.layers, &numbers, self.oneshot)?;
        Ok(Supports { supports, kept })
    }

    fn allocate(&self, observer: &mut dyn OneshotObserver) -> Result<Vec<f64>> {
        let (oneshot, graph) = (self.oneshot, &self.file.graph);
        let by_curves = matches!(oneshot.allocation, Allocation::Error | Allocation::Time);
        if !by_curves {
            return Ok(allocate::kept(&self.file.raw, self.layers, oneshot, &[]));
        }
        let timings = match oneshot.allocation {
            Allocation::Time => {
                let file = oneshot.timings.as_deref();
                Some(Timings::of(graph, self.layers, oneshot.threads, file)?)
            }
            _ => None,
        };
        let activations = self.activations(oneshot.images.min(IMAGES_OF_CURVES), observer)?;
        let curves = allocate::curves(graph, self.layers, oneshot, activations, self.stop, observer)?;
        match &timings {
            Some(timings) => {
                let wanted = Wanted { speedup: oneshot.speedup, timings };
                allocate::within_time(self.layers, &curves, &wanted)
            }
            None => Ok(allocate::kept(&self.file.raw, self.layers, oneshot, &curves)),
        }
    }

    /// Masks by magnitude, if that is asked for.
    fn masks(&self, supports: &[Support]) -> Result<Option<Vec<Mask>>> {
        if !self.oneshot.magnitude {
            return Ok(None);
        }
        let scope = match self.oneshot.allocation {
            Allocation::Global => Scope::Global,
            Allocation::Uniform => Scope::LayerWise,
            _ => return Ok(Some(magnitude::by_support(self.file, self.layers, supports))),
        };
        magnitude::by_pruner(self.file, self.layers, self.oneshot, scope).map(Some)
    }

    /// Prunes the layers of the graph in their order; how many images were looked at.
    fn prune(
        &self,
        graph: &mut Graph,
        supports: &[Support],
        partial: &mut Partial,
        observer: &mut dyn OneshotObserver,
    ) -> Result<(Vec<Done>, usize)> {
        let masks = self.masks(supports)?;
        let mut activations = self.activations(self.oneshot.images, observer)?;
        let mut done = Vec::with_capacity(self.layers.len());
        for (index, (layer, support)) in self.layers.iter().zip(supports).enumerate() {
            observer.layer(&layer.name, index, self.layers.len());
            let found = match partial.take(index, layer, graph) {
                Some(found) => found,
                None => {
                    let pruned = (index > 0).then_some(&*graph);
                    let networks = Networks { dense: &self.file.graph, pruned };
                    let seen = Seen::of(networks, layer, &mut activations, self.stop)?;
                    let mask = masks.as_ref().map(|masks| &masks[index]);
                    let found = self.layer(layer, graph, &seen, support, mask)?;
                    partial.add(layer, graph, &found)?;
                    found
                }
            };
            let Found { kept, relative_error, spread } = found;
            let shape = [layer.outputs * layer.groups, layer.inputs];
            let name = layer.name.clone();
            let layer = PrunedLayer { name, shape, kept, weights: layer.len(), relative_error, ms: None };
            observer.pruned(&layer);
            done.push((layer, spread));
        }
        Ok((done, activations.images()))
    }

    /// Prunes a layer; weights that are kept, and its error.
    fn layer(
        &self,
        layer: &Layer,
        graph: &mut Graph,
        seen: &Seen,
        support: &Support,
        mask: Option<&Mask>,
    ) -> Result<Found> {
        let statistics = &seen.statistics;
        let (mut found, mut constant) = (Found::default(), 0);
        for (group, statistics) in statistics.iter().enumerate() {
            let problem = layer.problem(statistics, graph, group, self.oneshot)?;
            constant += usize::from(problem.is_constant());
            let places = seen.places.get(group);
            let pruned = match mask {
                Some(mask) => layer.masked(&problem, places, graph, group, mask),
                None => {
                    let pruned = chosen(layer, &problem, places, support)?;
                    found.spread.extend(spread(&problem, &pruned.weight));
                    pruned
                }
            };
            found.kept += pruned.mask.kept();
            found.relative_error += pruned.relative_error / layer.groups as f64;
            layer.set(graph, group, &pruned);
        }
        if constant == layer.groups && mask.is_none() {
            return Err(nothing_to_choose_by(layer, statistics));
        }
        if statistics.first().is_some_and(|statistics| statistics.count() < layer.inputs as u64) {
            tracing::warn!(
                "{} has {} inputs, and the images show them at {} places: damping ({}) decides where they say nothing; more images \
                 (--images) say more",
                layer.name,
                layer.inputs,
                statistics[0].count(),
                self.oneshot.damp
            );
        }
        Ok(found)
    }

    /// A number for what is asked for, the same for any number of threads.
    fn asked(&self) -> Result<u64> {
        let oneshot = OneshotConfig { threads: 0, memory: 0, ..self.oneshot.clone() };
        let config = &self.config;
        let data = serde_json::to_string(&config.data).map_err(|source| crate::Error::Json { source })?;
        let version = env!("CARGO_PKG_VERSION");
        let seed = config.train.seed.to_string();
        let images = format!("{:?}", self.pool.fingerprint());
        Ok(partial::asked_for(&[version, &format!("{oneshot:?}"), &data, &seed, &images], &self.file.graph))
    }
}

/// The weights of a group that are kept, and what they are.
fn chosen(layer: &Layer, problem: &Problem, places: Option<&Places>, support: &Support) -> Result<Pruned> {
    let refine = |pruned| match places {
        Some(places) => problem.refine(pruned, places),
        None => Ok(pruned),
    };
    problem.prune(support, method(layer)).and_then(refine).map_err(|source| layer.error(source))
}

/// Why no weight of a layer can be chosen that reads the same of all images.
fn nothing_to_choose_by(layer: &Layer, statistics: &[Statistics]) -> Error {
    let name = layer.name.clone();
    match statistics.iter().all(Statistics::is_constant_dense) {
        true => OneshotError::AllAlike { layer: name },
        false => OneshotError::NothingLeft { layer: name },
    }
    .into()
}

/// Where ExactOBS is quick the better of both is taken.
fn method(layer: &Layer) -> Method {
    if layer.inputs <= MOST_INPUTS_OF_OBS { Method::Best } else { Method::Admm }
}
