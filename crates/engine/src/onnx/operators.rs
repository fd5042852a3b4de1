//! The operators that are read: one table of what each operator set lets them have, and of what is supported of it.
//!
//! It follows the operators' own schemas (`onnx.defs` of the `onnx` package) from operator set 7 to 26. A form is listed where
//! attributes, inputs or outputs change; sets that only add types have none of their own.

use super::table::Further::{Computed, Training, Unread};
use super::table::{Form, Operator, Reader, Setting, float, floats, int, ints, sparse, tensor, text, texts};
use super::{arithmetic, combine, dense, layout, moves, pointwise, pools, quantised, reshape, windows};

/// The operator of ONNX's own domain with this name.
pub(super) fn operator(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|operator| operator.name == name)
}

const MANY: usize = usize::MAX;
const INFERENCE: &str = "export the model for inference (`model.eval()` in PyTorch)";

/// An operator of which nodes over images and over constants are read.
const fn both(name: &'static str, images: Reader, constants: Reader, forms: &'static [Form]) -> Operator {
    Operator { name, images: Some(images), constants: Some(constants), forms }
}

/// An operator of which nodes over images alone are read.
const fn images(name: &'static str, images: Reader, forms: &'static [Form]) -> Operator {
    Operator { name, images: Some(images), constants: None, forms }
}

/// An operator of which nodes over constants alone are read.
const fn constants(name: &'static str, constants: Reader, forms: &'static [Form]) -> Operator {
    Operator { name, images: None, constants: Some(constants), forms }
}

const AUTO_PAD: Setting = text("auto_pad");
const CEIL: Setting = int("ceil_mode");
const COUNT: Setting = int("count_include_pad");
const DILATIONS: Setting = ints("dilations");
const KERNEL: Setting = ints("kernel_shape").required();
const PADS: Setting = ints("pads");
const STRIDES: Setting = ints("strides");

/// One input and no settings, in all sets.
const ONE: &[Form] = &[Form::new(1, [1, 1], &[])];
/// Two inputs and no settings, in all sets.
const TWO: &[Form] = &[Form::new(7, [2, 2], &[])];
const ALPHA: &[Form] = &[Form::new(6, [1, 1], &[float("alpha")])];
const MANY_INPUTS: &[Form] = &[Form::new(8, [1, MANY], &[])];

const AVERAGE_POOL: &[Form] = &[
    Form::new(7, [1, 1], &[AUTO_PAD, COUNT, KERNEL, PADS, STRIDES]),
    Form::new(10, [1, 1], &[AUTO_PAD, CEIL, COUNT, KERNEL, PADS, STRIDES]),
    Form::new(19, [1, 1], &[AUTO_PAD, CEIL, COUNT, DILATIONS, KERNEL, PADS, STRIDES]),
];

const MAX_POOL: &[Form] = &[
    Form::new(1, [1, 1], &[AUTO_PAD, KERNEL, PADS, STRIDES]),
    Form::new(8, [1, 1], &[AUTO_PAD, KERNEL, PADS, int("storage_order"), STRIDES]).with_outputs(2, Unread),
    Form::new(10, [1, 1], &[AUTO_PAD, CEIL, DILATIONS, KERNEL, PADS, int("storage_order"), STRIDES])
        .with_outputs(2, Unread),
];

const BATCH_NORMALIZATION: &[Form] = &[
    Form::new(
        7,
        [5, 5],
        &[
            float("epsilon"),
            float("momentum"),
            int("spatial").only(1, "statistics must be one for each channel"),
        ],
    )
    .with_outputs(5, Training),
    Form::new(9, [5, 5], &[float("epsilon"), float("momentum")]).with_outputs(5, Training),
    Form::new(14, [5, 5], &[float("epsilon"), float("momentum"), int("training_mode").only(0, INFERENCE)])
        .with_outputs(3, Training),
];

const CLIP: &[Form] = &[Form::new(6, [1, 1], &[float("max"), float("min")]), Form::new(11, [1, 3], &[])];

const CAST: &[Form] = &[
    Form::new(6, [1, 1], &[int("to").required()]),
    Form::new(19, [1, 1], &[int("saturate"), int("to").required()]),
    Form::new(24, [1, 1], &[text("round_mode"), int("saturate"), int("to").required()]),
];

const CONSTANT: &[Form] = &[
    Form::new(1, [0, 0], &[tensor("value").required()]),
    Form::new(11, [0, 0], &[sparse("sparse_value"), tensor("value")]),
    Form::new(
        12,
        [0, 0],
        &[
            sparse("sparse_value"),
            tensor("value"),
            float("value_float"),
            floats("value_floats"),
            int("value_int"),
            ints("value_ints"),
            text("value_string"),
            texts("value_strings"),
        ],
    ),
];

const BLOCKS: Setting = int("block_size").only(0, "quantise with one scale, or one for each channel");
const OUTPUT_TYPE: Setting = int("output_dtype");

const QUANTIZE: &[Form] = &[
    Form::new(10, [2, 3], &[]),
    Form::new(13, [2, 3], &[int("axis")]),
    Form::new(19, [2, 3], &[int("axis"), int("saturate")]),
    Form::new(21, [2, 3], &[int("axis"), BLOCKS, OUTPUT_TYPE, int("saturate")]),
    Form::new(23, [2, 3], &[int("axis"), BLOCKS, OUTPUT_TYPE, int("precision"), int("saturate")]),
];

const DEQUANTIZE: &[Form] = &[
    Form::new(10, [2, 3], &[]),
    Form::new(13, [2, 3], &[int("axis")]),
    Form::new(21, [2, 3], &[int("axis"), BLOCKS]),
    Form::new(23, [2, 3], &[int("axis"), BLOCKS, OUTPUT_TYPE]),
];

const DROPOUT: &[Form] = &[
    Form::new(7, [1, 1], &[float("ratio")]).with_outputs(2, Unread),
    Form::new(12, [1, 3], &[int("seed")]).with_outputs(2, Unread),
];

const GEMM_SETTINGS: &[Setting] = &[
    float("alpha"),
    float("beta"),
    int("transA").only(0, "the first axis is that of the images"),
    int("transB"),
];

const PAD: &[Form] = &[
    Form::new(2, [1, 1], &[text("mode"), ints("pads").required(), float("value")]),
    Form::new(11, [2, 3], &[text("mode")]),
    Form::new(18, [2, 4], &[text("mode")]),
];

const AXES_MOVED: &[Form] = &[Form::new(1, [1, 1], &[ints("axes")]), Form::new(13, [1, 2], &[])];

const REDUCE: &[Form] = &[
    Form::new(1, [1, 1], &[ints("axes"), int("keepdims")]),
    Form::new(18, [1, 2], &[int("keepdims"), int("noop_with_empty_axes")]),
];

const RESHAPE: &[Form] = &[Form::new(5, [2, 2], &[]), Form::new(14, [2, 2], &[int("allowzero")])];

const SHAPE: &[Form] = &[Form::new(1, [1, 1], &[]), Form::new(15, [1, 1], &[int("end"), int("start")])];

const SLICE: &[Form] = &[
    Form::new(1, [1, 1], &[ints("axes"), ints("ends").required(), ints("starts").required()]),
    Form::new(10, [3, 5], &[]),
];

const SPLIT: &[Form] = &[
    Form::new(2, [1, 1], &[int("axis"), ints("split")]).with_outputs(MANY, Computed),
    Form::new(13, [1, 2], &[int("axis")]).with_outputs(MANY, Computed),
    Form::new(18, [1, 2], &[int("axis"), int("num_outputs")]).with_outputs(MANY, Computed),
];

static OPERATORS: &[Operator] = &[
    constants("Abs", arithmetic::unary, ONE),
    both("Add", combine::combine, arithmetic::binary, TWO),
    images("AveragePool", pools::average_pool, AVERAGE_POOL),
    images("BatchNormalization", pointwise::batch_normalization, BATCH_NORMALIZATION),
    both("Cast", moves::cast, arithmetic::cast, CAST),
    constants("Ceil", arithmetic::unary, ONE),
    images("Clip", pointwise::clip, CLIP),
    both("Concat", layout::concat, moves::concat, &[Form::new(4, [1, MANY], &[int("axis").required()])]),
    constants("Constant", moves::constant, CONSTANT),
    constants("ConstantOfShape", moves::constant_of_shape, &[Form::new(9, [1, 1], &[tensor("value")])]),
    images(
        "Conv",
        windows::convolution,
        &[Form::new(1, [2, 3], &[AUTO_PAD, DILATIONS, int("group"), ints("kernel_shape"), PADS, STRIDES])],
    ),
    both("DequantizeLinear", quantised::dequantize, quantised::dequantize, DEQUANTIZE),
    both("Div", combine::combine, arithmetic::binary, TWO),
    both("Dropout", moves::dropout, moves::dropout, DROPOUT),
    images("Elu", pointwise::function, ALPHA),
    constants("Equal", arithmetic::binary, TWO),
    images("Erf", pointwise::function, &[Form::new(9, [1, 1], &[])]),
    both("Exp", pointwise::function, arithmetic::unary, ONE),
    constants("Expand", moves::expand, &[Form::new(8, [2, 2], &[])]),
    both("Flatten", reshape::flatten, reshape::flatten, &[Form::new(1, [1, 1], &[int("axis")])]),
    constants("Floor", arithmetic::unary, ONE),
    both("Gather", layout::gather, moves::gather, &[Form::new(1, [2, 2], &[int("axis")])]),
    images("Gelu", pointwise::function, &[Form::new(20, [1, 1], &[text("approximate")])]),
    images("Gemm", dense::gemm, &[Form::new(7, [3, 3], GEMM_SETTINGS), Form::new(11, [2, 3], GEMM_SETTINGS)]),
    images("GlobalAveragePool", pools::global, ONE),
    images("GlobalMaxPool", pools::global, ONE),
    constants("Greater", arithmetic::binary, TWO),
    images("HardSigmoid", pointwise::function, &[Form::new(6, [1, 1], &[float("alpha"), float("beta")])]),
    images("HardSwish", pointwise::function, &[Form::new(14, [1, 1], &[])]),
    both("Identity", moves::identity, moves::identity, ONE),
    images("LeakyRelu", pointwise::leaky_relu, ALPHA),
    constants("Less", arithmetic::binary, TWO),
    constants("Log", arithmetic::unary, ONE),
    images("LogSoftmax", dense::softmax, &[Form::new(1, [1, 1], &[int("axis")])]),
    images("MatMul", dense::matmul, &[Form::new(1, [2, 2], &[])]),
    both("Max", combine::bound, arithmetic::binary, MANY_INPUTS),
    images("MaxPool", pools::max_pool, MAX_POOL),
    both("Min", combine::bound, arithmetic::binary, MANY_INPUTS),
    images("Mish", pointwise::function, &[Form::new(18, [1, 1], &[])]),
    both("Mul", combine::combine, arithmetic::binary, TWO),
    both("Neg", pointwise::negative, arithmetic::unary, ONE),
    images("PRelu", pointwise::prelu, &[Form::new(7, [2, 2], &[])]),
    images("Pad", pools::pad, PAD),
    constants("Pow", arithmetic::binary, TWO),
    both("QuantizeLinear", quantised::quantize, quantised::quantize, QUANTIZE),
    constants("Reciprocal", arithmetic::unary, ONE),
    images("ReduceMean", reshape::reduce, REDUCE),
    images("Relu", pointwise::relu, ONE),
    both("Reshape", reshape::reshape, reshape::reshape, RESHAPE),
    both("Shape", moves::shape, moves::shape, SHAPE),
    images("Sigmoid", pointwise::function, ONE),
    both("Slice", layout::slice, moves::slice, SLICE),
    images("Softmax", dense::softmax, &[Form::new(1, [1, 1], &[int("axis")])]),
    images("Softplus", pointwise::function, ONE),
    images("Split", layout::split, SPLIT),
    constants("Sqrt", arithmetic::unary, ONE),
    both("Squeeze", reshape::squeeze, reshape::squeeze, AXES_MOVED),
    both("Sub", combine::combine, arithmetic::binary, TWO),
    images("Swish", pointwise::swish, &[Form::new(24, [1, 1], &[float("alpha")])]),
    images("Tanh", pointwise::function, ONE),
    both("Transpose", reshape::transpose, reshape::transpose, &[Form::new(1, [1, 1], &[ints("perm")])]),
    both("Unsqueeze", reshape::unsqueeze, reshape::unsqueeze, AXES_MOVED),
    constants("Where", moves::select, &[Form::new(9, [3, 3], &[])]),
];
