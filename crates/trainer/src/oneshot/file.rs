//! The file that a network comes from, and the one it goes to.

use super::OneshotError;
use super::layers::{Layer, Spread};
use super::quantize::is_quantized;
use super::reorder::in_order;
use crate::error::{Error, Result};
use crate::pretrained::{InputFacts, Ours, Pretrained, WeightsAt, refuse_input};
use sparse_engine::graph::{Graph, Op};
use sparse_engine::onnx::{self, WriteOptions};
use sparse_engine::{Loaded, fold, is_onnx, load, shapes};
use sparse_formats::atomic::write_file;
use sparse_formats::packed::{self, Values};
use sparse_formats::{Tensor, Tensors};
use std::path::{Path, PathBuf};

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
    path: PathBuf,
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
            if is_quantized(&graph) {
                return Err(Error::QuantizedWeights { path: from.path.to_owned() });
            }
            let entries = metadata.as_object().into_iter().flatten();
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            warn_of_bytes(from.path, &graph);
            let metadata = entries.map(|(key, value)| (key.clone(), text(value))).collect();
            let path = from.path.to_owned();
            return Ok(Self { graph: fold(graph.clone()), raw: graph, ours: None, metadata, path });
        }
        let ours = Ours::read(from, to)?;
        let side = ours.pretrained.input_side();
        let raw = ours.pretrained.graph([side; 2])?;
        let path = from.path.to_owned();
        Ok(Self { graph: fold(raw.clone()), raw, ours: Some(ours), metadata: Vec::new(), path })
    }

    /// Where it was read from.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `[C, H, W]`.
    pub(super) fn input_shape(&self) -> [usize; 3] {
        input_shape(&self.graph)
    }

    /// Whether linear weights lie as `[inputs, outputs]` in it.
    pub(super) fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// Puts the channels that convolution `reader` reads into another order in the tensors of our weights, and those of the convolutions `makers` that make
    /// them; an ONNX file has no others than its graph.
    ///
    /// # Errors
    /// If a tensor is missing.
    pub(super) fn reorder(&mut self, makers: &[String], reader: &str, order: &[usize]) -> Result<()> {
        let Some(ours) = &mut self.ours else { return Ok(()) };
        let mut file = InFile { tensors: &mut ours.tensors, path: &ours.pretrained.path };
        for name in makers {
            for what in ["weights", "bn_scale", "bn_offset", "bn_mean", "bn_variance"] {
                file.replace(&format!("{name}_{what}"), |values| in_order(values, order))?;
            }
        }
        let name = format!("{reader}_weights");
        let outputs = file.get(&name)?.shape.first().copied().unwrap_or(1);
        file.replace(&name, |values| {
            let row = values.len() / outputs.max(1);
            values.chunks_exact_mut(row.max(1)).for_each(|row| in_order(row, order));
        })
    }

    /// Writes a graph that is rounded: as ONNX if it came as that or `to` ends so, else as a packed file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn write_quantized(&self, graph: &Graph, to: &Path) -> Result<()> {
        let to_onnx = to.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
        let metadata = match &self.ours {
            Some(ours) if !to_onnx => {
                return Ok(sparse_engine::quantized::write(graph, to, &ours.metadata)?);
            }
            Some(ours) => ours.pretrained.onnx_properties(graph)?,
            None => self.metadata.clone(),
        };
        let options = WriteOptions { metadata, ..WriteOptions::default() };
        let bytes = onnx::write(graph, &options).map_err(sparse_engine::Error::from)?;
        Ok(write_file(to, &bytes)?)
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
            let norm = Norm { epsilon, outputs: Outputs::Known(spread) };
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

/// Says what becomes of a network whose weights are bytes.
fn warn_of_bytes(path: &Path, graph: &Graph) {
    let has_scales = |op: &Op| match op {
        Op::Convolution(convolution) => convolution.scales.is_some(),
        Op::Linear { scales, .. } => scales.is_some(),
        _ => false,
    };
    if graph.nodes.iter().any(|node| has_scales(&node.op)) {
        let path = path.display();
        tracing::warn!(
            "{path} is quantised; layers that are pruned get weights of f32: prune first, then quantise"
        );
    }
}

/// The batch norm that a layer gets.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    pub(super) epsilon: f64,
    pub(super) outputs: Outputs<'a>,
}

/// What is known of what comes out of a layer, without its bias.
#[derive(Clone, Copy)]
pub(super) enum Outputs<'a> {
    /// Nothing: the running mean takes the change of the bias.
    Unknown,
    /// What comes out now: the running statistics become that.
    Known(&'a [[f32; 2]]),
    /// What came out before and does now: the running statistics, which may not be those of the images yet, change as that does.
    Changed { before: &'a [[f32; 2]], after: &'a [[f32; 2]] },
}

impl Outputs<'_> {
    /// The running statistics that an output gets: from those it has, by the batch norm's gain. Nothing if the images say nothing of it.
    fn running(self, at: usize, [mean, variance]: [f64; 2], gain: f64) -> Option<[f64; 2]> {
        let of = |spread: &[[f32; 2]]| spread.get(at).map(|output| output.map(f64::from));
        let [mean, variance] = match self {
            Outputs::Unknown => return None,
            Outputs::Known(after) => {
                of(after).map(|[mean, variance]| [mean / gain, variance / (gain * gain)])?
            }
            Outputs::Changed { before, after } => {
                let (before, after) = (of(before)?, of(after)?);
                [mean + (after[0] - before[0]) / gain, variance * after[1] / before[1]]
            }
        };
        (variance > 0.0 && variance.is_finite()).then_some([mean, variance])
    }
}

/// Takes the batch norm out of a layer again: `w = w_folded / s`. Its statistics follow what comes out now, and its scale and offset are such
/// that it gives the same by them: so does it by the statistics of a batch, in training, which goes on from the network as it is. What did not change
/// stays as it was, bit for bit. `path` is for messages.
pub(super) fn unfold(
    tensors: &mut Tensors,
    path: &Path,
    [before, after]: [&Op; 2],
    norm: Norm<'_>,
    name: &str,
) -> Result<()> {
    let file = &mut InFile { tensors, path };
    match (before, after) {
        (Op::Convolution(before), Op::Convolution(after)) => {
            let inputs = after.weight.len() / after.bias.len().max(1);
            let mut gains = Vec::with_capacity(after.bias.len());
            file.replace(&format!("{name}_weights"), |raw| {
                let rows = raw.chunks_exact_mut(inputs);
                let folded = before.weight.chunks_exact(inputs).zip(after.weight.chunks_exact(inputs));
                for (raw, (before, after)) in rows.zip(folded) {
                    gains.push(gain(raw, before));
                    unfold_row(raw, before, after, gains[gains.len() - 1].unwrap_or(1.0));
                }
            })?;
            let shifts = after.bias.iter().zip(&before.bias).map(|(after, before)| after - before);
            if let Outputs::Unknown = norm.outputs {
                return file.replace(&format!("{name}_bn_mean"), |mean| {
                    for ((mean, gain), shift) in mean.iter_mut().zip(&gains).zip(shifts) {
                        *mean -= (f64::from(shift) / gain.unwrap_or(1.0)) as f32;
                    }
                });
            }
            let means = file.values(&format!("{name}_bn_mean"))?;
            let variances = file.values(&format!("{name}_bn_variance"))?;
            let outputs = gains.iter().zip(means.iter().zip(&variances)).enumerate();
            let running: Vec<Option<[f64; 3]>> = outputs
                .map(|(at, (&gain, (&mean, &variance)))| {
                    let running = [f64::from(mean), f64::from(variance)];
                    let [mean, variance] = norm.outputs.running(at, running, gain?)?;
                    Some([gain?, mean, variance])
                })
                .collect();
            let mut set = |what: &str, value: fn([f64; 3], f64, f32) -> f64| {
                file.replace(&format!("{name}_bn_{what}"), |to| {
                    for (at, (to, running)) in to.iter_mut().zip(&running).enumerate() {
                        match running {
                            Some(running) => *to = value(*running, norm.epsilon, after.bias[at]) as f32,
                            None if what == "offset" => *to += after.bias[at] - before.bias[at],
                            None => (),
                        }
                    }
                })
            };
            set("mean", |[_, mean, _], _, _| mean)?;
            set("variance", |[_, _, variance], _, _| variance)?;
            set("scale", |[gain, _, variance], epsilon, _| gain * (variance + epsilon).sqrt())?;
            set("offset", |[gain, mean, _], _, bias| gain * mean + f64::from(bias))
        }
        (Op::Linear { bias, .. }, Op::Linear { weight, bias: new, .. }) => {
            let (classes, inputs) = (new.len(), weight.len() / new.len().max(1));
            file.replace(&format!("{name}_weights"), |raw| {
                // `[inputs, classes]` there.
                raw.iter_mut()
                    .enumerate()
                    .for_each(|(at, raw)| *raw = weight[at % classes * inputs + at / classes]);
            })?;
            file.replace(&format!("{name}_offset"), |offset| {
                let biases = bias.iter().zip(new);
                offset.iter_mut().zip(biases).for_each(|(to, (before, after))| *to += after - before);
            })
        }
        _ => Ok(()),
    }
}

/// The tensors of a file, by whose path messages name it.
struct InFile<'a> {
    tensors: &'a mut Tensors,
    path: &'a Path,
}

impl InFile<'_> {
    fn get(&self, name: &str) -> Result<&Tensor> {
        let missing =
            || sparse_engine::Error::TensorMissing { path: self.path.to_owned(), name: name.to_owned() };
        Ok(self.tensors.get(name).ok_or_else(missing)?)
    }

    fn values(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.get(name)?.to_f32()?)
    }

    fn replace(&mut self, name: &str, change: impl FnOnce(&mut [f32])) -> Result<()> {
        let mut values = self.values(name)?;
        change(&mut values);
        let tensor = Tensor::from_f32(self.get(name)?.shape.clone(), &values);
        self.tensors.insert(name.to_owned(), tensor);
        Ok(())
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
        Op::Convolution(Convolution {
            shape,
            groups: 1,
            window: Window::square(1, 1, 0),
            weight,
            bias,
            scales: None,
        })
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
        let norm = Norm { epsilon: EPSILON, outputs: Outputs::Known(&spread) };
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

    /// Running statistics that are far from those of the images change as those do, and the layer gives the same.
    #[test]
    fn running_statistics_change_as_what_comes_out_does() {
        let mut tensors = Tensors::new();
        tensors.insert("l_weights".to_owned(), tensor(&[1.0, -2.0, 3.0, 1.0]));
        tensors.insert("l_bn_scale".to_owned(), tensor(&[0.5, -1.5]));
        tensors.insert("l_bn_offset".to_owned(), tensor(&[0.1, 0.2]));
        tensors.insert("l_bn_mean".to_owned(), tensor(&[1.0, -1.0]));
        tensors.insert("l_bn_variance".to_owned(), tensor(&[2.0, 0.5]));
        let (weight, bias) = folded(&tensors);
        let before = convolution(&weight, &bias);
        let (mut weight, mut bias) = (weight, bias);
        (weight[1], weight[3], bias[0], bias[1]) = (0.0, 0.2, 0.4, 0.3);
        let after = convolution(&weight, &bias);
        // The second was constant.
        let (old, new) = ([[0.3, 1.2], [1.0, 0.0]], [[0.5, 0.3], [1.0, 0.0]]);
        let norm = Norm { epsilon: EPSILON, outputs: Outputs::Changed { before: &old, after: &new } };
        unfold(&mut tensors, Path::new("w"), [&before, &after], norm, "l").unwrap();
        let (found, offsets) = folded(&tensors);
        for (found, wanted) in found.iter().zip(&weight).chain(offsets.iter().zip(&bias)) {
            assert!((found - wanted).abs() < 1e-5, "{found} for {wanted}");
        }
        let gain = 0.5 / (2.0 + EPSILON).sqrt();
        let values = |what: &str| {
            let values = tensors[&format!("l_bn_{what}")].to_f32().unwrap();
            values.into_iter().map(f64::from).collect::<Vec<f64>>()
        };
        let [mean, variance, scale] = ["mean", "variance", "scale"].map(values);
        assert!((mean[0] - (1.0 + 0.2 / gain)).abs() < 1e-5, "{mean:?}");
        assert!((variance[0] - 2.0 / 4.0).abs() < 1e-5, "{variance:?}");
        assert!((scale[0] - gain * (0.5 + EPSILON).sqrt()).abs() < 1e-5, "{scale:?}");
        assert_eq!([mean[1], variance[1], scale[1]], [-1.0, 0.5, -1.5]);
    }

    #[test]
    fn where_outputs_are_unknown_the_mean_takes_the_change_of_the_bias_and_else_nothing_changes() {
        let mut tensors = Tensors::new();
        for (name, value) in [("weights", 1.0), ("bn_scale", 2.0), ("bn_offset", 3.0), ("bn_mean", 4.0)] {
            tensors.insert(format!("l_{name}"), tensor(&[value]));
        }
        tensors.insert("l_bn_variance".to_owned(), tensor(&[5.0]));
        let (before, same) = (tensors.clone(), convolution(&[0.7], &[0.2]));
        let norm = Norm { epsilon: EPSILON, outputs: Outputs::Unknown };
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
