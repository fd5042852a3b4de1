//! `prune.criterion = "obs"`: at an update of the masks in training, each layer's weights are chosen by what it reads, and those that are kept
//! are solved for.
//!
//! How many weights a layer keeps is what the pruner's ranking by magnitude leaves it. The network that the outputs are to stay like is the
//! one before the update, with the zeros it has; images are drawn anew for each update, by the seed and the step alone.

use super::activations::{Activations, Networks};
use super::file::{Norm, Outputs, unfold};
use super::images::BATCH;
use super::layers::{self, Layer, Spread};
use super::seen::Seen;
use super::{OneshotError, method};
use crate::config::Criterion;
use crate::error::Result;
use crate::plan::TrainPlan;
use crate::stop::StopFlag;
use crate::weights::{WEIGHTS_FILE, set_variables, to_tensors};
use sparse_data::{Dataset, Loader, LoaderConfig, Order};
use sparse_engine::graph::Graph;
use sparse_engine::{bind, fold};
use sparse_formats::Tensors;
use sparse_model::{Model, NetworkConfig};
use sparse_oneshot::{Pruned, Statistics, Support};
use sparse_prune::{Mode, Pruner};
use sparse_sparsity::Mask;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Share of the mean variance of a layer's inputs that is added to each.
const DAMP: f64 = 0.01;
/// Bytes that activations may take.
pub(crate) const ACTIVATIONS: usize = 1 << 30;

/// Chooses weights by data when masks are updated.
pub(crate) struct ByData {
    images: Arc<dyn Dataset>,
    count: usize,
    seed: u64,
    workers: usize,
    threads: usize,
    /// Whether the user knows that the images are few.
    told: bool,
}

impl ByData {
    /// By images of a training set; nothing if the plan ranks otherwise.
    pub(crate) fn of_plan(plan: &TrainPlan, images: &Arc<dyn Dataset>) -> Option<Self> {
        let config = &plan.config;
        if config.prune.criterion() != Criterion::Obs {
            return None;
        }
        let count = config.prune.obs_images;
        if images.len() < count {
            tracing::warn!(
                "there are {} images to look at, and not {count} (prune.obs_images)",
                images.len()
            );
        }
        let (seed, workers) = (config.train.seed, config.data.worker_count());
        let threads = plan.device.threads();
        Some(Self { images: images.clone(), count, seed, workers, threads, told: false })
    }

    /// The pruner's step; if it updates the masks, weights are chosen and solved for.
    ///
    /// # Errors
    /// What the pruner, the images and the engine report, [`OneshotError`] naming a layer that cannot be solved.
    pub(crate) fn step(&mut self, model: &Model, pruner: &mut Pruner) -> Result<()> {
        if !pruner.is_update_due() {
            pruner.step()?;
            return Ok(());
        }
        // What was pruned before is zero in the network that the outputs are to stay like.
        pruner.update_params()?;
        let allowed = (!pruner.regrow()).then(|| pruner.masks().clone());
        pruner.step()?;
        let masks = self.solve(model, pruner, allowed.as_ref())?;
        Ok(pruner.replace_masks(masks)?)
    }

    /// Puts solved weights into the model; gives the masks.
    fn solve(
        &mut self,
        model: &Model,
        pruner: &Pruner,
        allowed: Option<&BTreeMap<String, Mask>>,
    ) -> Result<BTreeMap<String, Mask>> {
        let mut tensors = to_tensors(model.variables())?;
        let [_, height, width] = self.images.image_shape();
        let dense = graph(&tensors, &model.config(), [height, width])?;
        let mut pruned = dense.clone();
        let mut masks = BTreeMap::new();
        let mut activations = self.draw(pruner)?;
        let layers = layers::all(&dense)?;
        let chosen = layers.iter().filter(|layer| pruner.masks().contains_key(&layer.name));
        for (index, layer) in chosen.enumerate() {
            let networks = Networks { dense: &dense, pruned: (index > 0).then_some(&pruned) };
            // A signal waits until the update is done: half of one is no state to go on from.
            let seen = Seen::of(networks, layer, &mut activations, &StopFlag::default())?;
            self.tell(layer, &seen.statistics);
            let ours = |mask: &Mask| layer.mask_from_training(mask);
            let wanted = ours(&pruner.masks()[&layer.name]);
            let allowed = allowed.map(|allowed| ours(&allowed[&layer.name]));
            let chosen = Chosen { layer, pruner, wanted, allowed };
            let mask = chosen.solve(&mut pruned, &seen)?;
            masks.insert(layer.name.clone(), layer.mask_for_training(&mask));
            let changed = [&dense.nodes[layer.node].op, &pruned.nodes[layer.node].op];
            let [before, after] = spreads(&seen, layer, &pruned);
            let outputs = match before.is_empty() {
                true => Outputs::Unknown,
                false => Outputs::Changed { before: &before, after: &after },
            };
            let norm = Norm { epsilon: model.config().bn_epsilon, outputs };
            unfold(&mut tensors, Path::new(WEIGHTS_FILE), changed, norm, &layer.node_name)?;
        }
        set_variables(model.variables(), &tensors, Path::new(WEIGHTS_FILE))?;
        Ok(masks)
    }

    /// The images of an update, before the first layer.
    fn draw(&self, pruner: &Pruner) -> Result<Activations> {
        let order = Order::Shuffled { seed: self.seed, epoch: pruner.steps().unwrap_or_default() };
        let config = LoaderConfig { order, workers: self.workers, ..LoaderConfig::eval(BATCH) };
        let per_image = self.images.image_shape().iter().product::<usize>();
        let (mut batches, mut left) = (Vec::new(), self.count.saturating_mul(per_image));
        for batch in Loader::new(self.images.clone(), config)? {
            let mut images = batch?.images;
            images.truncate(left);
            left -= images.len();
            // Of a batch all images may have been left out.
            if !images.is_empty() {
                batches.push(images);
            }
            if left == 0 {
                break;
            }
        }
        if batches.is_empty() {
            return Err(OneshotError::NoneToLookAt.into());
        }
        Ok(Activations::of(batches, per_image, ACTIVATIONS, self.threads))
    }

    /// Warns once of a layer that has more inputs than the images show.
    fn tell(&mut self, layer: &Layer, statistics: &[Statistics]) {
        let places = statistics.first().map_or(0, Statistics::count);
        if places < layer.inputs as u64 && !self.told {
            self.told = true;
            tracing::warn!(
                "{} has {} inputs, and the images of an update show them at {places} places: damping ({DAMP}) decides where they say \
                 nothing; more images (--obs_images) say more",
                layer.name,
                layer.inputs
            );
        }
    }
}

/// The network with its batch norms folded, as a test sees it.
fn graph(tensors: &Tensors, network: &NetworkConfig, size: [usize; 2]) -> Result<Graph> {
    let mut values = |name: &str| match tensors.get(name) {
        Some(tensor) => Ok(tensor.to_f32()?),
        None => Err(sparse_engine::Error::TensorMissing { path: WEIGHTS_FILE.into(), name: name.to_owned() }),
    };
    Ok(fold(bind(&network.graph()?, size, &mut values)?))
}

/// What came out of a layer of the dense network, and what comes out now; nothing if no places of it were kept.
fn spreads(seen: &Seen, layer: &Layer, pruned: &Graph) -> [Spread; 2] {
    let mut spreads = [Spread::new(), Spread::new()];
    for (group, places) in seen.places.iter().enumerate() {
        let of_group = [places.dense_outputs(), places.outputs(layer.weight(pruned, group))];
        for (spread, outputs) in spreads.iter_mut().zip(of_group) {
            spread.extend(outputs.iter().map(|output| output.map(|value| value as f32)));
        }
    }
    spreads
}

/// What a layer is to keep; masks in the order of its matrix.
struct Chosen<'a> {
    layer: &'a Layer,
    pruner: &'a Pruner,
    /// As the pruner ranks its weights: so many, and those where their places cannot be chosen.
    wanted: Mask,
    /// Which may be kept; all without.
    allowed: Option<Mask>,
}

impl Chosen<'_> {
    /// Solves the layer in the graph; gives its mask.
    fn solve(&self, graph: &mut Graph, seen: &Seen) -> Result<Mask> {
        let layer = self.layer;
        let size = layer.outputs * layer.inputs;
        let mut masks = Vec::with_capacity(layer.groups);
        for group in 0..layer.groups {
            let pruned = self.solve_group(graph, seen, group).map_err(|source| layer.error(source))?;
            layer.set(graph, group, &pruned);
            masks.push(pruned.mask);
        }
        Ok(Mask::from_fn(layer.len(), |at| masks[at / size].get(at % size)))
    }

    fn solve_group(&self, graph: &Graph, seen: &Seen, group: usize) -> sparse_oneshot::Result<Pruned> {
        let layer = self.layer;
        let weight = layer.weight(graph, group);
        let wanted = layer.mask_of_group(&self.wanted, group);
        let mut problem = seen.statistics[group].problem(weight, DAMP)?.holding_dead();
        if problem.is_constant() {
            // Images say nothing of it: what is kept stays as it is.
            let mut weight = weight.to_vec();
            wanted.apply(&mut weight);
            let bias = vec![0.0; layer.outputs];
            return Ok(Pruned { weight, bias, mask: wanted, relative_error: 0.0 });
        }
        if let Some(allowed) = &self.allowed {
            problem = problem.within(layer.mask_of_group(allowed, group))?;
        }
        let pruned = match self.support(&wanted) {
            Some(support) => problem.prune(&support, method(layer))?,
            None => problem.solve(wanted)?,
        };
        match seen.places.get(group) {
            Some(places) => problem.refine(pruned, places),
            None => Ok(pruned),
        }
    }

    /// What a group may keep whose ranking keeps `wanted`; nothing if the places are those.
    fn support(&self, wanted: &Mask) -> Option<Support> {
        let (layer, config) = (self.layer, self.pruner.config());
        if wanted.pruned() == 0 {
            return None;
        }
        if let Mode::Pattern(pattern) = config.mode {
            let (m, apart) = (pattern.m, layer.positions);
            let n = ((1.0 - self.pruner.ratio()) * m as f64).round() as usize;
            return Some(if n < m {
                Support::Pattern { n, m, apart }
            } else {
                Support::Count(wanted.kept())
            });
        }
        match layer.block(config.block) {
            [1, 1] => Some(Support::Count(wanted.kept())),
            // Blocks of several groups have places in each of them.
            _ if layer.groups > 1 => None,
            size => Some(Support::Blocks { size, count: blocks(wanted, size, layer.inputs) }),
        }
    }
}

/// Blocks of which a mask keeps something.
fn blocks(mask: &Mask, [rows, columns]: [usize; 2], inputs: usize) -> usize {
    let kept = (0..mask.len()).filter(|&at| mask.get(at));
    kept.map(|at| (at / inputs / rows, at % inputs / columns)).collect::<BTreeSet<_>>().len()
}
