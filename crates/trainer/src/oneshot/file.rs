//! The file that a network comes from, and the one it goes to.

use super::OneshotError;
use super::layers::{Layer, Spread};
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

    /// Writes a graph in which layers were pruned, and come out with these spreads.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn write<'a>(
        mut self,
        graph: &Graph,
        layers: impl Iterator<Item = (&'a Layer, &'a Spread)>,
        to: &Path,
        packed: Option<Values>,
    ) -> Result<()> {
        let Some(mut ours) = self.ours.take() else {
            let options = WriteOptions { metadata: self.metadata, ..WriteOptions::default() };
            let bytes = onnx::write(graph, &options).map_err(sparse_engine::Error::from)?;
            return Ok(write_file(to, &bytes)?);
        };
        let epsilon = ours.pretrained.network.bn_epsilon;
        for (layer, spread) in layers {
            let changed = [&self.graph.nodes[layer.node].op, &graph.nodes[layer.node].op];
            let norm = Norm { epsilon, spread };
            unfold(&mut ours.tensors, &ours.pretrained.path, changed, norm, &layer.node_name)?;
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

/// The batch norm that a layer gets.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    pub(super) epsilon: f64,
    /// What comes out of the layer; empty if that is not known: the mean takes the change of the bias then.
    pub(super) spread: &'a [[f32; 2]],
}

/// Takes the batch norm out of a layer again: `w = w_folded / s`. Its statistics become those of what comes out now, and its scale and offset are such
/// that it gives the same by them: so does it by the statistics of a batch, in training, which goes on from the network as it is. What did not change
/// stays as it was, bit for bit. `path` is for messages.
pub(super) fn unfold(
    tensors: &mut Tensors,
    path: &Path,
    [before, after]: [&Op; 2],
    norm: Norm<'_>,
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
                    unfold_row(raw, before, after, gains[gains.len() - 1].unwrap_or(1.0));
                }
            })?;
            if norm.spread.is_empty() {
                let changes = |at: usize| f64::from(after.bias[at] - before.bias[at]);
                return replace(format!("{name}_bn_mean"), &mut |mean| {
                    for (at, (mean, gain)) in mean.iter_mut().zip(&gains).enumerate() {
                        *mean -= (changes(at) / gain.unwrap_or(1.0)) as f32;
                    }
                });
            }
            let mut set = |what: &str, value: &dyn Fn(f64, [f64; 2], usize) -> f64| {
                replace(format!("{name}_bn_{what}"), &mut |to| {
                    for (at, (&gain, spread)) in gains.iter().zip(norm.spread).enumerate() {
                        let spread = spread.map(f64::from);
                        // What never changes has no variance to go by.
                        match gain {
                            Some(gain) if spread[1] > 0.0 => to[at] = value(gain, spread, at) as f32,
                            _ if what == "offset" => to[at] += after.bias[at] - before.bias[at],
                            _ => (),
                        }
                    }
                })
            };
            set("mean", &|gain, [mean, _], _| mean / gain)?;
            set("variance", &|gain, [_, variance], _| variance / (gain * gain))?;
            set("scale", &|gain, [_, variance], _| {
                gain.signum() * (variance + norm.epsilon * gain * gain).sqrt()
            })?;
            set("offset", &|_, [mean, _], at| mean + f64::from(after.bias[at]))
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

/// By what a batch norm multiplies a row of weights: that of its greatest weight, which has the most digits. Nothing
/// if all are zero.
fn gain(raw: &[f32], folded: &[f32]) -> Option<f64> {
    let greatest = raw.iter().zip(folded).max_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs()));
    match greatest {
        Some((&raw, &folded)) if raw != 0.0 && folded != 0.0 => Some(f64::from(folded) / f64::from(raw)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparse_engine::graph::{Convolution, Window};

    const EPSILON: f64 = 1e-3;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_f32(vec![values.len()], values)
    }

    fn convolution(weight: &[f32], bias: &[f32]) -> Op {
        let shape = [bias.len(), weight.len() / bias.len(), 1, 1];
        let (weight, bias) = (weight.to_vec(), bias.to_vec());
        Op::Convolution(Convolution { shape, groups: 1, window: Window::square(1, 1, 0), weight, bias })
    }

    /// Weights and biases with the batch norm in them.
    fn folded(tensors: &Tensors) -> (Vec<f32>, Vec<f32>) {
        let values = |what: &str| tensors[&format!("l_{what}")].to_f32().unwrap();
        let weight = values("weights");
        let [scale, offset, mean, variance] = ["bn_scale", "bn_offset", "bn_mean", "bn_variance"].map(values);
        let inputs = weight.len() / scale.len();
        let gain = |row: usize| f64::from(scale[row]) / (f64::from(variance[row]) + EPSILON).sqrt();
        let weight =
            weight.iter().enumerate().map(|(at, &value)| (f64::from(value) * gain(at / inputs)) as f32);
        let bias = (0..scale.len())
            .map(|row| (f64::from(offset[row]) - f64::from(mean[row]) * gain(row)) as f32)
            .collect();
        (weight.collect(), bias)
    }

    /// Channels: one as usual, one with a negative scale, one that never varies, one without weights.
    #[test]
    fn batch_norm_gets_the_statistics_of_what_comes_out_and_gives_the_same() {
        let mut tensors = Tensors::new();
        tensors.insert("l_weights".to_owned(), tensor(&[1.0, -2.0, 0.5, 0.25, 3.0, 1.0, 0.0, 0.0]));
        tensors.insert("l_bn_scale".to_owned(), tensor(&[0.5, -1.5, 1.0, 2.0]));
        tensors.insert("l_bn_offset".to_owned(), tensor(&[0.1, 0.2, 0.3, 0.4]));
        tensors.insert("l_bn_mean".to_owned(), tensor(&[1.0, -1.0, 2.0, 0.5]));
        tensors.insert("l_bn_variance".to_owned(), tensor(&[2.0, 0.5, 1.0, 4.0]));
        let (weight, bias) = folded(&tensors);
        let before = convolution(&weight, &bias);
        let (mut weight, mut bias) = (weight, bias);
        (weight[0], weight[1], weight[3]) = (0.7, 0.0, -0.4);
        (bias[0], bias[1], bias[2], bias[3]) = (0.5, -0.3, 0.9, 0.6);
        let after = convolution(&weight, &bias);
        let spread = [[0.3, 1.2], [-0.8, 0.6], [4.0, 0.0], [0.0, 0.0]];
        let norm = Norm { epsilon: EPSILON, spread: &spread };
        unfold(&mut tensors, Path::new("w"), [&before, &after], norm, "l").unwrap();
        let (found, offsets) = folded(&tensors);
        for (found, wanted) in found.iter().zip(&weight).chain(offsets.iter().zip(&bias)) {
            assert!((found - wanted).abs() < 1e-5, "{found} for {wanted}");
        }
        let gain = f64::from(0.5_f32) / (2.0 + EPSILON).sqrt();
        let mean = tensors["l_bn_mean"].to_f32().unwrap();
        let variance = tensors["l_bn_variance"].to_f32().unwrap();
        assert!((f64::from(mean[0]) - 0.3 / gain).abs() < 1e-5, "{mean:?}");
        assert!((f64::from(variance[0]) - 1.2 / gain / gain).abs() < 1e-4, "{variance:?}");
        assert_eq!((variance[2], variance[3], mean[2], mean[3]), (1.0, 4.0, 2.0, 0.5));
    }

    #[test]
    fn without_a_spread_the_mean_takes_the_change_of_the_bias_and_else_nothing_changes() {
        let mut tensors = Tensors::new();
        for (name, value) in [("weights", 1.0), ("bn_scale", 2.0), ("bn_offset", 3.0), ("bn_mean", 4.0)] {
            tensors.insert(format!("l_{name}"), tensor(&[value]));
        }
        tensors.insert("l_bn_variance".to_owned(), tensor(&[5.0]));
        let (before, same) = (tensors.clone(), convolution(&[0.7], &[0.2]));
        let norm = Norm { epsilon: EPSILON, spread: &[] };
        unfold(&mut tensors, Path::new("w"), [&same, &same], norm, "l").unwrap();
        assert_eq!(tensors, before);
        let (weight, bias) = folded(&tensors);
        let moved = convolution(&weight, &[bias[0] + 0.5]);
        let op = convolution(&weight, &bias);
        unfold(&mut tensors, Path::new("w"), [&op, &moved], norm, "l").unwrap();
        assert!((folded(&tensors).1[0] - bias[0] - 0.5).abs() < 1e-5);
        assert_eq!(tensors["l_bn_offset"], before["l_bn_offset"]);
    }
}
