//! What is written for each operation, looked at as the messages of the file.

use prost::Message;

use super::proto::{ModelProto, NodeProto, TensorProto};
use super::{OnnxError, WriteOptions, write};
use crate::graph::{Convolution, Function, Graph, Node, Op, Quantization, Window};

fn model(ops: &[(Op, Vec<usize>)]) -> ModelProto {
    let input = Node { name: "input".to_owned(), op: Op::Input { shape: [6, 5, 4] }, inputs: vec![] };
    let nodes = ops.iter().enumerate().map(|(index, (op, inputs))| Node {
        name: format!("n{}", index + 1),
        op: op.clone(),
        inputs: inputs.clone(),
    });
    let nodes: Vec<Node> = std::iter::once(input).chain(nodes).collect();
    let graph = Graph { output: nodes.len() - 1, nodes };
    let bytes = write(&graph, &WriteOptions::default()).unwrap();
    ModelProto::decode(bytes.as_slice()).unwrap()
}

/// The one operation that reads the input, as `Operator(inputs) attributes`, and its operator set.
fn lines(op: Op) -> (Vec<String>, i64) {
    let model = model(&[(op, vec![0])]);
    let graph = model.graph.unwrap();
    let line = |node: &NodeProto| {
        let attributes = node.attribute.iter().map(|attribute| {
            let name = attribute.name.as_deref().unwrap();
            match (attribute.f, attribute.i) {
                (Some(value), _) => format!(" {name}={value}"),
                (_, Some(value)) => format!(" {name}={value}"),
                _ => format!(" {name}={:?}", attribute.ints),
            }
        });
        let attributes: String = attributes.collect();
        format!("{}({}){attributes}", node.op_type.as_deref().unwrap(), node.input.join(", "))
    };
    (graph.node.iter().map(line).collect(), model.opset_import[0].version.unwrap())
}

fn tensor(op: Op, name: &str) -> (Vec<i64>, Vec<u8>) {
    let found = model(&[(op, vec![0])]).graph.unwrap().initializer;
    let found: &TensorProto = found.iter().find(|tensor| tensor.name.as_deref() == Some(name)).unwrap();
    (found.dims.clone(), found.raw_data.clone().unwrap())
}

fn bytes(numbers: &[i64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[test]
fn functions_are_operators_where_there_are_such() {
    let one = |function| {
        let (lines, opset) = lines(Op::Function(function));
        (lines.join("; "), opset)
    };
    let at_13 = |text: &str| (text.to_owned(), 13);
    assert_eq!(one(Function::Sigmoid), at_13("Sigmoid(input)"));
    let hard = Function::HardSigmoid { alpha: 0.25, beta: 0.5 };
    assert_eq!(one(hard), at_13("HardSigmoid(input) alpha=0.25 beta=0.5"));
    assert_eq!(one(Function::HardSwish), ("HardSwish(input)".to_owned(), 17));
    assert_eq!(one(Function::Elu { alpha: 0.5 }), at_13("Elu(input) alpha=0.5"));
    assert_eq!(one(Function::Silu), at_13("Sigmoid(input); Mul(input, n1/sigmoid)"));
    let mish = "Softplus(input); Tanh(n1/softplus); Mul(input, n1/tanh)";
    assert_eq!(one(Function::Mish), at_13(mish));
    let gelu = "Mul(input, n1/mul.factor); Erf(n1/mul); Add(n1/erf, n1/add.factor); Mul(n1/add, n1/mul_1.factor); \
                Mul(input, n1/mul_1)";
    assert_eq!(one(Function::Gelu), at_13(gelu));
    for (function, name) in [
        (Function::Tanh, "Tanh"),
        (Function::Erf, "Erf"),
        (Function::Exp, "Exp"),
        (Function::Softplus, "Softplus"),
    ] {
        assert_eq!(one(function), at_13(&format!("{name}(input)")));
    }
    let slope = Op::PRelu { slope: vec![0.5; 6] };
    assert_eq!(lines(slope.clone()).0, ["PRelu(input, n1.weight)"]);
    assert_eq!(tensor(slope, "n1.weight").0, [6, 1, 1]);
}

#[test]
fn channels_are_cut_shuffled_or_gathered() {
    assert_eq!(lines(Op::range(2, 3)).0, ["Slice(input, n1.starts, n1.ends, n1.axes)"]);
    assert_eq!(tensor(Op::range(2, 3), "n1.starts"), (vec![1], bytes(&[2])));
    assert_eq!(tensor(Op::range(2, 3), "n1.ends"), (vec![1], bytes(&[5])));
    let shuffle = [
        "Reshape(input, n1.groups)",
        "Transpose(n1/view) perm=[0, 2, 1, 3, 4]",
        "Reshape(n1/transpose, n1.shape)",
    ];
    for groups in [2, 3] {
        assert_eq!(lines(Op::shuffle(6, groups)).0, shuffle);
        let shape = [0, groups as i64, 6 / groups as i64, 5, 4];
        assert_eq!(tensor(Op::shuffle(6, groups), "n1.groups"), (vec![5], bytes(&shape)));
        assert_eq!(tensor(Op::shuffle(6, groups), "n1.shape"), (vec![4], bytes(&[0, 6, 5, 4])));
    }
    let some = Op::Channels { order: vec![3, 3, 0] };
    assert_eq!(lines(some.clone()).0, ["Gather(input, n1.indices) axis=1"]);
    assert_eq!(tensor(some, "n1.indices"), (vec![3], bytes(&[3, 3, 0])));
    let whole = Op::Channels { order: vec![0, 2, 4, 1, 3, 5, 0] };
    assert_eq!(lines(whole).0, ["Gather(input, n1.indices) axis=1"]);
}

#[test]
fn lines_around_an_image_are_pads() {
    let pad = || Op::Pad { lines: [1, 2, 3, 4], value: -1.5 };
    assert_eq!(lines(pad()).0, ["Pad(input, n1.pads, n1.value)"]);
    assert_eq!(tensor(pad(), "n1.pads"), (vec![8], bytes(&[0, 0, 1, 2, 0, 0, 3, 4])));
    assert_eq!(tensor(pad(), "n1.value"), (vec![], (-1.5_f32).to_le_bytes().to_vec()));
    let window = Window { padding: [1, 1, 2, 2], ..Window::square(3, 2, 0) };
    let mean = |counted| lines(Op::AveragePool { window, counted }).0;
    let attributes =
        |count, pads| format!("count_include_pad={count} kernel_shape=[3, 3] pads={pads} strides=[2, 2]");
    let plain = |count| format!("AveragePool(input) {}", attributes(count, "[1, 1, 2, 2]"));
    assert_eq!(mean([0; 4]), [plain(0)]);
    assert_eq!(mean([1, 1, 2, 2]), [plain(1)]);
    // Some lines count: a pad of those, and padding that does not count around it.
    let outside = format!("AveragePool(n1/pad) {}", attributes(0, "[0, 0, 1, 1]"));
    assert_eq!(mean([1; 4]), ["Pad(input, n1/pad.pads, n1/pad.value)".to_owned(), outside]);
    assert_eq!(
        tensor(Op::AveragePool { window, counted: [1; 4] }, "n1/pad.pads").1,
        bytes(&[0, 0, 1, 1, 0, 0, 1, 1])
    );
}

#[test]
fn what_joins_several_results_names_them_in_order() {
    let model = model(&[
        (Op::GlobalMaxPool, vec![0]),
        (Op::Sub, vec![1, 0]),
        (Op::Div, vec![2, 1]),
        (Op::Mul, vec![3, 2]),
        (Op::Concat, vec![4, 0, 3]),
        (Op::Flatten, vec![5]),
        (Op::Reshape { shape: [9, 20, 2] }, vec![6]),
        (Op::GlobalAveragePool, vec![7]),
        (Op::Flatten, vec![8]),
        (Op::LogSoftmax, vec![9]),
    ]);
    let graph = model.graph.unwrap();
    let lines: Vec<String> = graph
        .node
        .iter()
        .map(|node| format!("{}({})", node.op_type.as_deref().unwrap(), node.input.join(", ")))
        .collect();
    let expected = [
        "GlobalMaxPool(input)",
        "Sub(n1, input)",
        "Div(n2, n1)",
        "Mul(n3, n2)",
        "Concat(n4, input, n3)",
        "Flatten(n5)",
        "Reshape(n6, n7.shape)",
        "GlobalAveragePool(n7)",
        "Flatten(n8)",
        "LogSoftmax(n9)",
    ];
    assert_eq!(lines, expected);
}

/// A convolution of 6 to 2 channels, with weights that are multiples.
fn of_bytes(bias: [f32; 2]) -> Op {
    let weight = [vec![-64.0; 6], vec![31.75; 6]].concat();
    let (shape, window, scales) = ([2, 6, 1, 1], Window::square(1, 1, 0), Some(vec![0.5, 0.25]));
    Op::Convolution(Convolution { weight, shape, bias: bias.to_vec(), groups: 1, window, scales })
}

/// Name, type and bytes of a constant.
type Constant = (String, i32, Vec<u8>);

/// Each node with what it reads, and each constant of a type other than `f32` with its bytes.
fn quantised(ops: &[(Op, Vec<usize>)]) -> (Vec<String>, Vec<Constant>) {
    let graph = model(ops).graph.unwrap();
    let line = |node: &NodeProto| format!("{}({})", node.op_type.as_deref().unwrap(), node.input.join(", "));
    let lines = graph.node.iter().map(line).collect();
    let constant =
        |tensor: TensorProto| (tensor.name.unwrap(), tensor.data_type.unwrap(), tensor.raw_data.unwrap());
    (lines, graph.initializer.into_iter().map(constant).filter(|(_, kind, _)| *kind != 1).collect())
}

#[test]
fn what_is_quantised_is_bytes_between_quantize_and_dequantize() {
    let rounding = Op::Function(Function::Quantize(Quantization { scale: 0.125, zero: 3 }));
    let pool = Op::MaxPool(Window::square(2, 1, 0));
    let (lines, constants) = quantised(&[
        (rounding, vec![0]),
        (pool, vec![1]),
        (of_bytes([0.0625 * 70_000.0, -0.03125]), vec![2]),
    ]);
    let expected = [
        "QuantizeLinear(input, n1.scale, n1.zero)",
        "DequantizeLinear(n1, n1.scale, n1.zero)",
        "MaxPool(n1/dequantize)",
        "DequantizeLinear(n3.weight, n3.weight.scale, n3.weight.zero)",
        "DequantizeLinear(n3.bias, n3.bias.scale)",
        "Conv(n2, n3.weight/dequantize, n3.bias/dequantize)",
    ];
    assert_eq!(lines, expected);
    let weight = [vec![128; 6], vec![127; 6]].concat();
    let bias = [70_000_i32, -1].map(i32::to_le_bytes).concat();
    let expected = [
        ("n1.zero", 2, vec![3]),
        ("n3.weight", 3, weight),
        ("n3.weight.zero", 3, vec![0; 2]),
        ("n3.bias", 6, bias),
    ];
    assert_eq!(constants, expected.map(|(name, kind, bytes)| (name.to_owned(), kind, bytes)));
}

#[test]
fn a_bias_that_no_integers_are_is_written_as_numbers() {
    let rounding = || Op::Function(Function::Quantize(Quantization { scale: 0.125, zero: 3 }));
    let integers =
        |ops: &[(Op, Vec<usize>)]| quantised(ops).1.iter().any(|(name, ..)| name.ends_with(".bias"));
    let read = |bias| integers(&[(rounding(), vec![0]), (of_bytes(bias), vec![1])]);
    assert!(read([0.0625, 0.03125]) && read([0.0; 2]));
    assert!(!read([0.0625, 0.04]) && !read([0.0625, 1e9]) && !read([f32::NAN, 0.0]));
    // Nothing says of which steps it is where what is read was not rounded.
    let clip = Op::Clip { low: 0.0, high: 1.0 };
    assert!(!integers(&[(rounding(), vec![0]), (clip, vec![1]), (of_bytes([0.0625, 0.03125]), vec![2])]));
}

#[test]
fn weights_that_are_no_multiples_of_their_scales_are_refused() {
    let Op::Convolution(convolution) = of_bytes([0.0; 2]) else { panic!("a convolution") };
    let input = Node { name: "input".to_owned(), op: Op::Input { shape: [6, 5, 4] }, inputs: vec![] };
    let scales = Some(vec![0.5, 0.3]);
    let stale = Node {
        name: "stale".to_owned(),
        op: Op::Convolution(Convolution { scales, ..convolution }),
        inputs: vec![0],
    };
    let error = write(&Graph { nodes: vec![input, stale], output: 1 }, &WriteOptions::default()).unwrap_err();
    assert!(
        matches!(&error, OnnxError::Node { node, reason, .. } if node == "stale" && reason.contains("no whole multiples")),
        "{error}"
    );
}
