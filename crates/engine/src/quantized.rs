//! A MobileNetV1 of 8 bits: to a packed file, and back.
//!
//! The file has the weights as multiples of a scale for each output, batch norms multiplied in, `<layer>_bias`, and for each node whose numbers are rounded
//! `<node>_quantization`: the scale, and the byte that stands for 0. Layers that are kept are there as f32. `docs/packed.md` has an example.

use crate::error::{Error, Result};
use crate::graph::{Convolution, Function, Graph, Node, Op, Quantization};
use crate::load::{Loaded, input_side, network, tensor};
use crate::mobilenet::{clip, frame};
use serde_json::Value;
use sparse_formats::packed::{Multiples, write_int8};
use sparse_formats::{MappedFile, Tensor, Tensors};
use sparse_network::{ConvKind, HEAD_BIAS, HEAD_WEIGHT, layers};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Ends the name of what a node's numbers are rounded by.
const QUANTIZATION: &str = "_quantization";
/// Ends the name of a node that rounds.
const ROUNDS: &str = "_quantized";

/// Whether a file holds a MobileNetV1 of 8 bits; what cannot be read is none.
pub fn is_quantized(path: &Path) -> bool {
    path.is_file() && MappedFile::open(path).is_ok_and(|file| file.is_int8())
}

/// Writes the graph of a MobileNetV1 whose layers are rounded, atomically; `metadata` is that of its weights.
///
/// # Errors
/// [`Error::File`] if it cannot be written, [`Error::Unsupported`] naming a node that is none of a MobileNetV1.
pub fn write(graph: &Graph, path: &Path, metadata: &str) -> Result<()> {
    let mut file = Written::default();
    for node in &graph.nodes {
        file.node(graph, node)?;
    }
    write_int8(path, &file.tensors, &file.multiples, Some(metadata))?;
    Ok(())
}

/// The tensors of a file.
#[derive(Default)]
struct Written {
    tensors: Tensors,
    multiples: BTreeMap<String, Multiples>,
}

impl Written {
    fn node(&mut self, graph: &Graph, node: &Node) -> Result<()> {
        let name = &node.name;
        match &node.op {
            Op::Convolution(convolution) => {
                let Convolution { weight, shape, bias, scales, .. } = convolution;
                self.layer(
                    [&format!("{name}_weights"), &format!("{name}_bias")],
                    shape,
                    weight,
                    bias,
                    scales.as_deref(),
                );
            }
            Op::Linear { weight, bias, scales } => {
                let shape = [bias.len(), weight.len() / bias.len().max(1)];
                self.layer([HEAD_WEIGHT, HEAD_BIAS], &shape, weight, bias, scales.as_deref());
            }
            Op::Function(Function::Quantize(Quantization { scale, zero })) => {
                let source = &graph.nodes[node.inputs[0]].name;
                let numbers = Tensor::from_f32([2], &[*scale, f32::from(*zero)]);
                self.tensors.insert(format!("{source}{QUANTIZATION}"), numbers);
            }
            Op::Input { .. } | Op::Clip { .. } | Op::GlobalAveragePool | Op::Flatten => (),
            _ => {
                let what = "it is none of a MobileNetV1";
                return Err(Error::Unsupported { node: name.clone(), what });
            }
        }
        Ok(())
    }

    fn layer(
        &mut self,
        names: [&str; 2],
        shape: &[usize],
        weight: &[f32],
        bias: &[f32],
        scales: Option<&[f32]>,
    ) {
        let [weight_name, bias_name] = names.map(str::to_owned);
        self.tensors.insert(bias_name, Tensor::from_f32([bias.len()], bias));
        let Some(scales) = scales else {
            self.tensors.insert(weight_name, Tensor::from_f32(shape, weight));
            return;
        };
        let inputs = weight.len() / scales.len().max(1);
        let multiple =
            |(at, weight): (usize, &f32)| (weight / scales[at / inputs.max(1)]).round_ties_even() as i8;
        let multiples = weight.iter().enumerate().map(multiple).collect();
        let (shape, scales) = (shape.to_vec(), scales.to_vec());
        self.multiples.insert(weight_name, Multiples { shape, multiples, scales });
    }
}

/// The network of a file of 8 bits.
///
/// # Errors
/// As [`crate::load`]; [`Error::Quantized`] of tensors that are not those of such a network.
pub(crate) fn read(file: &MappedFile, metadata: Value, size: Option<[usize; 2]>) -> Result<Loaded> {
    let network = network(file, &metadata, 0)?;
    let side = input_side(&metadata, network.channels);
    let mut size = size.unwrap_or([side; 2]);
    let mut reading = Reading { file, used: BTreeSet::new() };
    let mut graph = Graph::new([network.channels, size[0], size[1]]);
    reading.rounding(&mut graph)?;
    let mut features = network.channels;
    for layer in layers(&network)? {
        let (window, after) = frame(&layer, network.padding, size);
        size = after;
        let shape = layer.weight_shape();
        let name = format!("{}_weights", layer.name);
        let (weight, scales) = reading.weight(&name, &shape)?;
        let bias = reading.values(&format!("{}_bias", layer.name), &[layer.outputs])?;
        let groups = if layer.kind == ConvKind::Depthwise { layer.inputs } else { 1 };
        graph.append(
            &layer.name,
            Op::Convolution(Convolution { weight, shape, bias, groups, window, scales }),
        );
        reading.rounding(&mut graph)?;
        graph.append(&format!("{}_relu", layer.name), clip(network.activation));
        reading.rounding(&mut graph)?;
        features = layer.outputs;
    }
    graph.append("pool", Op::GlobalAveragePool);
    reading.rounding(&mut graph)?;
    graph.append("features", Op::Flatten);
    let (weight, scales) = reading.weight(HEAD_WEIGHT, &[network.classes, features])?;
    let bias = reading.values(HEAD_BIAS, &[network.classes])?;
    graph.append("fc7", Op::Linear { weight, bias, scales });
    reading.finish()?;
    Ok(Loaded { graph, metadata })
}

/// What reads a file.
struct Reading<'a> {
    file: &'a MappedFile,
    used: BTreeSet<String>,
}

impl Reading<'_> {
    fn fault(&self, reason: String) -> Error {
        Error::Quantized { path: self.file.path().to_owned(), reason }
    }

    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (found, values) = tensor(self.file, name)?;
        if found != shape {
            return Err(self.fault(format!("`{name}` has the shape {found:?}, expected {shape:?}")));
        }
        self.used.insert(name.to_owned());
        Ok(values)
    }

    fn weight(&mut self, name: &str, shape: &[usize]) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        Ok((self.values(name, shape)?, self.file.scales(name)?))
    }

    /// Adds what rounds the output of the graph, if the file has it.
    fn rounding(&mut self, graph: &mut Graph) -> Result<()> {
        let node = &graph.nodes[graph.output].name;
        let (name, rounds) = (format!("{node}{QUANTIZATION}"), format!("{node}{ROUNDS}"));
        if !self.file.names().any(|here| here == name) {
            return Ok(());
        }
        let values = self.values(&name, &[2])?;
        let [scale, zero] = [values[0], values[1]];
        if !(scale.is_finite() && scale > 0.0 && zero.fract() == 0.0 && (0.0..=255.0).contains(&zero)) {
            let reason = format!("`{name}` is {values:?}, expected a scale above 0 and a byte");
            return Err(self.fault(reason));
        }
        graph.append(&rounds, Op::Function(Function::Quantize(Quantization { scale, zero: zero as u8 })));
        Ok(())
    }

    /// Checks that nothing is left.
    fn finish(&self) -> Result<()> {
        match self.file.names().find(|name| !self.used.contains(*name)) {
            Some(name) => Err(self.fault(format!("`{name}` is no tensor of the network"))),
            None => Ok(()),
        }
    }
}
