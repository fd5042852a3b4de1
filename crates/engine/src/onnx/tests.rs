//! Operators one by one, in models built here: how each is read, and what is refused.

mod axes;
mod constants;
mod files;
mod forms;
mod quantised;

use super::proto::*;
use super::*;
use crate::graph::{Graph, Op, Window};
use prost::Message;

type Attribute = (&'static str, Setting);

enum Setting {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
    Tensor(Box<TensorProto>),
    /// A type without a value, as programs write a value of zero that leave it out.
    Zero(i32),
}
use Setting::{Float, Int, Ints, Tensor, Text, Zero};

fn attribute((name, setting): Attribute) -> AttributeProto {
    let named = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    match setting {
        Int(i) => AttributeProto { i: Some(i), ..named },
        Ints(ints) => AttributeProto { ints, ..named },
        Float(f) => AttributeProto { f: Some(f), ..named },
        Text(text) => AttributeProto { s: Some(text.into()), ..named },
        Tensor(tensor) => AttributeProto { t: Some(tensor), ..named },
        Zero(r#type) => AttributeProto { r#type: Some(r#type), ..named },
    }
}

/// `"output = Operator input input"`, with `_` for an input that is left out.
fn node(text: &str, attributes: Vec<Attribute>) -> NodeProto {
    let (output, call) = text.split_once(" = ").unwrap();
    let mut words = call.split(' ').map(|word| word.replace('_', ""));
    NodeProto {
        op_type: words.next(),
        input: words.collect(),
        output: vec![output.to_owned()],
        name: Some(format!("node {output}")),
        attribute: attributes.into_iter().map(attribute).collect(),
        domain: None,
    }
}

fn reals(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let (name, float_data) = (Some(name.to_owned()), values.to_vec());
    TensorProto { dims: dims.to_vec(), data_type: Some(FLOAT), float_data, name, ..TensorProto::default() }
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    let (name, dims) = (Some(name.to_owned()), vec![values.len() as i64]);
    TensorProto { dims, data_type: Some(INT64), int64_data: values.to_vec(), name, ..TensorProto::default() }
}

fn scalar(name: &str, value: i64) -> TensorProto {
    TensorProto { dims: vec![], ..integers(name, &[value]) }
}

/// A model from `x`, `[N, 2, 5, 4]`, to the first output of its last node.
fn model(opset: i64, node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let dim = |side| DimensionProto { dim_value: side, dim_param: None };
    let sides = [None, Some(2), Some(5), Some(4)].map(dim).to_vec();
    let last = node.last().map(|node| node.output[0].clone()).unwrap_or_default();
    let graph = GraphProto {
        input: vec![emit::value_info("x", sides)],
        output: vec![emit::value_info(&last, vec![])],
        node,
        initializer,
        ..GraphProto::default()
    };
    let import = OperatorSetIdProto { domain: None, version: Some(opset) };
    ModelProto { graph: Some(graph), opset_import: vec![import], ..ModelProto::default() }
}

fn try_read(opset: i64, nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Result<Graph, OnnxError> {
    read(&model(opset, nodes, constants).encode_to_vec())
}

/// The operations behind the input.
#[track_caller]
fn ops(opset: i64, nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Vec<Op> {
    let graph = try_read(opset, nodes, constants).unwrap();
    graph.nodes.into_iter().skip(1).map(|node| node.op).collect()
}

#[track_caller]
fn refused(opset: i64, nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> String {
    try_read(opset, nodes, constants).unwrap_err().to_string()
}

fn affine(scale: [f32; 2], offset: [f32; 2]) -> Op {
    Op::Affine { scale: scale.to_vec(), offset: offset.to_vec() }
}

#[test]
fn clips_have_attributes_or_inputs_or_no_bounds() {
    let clip = |low, high| vec![Op::Clip { low, high }];
    let attributes = vec![("min", Float(0.0)), ("max", Float(6.0))];
    assert_eq!(ops(10, vec![node("y = Clip x", attributes)], vec![]), clip(0.0, 6.0));
    let half = vec![("min", Float(-1.0))];
    assert_eq!(ops(7, vec![node("y = Clip x", half)], vec![]), clip(-1.0, f32::INFINITY));
    let six = || vec![reals("six", &[], &[6.0])];
    assert_eq!(ops(11, vec![node("y = Clip x _ six", vec![])], six()), clip(f32::NEG_INFINITY, 6.0));
    assert_eq!(ops(13, vec![node("y = Min six x", vec![])], six()), clip(f32::NEG_INFINITY, 6.0));
    assert_eq!(ops(13, vec![node("y = Max x six", vec![])], six()), clip(6.0, f32::INFINITY));
    let constant = node("c = Constant", vec![("value", Tensor(Box::new(reals("", &[], &[6.0]))))]);
    assert_eq!(ops(12, vec![constant, node("y = Clip x _ c", vec![])], vec![]), clip(f32::NEG_INFINITY, 6.0));
}

#[test]
fn batch_norm_becomes_one_factor_and_one_term() {
    let constants = || {
        [("s", [2.0, 3.0]), ("o", [1.0, 0.5]), ("m", [1.0, -1.0]), ("v", [3.0, 8.0])]
            .map(|(name, values)| reals(name, &[2], &values))
            .to_vec()
    };
    let norm = || node("y = BatchNormalization x s o m v", vec![("epsilon", Float(1.0))]);
    assert_eq!(ops(9, vec![norm()], constants()), [affine([1.0, 1.0], [0.0, 1.5])]);
    let mut zero = constants();
    zero[3] = reals("v", &[2], &[-1.0, 8.0]);
    assert!(refused(9, vec![norm()], zero).contains("variance"));
    let mut long = constants();
    long[3] = reals("v", &[3], &[1.0, 8.0, 1.0]);
    assert!(refused(9, vec![norm()], long).contains("3 numbers for 2 channels"));
}

#[test]
fn arithmetic_with_constants_is_one_factor_and_one_term() {
    let c = || vec![reals("c", &[2, 1, 1], &[2.0, 4.0]), reals("n", &[1], &[0.5])];
    let read = |text| ops(13, vec![node(text, vec![])], c());
    assert_eq!(read("y = Add c x"), [affine([1.0; 2], [2.0, 4.0])]);
    assert_eq!(read("y = Sub x c"), [affine([1.0; 2], [-2.0, -4.0])]);
    assert_eq!(read("y = Sub n x"), [affine([-1.0; 2], [0.5; 2])]);
    assert_eq!(read("y = Mul x n"), [affine([0.5; 2], [0.0; 2])]);
    assert_eq!(read("y = Div x c"), [affine([0.5, 0.25], [0.0; 2])]);
    for (text, constant) in [
        ("y = Div c x", reals("c", &[], &[1.0])),
        ("y = Div x c", reals("c", &[], &[0.0])),
        ("y = Add x c", reals("c", &[4], &[1.0; 4])),
        ("y = Add x c", reals("c", &[1, 1, 2, 1, 1], &[1.0; 2])),
    ] {
        assert!(try_read(13, vec![node(text, vec![])], vec![constant]).is_err(), "{text}");
    }
}

#[test]
fn padding_is_worked_out() {
    let pool = |attributes: Vec<Attribute>| {
        let mut all = vec![("kernel_shape", Ints(vec![3, 2])), ("strides", Ints(vec![2, 3]))];
        all.extend(attributes);
        try_read(12, vec![node("y = MaxPool x", all)], vec![])
    };
    let padding = |attributes| match pool(attributes).unwrap().nodes[1].op {
        Op::MaxPool(window) => window.padding,
        _ => [9; 4],
    };
    assert_eq!(padding(vec![("pads", Ints(vec![1, 0, 0, 1]))]), [1, 0, 0, 1]);
    assert_eq!(padding(vec![("auto_pad", Text("VALID"))]), [0; 4]);
    // 5 rows, 3 windows: 2 lines; 4 columns, 2 windows: 1 line.
    assert_eq!(padding(vec![("auto_pad", Text("SAME_UPPER"))]), [1, 0, 1, 1]);
    assert_eq!(padding(vec![("auto_pad", Text("SAME_LOWER"))]), [1, 1, 1, 0]);
    assert!(pool(vec![("auto_pad", Text("SOME"))]).is_err());
    assert!(pool(vec![("pads", Ints(vec![-1, 0, 0, 0]))]).is_err());
    let both = vec![("auto_pad", Text("VALID")), ("pads", Ints(vec![1, 0, 0, 1]))];
    assert!(pool(both).unwrap_err().to_string().contains("both"));
    // (5 − 3) / 2 is whole, (4 − 2) / 3 is not, so that rounding up adds a column of windows over one line more.
    assert_eq!(padding(vec![("ceil_mode", Int(1))]), [0, 0, 0, 1]);
    assert_eq!(padding(vec![("ceil_mode", Int(1)), ("pads", Ints(vec![0, 0, 0, 1]))]), [0, 0, 0, 1]);
}

#[test]
fn windows_of_rounding_up_neither_count_nor_begin_behind_the_image() {
    let mean = |pads: i64, counts| {
        let settings = vec![
            ("kernel_shape", Ints(vec![2, 2])),
            ("strides", Ints(vec![3, 3])),
            ("pads", Ints(vec![pads; 4])),
            ("ceil_mode", Int(1)),
            ("count_include_pad", Int(counts)),
        ];
        match ops(13, vec![node("y = AveragePool x", settings)], vec![]).pop() {
            Some(Op::AveragePool { window, counted }) => (window.padding, counted),
            _ => ([9; 4], [9; 4]),
        }
    };
    // 5 rows: windows at 0 and 3; 4 columns: at 0 and 3, the second over one column more.
    assert_eq!(mean(0, 1), ([0, 0, 0, 1], [0; 4]));
    // 5 rows: at −1, 2 and 5, the last of which begins in the padding behind; 4 columns: at −1 and 2.
    assert_eq!(mean(1, 1), ([1; 4], [1; 4]));
    assert_eq!(mean(1, 0), ([1; 4], [0; 4]));
}

#[test]
fn lines_around_an_image_are_padding_of_what_reads_it() {
    let pads = || vec![integers("p", &[0, 0, 1, 2, 0, 0, 3, 4]), reals("least", &[], &[f32::NEG_INFINITY])];
    let pad = || node("z = Pad x p", vec![]);
    let kernel = || ("kernel_shape", Ints(vec![2, 2]));
    let window = Window { padding: [1, 2, 3, 4], ..Window::square(2, 1, 0) };
    let lines = window.padding;
    let graph = ops(13, vec![pad(), node("y = AveragePool z", vec![kernel()])], pads());
    assert_eq!(graph, [Op::AveragePool { window, counted: lines }]);
    let more = vec![kernel(), ("pads", Ints(vec![1; 4]))];
    let outside = Window { padding: [2, 3, 4, 5], ..window };
    let graph = ops(13, vec![pad(), node("y = AveragePool z", more)], pads());
    assert_eq!(graph, [Op::AveragePool { window: outside, counted: lines }]);
    let relu = Op::Clip { low: 0.0, high: f32::INFINITY };
    let padded = Op::Pad { lines, value: 0.0 };
    assert_eq!(ops(13, vec![pad(), node("y = Relu z", vec![])], pads()), [padded.clone(), relu]);
    // Zeros may be maxima; what is less than all numbers may not.
    let inside = Window::square(2, 1, 0);
    let pool = || node("y = MaxPool z", vec![kernel()]);
    assert_eq!(ops(13, vec![pad(), pool()], pads()), [padded, Op::MaxPool(inside)]);
    let least = || node("z = Pad x p least", vec![]);
    let op = Op::Pad { lines, value: f32::NEG_INFINITY };
    assert_eq!(ops(13, vec![least(), pool()], pads())[0], op);
    let large = node("y = MaxPool z", vec![("kernel_shape", Ints(vec![5, 5]))]);
    let window = Window { padding: lines, ..Window::square(5, 1, 0) };
    assert_eq!(ops(13, vec![least(), large], pads()), [Op::MaxPool(window)]);
    for wrong in [[0, 1, 1, 2, 0, 0, 3, 4], [0, 0, -1, 0, 0, 0, 0, 0]] {
        assert!(refused(13, vec![pad(), pool()], vec![integers("p", &wrong)]).contains("rows and columns"));
    }
    let axes = vec![integers("p", &[2, 4]), integers("a", &[-1])];
    let chosen = node("z = Pad x p _ a", vec![]);
    let lines = [0, 2, 0, 4];
    assert_eq!(ops(18, vec![chosen, pool()], axes)[0], Op::Pad { lines, value: 0.0 });
    let old = node("z = Pad x", vec![("pads", Ints(vec![0, 0, 1, 2, 0, 0, 3, 4])), ("value", Zero(1))]);
    assert_eq!(ops(10, vec![old, pool()], vec![])[0], Op::Pad { lines: window.padding, value: 0.0 });
}

#[test]
fn matrices_and_their_biases_arrive_in_one_layout() {
    let flat = || node("f = Flatten x", vec![]);
    let columns: Vec<f32> = (0..80).map(|n| n as f32).collect();
    let rows: Vec<f32> = (0..2).flat_map(|o| (0..40).map(move |i| (2 * i + o) as f32)).collect();
    let constants =
        || vec![reals("w", &[40, 2], &columns), reals("t", &[2, 40], &rows), reals("b", &[2], &[3.0, 4.0])];
    let linear = |factor: f32, bias: [f32; 2]| {
        let weight = rows.iter().map(|w| w * factor).collect();
        vec![Op::Flatten, Op::Linear { weight, bias: bias.to_vec(), scales: None }]
    };
    let settings = vec![("alpha", Float(2.0)), ("beta", Float(0.5)), ("transB", Int(1))];
    let read = |nodes: Vec<NodeProto>| ops(13, nodes, constants());
    assert_eq!(read(vec![flat(), node("y = Gemm f t b", settings)]), linear(2.0, [1.5, 2.0]));
    assert_eq!(read(vec![flat(), node("y = Gemm f w", vec![])]), linear(1.0, [0.0; 2]));
    let product = || node("m = MatMul f w", vec![]);
    assert_eq!(read(vec![flat(), product(), node("y = Add b m", vec![])]), linear(1.0, [3.0, 4.0]));
    let turned = node("v = Transpose t", vec![]);
    assert_eq!(read(vec![flat(), turned, node("y = MatMul f v", vec![])]), linear(1.0, [0.0; 2]));
    // The product is read twice, so that its sum with a constant is a node of its own.
    let twice = read(vec![flat(), product(), node("a = Add m b", vec![]), node("y = Add a m", vec![])]);
    assert_eq!(twice[2..], [affine([1.0; 2], [3.0, 4.0]), Op::Add]);
    let wide = vec![reals("w", &[40, 2], &columns), reals("b", &[3], &[0.0; 3])];
    assert!(refused(13, vec![flat(), node("y = Gemm f w b", vec![])], wide).contains("2 outputs"));
}

#[test]
fn flattening_has_many_spellings() {
    let constants = || {
        let mut all = vec![scalar("zero", 0), integers("first", &[0]), integers("one", &[1])];
        all.extend([integers("rest", &[-1]), integers("keep", &[0, -1]), integers("all", &[-1, 40])]);
        all
    };
    let read = |nodes| ops(13, nodes, constants());
    let chain = |gather| {
        let mut nodes = vec![node("s = Shape x", vec![]), gather];
        if nodes[1].op_type.as_deref() == Some("Gather") {
            nodes.push(node("u = Unsqueeze g first", vec![]));
        }
        nodes.push(node("c = Concat u rest", vec![("axis", Int(0))]));
        nodes.push(node("y = Reshape x c", vec![]));
        nodes
    };
    assert_eq!(read(vec![node("y = Flatten x", vec![("axis", Int(-3))])]), [Op::Flatten]);
    assert_eq!(read(vec![node("y = Reshape x keep", vec![])]), [Op::Flatten]);
    assert_eq!(read(vec![node("y = Reshape x all", vec![])]), [Op::Flatten]);
    assert_eq!(read(chain(node("g = Gather s zero", vec![]))), [Op::Flatten]);
    assert_eq!(read(chain(node("u = Slice s first one", vec![]))), [Op::Flatten]);
    let constants = || vec![integers("hw", &[2, 3]), integers("flat", &[0, 80]), integers("mix", &[-1, 2])];
    let pool = || node("p = GlobalAveragePool x", vec![]);
    let squeeze = || node("s = Squeeze p hw", vec![]);
    assert_eq!(ops(13, vec![pool(), squeeze()], constants()), [Op::GlobalAveragePool, Op::Flatten]);
    let back = vec![pool(), squeeze(), node("u = Unsqueeze s hw", vec![]), node("y = Relu u", vec![])];
    let clip = Op::Clip { low: 0.0, high: f32::INFINITY };
    assert_eq!(ops(13, back, constants()), [Op::GlobalAveragePool, clip]);
    let mean = || node("y = ReduceMean x", vec![("axes", Ints(vec![-1, 2])), ("keepdims", Int(0))]);
    assert_eq!(ops(11, vec![mean()], vec![]), [Op::GlobalAveragePool, Op::Flatten]);
    assert_eq!(ops(18, vec![node("y = ReduceMean x hw", vec![])], constants()), [Op::GlobalAveragePool]);
    for bad in ["y = Reshape x flat", "y = Reshape x mix", "y = Squeeze x hw", "y = Reshape x x"] {
        assert!(try_read(13, vec![node(bad, vec![])], constants()).is_err(), "{bad}");
    }
    assert!(try_read(13, vec![node("y = Flatten x", vec![("axis", Int(2))])], vec![]).is_err());
}

#[test]
fn unsupported_operators_are_named_together_whatever_else_is_wrong() {
    let mut foreign = node("q = Relu x", vec![]);
    foreign.domain = Some("com.example".to_owned());
    let nodes = vec![
        node("a = Einsum x", vec![]),
        node("b = Mul x a", vec![]),
        node("m = MaxPool x", vec![("kernel_shape", Ints(vec![2, 2])), ("ceil", Int(1))]),
        node("c = TopK b x", vec![]),
        node("d = Einsum c", vec![]),
        node("p = MatMul d q", vec![]),
        foreign,
        node("unused = Det x", vec![]),
        node("e = Add d q", vec![]),
        node("f = Add e p", vec![]),
        node("y = Add f m", vec![]),
    ];
    let error = try_read(13, nodes, vec![]).unwrap_err();
    let expected = "unsupported operators: Einsum (2×: node a, node d), MatMul (1×: node p), TopK (1×: node c), \
                    com.example.Relu (1×: node q); replace them in the model, or run it elsewhere | \
                    node node m (MaxPool): MaxPool has no attribute `ceil` in operator set 13; export the model again";
    assert_eq!(error.to_string(), expected);
    // An operator that the file defines anew is not the one that is known here.
    let own = FunctionProto { name: Some("Relu".to_owned()), domain: None };
    let mut own = ModelProto { functions: vec![own], ..model(13, vec![node("y = Relu x", vec![])], vec![]) };
    let named = read(&own.encode_to_vec()).unwrap_err().to_string();
    assert!(named.contains("unsupported operators: Relu"), "{named}");
    own.functions.clear();
    assert!(read(&own.encode_to_vec()).is_ok());
}

#[test]
fn names_are_given_once_and_nodes_come_in_any_order() {
    let relu = |text| node(text, vec![]);
    let error = |nodes, constants| try_read(13, nodes, constants).unwrap_err();
    let sorted = vec![relu("a = Relu x"), relu("b = Neg a"), relu("c = Add a b"), relu("y = Tanh c")];
    let mixed = vec![2, 1, 0, 3].into_iter().map(|at: usize| sorted[at].clone()).collect();
    assert_eq!(ops(13, mixed, vec![]), ops(13, sorted, vec![]));
    let cycle =
        error(vec![relu("a = Add x c"), relu("b = Relu a"), relu("c = Relu b"), relu("y = Relu c")], vec![]);
    assert!(matches!(&cycle, OnnxError::Cycle { nodes } if nodes == "node a, node b, node c"), "{cycle}");
    let missing = error(vec![relu("y = Relu b")], vec![]);
    assert!(matches!(missing, OnnxError::Undefined { node, tensor } if node == "node y" && tensor == "b"));
    let twice = |nodes, constants, name: &str| {
        assert!(matches!(error(nodes, constants), OnnxError::Duplicate { tensor } if tensor == name));
    };
    twice(vec![relu("a = Relu x"), relu("a = Relu a")], vec![], "a");
    twice(vec![relu("x = Relu x")], vec![], "x");
    twice(vec![relu("c = Relu x")], vec![reals("c", &[], &[1.0])], "c");
    twice(vec![relu("a = Add x c")], vec![reals("c", &[], &[1.0]), reals("c", &[], &[1.0])], "c");
    // Even where nobody reads it.
    twice(vec![relu("a = Relu x"), relu("a = Neg x"), relu("y = Relu x")], vec![], "a");
    let constant = vec![reals("c", &[], &[1.0])];
    assert!(matches!(error(vec![relu("y = Identity c")], constant), OnnxError::NoOutput));
    assert!(matches!(error(vec![], vec![]), OnnxError::NoOutput));
    assert!(refused(13, vec![relu("a = Relu _")], vec![]).contains("input 0 is missing"));
}
