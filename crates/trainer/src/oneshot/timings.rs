//! What each layer takes on a machine, by its density: measured once, kept in a file.

use super::OneshotError;
use super::layers::Layer;
use crate::error::{Error, Result};
use crate::layer_times::{typical, with_zeros};
use serde::{Deserialize, Serialize};
use sparse_engine::graph::Graph;
use sparse_engine::{Engine, Options, Products, shapes};
use std::collections::BTreeMap;
use std::path::Path;

/// Larger files are no timings.
const LARGEST_FILE: u64 = 1 << 24;
/// Densities that are measured beside 1.
const DENSITIES: [f64; 8] = [0.7, 0.5, 0.35, 0.25, 0.16, 0.1, 0.05, 0.02];

/// What the layers of a network take for one image, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Timings {
    /// Of the nodes' names and shapes.
    network: u32,
    /// Threads that computed.
    threads: usize,
    /// Layers that are not pruned, and what else there is to do.
    others_ms: f64,
    /// Layers that may be pruned, by name.
    layers: BTreeMap<String, Vec<Time>>,
}

/// A time at a density.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Time {
    density: f64,
    ms: f64,
}

impl Timings {
    /// Reads them from a file, or measures them on this machine and writes the file, if one is named.
    ///
    /// # Errors
    /// [`OneshotError::Timings`] of a file of another network; what the engine and files report.
    pub(super) fn of(graph: &Graph, layers: &[Layer], threads: usize, file: Option<&Path>) -> Result<Self> {
        if let Some(path) = file.filter(|path| path.exists()) {
            return Self::read(path, graph, layers, threads);
        }
        tracing::info!(
            "measuring what the layers take at {} densities, with {threads} threads",
            DENSITIES.len() + 1
        );
        let json = |source| Error::Json { source };
        let text = serde_json::to_string_pretty(&Self::measure(graph, layers, threads)?).map_err(json)?;
        if let Some(path) = file {
            sparse_formats::atomic::write_file(path, text.as_bytes())?;
        }
        // As the file will be read: the same digits, the same result.
        serde_json::from_str(&text).map_err(json)
    }

    fn read(path: &Path, graph: &Graph, layers: &[Layer], threads: usize) -> Result<Self> {
        let fault = |reason: String| OneshotError::Timings { path: path.to_owned(), reason };
        let bytes = sparse_formats::read_regular(path, LARGEST_FILE)?;
        let mut timings: Self = serde_json::from_slice(&bytes)
            .map_err(|error| fault(format!("no timings of this program ({error})")))?;
        if timings.network != network(graph)? {
            return Err(fault("it was measured with another network".to_owned()).into());
        }
        if timings.threads != threads {
            let reason =
                format!("it was measured with {} threads, and {threads} are asked for", timings.threads);
            return Err(fault(reason).into());
        }
        let missing = layers.iter().find(|layer| !timings.layers.contains_key(&layer.node_name));
        if let Some(layer) = missing {
            return Err(fault(format!("it does not have the layer {}", layer.node_name)).into());
        }
        let sound =
            |time: &Time| time.ms.is_finite() && time.ms >= 0.0 && (0.0..=1.0).contains(&time.density);
        let falls = |times: &Vec<Time>| times.is_sorted_by(|a, b| a.density > b.density);
        if !timings.layers.values().all(|times| !times.is_empty() && falls(times) && times.iter().all(sound))
        {
            return Err(fault("its densities or times are none".to_owned()).into());
        }
        // Layers that may not be pruned this time stay dense.
        let is_asked = |name: &String| layers.iter().any(|layer| layer.node_name == *name);
        let (asked, stay): (BTreeMap<_, _>, BTreeMap<_, _>) =
            timings.layers.into_iter().partition(|(name, _)| is_asked(name));
        timings.layers = asked;
        timings.others_ms += stay.values().filter_map(|times| times.first()).map(|time| time.ms).sum::<f64>();
        Ok(timings)
    }

    fn measure(graph: &Graph, layers: &[Layer], threads: usize) -> Result<Self> {
        let options = Options { threads, products: Products::Sparse, ..Options::default() };
        let mut engines = vec![Engine::new(graph.clone(), Options { products: Products::Dense, ..options })?];
        for density in DENSITIES {
            engines.push(Engine::new(with_zeros(graph, 1.0 - density), options)?);
        }
        let times = typical(&engines.iter().collect::<Vec<_>>())?;
        let reports = engines[0].layers();
        let mut of_layers = BTreeMap::new();
        let mut others = times[0].iter().sum::<f64>();
        for layer in layers {
            let place = reports.iter().position(|report| report.name == layer.node_name);
            let ms = |engine: usize| place.map_or(0.0, |place| times[engine][place]);
            let is_product = place.is_some_and(|place| reports[place].is_product);
            let mut least = ms(0);
            others -= least;
            let mut all = vec![Time { density: 1.0, ms: least }];
            for (engine, density) in DENSITIES.into_iter().enumerate() {
                // Zeros are left out only where that is faster.
                least = if is_product { least.min(ms(engine + 1)) } else { least };
                all.push(Time { density, ms: least });
            }
            of_layers.insert(layer.node_name.clone(), all);
        }
        Ok(Self { network: network(graph)?, threads, others_ms: others.max(0.0), layers: of_layers })
    }

    /// All layers dense.
    pub(super) fn dense(&self) -> f64 {
        self.others_ms
            + self.layers.values().filter_map(|times| times.first()).map(|time| time.ms).sum::<f64>()
    }

    /// What is not pruned.
    pub(super) fn others(&self) -> f64 {
        self.others_ms
    }

    /// A layer at any density, in proportion between those measured.
    pub(super) fn of_layer(&self, name: &str, density: f64) -> f64 {
        let Some(times) = self.layers.get(name) else { return 0.0 };
        let after = times.iter().position(|time| time.density <= density);
        match after {
            Some(0) => times[0].ms,
            None => times.last().map_or(0.0, |time| time.ms),
            Some(at) => {
                let (high, low) = (times[at - 1], times[at]);
                let share = (high.density - density) / (high.density - low.density);
                high.ms + share * (low.ms - high.ms)
            }
        }
    }
}

/// What tells a network from others that take other times.
fn network(graph: &Graph) -> Result<u32> {
    let mut hash = crc32fast::Hasher::new();
    for (node, shape) in graph.nodes.iter().zip(shapes(graph).map_err(sparse_engine::Error::from)?) {
        let kernel = super::layers::weight(&node.op).map_or(0, <[f32]>::len);
        hash.update(format!("{} {shape:?} {kernel} {:?}\n", node.name, node.inputs).as_bytes());
    }
    Ok(hash.finalize())
}

/// Milliseconds for one image, before and after.
type Ms = [f64; 2];

/// What each layer takes, unless it is computed as part of another, and what the whole network does.
///
/// # Errors
/// What the engine reports.
pub(super) fn before_and_after(
    [dense, pruned]: [&Graph; 2],
    layers: &[Layer],
    threads: usize,
) -> Result<(Vec<Option<Ms>>, Ms)> {
    let options = Options { threads, products: Products::Dense, ..Options::default() };
    let dense = Engine::new(dense.clone(), options)?;
    let pruned = Engine::new(pruned.clone(), Options { products: Products::Measured, ..options })?;
    let times = typical(&[&dense, &pruned])?;
    let reports = [dense.layers(), pruned.layers()];
    let of = |layer: &Layer| {
        let ms = |engine: usize| {
            let place = reports[engine].iter().position(|report| report.name == layer.node_name)?;
            times[engine].get(place).copied()
        };
        Some([ms(0)?, ms(1)?])
    };
    Ok((layers.iter().map(of).collect(), [times[0].iter().sum(), times[1].iter().sum()]))
}
