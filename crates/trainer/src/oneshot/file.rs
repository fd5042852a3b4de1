//! The file that a network comes from, and the one it goes to.

use super::OneshotError;
use super::layers::Layer;
use crate::error::{Error, Result};
use crate::pretrained::{InputFacts, Ours, Pretrained, WeightsAt, refuse_input};
use sparse_engine::graph::{Graph, Op};
use sparse_engine::onnx::{self, WriteOptions};
use sparse_engine::{Loaded, fold, is_onnx, load, shapes};
use sparse_formats::atomic::write_file;
use sparse_formats::packed::{self, Values};
use sparse_formats::{Tensor, Tensors};
use std::path::Path;

/// What a file says about the images of its network; its outputs; channels of an image.
pub(super) fn facts(from: WeightsAt<'_>) -> Result<(InputFacts, usize, usize)> {
    if !is_onnx(from.path) {
        let pretrained = Pretrained::read(from)?;
        return Ok((pretrained.input_facts(), pretrained.classes(), pretrained.network.channels));
    }
    if from.key.is_some() {
        return Err(Error::KeyOfOnnx { path: from.path.to_owned() });
    }
    let Loaded { graph, metadata } = load(from.path, None)?;
    let [channels, side, _] = input_shape(&graph);
    let outputs = shapes(&graph).map_err(sparse_engine::Error::from)?[graph.output].count();
    Ok((InputFacts::of_onnx(&metadata, channels, side), outputs, channels))
}

/// `[C, H, W]`.
fn input_shape(graph: &Graph) -> [usize; 3] {
    match graph.nodes.first().map(|node| &node.op) {
        Some(&Op::Input { shape }) => shape,
        _ => [0; 3],
    }
}

/// A network with its batch norms folded, and what it was before.
pub(super) struct File {
    pub(super) graph: Graph,
    /// With the weights that the file has, batch norms not folded.
    pub(super) raw: Graph,
    /// Nothing for an ONNX file.
    ours: Option<Ours>,
    metadata: Vec<(String, String)>,
}

impl File {
    /// Reads weights of any known program, or ONNX, that are to be written to `to`, if anywhere.
    ///
    /// # Errors
    /// What reading reports; [`Error::OntoInput`] if `to` is what is read, [`OneshotError::PackedOnnx`] if ONNX is to be packed.
    pub(super) fn read(from: WeightsAt<'_>, packed: Option<Values>, to: Option<&Path>) -> Result<Self> {
        if is_onnx(from.path) {
            if packed.is_some() {
                return Err(OneshotError::PackedOnnx { path: from.path.to_owned() }.into());
            }
            to.map_or(Ok(()), |to| refuse_input(from.path, to))?;
            let Loaded { graph, metadata } = load(from.path, None)?;
            let entries = metadata.as_object().into_iter().flatten();
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let metadata = entries.map(|(key, value)| (key.clone(), text(value))).collect();
            return Ok(Self { graph: fold(graph.clone()), raw: graph, ours: None, metadata });
        }
        let ours = Ours::read(from, to)?;
        let side = ours.pretrained.input_side();
        let raw = ours.pretrained.graph([side; 2])?;
        Ok(Self { graph: fold(raw.clone()), raw, ours: Some(ours), metadata: Vec::new() })
    }

    /// `[C, H, W]`.
    pub(super) fn input_shape(&self) -> [usize; 3] {
        input_shape(&self.graph)
    }

    /// Whether linear weights lie as `[inputs, outputs]` in it.
    pub(super) fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// Writes a graph in which `layers` were pruned.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn write(
        mut self,
        graph: &Graph,
        layers: &[Layer],
        to: &Path,
        packed: Option<Values>,
    ) -> Result<()> {
        let Some(mut ours) = self.ours.take() else {
            let options = WriteOptions { metadata: self.metadata, ..WriteOptions::default() };
            let bytes = onnx::write(graph, &options).map_err(sparse_engine::Error::from)?;
            return Ok(write_file(to, &bytes)?);
        };
        for layer in layers {
            let (before, after) = (&self.graph.nodes[layer.node].op, &graph.nodes[layer.node].op);
            unfold(&mut ours.tensors, &ours.pretrained.path, [before, after], &layer.node_name)?;
        }
        match packed {
            Some(values) => {
                packed::write(to, &ours.tensors, Some(&ours.metadata), values)?;
            }
            None => sparse_formats::write(to, &ours.tensors, Some(&ours.metadata))?,
        }
        Ok(())
    }
}

/// Takes the batch norm out of a layer again: `w = w_folded / s`, and its mean takes the change of the bias, `m − Δb / s`: it is the mean of what comes
/// out that changed, so that a batch norm by statistics of a batch, in training, gives what it gave before. What did not change stays as it was, bit
/// for bit. `path` is for messages.
pub(super) fn unfold(
    tensors: &mut Tensors,
    path: &Path,
    [before, after]: [&Op; 2],
    name: &str,
) -> Result<()> {
    let mut replace = |name: String, change: &mut dyn FnMut(&mut [f32])| {
        let missing = || sparse_engine::Error::TensorMissing { path: path.to_owned(), name: name.clone() };
        let tensor = tensors.get(&name).ok_or_else(missing)?;
        let mut values = tensor.to_f32()?;
        change(&mut values);
        let tensor = Tensor::from_f32(tensor.shape.clone(), &values);
        tensors.insert(name, tensor);
        Ok::<(), Error>(())
    };
    match (before, after) {
        (Op::Convolution(before), Op::Convolution(after)) => {
            let inputs = after.weight.len() / after.bias.len().max(1);
            let mut gains = Vec::with_capacity(after.bias.len());
            replace(format!("{name}_weights"), &mut |raw| {
                let rows = raw.chunks_exact_mut(inputs);
                let folded = before.weight.chunks_exact(inputs).zip(after.weight.chunks_exact(inputs));
                for (raw, (before, after)) in rows.zip(folded) {
                    gains.push(gain(raw, before));
                    unfold_row(raw, before, after, gains[gains.len() - 1]);
                }
            })?;
            replace(format!("{name}_bn_mean"), &mut |mean| {
                let biases = before.bias.iter().zip(&after.bias);
                for ((mean, gain), (before, after)) in mean.iter_mut().zip(&gains).zip(biases) {
                    *mean -= (f64::from(after - before) / gain) as f32;
                }
            })
        }
        (Op::Linear { bias, .. }, Op::Linear { weight, bias: new }) => {
            let (classes, inputs) = (new.len(), weight.len() / new.len().max(1));
            replace(sparse_network::HEAD_WEIGHT.to_owned(), &mut |raw| {
                // `[inputs, classes]` there.
                raw.iter_mut()
                    .enumerate()
                    .for_each(|(at, raw)| *raw = weight[at % classes * inputs + at / classes]);
            })?;
            replace(sparse_network::HEAD_BIAS.to_owned(), &mut |offset| {
                let biases = bias.iter().zip(new);
                offset.iter_mut().zip(biases).for_each(|(to, (before, after))| *to += after - before);
            })
        }
        _ => Ok(()),
    }
}

fn unfold_row(raw: &mut [f32], before: &[f32], after: &[f32], gain: f64) {
    for (raw, (before, &after)) in raw.iter_mut().zip(before.iter().zip(after)) {
        if after == 0.0 {
            *raw = 0.0;
        } else if after != *before {
            *raw = (f64::from(after) / gain) as f32;
        }
    }
}

/// By what a batch norm multiplies a row of weights: that of its greatest weight, which has the most digits.
fn gain(raw: &[f32], folded: &[f32]) -> f64 {
    let greatest = raw.iter().zip(folded).max_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs()));
    match greatest {
        Some((&raw, &folded)) if raw != 0.0 && folded != 0.0 => f64::from(folded) / f64::from(raw),
        _ => 1.0,
    }
}
