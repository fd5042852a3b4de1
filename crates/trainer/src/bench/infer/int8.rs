//! Networks of random weights in integers.

use sparse_engine::fold;
use sparse_engine::graph::{Function, Graph, Node, Op, Quantization};

/// What images, activations and means are rounded to: batch norm of random weights gives numbers of about 1.
const IMAGE: Quantization = Quantization { scale: 8.0 / 255.0, zero: 128 };
const ACTIVATION: Quantization = Quantization { scale: 6.0 / 255.0, zero: 0 };

/// A network of convolutions, each with bounds after it, with weights of eight bits by the greatest of each output and rounded activations.
/// Good for timing alone: ranges are not those of any images.
pub(super) fn quantized(graph: Graph) -> Graph {
    let graph = fold(graph);
    let mut rounded = Graph::default();
    // What each node has become.
    let mut place = Vec::with_capacity(graph.nodes.len());
    let mut scale_read = IMAGE.scale;
    for mut node in graph.nodes {
        node.inputs.iter_mut().for_each(|input| *input = place[*input]);
        let by = match &mut node.op {
            Op::Input { .. } => Some(IMAGE),
            Op::Clip { .. } | Op::GlobalAveragePool => Some(ACTIVATION),
            Op::Convolution(convolution) => {
                let (weight, bias) = (&mut convolution.weight, &mut convolution.bias);
                convolution.scales = Some(round_weights(weight, bias, scale_read));
                scale_read = ACTIVATION.scale;
                None
            }
            Op::Linear { weight, bias, scales } => {
                *scales = Some(round_weights(weight, bias, scale_read));
                None
            }
            _ => None,
        };
        let name = node.name.clone();
        rounded.nodes.push(node);
        if let Some(by) = by {
            let inputs = vec![rounded.nodes.len() - 1];
            let op = Op::Function(Function::Quantize(by));
            rounded.nodes.push(Node { name: format!("{name}_quantized"), op, inputs });
        }
        place.push(rounded.nodes.len() - 1);
    }
    rounded.output = place[graph.output];
    rounded
}

/// Rounds the weights of each output to 255 steps and its bias to steps of what sums have; returns the steps of the weights.
fn round_weights(weight: &mut [f32], bias: &mut [f32], read: f32) -> Vec<f32> {
    let row = weight.len() / bias.len().max(1);
    let rows = weight.chunks_mut(row.max(1)).zip(bias);
    rows.map(|(row, bias)| {
        let greatest = row.iter().fold(0.0_f32, |greatest, w| greatest.max(w.abs()));
        let scale = greatest.max(f32::MIN_POSITIVE) / 127.0;
        row.iter_mut().for_each(|w| *w = (*w / scale).round() * scale);
        *bias = (*bias / (scale * read)).round() * (scale * read);
        scale
    })
    .collect()
}
