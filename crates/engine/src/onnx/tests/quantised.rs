//! `QuantizeLinear` and `DequantizeLinear`: what they become, and what is refused.

use super::*;
use crate::graph::{Function, Quantization};

fn list(name: &str, data_type: i32, dims: &[i64], values: &[i32]) -> TensorProto {
    let (name, int32_data) = (Some(name.to_owned()), values.to_vec());
    TensorProto {
        dims: dims.to_vec(),
        data_type: Some(data_type),
        int32_data,
        name,
        ..TensorProto::default()
    }
}

/// Scales and zero points: `s`, `u` and `i` of one number, `ss` and `ii` of two.
fn constants() -> Vec<TensorProto> {
    vec![
        reals("s", &[], &[0.5]),
        reals("ss", &[2], &[0.5, 0.25]),
        list("u", UINT8, &[], &[7]),
        list("i", INT8, &[1], &[-3]),
        list("ii", INT8, &[2], &[0, 0]),
    ]
}

fn with(mut more: Vec<TensorProto>) -> Vec<TensorProto> {
    more.extend(constants());
    more
}

fn quantize(scale: f32, zero: u8) -> Op {
    Op::Function(Function::Quantize(Quantization { scale, zero }))
}

fn line(text: &str) -> NodeProto {
    node(text, vec![])
}

fn lines(texts: &[&str]) -> Vec<NodeProto> {
    texts.iter().map(|text| line(text)).collect()
}

#[test]
fn a_pair_is_a_rounding_whichever_type_its_bytes_have() {
    for (pair, zero) in [
        (["q = QuantizeLinear x s u", "y = DequantizeLinear q s u"], 7),
        (["q = QuantizeLinear x s i", "y = DequantizeLinear q s i"], 125),
        (["q = QuantizeLinear x s", "y = DequantizeLinear q s"], 0),
    ] {
        for set in [10, 13, 19, 21, 23, 25] {
            assert_eq!(ops(set, lines(&pair), constants()), [quantize(0.5, zero)], "{pair:?}");
        }
    }
    let several = [
        "q = QuantizeLinear x s u",
        "a = DequantizeLinear q s u",
        "b = DequantizeLinear q s u",
        "y = Add a b",
    ];
    let graph = try_read(13, lines(&several), constants()).unwrap();
    assert_eq!(graph.nodes[2].op, Op::Add);
    assert_eq!(graph.nodes[2].inputs, [1, 1]);
    // The type without a zero point, and the twins of ONNX Runtime.
    let of_type = |number| {
        vec![
            node("q = QuantizeLinear x s", vec![("output_dtype", Int(number))]),
            line("y = DequantizeLinear q s"),
        ]
    };
    assert_eq!(ops(21, of_type(3), constants()), [quantize(0.5, 128)]);
    assert_eq!(ops(21, of_type(0), constants()), [quantize(0.5, 0)]);
    assert!(refused(21, of_type(5), constants()).contains("rounds to INT16, supported are UINT8 and INT8"));
    let mut twins = lines(&["q = QuantizeLinear x s u", "y = DequantizeLinear q s u"]);
    twins.iter_mut().for_each(|node| node.domain = Some("com.microsoft".to_owned()));
    assert_eq!(ops(13, twins.clone(), constants()), [quantize(0.5, 7)]);
    twins[0].domain = Some("com.other".to_owned());
    assert!(refused(13, twins, constants()).contains("unsupported operators: com.other.QuantizeLinear"));
}

#[test]
fn bytes_are_moved_as_the_numbers_they_stand_for() {
    let pool = || node("p = MaxPool q", vec![("kernel_shape", Ints(vec![2, 2]))]);
    let moved = vec![
        line("q = QuantizeLinear x s u"),
        pool(),
        node("t = Transpose p", vec![("perm", Ints(vec![0, 2, 3, 1]))]),
        node("b = Transpose t", vec![("perm", Ints(vec![0, 3, 1, 2]))]),
        node("c = Concat b p", vec![("axis", Int(1))]),
        line("h = Shape c"),
        line("z = Reshape c h"),
        line("f = Flatten z"),
        line("y = DequantizeLinear f s u"),
    ];
    let window = Window::square(2, 1, 0);
    assert_eq!(
        ops(13, moved.clone(), constants()),
        [quantize(0.5, 7), Op::MaxPool(window), Op::Concat, Op::Flatten]
    );
    let mut other = moved;
    other[8] = line("y = DequantizeLinear f s");
    let error = refused(13, other, constants());
    let kinds = "UINT8 of scale 0.5 and zero point 0 for bytes that QuantizeLinear made by UINT8 of scale 0.5 and zero point 7";
    assert!(error.contains(kinds), "{error}");
    let computes = ["q = QuantizeLinear x s u", "r = Relu q", "y = DequantizeLinear r s u"];
    assert!(refused(13, lines(&computes), constants()).contains("computes with the bytes"));
    let joins = vec![
        line("q = QuantizeLinear x s u"),
        line("r = QuantizeLinear x s"),
        node("c = Concat q r", vec![("axis", Int(1))]),
        line("y = DequantizeLinear c s u"),
    ];
    assert!(refused(13, joins, constants()).contains("joins bytes of different scales"));
    let mixed = vec![
        line("q = QuantizeLinear x s u"),
        node("c = Concat q x", vec![("axis", Int(1))]),
        line("y = DequantizeLinear c s u"),
    ];
    assert!(refused(13, mixed, constants()).contains("joins bytes"));
    let open = refused(13, lines(&["y = QuantizeLinear x s u"]), constants());
    assert!(open.contains("end the model with DequantizeLinear"), "{open}");
}

#[test]
fn lines_around_an_image_are_rounded_with_it() {
    let pads = || {
        vec![
            integers("pads", &[0, 0, 1, 1, 0, 0, 1, 1]),
            reals("v", &[], &[1.3]),
            reals("w", &[3, 2, 1, 1], &[1.0; 6]),
        ]
    };
    let read = |pad: &str| {
        let texts = [pad, "q = QuantizeLinear p s u", "d = DequantizeLinear q s u", "y = Conv d w"];
        ops(13, lines(&texts), with(pads()))
    };
    let [rounding, Op::Convolution(convolution)] = &read("p = Pad x pads")[..] else { panic!("two nodes") };
    assert_eq!((rounding, convolution.window.padding), (&quantize(0.5, 7), [1; 4]));
    let found = read("p = Pad x pads v");
    assert_eq!(found[..2], [quantize(0.5, 7), Op::Pad { lines: [1; 4], value: 1.5 }]);
}

#[test]
fn activations_with_several_or_no_scales_are_refused() {
    for (pair, reason) in [
        (["q = QuantizeLinear x ss", "y = DequantizeLinear q ss"], "has 2 scales"),
        (["q = QuantizeLinear x z", "y = DequantizeLinear q z"], "its scale is 0"),
        (["q = QuantizeLinear x n", "y = DequantizeLinear q n"], "its scale is -1"),
        (["q = QuantizeLinear x s h", "y = DequantizeLinear q s h"], "rounds to UINT16"),
        (["q = QuantizeLinear x s u", "y = DequantizeLinear q ss"], "several scales"),
        (
            ["q = QuantizeLinear x s u", "y = DequantizeLinear q s i"],
            "zero point of type INT8 for integers of type UINT8",
        ),
        (["q = QuantizeLinear x s ii", "y = DequantizeLinear q s ii"], "one integer for each scale"),
        (["q = QuantizeLinear x s8", "y = DequantizeLinear q s8"], "input 1 must be real numbers"),
        (["q = Relu x", "y = DequantizeLinear q s"], "reads what no QuantizeLinear made"),
    ] {
        let more = vec![
            reals("z", &[], &[0.0]),
            reals("n", &[], &[-1.0]),
            list("h", 4, &[], &[0]),
            list("s8", INT8, &[], &[1]),
        ];
        let error = refused(13, lines(&pair), with(more));
        assert!(error.contains(reason), "{pair:?}: {error}");
    }
    let blocked = vec![
        node("q = QuantizeLinear x s u", vec![("block_size", Int(16))]),
        line("y = DequantizeLinear q s u"),
    ];
    assert!(refused(21, blocked, constants()).contains("block_size is 16, supported is 0"));
    for (number, name) in [(17, "FLOAT8E4M3FN"), (22, "INT4")] {
        let zero = list("z", number, &[], &[0]);
        let error =
            refused(21, lines(&["q = QuantizeLinear x s z", "y = DequantizeLinear q s z"]), with(vec![zero]));
        assert!(error.contains(&format!("of element type {name}, which is not read")), "{error}");
    }
}

/// Weight, bias and scales of the convolution or linear layer that these nodes end with.
fn layer(
    set: i64,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
) -> (Vec<f32>, Vec<f32>, Option<Vec<f32>>) {
    match ops(set, nodes, with(constants)).pop() {
        Some(Op::Convolution(convolution)) => (convolution.weight, convolution.bias, convolution.scales),
        Some(Op::Linear { weight, bias, scales }) => (weight, bias, scales),
        other => panic!("{other:?}"),
    }
}

#[test]
fn weights_of_bytes_are_multiples_where_those_are_symmetric() {
    let first = |name: &str| node(&format!("w = DequantizeLinear b {name}"), vec![("axis", Int(0))]);
    let bytes = |data_type, values: &[i32]| vec![list("b", data_type, &[2, 2, 1, 1], values)];
    let convolution = |dequantize, constants| layer(13, vec![dequantize, line("y = Conv x w")], constants);
    let weight = vec![-64.0, 0.5, 31.75, 0.0];
    let steps = Some(vec![0.5, 0.25]);
    assert_eq!(
        convolution(first("ss"), bytes(INT8, &[-128, 1, 127, 0])),
        (weight.clone(), vec![0.0; 2], steps.clone())
    );
    assert_eq!(convolution(first("ss ii"), bytes(INT8, &[-128, 1, 127, 0])).2, steps);
    let middle = |numbers: &[i32]| {
        let mut all = bytes(UINT8, numbers);
        all.push(list("m", UINT8, &[2], &[128, 128]));
        all
    };
    assert_eq!(convolution(first("ss m"), middle(&[0, 129, 255, 128])), (weight, vec![0.0; 2], steps));
    // One scale for all, and bytes whose middle is another.
    assert_eq!(
        convolution(line("w = DequantizeLinear b s"), bytes(INT8, &[1, 2, 3, 4])).2,
        Some(vec![0.5; 2])
    );
    let (weight, _, scales) = convolution(line("w = DequantizeLinear b s u"), bytes(UINT8, &[0, 255, 7, 8]));
    assert_eq!((weight, scales), (vec![-3.5, 124.0, 0.0, 0.5], None));
    // Along the inputs.
    let along = node("w = DequantizeLinear b ss", vec![]);
    assert_eq!(
        convolution(along, bytes(INT8, &[2, 4, 6, 8])),
        (vec![1.0, 1.0, 3.0, 2.0], vec![0.0; 2], None)
    );
    let long = refused(
        13,
        vec![first("sss"), line("y = Conv x w")],
        with([bytes(INT8, &[0; 4]), vec![reals("sss", &[3], &[1.0; 3])]].concat()),
    );
    assert!(long.contains("3 scales along axis 0 of [2, 2, 1, 1]"), "{long}");
    let blocks = vec![list("b", INT8, &[2, 2], &[0; 4]), reals("s2", &[2, 1], &[1.0, 1.0])];
    let error =
        refused(13, lines(&["w = DequantizeLinear b s2", "f = Flatten x", "y = MatMul f w"]), with(blocks));
    assert!(error.contains("scales of shape [2, 1]") && error.contains("no blocks"), "{error}");
    let float = refused(13, lines(&["w = DequantizeLinear s s", "y = Add x w"]), constants());
    assert!(float.contains("constant of FLOAT, expected integers"), "{float}");
}

#[test]
fn biases_of_32_bits_and_rounded_weights_become_numbers() {
    let constants = vec![
        list("b", INT8, &[2, 2, 1, 1], &[1; 4]),
        list("c", INT32, &[2], &[-100_000, 3]),
        reals("w", &[2, 2, 1, 1], &[0.3, -0.74, 99.0, -0.126]),
    ];
    let bias = node("d = DequantizeLinear c ss", vec![("axis", Int(0))]);
    let nodes = vec![line("e = DequantizeLinear b s"), bias.clone(), line("y = Conv x e d")];
    assert_eq!(
        layer(13, nodes, constants.clone()),
        (vec![0.5; 4], vec![-50_000.0, 0.75], Some(vec![0.5; 2]))
    );
    // Weights that are rounded in the file, as fake quantisation leaves them.
    let axis = || vec![("axis", Int(-4))];
    let nodes = vec![
        node("q = QuantizeLinear w ss ii", axis()),
        node("e = DequantizeLinear q ss ii", axis()),
        line("y = Conv x e"),
    ];
    assert_eq!(layer(13, nodes, constants).0, [0.5, -0.5, 31.75, -0.25]);
}

#[test]
fn scales_go_with_the_axes_of_a_matrix() {
    // 40 inputs and 2 outputs.
    let numbers: Vec<i32> = (0..80).collect();
    let tall = || list("t", INT8, &[40, 2], &numbers);
    let wide = || list("v", INT8, &[2, 40], &numbers);
    let scaled =
        |bytes: &str, axis| node(&format!("w = DequantizeLinear {bytes} ss"), vec![("axis", Int(axis))]);
    let steps = Some(vec![0.5, 0.25]);
    let read = |nodes: Vec<NodeProto>| {
        let flat = std::iter::once(line("f = Flatten x"));
        layer(13, flat.chain(nodes).collect(), vec![tall(), wide(), integers("shape", &[2, 40])])
    };
    let (weight, _, scales) = read(vec![scaled("t", 1), line("y = MatMul f w")]);
    assert_eq!((&weight[..3], weight[40], &scales), (&[0.0, 1.0, 2.0][..], 0.25, &steps));
    assert_eq!(read(vec![scaled("t", -1), line("y = Gemm f w")]).2, steps);
    let (weight, _, scales) = read(vec![scaled("v", 0), node("y = Gemm f w", vec![("transB", Int(1))])]);
    assert_eq!((&weight[..3], weight[40], &scales), (&[0.0, 0.5, 1.0][..], 10.0, &steps));
    let turned = || node("z = Transpose w", vec![("perm", Ints(vec![1, 0]))]);
    assert_eq!(read(vec![scaled("v", 0), turned(), line("y = MatMul f z")]).2, steps);
    assert_eq!(read(vec![scaled("v", 0), line("z = Transpose w"), line("y = Gemm f z")]).2, steps);
    let three = || integers("three", &[2, 40, 1]);
    let shaped = vec![
        line("f = Flatten x"),
        scaled("v", 0),
        line("a = Reshape w three"),
        line("z = Reshape a shape"),
        node("y = Gemm f z", vec![("transB", Int(1))]),
    ];
    assert_eq!(layer(13, shaped, vec![wide(), three(), integers("shape", &[2, 40])]).2, steps);
    // Where numbers move between the outputs, or are multiplied, they are no multiples that are known.
    let doubled = node("y = Gemm f w", vec![("transB", Int(1)), ("alpha", Float(2.0))]);
    assert_eq!(read(vec![scaled("v", 0), doubled]).2, None);
    assert_eq!(
        read(vec![
            scaled("t", 1),
            line("z = Reshape w shape"),
            node("y = Gemm f z", vec![("transB", Int(1))])
        ])
        .2,
        None
    );
}

#[test]
fn other_forms_of_quantised_models_are_refused_with_what_to_do() {
    for operator in ["QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear"]
    {
        let error = refused(13, vec![line(&format!("y = {operator} x s"))], constants());
        assert!(error.contains(operator) && error.contains("QuantFormat.QDQ"), "{error}");
    }
    let mut gemm = line("y = QGemm x s");
    gemm.domain = Some("com.microsoft".to_owned());
    let error = refused(13, vec![gemm], constants());
    assert!(error.contains("com.microsoft.QGemm") && error.contains("QuantFormat.QDQ"), "{error}");
    assert!(!refused(13, vec![line("y = Sin x")], constants()).contains("QDQ"));
}
