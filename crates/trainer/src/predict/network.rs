//! The network that predicts, from weights or from an ONNX file, and what is known about its images.

use super::PredictOptions;
use crate::error::{Error, Result};
use crate::plan::{ModelSize, Part};
use crate::pretrained::{InputFacts, Pretrained, WeightsAt};
use sparse_data::Transform;
use sparse_engine::graph::{Graph, Op};
use sparse_engine::onnx::ReadOptions;
use sparse_engine::{Engine, Loaded, Options, Precision, Products, is_onnx, is_quantized, load, load_with};
use std::path::Path;

/// A network as its file has it, with what the options change.
pub(super) struct Network {
    graph: Graph,
    channels: usize,
    pub(super) facts: InputFacts,
}

impl Network {
    pub(super) fn open(path: &Path, options: &PredictOptions) -> Result<Self> {
        let (graph, channels, mut facts) = match (is_onnx(path), &options.output, &options.key) {
            (true, _, Some(_)) => return Err(Error::KeyOfOnnx { path: path.to_owned() }),
            (true, output, None) => from_onnx(path, options.size, output.clone())?,
            (false, None, key) => from_weights(WeightsAt::from(path).under(key.as_deref()), options)?,
            (false, Some(_), _) => {
                return Err(sparse_engine::Error::NoOutputs { path: path.to_owned() }.into());
            }
        };
        let input = &mut facts.input;
        input.resize = options.resize.unwrap_or(input.resize);
        facts.known |= options.mean.is_some() && options.std.is_some();
        if !facts.known {
            tracing::warn!(
                "{} does not say how its images are normalised: mean {:?} and std {:?} are used; others with --mean and --std",
                path.display(),
                options.mean.as_ref().unwrap_or(&input.mean),
                options.std.as_ref().unwrap_or(&input.std),
            );
        }
        input.mean = options.mean.clone().unwrap_or_else(|| input.mean.clone());
        input.std = options.std.clone().unwrap_or_else(|| input.std.clone());
        Ok(Self { graph, channels, facts })
    }

    /// What makes its input out of image files.
    pub(super) fn transform(&self) -> Result<Transform> {
        let refused = |source| Error::ImageInput { source };
        let view = self.facts.input.view(self.channels).map_err(|error| match error {
            Error::Data(source) => refused(source),
            other => other,
        })?;
        Transform::new(&view).map_err(refused)
    }

    /// Whether it ends in a softmax, so that its results are no scores.
    pub(super) fn gives_probabilities(&self) -> bool {
        self.graph.nodes.get(self.graph.output).is_some_and(|node| node.op == Op::Softmax)
    }

    /// The network, ready to run.
    pub(super) fn engine(self, threads: usize, precision: Precision) -> Result<Engine> {
        let options = Options { threads, products: Products::Dense, precision, ..Options::default() };
        Ok(Engine::new(self.graph, options)?)
    }
}

fn from_weights(weights: WeightsAt<'_>, options: &PredictOptions) -> Result<(Graph, usize, InputFacts)> {
    if weights.key.is_none() && is_quantized(weights.path) {
        return from_quantized(weights.path, options.size);
    }
    let pretrained = Pretrained::read(weights)?;
    pretrained.warn();
    let mut facts = pretrained.input_facts();
    let channels = pretrained.network.channels;
    let side = options.size.unwrap_or(facts.input.size);
    facts.input = facts.input.resized(side);
    square(weights.path, [channels, side, side])?;
    let (size, shape) = (ModelSize::of_network(&pretrained.network, [side; 2])?, [channels, side, side]);
    size.inference(1, options.threads, shape).check(|part| match part {
        Part::Weights => format!("the weights of {}", weights.path.display()),
        _ => format!("an image of {side}x{side}: lower --size"),
    })?;
    Ok((pretrained.graph([side; 2])?, channels, facts))
}

/// A network of 8 bits, for images of any size.
fn from_quantized(path: &Path, size: Option<usize>) -> Result<(Graph, usize, InputFacts)> {
    let Loaded { graph, metadata } = load(path, size.map(|side| [side; 2]))?;
    let shape = match graph.nodes.first().map(|node| &node.op) {
        Some(&Op::Input { shape }) => shape,
        _ => [0; 3],
    };
    let side = square(path, shape)?;
    let mut facts = InputFacts::of_weights(&metadata, shape[0]);
    facts.input = facts.input.resized(side);
    Ok((graph, shape[0], facts))
}

fn from_onnx(path: &Path, size: Option<usize>, output: Option<String>) -> Result<(Graph, usize, InputFacts)> {
    let read = ReadOptions { size: size.map(|side| [side; 2]), output };
    let Loaded { graph, metadata } = load_with(path, &read)?;
    let shape = match graph.nodes.first().map(|node| &node.op) {
        Some(&Op::Input { shape }) => shape,
        _ => [0; 3],
    };
    let side = square(path, shape)?;
    Ok((graph, shape[0], InputFacts::of_onnx(&metadata, shape[0], side)))
}

/// The side of square images in grey or colour.
fn square(path: &Path, [channels, height, width]: [usize; 3]) -> Result<usize> {
    if (channels == 1 || channels == 3) && height == width && height > 0 {
        return Ok(height);
    }
    Err(Error::NoPhotoInput { path: path.to_owned(), channels, height, width })
}
