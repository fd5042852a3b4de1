//! `sparse-train export --to onnx`: a network for other engines.

use super::ours::{Ours, refuse_input};
use super::{InputFacts, Pretrained, WeightsAt};
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sparse_engine::graph::{Graph, Op};
use sparse_engine::onnx::{WriteOptions, write};
use sparse_engine::{Loaded, fold, is_quantized, load, shapes};
use sparse_formats::Format;
use sparse_formats::atomic::write_file;
use sparse_network::Architecture;
use std::path::Path;

/// Key of how images become input, among the properties of an ONNX file.
pub(crate) const INPUT: &str = "input";
/// Key of the labels of the classes.
pub(crate) const LABELS: &str = "labels";

/// How an ONNX file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnnxOptions {
    /// Height and width of the images; `None` = as [`Pretrained::input_side`].
    pub size: Option<usize>,
    /// Whether weights of which at least half are zeros are stored without them.
    pub sparse_initializer: bool,
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExportedOnnx {
    /// The file or folder that was read.
    pub from: String,
    /// The keys that lead to the network in it; empty for the top.
    pub key: String,
    /// Its format.
    pub format: String,
    /// The file that was written.
    pub to: String,
    /// Its bytes.
    pub bytes: usize,
    /// Operations.
    pub nodes: usize,
    /// Weights and biases, batch norm folded in.
    pub parameters: usize,
    /// Zeros of the weights of convolutions and head over those weights.
    pub sparsity: f64,
    /// Shape of an image, `[C, H, W]`; the number of images is open.
    pub input_shape: [usize; 3],
    /// Outputs.
    pub classes: usize,
}

/// Reads weights of any known program and writes the network as ONNX, operator set 13, atomically: from `input`,
/// normalised images `[N, C, H, W]`, to `logits`, `[N, classes]`, with N open. Batch norms are part of the convolutions. The
/// properties of the file say which network it is, how images become its input as far as that is known, which labels its
/// classes have if they are some of a data set's, and its sparsity.
///
/// # Errors
/// As [`Pretrained::read`], [`crate::Error::OntoInput`] if `to` is what is read, [`crate::Error::Engine`] if there is no
/// such network, and [`crate::Error::Formats`] if the file cannot be written.
pub fn export_onnx<'a>(
    from: impl Into<WeightsAt<'a>>,
    to: &Path,
    options: OnnxOptions,
) -> Result<ExportedOnnx> {
    let from = from.into();
    if from.key.is_none() && is_quantized(from.path) {
        return export_quantized(from.path, to, options);
    }
    let pretrained = Ours::read(from, to)?.pretrained;
    let side = options.size.unwrap_or_else(|| pretrained.input_side());
    let graph = fold(pretrained.graph([side; 2])?);
    let count = Count::of(&graph);
    let metadata = properties(&pretrained, side, count.sparsity())?;
    let bytes = write(&graph, &WriteOptions { sparse_initializer: options.sparse_initializer, metadata })
        .map_err(sparse_engine::Error::from)?;
    write_file(to, &bytes)?;
    Ok(ExportedOnnx {
        from: pretrained.path.display().to_string(),
        key: pretrained.key.clone(),
        format: pretrained.format.to_string(),
        to: to.display().to_string(),
        bytes: bytes.len(),
        nodes: graph.nodes.len() - 1,
        parameters: count.weights + count.biases,
        sparsity: count.sparsity(),
        input_shape: [pretrained.network.channels, side, side],
        classes: pretrained.network.classes,
    })
}

impl Pretrained {
    /// What an ONNX file with this graph of it says of itself.
    ///
    /// # Errors
    /// If something is no JSON: never.
    pub(crate) fn onnx_properties(&self, graph: &Graph) -> Result<Vec<(String, String)>> {
        properties(self, self.input_side(), Count::of(graph).sparsity())
    }
}

/// Writes a network of 8 bits, roundings and all.
fn export_quantized(from: &Path, to: &Path, options: OnnxOptions) -> Result<ExportedOnnx> {
    refuse_input(from, to)?;
    let Loaded { graph, metadata } = load(from, options.size.map(|side| [side; 2]))?;
    let image = match graph.nodes.first().map(|node| &node.op) {
        Some(&Op::Input { shape }) => shape,
        _ => [0; 3],
    };
    let [channels, side, _] = image;
    let count = Count::of(&graph);
    let facts = InputFacts::of_weights(&metadata, channels);
    let architecture = metadata.get("architecture").cloned().unwrap_or_default();
    let metadata = told(&facts, architecture, side, count.sparsity())?;
    let classes = shapes(&graph).map_err(sparse_engine::Error::from)?[graph.output].count();
    let bytes = write(&graph, &WriteOptions { sparse_initializer: options.sparse_initializer, metadata })
        .map_err(sparse_engine::Error::from)?;
    write_file(to, &bytes)?;
    Ok(ExportedOnnx {
        from: from.display().to_string(),
        key: String::new(),
        format: Format::Int8.to_string(),
        to: to.display().to_string(),
        bytes: bytes.len(),
        nodes: graph.nodes.len() - 1,
        parameters: count.weights + count.biases,
        sparsity: count.sparsity(),
        input_shape: image,
        classes,
    })
}

/// What the file says of itself.
fn properties(pretrained: &Pretrained, side: usize, sparsity: f64) -> Result<Vec<(String, String)>> {
    let architecture = serde_json::to_value(Architecture::of(&pretrained.network));
    let architecture = architecture.map_err(|source| Error::Json { source })?;
    told(&pretrained.input_facts(), architecture, side, sparsity)
}

fn told(
    facts: &InputFacts,
    architecture: Value,
    side: usize,
    sparsity: f64,
) -> Result<Vec<(String, String)>> {
    let text = |value: Value| serde_json::to_string(&value).map_err(|source| Error::Json { source });
    let object = |value: serde_json::Result<Value>| value.map_err(|source| Error::Json { source });
    let input = match facts.known {
        true => object(serde_json::to_value(facts.input.clone().resized(side)))?,
        false => Value::Object(Map::from_iter([("size".to_owned(), json!(side))])),
    };
    let mut properties = vec![("architecture".to_owned(), text(architecture)?)];
    properties.push((INPUT.to_owned(), text(input)?));
    if let Some(labels) = &facts.labels {
        properties.push((LABELS.to_owned(), text(json!(labels))?));
    }
    properties.push(("sparsity".to_owned(), format!("{sparsity:.6}")));
    Ok(properties)
}

/// Numbers of a graph.
#[derive(Default)]
struct Count {
    weights: usize,
    zeros: usize,
    biases: usize,
}

impl Count {
    fn of(graph: &Graph) -> Self {
        graph.nodes.iter().fold(Self::default(), |count, node| {
            let (weight, bias) = match &node.op {
                Op::Convolution(convolution) => (&convolution.weight, &convolution.bias),
                Op::Linear { weight, bias, .. } => (weight, bias),
                _ => return count,
            };
            Self {
                weights: count.weights + weight.len(),
                zeros: count.zeros + weight.iter().filter(|&&weight| weight == 0.0).count(),
                biases: count.biases + bias.len(),
            }
        })
    }

    fn sparsity(&self) -> f64 {
        self.zeros as f64 / self.weights.max(1) as f64
    }
}
