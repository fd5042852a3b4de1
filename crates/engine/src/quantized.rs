//! A network of 8 bits: to a packed file, and back.
//!
//! The file has the weights as multiples of a scale for each output, batch norms multiplied in, `<layer>_bias`, and for each node whose numbers are rounded
//! `<node>_quantization`: the scale, and the byte that stands for 0. Layers that are kept are there as f32. `docs/packed.md` has an example.

use crate::bind::{geometry, plain};
use crate::error::{Error, Result};
use crate::graph::{Convolution, Function, Graph, Node, Op, Quantization};
use crate::load::{Loaded, input_side, network, tensor};
use serde_json::Value;
use sparse_formats::packed::{Multiples, write_int8};
use sparse_formats::{MappedFile, Tensor, Tensors};
use sparse_network::{Op as NetworkOp, Shape};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Ends the name of what a node's numbers are rounded by.
const QUANTIZATION: &str = "_quantization";
/// Ends the name of the bias of a linear layer.
const OFFSET: &str = "_offset";
/// Ends the name of a node that rounds.
const ROUNDS: &str = "_quantized";

/// Whether a file holds a network of 8 bits; what cannot be read is none.
pub fn is_quantized(path: &Path) -> bool {
    path.is_file() && MappedFile::open(path).is_ok_and(|file| file.is_int8())
}

/// Writes the graph of a network known by name whose layers are rounded, atomically; `metadata` is that of its weights.
///
/// # Errors
/// [`Error::File`] if it cannot be written, [`Error::Unsupported`] naming a node that is none of such a network.
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
                let (weights, offset) = (format!("{name}_weights"), format!("{name}{OFFSET}"));
                self.layer([&weights, &offset], &shape, weight, bias, scales.as_deref());
            }
            Op::Function(Function::Quantize(Quantization { scale, zero })) => {
                let source = &graph.nodes[node.inputs[0]].name;
                let numbers = Tensor::from_f32([2], &[*scale, f32::from(*zero)]);
                self.tensors.insert(format!("{source}{QUANTIZATION}"), numbers);
            }
            Op::Input { .. } | Op::Clip { .. } | Op::GlobalAveragePool | Op::Flatten => (),
            Op::Add | Op::MaxPool(_) | Op::AveragePool { .. } => (),
            _ => {
                let what = "it is none of a network that is known by name";
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
    let mut reading = Reading { file, used: BTreeSet::new() };
    let size = size.unwrap_or([side; 2]);
    let described = network.graph()?;
    let shapes = described.shapes(size)?;
    let mut graph = Graph::default();
    // What stands for each node: batch norms are multiplied in, and roundings follow.
    let mut stands_for = Vec::with_capacity(described.nodes.len());
    for node in &described.nodes {
        let inputs: Vec<usize> = node.inputs.iter().map(|&input| stands_for[input]).collect();
        let before = node.inputs.first().map_or(Shape::Flat(0), |&input| shapes[input]);
        let op = match &node.op {
            NetworkOp::BatchNorm(_) => {
                stands_for.push(inputs[0]);
                continue;
            }
            NetworkOp::Conv(conv) => {
                let (shape, window) = geometry(&described, conv, before);
                let (weight, scales) = reading.weight(&described.parameters[conv.weight].name, &shape)?;
                let bias = reading.values(&format!("{}_bias", node.name), &[conv.outputs])?;
                Op::Convolution(Convolution { weight, shape, bias, groups: conv.groups, window, scales })
            }
            &NetworkOp::Linear { weight, .. } => {
                let weight = &described.parameters[weight];
                let (inputs, outputs) = (weight.shape[0], weight.shape[1]);
                let (weight, scales) = reading.weight(&weight.name, &[outputs, inputs])?;
                let bias = reading.values(&format!("{}{OFFSET}", node.name), &[outputs])?;
                Op::Linear { weight, bias, scales }
            }
            op => plain(op, shapes[0], before),
        };
        graph.output = graph.nodes.len();
        graph.nodes.push(Node { name: node.name.clone(), op, inputs });
        if !matches!(node.op, NetworkOp::Flatten) {
            reading.rounding(&mut graph)?;
        }
        stands_for.push(graph.output);
    }
    graph.output = stands_for[described.output];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bind;
    use crate::fold;
    use crate::load::load;
    use sparse_network::{Architecture, Kind, NetworkConfig};

    /// A small network with folded batch norms, and the metadata of its weights.
    fn small(kind: Kind) -> (Graph, String) {
        let network = NetworkConfig::new(kind, 0.125, 3, 5);
        let mut state = 7_u32;
        let mut number = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 + 0.01
        };
        let described = network.graph().unwrap();
        let mut values = |name: &str| {
            let len = described.parameter(name).unwrap().count();
            Ok((0..len).map(|_| number()).collect())
        };
        let graph = fold(bind(&described, [32; 2], &mut values).unwrap());
        let metadata = serde_json::json!({
            "architecture": Architecture::of(&network),
            "recipe": {"data.image_size": 32},
        });
        (graph, metadata.to_string())
    }

    /// Each layer but the second rounded, and what it reads and makes.
    fn rounded(graph: &Graph) -> Graph {
        let (mut to, mut stands_for) = (Graph::default(), Vec::new());
        let mut kept = 0;
        let round = |weight: &mut [f32], outputs: usize| -> Vec<f32> {
            let row = weight.len() / outputs;
            let scales: Vec<f32> = (0..outputs).map(|at| 0.02 + at as f32 / 512.0).collect();
            weight.iter_mut().enumerate().for_each(|(at, weight)| {
                let scale = scales[at / row];
                *weight = (*weight / scale).round_ties_even().clamp(-127.0, 127.0) * scale;
            });
            scales
        };
        for node in &graph.nodes {
            let mut op = node.op.clone();
            match &mut op {
                Op::Convolution(convolution) => {
                    kept += 1;
                    if kept != 2 {
                        convolution.scales = Some(round(&mut convolution.weight, convolution.bias.len()));
                    }
                }
                Op::Linear { weight, bias, scales } => *scales = Some(round(weight, bias.len())),
                _ => (),
            }
            let inputs = node.inputs.iter().map(|&input| stands_for[input]).collect();
            to.output = to.nodes.len();
            to.nodes.push(Node { name: node.name.clone(), op, inputs });
            if matches!(node.op, Op::Input { .. } | Op::Clip { .. } | Op::GlobalAveragePool | Op::Add) {
                let zero = if to.output == 0 { 128 } else { 0 };
                let quantization = Quantization { scale: 0.05, zero };
                to.append(
                    &format!("{}_quantized", node.name),
                    Op::Function(Function::Quantize(quantization)),
                );
            }
            stands_for.push(to.output);
        }
        to.output = stands_for[graph.output];
        to
    }

    #[test]
    fn a_network_comes_back_from_its_file() {
        for kind in Kind::ALL {
            let (graph, metadata) = small(kind);
            let graph = rounded(&graph);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("int8");
            write(&graph, &path, &metadata).unwrap();
            assert!(is_quantized(&path));
            assert_eq!(load(&path, None).unwrap().graph, graph, "{kind:?}");
            // Of another size it is the same but for where padding lies.
            let larger = load(&path, Some([64; 2])).unwrap().graph;
            assert_eq!((larger.nodes.len(), larger.output), (graph.nodes.len(), graph.output));
        }
    }

    #[test]
    fn tensors_that_are_none_of_the_network_and_odd_numbers_are_named() {
        let (graph, metadata) = small(Kind::MobileNet);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("int8");
        let refused = |change: &dyn Fn(&mut Written)| {
            let mut file = Written::default();
            let graph = rounded(&graph);
            graph.nodes.iter().for_each(|node| file.node(&graph, node).unwrap());
            change(&mut file);
            write_int8(&path, &file.tensors, &file.multiples, Some(&metadata)).unwrap();
            load(&path, None).unwrap_err().to_string()
        };
        let set = |name: &'static str, values: &'static [f32]| {
            move |file: &mut Written| {
                file.tensors.insert(name.to_owned(), Tensor::from_f32([values.len()], values));
            }
        };
        for (change, parts) in [
            (set("more", &[1.0]), ["`more`", "no tensor of the network"]),
            (set("image_quantization", &[0.0, 3.0]), ["`image_quantization`", "a scale above 0"]),
            (set("image_quantization", &[1.0, 3.5]), ["`image_quantization`", "and a byte"]),
            (set("image_quantization", &[1.0, 256.0]), ["`image_quantization`", "and a byte"]),
            (set("image_quantization", &[1.0]), ["`image_quantization`", "expected [2]"]),
            (set("conv1_bias", &[1.0]), ["`conv1_bias`", "has the shape [1]"]),
        ] {
            let error = refused(&change);
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        let error = refused(&|file| drop(file.tensors.remove("conv1_bias")));
        assert!(error.contains("`conv1_bias`"), "{error}");
        let error = refused(&|file| drop(file.multiples.remove("conv3_1_sep_weights")));
        assert!(error.contains("`conv3_1_sep_weights`"), "{error}");
    }

    #[test]
    fn a_graph_that_is_none_of_ours_is_not_written() {
        let mut graph = Graph::new([3, 32, 32]);
        graph.append("odd", Op::Softmax);
        let error = write(&graph, Path::new("nowhere"), "{}").unwrap_err();
        assert!(matches!(error, Error::Unsupported { node, .. } if node == "odd"));
    }
}
