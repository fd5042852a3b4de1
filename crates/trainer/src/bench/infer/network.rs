//! The networks that are measured.

use super::super::{CHANNELS, IMAGES, InferConfig, InferPrecision, SEED, masks};
use super::int8::quantized;
use crate::error::{Error, Result};
use crate::plan::{ModelSize, Part};
use crate::pretrained::{Pretrained, WeightsAt};
use crate::weights::to_tensors;
use candle_core::{DType, Device, Tensor};
use sparse_data::sample_rng;
use sparse_engine::graph::Graph;
use sparse_engine::onnx::ReadOptions;
use sparse_engine::{Engine, is_onnx, is_quantized, load, load_with};
use sparse_model::{Mode, Model, NetworkConfig};

/// Height and width of the images of random networks.
const SIDE: usize = 224;
/// Weights of a block that is left out in bf16.
const PAIR: usize = 2;
/// The same in integers.
const QUAD: usize = 4;
/// Images on which the engine is compared with the training model.
const COMPARED: usize = 2;

/// A network to measure.
pub(super) struct Network {
    /// What it is called in the log.
    pub(super) name: String,
    pub(super) graph: Graph,
    /// The same for training; `None` for an ONNX file.
    model: Option<Model>,
    /// Fraction of zeros in each pointwise layer, if it was made so.
    pub(super) sparsity: Option<f64>,
}

impl Network {
    /// A network of random weights, the smallest of each pointwise layer zero.
    pub(super) fn random(config: &InferConfig, sparsity: f64) -> Result<Self> {
        let (network, side) = (config.network(), config.size.unwrap_or(SIDE));
        check_memory(config, &network, side)?;
        let model = Model::new(network, SEED, DType::F32, &Device::Cpu)?;
        let masks = match config.precision {
            InferPrecision::F32 => masks::random_masks(&network, sparsity)?,
            InferPrecision::Bf16 => masks::random_block_masks(&network, sparsity, PAIR)?,
            InferPrecision::Int8 => masks::random_block_masks(&network, sparsity, QUAD)?,
        };
        for (name, mask) in masks {
            let variable = &model.variables()[&name];
            // What is kept grows, so that activations keep their size from layer to layer.
            let scale = (1.0 / (1.0 - sparsity)).sqrt() as f32;
            let values = variable.flatten_all()?.to_vec1::<f32>()?;
            let masked = |(at, value): (usize, f32)| if mask.get(at) { value * scale } else { 0.0 };
            let values: Vec<f32> = values.into_iter().enumerate().map(masked).collect();
            variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu)?)?;
        }
        let graph = model_graph(&model, [side; 2])?;
        let (graph, model) = match config.precision {
            InferPrecision::F32 | InferPrecision::Bf16 => (graph, Some(model)),
            InferPrecision::Int8 => (quantized(graph), None),
        };
        Ok(Self { name: format!("sparsity {sparsity}"), graph, model, sparsity: Some(sparsity) })
    }

    /// Weights of any known program, or an ONNX file.
    pub(super) fn read(weights: WeightsAt<'_>, config: &InferConfig) -> Result<Self> {
        let (path, name) = (weights.path, weights.to_string());
        if is_onnx(path) {
            if config.key.is_some() {
                return Err(Error::KeyOfOnnx { path: path.to_owned() });
            }
            let read = ReadOptions { size: config.size.map(|side| [side; 2]), output: config.output.clone() };
            let graph = load_with(path, &read)?.graph;
            return Ok(Self { name, graph, model: None, sparsity: None });
        }
        if config.output.is_some() {
            return Err(sparse_engine::Error::NoOutputs { path: path.to_owned() }.into());
        }
        if config.key.is_none() && is_quantized(path) {
            let graph = load(path, config.size.map(|side| [side; 2]))?.graph;
            return Ok(Self { name, graph, model: None, sparsity: None });
        }
        let pretrained = Pretrained::read(weights)?;
        pretrained.warn();
        let side = config.size.unwrap_or_else(|| pretrained.input_side());
        check_memory(config, &pretrained.network, side)?;
        let model = Model::new(pretrained.network, SEED, DType::F32, &Device::Cpu)?;
        pretrained.load(&model, None)?;
        let graph = model_graph(&model, [side; 2])?;
        Ok(Self { name, graph, model: Some(model), sparsity: None })
    }

    /// The greatest difference of the engine's scores from those of the training model on random images, over the greatest
    /// score; `None` without such a model.
    pub(super) fn error_of(&self, engine: &Engine) -> Result<Option<f64>> {
        let Some(model) = &self.model else { return Ok(None) };
        let [channels, height, width] = engine.input_shape();
        let images = masks::normal(&mut sample_rng(SEED, IMAGES, 1), COMPARED * channels * height * width);
        let mut scores = vec![0.0; COMPARED * engine.outputs()];
        engine.session()?.run(&images, &mut scores)?;
        let images = Tensor::from_vec(images, (COMPARED, channels, height, width), &Device::Cpu)?;
        let expected = model.forward(&images, Mode::Eval)?.flatten_all()?.to_vec1::<f32>()?;
        let difference =
            scores.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        Ok(Some(difference / expected.iter().map(|b| f64::from(b.abs())).fold(f64::MIN_POSITIVE, f64::max)))
    }
}

/// Refuses what cannot fit into the memory there is, before any of it is taken.
fn check_memory(config: &InferConfig, network: &NetworkConfig, side: usize) -> Result<()> {
    let size = ModelSize::of_network(network, [side; 2])?;
    let batch = config.batches.iter().copied().max().unwrap_or(1);
    size.inference(batch, config.threads, [network.channels, side, side]).check(|part| match part {
        Part::Weights => format!("a network of --scale {} with --classes {}", network.scale, network.classes),
        _ => format!("{batch} images of {side}x{side} at a time: lower --batch or --size"),
    })
}

/// The graph of a model as it stands.
fn model_graph(model: &Model, size: [usize; 2]) -> Result<Graph> {
    let tensors = to_tensors(model.variables())?;
    // A tensor that is not there has the wrong length.
    let mut values =
        |name: &str| tensors.get(name).map_or_else(|| Ok(Vec::new()), |tensor| Ok(tensor.to_f32()?));
    Ok(sparse_engine::bind(&model.plan().graph, size, &mut values)?)
}

impl InferConfig {
    /// The network of random weights.
    pub(super) fn network(&self) -> NetworkConfig {
        NetworkConfig::mobilenet(self.scale, CHANNELS, self.classes)
    }
}
