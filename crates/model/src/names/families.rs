//! The table: one [`Family`] per program, with its names, its layouts and what its networks are like.

use crate::{Activation, Padding};

use super::layout::{HeadLayout, Layout};

/// Names and habits of one program.
///
/// In names, `{name}` is the canonical name of the block (`conv2_1`), `{block}` its number from 1 and `{block0}` from 0,
/// `{section}` and `{place}` number the blocks by resolution (1, 2, 2, 6 and 2 blocks), `{layer}` numbers depthwise and
/// pointwise convolutions together from 0.
#[derive(Debug)]
pub struct Family {
    /// Short name.
    pub name: &'static str,
    /// Weight of the stem, and what its batch norm tensors start with.
    pub(super) stem: [&'static str; 2],
    /// The same of a depthwise convolution.
    pub(super) depthwise: [&'static str; 2],
    /// The same of a pointwise convolution.
    pub(super) pointwise: [&'static str; 2],
    /// What the batch norm tensors end with: scale, offset, mean, variance.
    pub(super) norm: [&'static str; 4],
    /// Weight and bias of the head.
    pub(super) head: [&'static str; 2],
    /// Whether the head may come without a bias, which is zero then.
    pub(super) bias_optional: bool,
    /// Order of axes of convolutions.
    pub(super) layout: Layout,
    /// Order of axes of the head.
    pub(super) head_layout: HeadLayout,
    /// Ends of the names of tensors that belong to training and are passed over.
    pub(super) ignored: &'static [&'static str],
    /// What follows each batch norm.
    pub activation: Activation,
    /// Where the 3×3 convolutions have their border.
    pub padding: Padding,
    /// ε of batch norm.
    pub bn_epsilon: f64,
    /// Which output, if any, stands for no class.
    pub background: Background,
    /// What the published weights take as input; `None` if it is not known.
    pub input: Option<Input>,
}

/// Whether the first output of a head is a background class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// It never is.
    Never,
    /// It is in a head of this many outputs.
    In(usize),
}

/// Input of a network: pixels from 0 to 1, minus `mean`, over `std`, per channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Subtracted.
    pub mean: [f64; 3],
    /// Divided by.
    pub std: [f64; 3],
    /// How images were resized.
    pub interpolation: &'static str,
}

const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
const HALF: [[f64; 3]; 2] = [[0.5; 3], [0.5; 3]];

const fn input([mean, std]: [[f64; 3]; 2], interpolation: &'static str) -> Option<Input> {
    Some(Input { mean, std, interpolation })
}

const TORCH_NORM: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];
const PADDLE_NORM: [&str; 4] = ["weight", "bias", "_mean", "_variance"];
const TORCH_IGNORED: &[&str] = &["num_batches_tracked"];
/// Momentum and other state of Paddle's training, and masks of what is no part of the network.
const PADDLE_IGNORED: &[&str] = &["_mask", "_velocity_0", "@LR_DECAY_COUNTER@", "learning_rate_0"];

/// A network of PaddlePaddle; the others differ from it in the fields they name.
const PADDLE: Family = Family {
    name: "",
    stem: ["", ""],
    depthwise: ["", ""],
    pointwise: ["", ""],
    norm: PADDLE_NORM,
    head: ["fc.weight", "fc.bias"],
    bias_optional: false,
    layout: Layout::OutInHeightWidth,
    head_layout: HeadLayout::InOut,
    ignored: PADDLE_IGNORED,
    activation: Activation::Relu,
    padding: Padding::Symmetric,
    bn_epsilon: 1e-5,
    background: Background::Never,
    input: input(IMAGENET, "lanczos"),
};

/// A network of PyTorch.
const TORCH: Family = Family {
    norm: TORCH_NORM,
    head_layout: HeadLayout::OutIn,
    ignored: TORCH_IGNORED,
    input: input(IMAGENET, "bilinear"),
    ..PADDLE
};

/// A network of TensorFlow's slim: TF-slim `nets/mobilenet_v1.py` and its `mobilenet_v1_arg_scope`.
const SLIM: Family = Family {
    activation: Activation::Relu6,
    padding: Padding::Same,
    bn_epsilon: 1e-3,
    background: Background::In(1001),
    input: input(HALF, "bilinear"),
    ..TORCH
};

/// Every program whose names are known.
pub const FAMILIES: [Family; 9] = [
    // Our own names. Source: PaddleSlim, `demo/models/mobilenet.py`; `MobileNetV1_pretrained.tar` has them too.
    Family {
        name: "PaddleSlim",
        stem: ["conv1_weights", "conv1_bn_"],
        depthwise: ["{name}_dw_weights", "{name}_dw_bn_"],
        pointwise: ["{name}_sep_weights", "{name}_sep_bn_"],
        norm: ["scale", "offset", "mean", "variance"],
        head: ["fc7_weights", "fc7_offset"],
        ..PADDLE
    },
    // Source: Paddle 2.x, `python/paddle/vision/models/mobilenetv1.py` and PaddleSlim's dygraph demo.
    Family {
        name: "Paddle dygraph",
        stem: ["conv1.0.weight", "conv1.1."],
        depthwise: ["{name}._depthwise_conv.0.weight", "{name}._depthwise_conv.1."],
        pointwise: ["{name}._pointwise_conv.0.weight", "{name}._pointwise_conv.1."],
        ..PADDLE
    },
    // Source: PaddleClas, `ppcls/arch/backbone/legendary_models/mobilenet_v1.py`.
    Family {
        name: "PaddleClas",
        stem: ["conv.conv.weight", "conv.bn."],
        depthwise: ["blocks.{block0}.depthwise_conv.conv.weight", "blocks.{block0}.depthwise_conv.bn."],
        pointwise: ["blocks.{block0}.pointwise_conv.conv.weight", "blocks.{block0}.pointwise_conv.bn."],
        ..PADDLE
    },
    // The same file until 2021.
    Family {
        name: "PaddleClas 2020",
        stem: ["conv1._conv.weight", "conv1._batch_norm."],
        depthwise: ["{name}._depthwise_conv._conv.weight", "{name}._depthwise_conv._batch_norm."],
        pointwise: ["{name}._pointwise_conv._conv.weight", "{name}._pointwise_conv._batch_norm."],
        head: ["out.weight", "out.bias"],
        ..PADDLE
    },
    // Source: timm, `timm/models/efficientnet.py`, `mobilenetv1_100.ra4_e3600_r224_in1k`.
    Family {
        name: "timm",
        stem: ["conv_stem.weight", "bn1."],
        depthwise: ["blocks.{section}.{place}.conv_dw.weight", "blocks.{section}.{place}.bn1."],
        pointwise: ["blocks.{section}.{place}.conv_pw.weight", "blocks.{section}.{place}.bn2."],
        head: ["classifier.weight", "classifier.bias"],
        activation: Activation::Relu6,
        input: input(HALF, "bicubic"),
        ..TORCH
    },
    // Source: RAIVNLab/STR, `models/mobilenetv1.py` (a 1×1 convolution without bias as head); AC/DC and Distiller.
    Family {
        name: "STR",
        stem: ["model.0.0.weight", "model.0.1."],
        depthwise: ["model.{block}.0.weight", "model.{block}.1."],
        pointwise: ["model.{block}.3.weight", "model.{block}.4."],
        bias_optional: true,
        ..TORCH
    },
    // Source: SparseML, `src/sparseml/pytorch/models/classification/mobilenet.py`.
    Family {
        name: "SparseML",
        stem: ["input.conv.weight", "input.bn."],
        depthwise: ["sections.{section}.{place}.depth.conv.weight", "sections.{section}.{place}.depth.bn."],
        pointwise: ["sections.{section}.{place}.point.conv.weight", "sections.{section}.{place}.point.bn."],
        head: ["classifier.fc.weight", "classifier.fc.bias"],
        ..TORCH
    },
    // Source: transformers, `models/mobilenet_v1/modeling_mobilenet_v1.py`.
    Family {
        name: "Hugging Face",
        stem: ["mobilenet_v1.conv_stem.convolution.weight", "mobilenet_v1.conv_stem.normalization."],
        depthwise: [
            "mobilenet_v1.layer.{layer}.convolution.weight",
            "mobilenet_v1.layer.{layer}.normalization.",
        ],
        pointwise: [
            "mobilenet_v1.layer.{layer}.convolution.weight",
            "mobilenet_v1.layer.{layer}.normalization.",
        ],
        head: ["classifier.weight", "classifier.bias"],
        ..SLIM
    },
    Family {
        name: "TF-slim",
        stem: ["MobilenetV1/Conv2d_0/weights", "MobilenetV1/Conv2d_0/BatchNorm/"],
        depthwise: [
            "MobilenetV1/Conv2d_{block}_depthwise/depthwise_weights",
            "MobilenetV1/Conv2d_{block}_depthwise/BatchNorm/",
        ],
        pointwise: [
            "MobilenetV1/Conv2d_{block}_pointwise/weights",
            "MobilenetV1/Conv2d_{block}_pointwise/BatchNorm/",
        ],
        norm: ["gamma", "beta", "moving_mean", "moving_variance"],
        head: ["MobilenetV1/Logits/Conv2d_1c_1x1/weights", "MobilenetV1/Logits/Conv2d_1c_1x1/biases"],
        layout: Layout::HeightWidthInOut,
        head_layout: HeadLayout::InOut,
        ignored: &["/ExponentialMovingAverage", "/RMSProp", "/RMSProp_1", "/Momentum", "global_step"],
        ..SLIM
    },
];

impl Family {
    /// Whether the program is PaddlePaddle, which stores bf16 as whole numbers of 16 bits.
    pub fn is_paddle(&self) -> bool {
        self.norm == PADDLE_NORM || self.is_canonical()
    }

    /// The names of the canonical parameters, which our own files have.
    pub fn is_canonical(&self) -> bool {
        self.name == FAMILIES[0].name
    }
}
