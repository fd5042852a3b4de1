//! Constants that are computed from others.

use super::*;

/// The weight of a 1×1 convolution over two channels that these nodes compute as `w`.
#[track_caller]
fn weight(set: i64, mut nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Vec<f32> {
    nodes.push(node("y = Conv x w", vec![]));
    match ops(set, nodes, constants).pop() {
        Some(Op::Convolution(convolution)) => convolution.weight,
        other => panic!("{other:?}"),
    }
}

fn of_type(data_type: i32, name: &str, dims: &[i64], bytes: Vec<u8>) -> TensorProto {
    let (name, dims) = (Some(name.to_owned()), dims.to_vec());
    TensorProto { dims, data_type: Some(data_type), raw_data: Some(bytes), name, ..TensorProto::default() }
}

#[test]
fn weights_are_turned_masked_scaled_and_cast() {
    let v = || reals("v", &[1, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let turned = node("w = Transpose v", vec![("perm", Ints(vec![3, 2, 0, 1]))]);
    assert_eq!(weight(13, vec![turned], vec![v()]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let u = || reals("v", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]);
    let mask = || reals("m", &[2, 2, 1, 1], &[1.0, 0.0, 0.0, 1.0]);
    let run = |text, more: Vec<TensorProto>| weight(13, vec![node(text, vec![])], [vec![u()], more].concat());
    assert_eq!(run("w = Mul v m", vec![mask()]), [1.0, 0.0, 0.0, 4.0]);
    assert_eq!(run("w = Div v s", vec![reals("s", &[2, 1, 1, 1], &[1.0, 2.0])]), [1.0, 2.0, 1.5, 2.0]);
    assert_eq!(run("w = Sub s v", vec![reals("s", &[], &[1.0])]), [0.0, -1.0, -2.0, -3.0]);
    assert_eq!(run("w = Pow v s", vec![reals("s", &[1], &[2.0])]), [1.0, 4.0, 9.0, 16.0]);
    assert_eq!(run("w = Neg v", vec![]), [-1.0, -2.0, -3.0, -4.0]);
    assert_eq!(run("w = Reciprocal v", vec![]), [1.0, 0.5, 1.0 / 3.0, 0.25]);
    assert_eq!(run("w = Sqrt v", vec![])[3], 2.0);
    let truth = of_type(9, "m", &[2, 2, 1, 1], vec![1, 0, 0, 1]);
    let to_real = node("k = Cast m", vec![("to", Int(1))]);
    assert_eq!(
        weight(13, vec![to_real, node("w = Mul v k", vec![])], vec![u(), truth]),
        [1.0, 0.0, 0.0, 4.0]
    );
    let quantised = of_type(3, "q", &[2, 2, 1, 1], vec![1, 255, 127, 128]);
    let nodes = vec![node("k = Cast q", vec![("to", Int(1))]), node("w = Mul k s", vec![])];
    assert_eq!(weight(13, nodes, vec![quantised, reals("s", &[], &[0.5])]), [0.5, -0.5, 63.5, -64.0]);
}

#[test]
fn results_are_rounded_to_the_type_of_the_file() {
    let halves = |name, numbers: [f32; 2]| {
        let bytes = numbers.map(|number| half::f16::from_f32(number).to_le_bytes()).concat();
        of_type(FLOAT16, name, &[1, 2, 1, 1], bytes)
    };
    let sum = weight(
        13,
        vec![node("w = Add a b", vec![])],
        vec![halves("a", [2048.0; 2]), halves("b", [1.0, 3.0])],
    );
    assert_eq!(sum, [2048.0, 2052.0]);
    let doubles = of_type(DOUBLE, "a", &[1, 2, 1, 1], [1e30_f64, 0.1].map(f64::to_le_bytes).concat());
    let again = of_type(DOUBLE, "b", &[], 1e30_f64.to_le_bytes().to_vec());
    let back = vec![node("p = Mul a b", vec![]), node("w = Div p b", vec![])];
    assert_eq!(weight(13, back, vec![doubles, again]), [1e30, 0.1]);
}

#[test]
fn constants_are_put_together_cut_picked_and_spread() {
    let v = || reals("v", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let more = || {
        let mut all =
            vec![v(), integers("four", &[1, 2, 1, 1]), integers("one", &[1]), integers("end", &[3])];
        all.extend([
            scalar("two", 2),
            integers("back", &[-1]),
            integers("start", &[-9]),
            integers("pick", &[2, 0]),
        ]);
        all.push(integers("shape", &[2, 2, 1, 1]));
        all
    };
    let seen = |nodes: Vec<NodeProto>| {
        weight(13, [nodes, vec![node("w = Reshape u four", vec![])]].concat(), more())
    };
    let axis = |axis| vec![("axis", Int(axis))];
    assert_eq!(seen(vec![node("u = Gather v two", axis(1))]), [3.0, 6.0]);
    let rows = vec![node("g = Gather v pick", axis(-1)), node("u = Gather g one", axis(0))];
    assert_eq!(seen(rows), [6.0, 4.0]);
    assert_eq!(seen(vec![node("u = Slice v one end one two", vec![])]), [2.0, 5.0]);
    let backwards = vec![node("s = Slice v back start one back", vec![]), node("u = Gather s two", axis(1))];
    assert_eq!(seen(backwards), [1.0, 4.0]);
    let joined = vec![node("c = Concat v v", axis(1)), node("d = Slice c one end one two", vec![])];
    assert_eq!(seen([joined, vec![node("u = Identity d", vec![])]].concat()), [2.0, 5.0]);
    let stacked = vec![
        node("c = Concat v v", axis(0)),
        node("g = Gather c two", axis(0)),
        node("u = Slice g one end", vec![]),
    ];
    assert_eq!(seen(stacked), [2.0, 3.0]);
    let spread = vec![
        node("g = Gather v two", axis(1)),
        node("r = Reshape g four", vec![]),
        node("w = Expand r shape", vec![]),
    ];
    assert_eq!(weight(13, spread, more()), [3.0, 6.0, 3.0, 6.0]);
    let filled =
        vec![node("w = ConstantOfShape shape", vec![("value", Tensor(Box::new(reals("", &[1], &[0.5]))))])];
    assert_eq!(weight(13, filled, more()), [0.5; 4]);
    let chosen = vec![
        node("f = ConstantOfShape shape", vec![]),
        node("b = Equal f f", vec![]),
        node("o = Exp f", vec![]),
        node("w = Where b o f", vec![]),
    ];
    assert_eq!(weight(13, chosen, more()), [1.0; 4]);
    let squeezed = vec![
        node("c = Reshape v six", vec![]),
        node("s = Squeeze c zero", vec![]),
        node("g = Gather s pick", axis(0)),
        node("a = Unsqueeze g axes", vec![]),
        node("w = Mul a a", vec![]),
    ];
    let shapes = vec![integers("six", &[1, -1]), integers("zero", &[0]), integers("axes", &[0, 2, 3])];
    assert_eq!(weight(13, squeezed, [more(), shapes].concat()), [9.0, 1.0]);
}

#[test]
fn shapes_are_computed_with_the_number_of_images_open() {
    let constants = || {
        vec![
            integers("one", &[1]),
            scalar("two", 2),
            scalar("axis", 1),
            integers("rest", &[-1]),
            scalar("zero", 0),
        ]
    };
    // As PyTorch writes `x.view(batch, channels // 2, 2, …)`.
    let nodes = |factor: &str| {
        vec![
            node("s = Shape x", vec![]),
            node("n = Gather s zero", vec![]),
            node("c = Gather s axis", vec![]),
            node("h = Div c two", vec![]),
            node("i = Cast h", vec![("to", Int(7))]),
            node("d = Mul i two", vec![]),
            node(&format!("m = Mul n {factor}"), vec![]),
            node("un = Unsqueeze m o", vec![]),
            node("ud = Unsqueeze d o", vec![]),
            node("t = Concat un ud rest", vec![("axis", Int(0))]),
            node("r = Reshape x t", vec![]),
            node("f = Flatten r", vec![]),
        ]
    };
    let more = |number| [constants(), vec![integers("o", &[0]), scalar("k", number)]].concat();
    assert_eq!(ops(13, nodes("k"), more(1)), [Op::Flatten]);
    assert!(refused(13, nodes("k"), more(2)).contains("computes with the number of images"));
}

#[test]
fn integers_neither_wrap_nor_divide_by_zero() {
    let read = |text, a: i64, b: i64| {
        let numbers = vec![integers("a", &[a]), integers("b", &[b])];
        refused(13, vec![node(text, vec![]), node("y = Reshape x c", vec![])], numbers)
    };
    assert!(read("c = Div a b", 1, 0).contains("divides by zero"));
    assert!(read("c = Mul a b", i64::MAX, 2).contains("out of the range"));
    assert!(read("c = Div a b", i64::MIN, -1).contains("out of the range"));
    let small = of_type(3, "a", &[1], vec![100]);
    let nodes = vec![
        node("s = Add a a", vec![]),
        node("c = Cast s", vec![("to", Int(7))]),
        node("y = Reshape x c", vec![]),
    ];
    assert!(refused(13, nodes, vec![small]).contains("out of the range"));
    let cast = |number: f32| {
        let nodes = vec![node("c = Cast a", vec![("to", Int(7))]), node("y = Reshape x c", vec![])];
        refused(13, nodes, vec![reals("a", &[1], &[number])])
    };
    assert!(cast(f32::NAN).contains("out of the range") && cast(1e20).contains("out of the range"));
    let types = refused(
        13,
        vec![node("c = Add a b", vec![]), node("y = Reshape x c", vec![])],
        vec![integers("a", &[1]), reals("b", &[], &[1.0])],
    );
    assert!(types.contains("two types"));
}

#[test]
fn constants_that_blow_up_stop_at_a_limit_by_the_size_of_the_file() {
    let too_large = |nodes: Vec<NodeProto>, constants: Vec<TensorProto>| {
        let error = try_read(13, [nodes, vec![node("y = Add x c", vec![])]].concat(), constants).unwrap_err();
        assert!(matches!(error, OnnxError::TooLarge { limit, .. } if limit < 1 << 25), "{error}");
    };
    let shape = || vec![integers("s", &[1 << 13, 1 << 13]), reals("r", &[1 << 13, 1], &[0.0; 1 << 13])];
    too_large(vec![node("c = ConstantOfShape s", vec![])], shape());
    too_large(vec![node("c = Expand r s", vec![])], shape());
    let turned = node("t = Transpose r", vec![]);
    too_large(vec![turned, node("c = Mul r t", vec![])], shape());
    let mut nodes = vec![node("c0 = Concat r r", vec![("axis", Int(0))])];
    nodes.extend((0..40).map(|n| node(&format!("c{} = Concat c{n} c{n}", n + 1), vec![("axis", Int(0))])));
    nodes.push(node("c = Identity c40", vec![]));
    too_large(nodes, shape());
    let huge = vec![node("c = ConstantOfShape s", vec![])];
    let error = try_read(
        13,
        [huge, vec![node("y = Add x c", vec![])]].concat(),
        vec![integers("s", &[i64::MAX, i64::MAX])],
    );
    assert!(error.unwrap_err().to_string().contains("too large"));
    let places = TensorProto { dims: vec![1], ..integers("", &[0]) };
    let values = TensorProto { name: Some("c".to_owned()), ..reals("", &[1], &[1.0]) };
    let sparse =
        SparseTensorProto { values: Some(values), indices: Some(places), dims: vec![1 << 13, 1 << 13] };
    let mut model = model(13, vec![node("y = Add x c", vec![])], vec![]);
    if let Some(graph) = &mut model.graph {
        graph.sparse_initializer.push(sparse);
    }
    assert!(matches!(read(&model.encode_to_vec()), Err(OnnxError::TooLarge { .. })));
}
