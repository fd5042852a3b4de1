//! What each operator set lets a node have, and what of a model is refused by name.

use super::*;

#[test]
fn operator_sets_and_versions_have_bounds() {
    let relu = || vec![node("y = Relu x", vec![])];
    for set in [7, 13, 22, 23, 24, 25, 26] {
        assert_eq!(ops(set, relu(), vec![]).len(), 1, "{set}");
    }
    for set in [0, 6, 27] {
        assert!(
            matches!(try_read(set, relu(), vec![]), Err(OnnxError::OperatorSet { got, .. }) if got == set)
        );
    }
    let versions = |ir_version, sets: &[(&str, i64)]| {
        let import = |&(domain, set): &(&str, i64)| OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(set),
        };
        let opset_import = sets.iter().map(import).collect();
        let model = ModelProto { ir_version: Some(ir_version), opset_import, ..model(13, relu(), vec![]) };
        read(&model.encode_to_vec()).map(|_| ())
    };
    assert!(versions(13, &[("ai.onnx.ml", 3), ("", 20), ("com.microsoft", 1)]).is_ok());
    assert!(versions(3, &[("ai.onnx", 20), ("", 20)]).is_ok());
    assert!(matches!(versions(14, &[("", 20)]), Err(OnnxError::Version { got: 14, .. })));
    assert!(matches!(versions(8, &[("ai.onnx", 20), ("", 21)]), Err(OnnxError::OperatorSets { .. })));
    assert!(matches!(versions(8, &[("ai.onnx.ml", 3)]), Err(OnnxError::OperatorSet { got: 0, .. })));
}

#[test]
fn settings_of_other_operator_sets_are_refused_with_the_sets_that_have_them() {
    let bounds = || vec![("min", Float(0.0)), ("max", Float(6.0))];
    let six = || vec![reals("six", &[], &[6.0])];
    for set in [11, 13, 26] {
        let error = refused(set, vec![node("y = Clip x", bounds())], vec![]);
        assert!(
            error.contains("`min` belongs to Clip of operator sets 6 to 10") && error.contains("`max`"),
            "{error}"
        );
    }
    let error = refused(9, vec![node("y = Clip x _ six", vec![])], six());
    assert!(error.contains("has 3 inputs") && error.contains("from set 11 on"), "{error}");
    let pool = |setting| vec![node("y = AveragePool x", vec![("kernel_shape", Ints(vec![2, 2])), setting])];
    assert!(refused(9, pool(("ceil_mode", Int(0))), vec![]).contains("sets 10 on"));
    assert!(refused(18, pool(("dilations", Ints(vec![1, 1]))), vec![]).contains("sets 19 on"));
    assert!(try_read(19, pool(("dilations", Ints(vec![1, 1]))), vec![]).is_ok());
    let axes = || vec![("axes", Ints(vec![2, 3])), ("keepdims", Int(1))];
    assert!(try_read(17, vec![node("y = ReduceMean x", axes())], vec![]).is_ok());
    assert!(refused(18, vec![node("y = ReduceMean x", axes())], vec![]).contains("sets 1 to 17"));
    let shape = || vec![integers("hw", &[2, 3])];
    assert!(refused(17, vec![node("y = ReduceMean x hw", vec![])], shape()).contains("has 2 inputs"));
    assert!(refused(13, vec![node("y = HardSwish x", vec![])], vec![]).contains("came with operator set 14"));
    assert!(
        refused(13, vec![node("y = Relu x", vec![("alpha", Float(0.1))])], vec![])
            .contains("no attribute `alpha`")
    );
    assert!(refused(13, vec![node("y = Relu x six", vec![])], six()).contains("has 2 inputs"));
    assert!(refused(13, vec![node("y = Conv x", vec![])], vec![]).contains("input 1 is missing"));
    assert!(refused(13, vec![node("y = MaxPool x", vec![])], vec![]).contains("kernel_shape is missing"));
}

#[test]
fn settings_are_given_once_and_of_their_type() {
    let relu = |settings| refused(13, vec![node("y = Softmax x", settings)], vec![]);
    assert!(relu(vec![("axis", Float(1.0))]).contains("axis is a real number (FLOAT), without a type"));
    assert!(relu(vec![("axis", Ints(vec![1]))]).contains("expected an integer (INT)"));
    assert!(relu(vec![("axis", Int(1)), ("axis", Int(1))]).contains("given twice"));
    assert!(relu(vec![("axis", Zero(0))]).contains("without a value, without a type"));
    let with = |attribute: AttributeProto| {
        let mut softmax = node("y = Softmax x", vec![]);
        softmax.attribute.push(AttributeProto { name: Some("axis".to_owned()), ..attribute });
        refused(13, vec![softmax], vec![])
    };
    let lies = AttributeProto { i: Some(1), r#type: Some(FLOAT_ATTRIBUTE), ..AttributeProto::default() };
    assert!(with(lies).contains("an integer (INT), of type 1"));
    let both =
        AttributeProto { i: Some(1), f: Some(1.0), r#type: Some(INT_ATTRIBUTE), ..AttributeProto::default() };
    assert!(with(both).contains("FLOAT) and an integer"));
    let refers = AttributeProto { ref_attr_name: Some("a".to_owned()), ..AttributeProto::default() };
    assert!(with(refers).contains("refers to one of a function"));
}

#[test]
fn values_of_zero_may_be_left_out() {
    let flat = || node("f = Flatten x", vec![]);
    let weight = || vec![reals("w", &[2, 40], &[1.0; 80]), reals("b", &[2], &[3.0; 2])];
    let int = || Zero(INT_ATTRIBUTE);
    let zeros = vec![("transA", int()), ("beta", Zero(FLOAT_ATTRIBUTE)), ("transB", Int(1))];
    let linear = Op::Linear { weight: vec![1.0; 80], bias: vec![0.0; 2], scales: None };
    assert_eq!(ops(13, vec![flat(), node("y = Gemm f w b", zeros)], weight())[1], linear);
    let clip = vec![("min", Zero(FLOAT_ATTRIBUTE)), ("max", Float(6.0))];
    assert_eq!(ops(9, vec![node("y = Clip x", clip)], vec![]), [Op::Clip { low: 0.0, high: 6.0 }]);
    let mean = vec![("axes", Ints(vec![2, 3])), ("keepdims", int())];
    assert_eq!(ops(13, vec![node("y = ReduceMean x", mean)], vec![]), [Op::GlobalAveragePool, Op::Flatten]);
    let norm = vec![("epsilon", Zero(FLOAT_ATTRIBUTE)), ("training_mode", int())];
    let statistics = ["s", "o", "m", "v"].map(|name| reals(name, &[2], &[4.0; 2])).to_vec();
    let norm = ops(15, vec![node("y = BatchNormalization x s o m v", norm)], statistics);
    assert_eq!(norm, [affine([2.0; 2], [-4.0; 2])]);
    let pool =
        vec![("kernel_shape", Ints(vec![2, 2])), ("ceil_mode", int()), ("auto_pad", Zero(STRING_ATTRIBUTE))];
    assert_eq!(ops(13, vec![node("y = MaxPool x", pool)], vec![]), [Op::MaxPool(Window::square(2, 1, 0))]);
    // A program that writes every field writes zeros of other types too.
    let mut full = node("y = Softmax f", vec![("axis", Int(1))]);
    full.attribute[0].f = Some(0.0);
    full.attribute[0].s = Some(vec![]);
    assert_eq!(ops(13, vec![flat(), full], vec![]), [Op::Flatten, Op::Softmax]);
}

#[test]
fn marks_of_training_are_refused() {
    let statistics = || ["s", "o", "m", "v"].map(|name| reals(name, &[2], &[4.0; 2])).to_vec();
    let mut norm = node("y = BatchNormalization x s o m v", vec![("training_mode", Int(1))]);
    assert!(refused(14, vec![norm.clone()], statistics()).contains("training_mode is 1, supported is 0"));
    norm.attribute.clear();
    norm.output.push("mean".to_owned());
    for set in [8, 9, 15] {
        assert!(refused(set, vec![norm.clone()], statistics()).contains("further output `mean`"), "{set}");
    }
    norm.output[1].clear();
    assert!(try_read(9, vec![norm], statistics()).is_ok());
    let per_place = node("y = BatchNormalization x s o m v", vec![("spatial", Int(0))]);
    assert!(refused(8, vec![per_place], statistics()).contains("spatial is 0"));
    let truth = |value| {
        let mut constant = integers("t", &[value]);
        (constant.data_type, constant.int32_data) = (Some(9), vec![value as i32]);
        (constant.dims, constant.int64_data) = (vec![], vec![]);
        vec![constant, reals("r", &[], &[0.5])]
    };
    let dropout = || vec![node("d = Dropout x r t", vec![]), node("y = Relu d", vec![])];
    assert!(refused(13, dropout(), truth(1)).contains("training_mode is set"));
    assert_eq!(ops(13, dropout(), truth(0)).len(), 1);
}

#[test]
fn further_outputs_may_be_there_but_not_be_read() {
    let pool = |reader| {
        let mut pool = node("y = MaxPool x", vec![("kernel_shape", Ints(vec![2, 2]))]);
        pool.output.push("places".to_owned());
        vec![pool, node(reader, vec![])]
    };
    assert_eq!(ops(13, pool("z = Relu y"), vec![]).len(), 2);
    assert!(refused(13, pool("z = Add y places"), vec![]).contains("`places` (a mask or indices) is read"));
    let mut third = pool("z = Relu y");
    third[0].output.push("more".to_owned());
    assert!(refused(13, third, vec![]).contains("has 3 outputs, expected at most 2"));
    assert!(refused(7, pool("z = Relu y"), vec![]).contains("has 2 outputs, expected at most 1"));
}

#[test]
fn nodes_with_the_same_fault_are_counted() {
    let clip = |text| node(text, vec![("max", Float(6.0))]);
    let error = refused(13, vec![clip("a = Clip x"), clip("b = Clip a"), clip("y = Clip b")], vec![]);
    assert!(
        error.starts_with("node node a (Clip): attribute `max`") && error.ends_with("(so with 3 nodes)"),
        "{error}"
    );
}

/// The model with these graph outputs besides its own.
fn with_outputs(mut model: ModelProto, more: &[&str]) -> ModelProto {
    let sides = |name: &&str| {
        let dim = DimensionProto { dim_value: None, dim_param: Some("N".to_owned()) };
        let side = DimensionProto { dim_value: Some(40), dim_param: None };
        emit::value_info(name, vec![dim, side])
    };
    if let Some(graph) = &mut model.graph {
        graph.output.extend(more.iter().map(sides));
    }
    model
}

#[test]
fn one_of_several_outputs_must_be_named() {
    let nodes = vec![node("f = Flatten x", vec![]), node("e = Einsum f", vec![]), node("y = Relu e", vec![])];
    let two = with_outputs(model(13, nodes, vec![]), &["f"]).encode_to_vec();
    let named = |name: &str| {
        read_with(&two, &ReadOptions { output: Some(name.to_owned()), ..ReadOptions::default() })
    };
    let error = read(&two).unwrap_err();
    assert!(matches!(&error, OnnxError::Outputs { outputs } if outputs == "y, f [N, 40]"), "{error}");
    assert!(error.to_string().contains("--output NAME"));
    assert!(matches!(named("e"), Err(OnnxError::NoSuchOutput { .. })));
    assert!(matches!(named("y"), Err(OnnxError::Unsupported { .. })));
    // A shape that the file does not have is found out, where the output can be read.
    let nodes = vec![node("f = Flatten x", vec![]), node("y = Relu x", vec![])];
    let mut open = with_outputs(model(13, nodes, vec![]), &["f"]);
    if let Some(graph) = &mut open.graph {
        graph.output.iter_mut().for_each(|output| output.r#type = None);
    }
    let error = read(&open.encode_to_vec()).unwrap_err();
    assert!(
        matches!(&error, OnnxError::Outputs { outputs } if outputs == "y [N, 2, 5, 4], f [N, 40]"),
        "{error}"
    );
    // What only the other output needs is not looked at.
    let graph = named("f").unwrap();
    assert_eq!((graph.nodes.len(), graph.output), (2, 1));
}

#[test]
fn one_input_must_be_the_image() {
    let mut model = model(13, vec![node("y = Add x z", vec![])], vec![]);
    let sides = [Some(1), Some(2)].map(|side| DimensionProto { dim_value: side, dim_param: None });
    if let Some(graph) = &mut model.graph {
        graph.input.push(emit::value_info("z", sides.to_vec()));
    }
    let error = read(&model.encode_to_vec()).unwrap_err();
    assert!(matches!(&error, OnnxError::Inputs { names } if names == "x [?, 2, 5, 4], z [1, 2]"), "{error}");
}

#[test]
fn lengths_that_are_not_known_are_not_taken_for_zero() {
    let sized = |dims: [Option<i64>; 4], options| {
        let dims = dims.map(|dim_value| DimensionProto { dim_value, dim_param: None });
        let mut model = model(13, vec![node("y = Relu x", vec![])], vec![]);
        if let Some(graph) = &mut model.graph {
            graph.input = vec![emit::value_info("x", dims.to_vec())];
        }
        read_with(&model.encode_to_vec(), &options).map(|graph| graph.nodes[0].op.clone())
    };
    let options = || ReadOptions { size: Some([6, 7]), output: None };
    let open = |side| [Some(side), Some(3), Some(side), Some(side)];
    for side in [0, -1] {
        assert!(matches!(sized(open(side), ReadOptions::default()), Err(OnnxError::NeedsSize { .. })));
        assert_eq!(sized(open(side), options()).unwrap(), Op::Input { shape: [3, 6, 7] });
    }
    let no_channels = sized([None, Some(0), Some(4), Some(4)], ReadOptions::default());
    assert!(matches!(no_channels, Err(OnnxError::Input { .. })));
}
