//! Results with other axes than those of images and vectors, and channels put together, cut and mixed.

use super::*;

const RELU: Op = Op::Clip { low: 0.0, high: f32::INFINITY };

fn perm(order: &[i64]) -> Vec<Attribute> {
    vec![("perm", Ints(order.to_vec()))]
}

#[test]
fn a_rank_between_image_and_classes_has_a_place() {
    let constants =
        || vec![integers("last", &[-1]), integers("three", &[2]), reals("c", &[2, 1], &[1.0, 2.0])];
    let pool = || node("p = GlobalAveragePool x", vec![]);
    let first = || node("s = Squeeze p last", vec![]);
    let twice = vec![pool(), first(), node("y = Squeeze s last", vec![])];
    assert_eq!(ops(13, twice, constants()), [Op::GlobalAveragePool, Op::Flatten]);
    let between = vec![pool(), first(), node("r = Relu s", vec![]), node("y = Squeeze r last", vec![])];
    assert_eq!(ops(13, between, constants()), [Op::GlobalAveragePool, RELU, Op::Flatten]);
    let added = vec![pool(), first(), node("r = Add s c", vec![]), node("y = Squeeze r last", vec![])];
    assert_eq!(ops(13, added, constants())[1], affine([1.0; 2], [1.0, 2.0]));
    let back = vec![pool(), first(), node("u = Unsqueeze s three", vec![]), node("y = Relu u", vec![])];
    assert_eq!(ops(13, back, constants()), [Op::GlobalAveragePool, RELU]);
    // Without axes all of length one go, and never the images.
    assert_eq!(
        ops(13, vec![pool(), node("y = Squeeze p", vec![])], vec![]),
        [Op::GlobalAveragePool, Op::Flatten]
    );
    // The result may have any rank.
    assert_eq!(ops(13, vec![pool(), first()], constants()), [Op::GlobalAveragePool, Op::Flatten]);
}

#[test]
fn one_image_may_stand_for_an_open_number_of_images() {
    let constants = || vec![integers("one", &[1, 40]), integers("two", &[2, 20]), integers("mix", &[-1, 20])];
    assert_eq!(ops(13, vec![node("y = Reshape x one", vec![])], constants()), [Op::Flatten]);
    for text in ["y = Reshape x two", "y = Reshape x mix"] {
        assert!(
            refused(13, vec![node(text, vec![])], constants()).contains("images must stay apart"),
            "{text}"
        );
    }
    assert!(
        refused(13, vec![node("y = Flatten x", vec![("axis", Int(2))])], vec![]).contains("mixes images")
    );
}

#[test]
fn a_channel_shuffle_is_one_choice_of_channels() {
    let constants = || {
        let groups = integers("g", &[-1, 2, 2, 5, 4]);
        vec![reals("w", &[4, 2, 1, 1], &[1.0; 8]), groups, integers("back", &[-1, 4, 5, 4])]
    };
    let nodes = |order: &[i64]| {
        vec![
            node("c = Conv x w", vec![]),
            node("r = Reshape c g", vec![]),
            node("t = Transpose r", perm(order)),
            node("y = Reshape t back", vec![]),
        ]
    };
    let shuffled = ops(13, nodes(&[0, 2, 1, 3, 4]), constants());
    assert_eq!(shuffled[1..], [Op::Channels { order: vec![0, 2, 1, 3] }]);
    assert!(refused(13, nodes(&[0, 1, 2, 4, 3]), constants()).contains("axes that were moved"));
}

#[test]
fn transposes_that_cancel_are_nothing_and_channels_may_be_last_between_them() {
    let weights = || {
        let bias = reals("b", &[2], &[1.0, 2.0]);
        vec![
            bias,
            integers("axes", &[1, 2]),
            reals("row", &[5, 1, 1], &[1.0; 5]),
            integers("flat", &[-1, 40]),
        ]
    };
    let last = || node("l = Transpose x", perm(&[0, 2, 3, 1]));
    let first = |text| node(text, perm(&[0, 3, 1, 2]));
    assert_eq!(
        ops(13, vec![last(), first("t = Transpose l"), node("y = Relu t", vec![])], weights()),
        [RELU]
    );
    let between =
        vec![last(), node("r = Relu l", vec![]), node("a = Add r b", vec![]), first("y = Transpose a")];
    assert_eq!(ops(13, between, weights()), [RELU, affine([1.0; 2], [1.0, 2.0])]);
    let joined = vec![last(), node("c = Concat l l", vec![("axis", Int(3))]), first("y = Transpose c")];
    assert_eq!(ops(13, joined, weights()), [Op::Concat]);
    let mean = vec![last(), node("y = ReduceMean l", vec![("axes", Ints(vec![1, 2])), ("keepdims", Int(0))])];
    assert_eq!(ops(13, mean, weights()), [Op::GlobalAveragePool, Op::Flatten]);
    for (nodes, part) in [
        (vec![last(), node("y = GlobalAveragePool l", vec![])], "axes that were moved"),
        (vec![last(), node("y = Reshape l flat", vec![])], "axes that were moved"),
        (vec![last(), node("y = Add l row", vec![])], "one number, or one for each channel"),
        (vec![last(), node("y = Concat l l", vec![("axis", Int(2))])], "only the axis of the channels"),
        (vec![last()], "axes that were moved"),
    ] {
        let error = refused(13, nodes, weights());
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_image_whose_channels_come_last_is_turned_where_all_nodes_turn_it() {
    let read = |order: &[i64], sides: [i64; 3]| {
        let mut model =
            model(13, vec![node("t = Transpose x", perm(order)), node("y = Relu t", vec![])], vec![]);
        let dims = sides.map(|side| DimensionProto { dim_value: Some(side), dim_param: None });
        let dims = [&[DimensionProto::default()], &dims[..]].concat();
        if let Some(graph) = &mut model.graph {
            graph.input = vec![emit::value_info("x", dims)];
        }
        read(&model.encode_to_vec())
    };
    let graph = read(&[0, 3, 1, 2], [6, 7, 3]).unwrap();
    assert_eq!(graph.nodes[0].op, Op::Input { shape: [3, 6, 7] });
    assert_eq!(graph.nodes.len(), 2);
    assert!(read(&[0, 2, 3, 1], [6, 7, 3]).is_err());
}

#[test]
fn channels_are_joined_cut_and_picked() {
    let constants = || {
        let mut all = vec![integers("one", &[1]), integers("end", &[i64::MAX]), integers("zero", &[0])];
        all.extend([integers("back", &[-1]), integers("start", &[-10]), integers("pick", &[1, -2, 1])]);
        all.push(integers("hw", &[2]));
        all
    };
    let order = |nodes: Vec<NodeProto>| match ops(13, nodes, constants()).pop() {
        Some(Op::Channels { order }) => order,
        other => panic!("{other:?}"),
    };
    let slice = |inputs: &str| vec![node(&format!("y = Slice x {inputs}"), vec![])];
    assert_eq!(order(slice("one end one")), [1]);
    assert_eq!(order(slice("back start one back")), [1, 0]);
    assert_eq!(order(vec![node("y = Gather x pick", vec![("axis", Int(1))])]), [1, 0, 1]);
    // All of an axis is nothing; a part of the rows has no node, and the images stay together.
    assert_eq!(
        ops(13, [slice("zero end zero"), vec![node("z = Relu y", vec![])]].concat(), constants()),
        [RELU]
    );
    assert!(refused(13, slice("one end hw"), constants()).contains("only the axis of the channels"));
    assert!(refused(13, slice("one end zero"), constants()).contains("cuts along the images"));
    let split = |settings| {
        let mut split = node("a = Split x", settings);
        split.output.push("b".to_owned());
        vec![split, node("y = Concat b a", vec![("axis", Int(1))])]
    };
    let parts: Vec<Op> = [vec![0], vec![1]].map(|order| Op::Channels { order }).to_vec();
    let halves = ops(13, split(vec![("axis", Int(1))]), vec![]);
    assert_eq!(halves, [&parts[..], &[Op::Concat]].concat());
    assert_eq!(ops(9, split(vec![("axis", Int(1)), ("split", Ints(vec![1, 1]))]), vec![]), halves);
    assert_eq!(ops(18, split(vec![("axis", Int(-3)), ("num_outputs", Int(2))]), vec![]), halves);
    assert!(
        refused(18, split(vec![("axis", Int(1)), ("num_outputs", Int(3))]), vec![]).contains("num_outputs")
    );
    assert!(refused(18, split(vec![("axis", Int(1))]), vec![]).contains("num_outputs"));
    assert!(refused(9, split(vec![("axis", Int(1)), ("split", Ints(vec![2, 1]))]), vec![]).contains("parts"));
    assert!(refused(9, split(vec![("axis", Int(2))]), vec![]).contains("only the axis of the channels"));
}

#[test]
fn a_gate_has_one_number_for_each_channel() {
    let squeeze = |text| node(text, vec![]);
    let nodes = vec![
        squeeze("p = GlobalAveragePool x"),
        squeeze("g = HardSigmoid p"),
        squeeze("m = Mul g x"),
        squeeze("s = Sigmoid m"),
        squeeze("y = Mul m s"),
    ];
    let graph = try_read(14, nodes, vec![]).unwrap();
    // A gate of its own is a function.
    assert_eq!(graph.nodes[4].op, Op::Function(crate::graph::Function::Silu));
    assert_eq!((graph.nodes.len(), &graph.nodes[4].inputs[..]), (5, &[3][..]));
    assert_eq!(graph.nodes[3].inputs, [2, 0]);
    assert_eq!(graph.nodes[3].op, Op::Mul);
    let last = vec![
        node("l = Transpose x", perm(&[0, 2, 3, 1])),
        node("p = ReduceMean l", vec![("axes", Ints(vec![1, 2]))]),
        node("m = Mul l p", vec![]),
        node("y = Transpose m", perm(&[0, 3, 1, 2])),
    ];
    assert_eq!(ops(13, last, vec![]), [Op::GlobalAveragePool, Op::Mul]);
    let rank = vec![node("f = Flatten x", vec![]), node("y = Mul f x", vec![])];
    assert!(refused(13, rank, vec![]).contains("joins [N, 40] and [N, 2, 5, 4]"));
}

#[test]
fn functions_are_those_of_the_graph() {
    use crate::graph::Function;
    let read = |set, text, settings| match ops(set, vec![node(text, settings)], vec![]).pop() {
        Some(Op::Function(function)) => function,
        other => panic!("{other:?}"),
    };
    let half = || vec![("alpha", Float(0.5))];
    assert_eq!(read(13, "y = HardSigmoid x", vec![]), Function::HardSigmoid { alpha: 0.2, beta: 0.5 });
    assert_eq!(read(22, "y = HardSigmoid x", half()), Function::HardSigmoid { alpha: 0.5, beta: 0.5 });
    assert_eq!(read(14, "y = HardSwish x", vec![]), Function::HardSwish);
    assert_eq!(read(24, "y = Swish x", vec![]), Function::Silu);
    assert_eq!(read(20, "y = Gelu x", vec![("approximate", Text("tanh"))]), Function::GeluTanh);
    assert_eq!(read(13, "y = Elu x", half()), Function::Elu { alpha: 0.5 });
    assert!(refused(24, vec![node("y = Swish x", half())], vec![]).contains("supported is 1"));
    let leaky = ops(13, vec![node("y = LeakyRelu x", vec![])], vec![]);
    assert_eq!(leaky, [Op::PRelu { slope: vec![0.01; 2] }]);
    let slopes = vec![reals("s", &[2, 1, 1], &[0.5, 0.25])];
    assert_eq!(ops(13, vec![node("y = PRelu x s", vec![])], slopes), [Op::PRelu { slope: vec![0.5, 0.25] }]);
}
