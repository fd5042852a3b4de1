//! MobileNetV1.

use crate::{Builder, Graph, Layer, NetworkConfig, Result, Window};

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

/// Strides of the stem and of `conv5_6`, which differ from one variant to the other.
pub(crate) struct Strides {
    stem: usize,
    last: usize,
}

/// Those of table 1 for images of 224²: 7² before the mean.
pub(crate) const IMAGENET: Strides = Strides { stem: 2, last: 2 };
/// Those of `MobileNetCifar` in PaddleSlim's demo for images of 32²: 4² before the mean.
pub(crate) const CIFAR: Strides = Strides { stem: 1, last: 1 };

/// MobileNetV1: 27 convolutions, global mean, head.
///
/// # Errors
/// [`crate::Error::Scale`] if a layer is left without channels, [`crate::Error::Empty`] without input channels or classes.
pub(crate) fn graph(config: &NetworkConfig, strides: Strides) -> Result<Graph> {
    let width = |count: usize| config.width(count);
    config.check("conv1", 32)?;
    let mut net = Builder::new(config.channels);
    let mut layer = |layer: Layer<'_>| {
        net.conv_norm(layer, &format!("{}_bn", layer.name), config.bn_epsilon, Some(config.activation));
    };
    layer(Layer::new("conv1", width(32), Window::square(3, strides.stem, config.padding)));
    for (name, inputs, outputs, stride) in BLOCKS {
        let stride = if name == "conv5_6" { strides.last } else { stride };
        let window = Window::square(3, stride, config.padding);
        layer(Layer::depthwise(&format!("{name}_dw"), width(inputs), window));
        layer(Layer::new(&format!("{name}_sep"), width(outputs), Window::POINT));
    }
    net.global_average_pool("pool").flatten("features");
    net.linear("fc7", config.kind.head(), config.classes);
    Ok(net.finish())
}
