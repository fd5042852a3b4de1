//! The layer table and the parameters that follow from it.

use crate::{Activation, Error, Padding, Result};

/// Name of the weight of the classifier head, `[features, classes]`.
pub const HEAD_WEIGHT: &str = "fc7_weights";
/// Name of the bias of the classifier head, `[classes]`.
pub const HEAD_BIAS: &str = "fc7_offset";

/// What kind of network to build.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MobileNetConfig {
    /// Width multiplier α: every channel count is `int(count · scale)`.
    pub scale: f64,
    /// Input channels, 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Classes.
    pub classes: usize,
    /// What follows each batch norm.
    pub activation: Activation,
    /// Where the 3×3 convolutions have their border of zeros.
    pub padding: Padding,
    /// ε of batch norm, added to the variance.
    pub bn_epsilon: f64,
    /// Share of the old running statistics kept at each step: `running = momentum·running + (1 − momentum)·batch`.
    pub bn_momentum: f64,
}

impl MobileNetConfig {
    /// PaddleSlim's network: ReLU, symmetric padding, ε = 1e-5, momentum 0.9.
    pub const fn new(scale: f64, channels: usize, classes: usize) -> Self {
        Self {
            scale,
            channels,
            classes,
            activation: Activation::Relu,
            padding: Padding::Symmetric,
            bn_epsilon: 1e-5,
            bn_momentum: 0.9,
        }
    }
}

/// The three kinds of convolution in a MobileNetV1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvKind {
    /// Dense 3×3 on the image.
    Stem,
    /// 3×3, one kernel per channel.
    Depthwise,
    /// Dense 1×1.
    Pointwise,
}

/// One convolution, followed by batch norm and an activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvLayer {
    /// Canonical name, the prefix of its parameters: `conv2_1_dw`.
    pub name: String,
    /// Kind of convolution.
    pub kind: ConvKind,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// 1 or 2, in both directions.
    pub stride: usize,
}

impl ConvLayer {
    /// Shape of the weight: `[outputs, inputs per group, k, k]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        match self.kind {
            ConvKind::Stem => [self.outputs, self.inputs, 3, 3],
            ConvKind::Depthwise => [self.outputs, 1, 3, 3],
            ConvKind::Pointwise => [self.outputs, self.inputs, 1, 1],
        }
    }
}

/// Initial value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Uniform in `[-bound, bound]`.
    Uniform {
        /// `sqrt(6 / fan_in)`.
        bound: f64,
    },
    /// The same value everywhere.
    Constant(f64),
}

/// One named tensor of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Canonical name.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// False for the running statistics of batch norm.
    pub trainable: bool,
    /// How it starts.
    pub initial: Initial,
}

/// Separable blocks: name, input channels, output channels and stride of the depthwise part, at scale 1.
///
/// Source: Howard et al. 2017, arXiv:1704.04861, table 1; names as in PaddleSlim's demo.
const BLOCKS: [(&str, usize, usize, usize); 13] = [
    ("conv2_1", 32, 64, 1),
    ("conv2_2", 64, 128, 2),
    ("conv3_1", 128, 128, 1),
    ("conv3_2", 128, 256, 2),
    ("conv4_1", 256, 256, 1),
    ("conv4_2", 256, 512, 2),
    ("conv5_1", 512, 512, 1),
    ("conv5_2", 512, 512, 1),
    ("conv5_3", 512, 512, 1),
    ("conv5_4", 512, 512, 1),
    ("conv5_5", 512, 512, 1),
    ("conv5_6", 512, 1024, 2),
    ("conv6", 1024, 1024, 1),
];

/// The 27 convolutions in order.
///
/// # Errors
/// [`Error::Scale`] if a layer is left without channels, [`Error::Empty`] without input channels or classes.
pub fn layers(config: &MobileNetConfig) -> Result<Vec<ConvLayer>> {
    let &MobileNetConfig { scale, channels, classes, .. } = config;
    if channels == 0 || classes == 0 {
        return Err(Error::Empty { channels, classes });
    }
    let width = |count: usize| (count as f64 * scale) as usize;
    if width(32) == 0 {
        return Err(Error::Scale { scale, layer: "conv1".into(), channels: 0, least: 1.0 / 32.0 });
    }
    let mut layers = vec![ConvLayer {
        name: "conv1".into(),
        kind: ConvKind::Stem,
        inputs: channels,
        outputs: width(32),
        stride: 2,
    }];
    for (name, inputs, outputs, stride) in BLOCKS {
        let (inputs, outputs) = (width(inputs), width(outputs));
        let depthwise = ConvKind::Depthwise;
        layers.push(ConvLayer {
            name: format!("{name}_dw"),
            kind: depthwise,
            inputs,
            outputs: inputs,
            stride,
        });
        let pointwise = ConvKind::Pointwise;
        layers.push(ConvLayer { name: format!("{name}_sep"), kind: pointwise, inputs, outputs, stride: 1 });
    }
    Ok(layers)
}

/// All parameters in canonical order: per convolution the weight and four of batch norm, then the head.
///
/// # Errors
/// As [`layers`].
pub fn parameters(config: &MobileNetConfig) -> Result<Vec<Parameter>> {
    let layers = layers(config)?;
    let features = layers.last().map_or(0, |layer| layer.outputs);
    let mut parameters: Vec<Parameter> = layers.iter().flat_map(layer_parameters).collect();
    parameters.push(Parameter {
        name: HEAD_WEIGHT.into(),
        shape: vec![features, config.classes],
        trainable: true,
        initial: kaiming(features),
    });
    parameters.push(Parameter {
        name: HEAD_BIAS.into(),
        shape: vec![config.classes],
        trainable: true,
        initial: Initial::Constant(0.0),
    });
    Ok(parameters)
}

fn layer_parameters(layer: &ConvLayer) -> Vec<Parameter> {
    let shape = layer.weight_shape().to_vec();
    let weight = Parameter {
        name: format!("{}_weights", layer.name),
        trainable: true,
        initial: kaiming(shape[1..].iter().product()),
        shape,
    };
    let norm = |suffix: &str, trainable: bool, value: f64| Parameter {
        name: format!("{}_bn_{suffix}", layer.name),
        shape: vec![layer.outputs],
        trainable,
        initial: Initial::Constant(value),
    };
    vec![
        weight,
        norm("scale", true, 1.0),
        norm("offset", true, 0.0),
        norm("mean", false, 0.0),
        norm("variance", false, 1.0),
    ]
}

/// Kaiming uniform: He et al. 2015, arXiv:1502.01852, equation 10, gain √2.
fn kaiming(fan_in: usize) -> Initial {
    Initial::Uniform { bound: (6.0 / fan_in as f64).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_counts() {
        let config = MobileNetConfig::new(1.0, 3, 1000);
        let parameters = parameters(&config).unwrap();
        let count = |keep: fn(&Parameter) -> bool| -> usize {
            parameters.iter().filter(|p| keep(p)).map(|p| p.shape.iter().product::<usize>()).sum()
        };
        assert_eq!(parameters.len(), 137);
        assert_eq!(count(|_| true), 4_253_864);
        assert_eq!(count(|p| p.trainable), 4_231_976);
    }

    #[test]
    fn a_scale_without_channels_is_refused() {
        let error = layers(&MobileNetConfig::new(0.01, 3, 10)).unwrap_err();
        assert!(error.to_string().contains("at least 0.03125"), "{error}");
        assert!(layers(&MobileNetConfig::new(f64::NAN, 3, 10)).is_err());
    }
}
