//! MobileNetV2.

use crate::{Builder, Graph, Layer, NetworkConfig, Result, Window};

/// Inverted residuals: expansion, output channels, how many, stride of the first, at scale 1.
///
/// Source: Sandler et al. 2018, arXiv:1801.04381, table 2.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// MobileNetV2: blocks that widen, filter and narrow, the narrow ends linear and joined where they have one shape. Names follow
/// PaddleSlim's models; as there, the last convolution keeps its 1280 channels below scale 1.
///
/// # Errors
/// As [`super::mobilenet_v1::graph`].
pub(crate) fn graph(config: &NetworkConfig) -> Result<Graph> {
    let width = |count: usize| config.width(count);
    config.check("conv2_1_linear", 16)?;
    let mut net = Builder::new(config.channels);
    let add = |net: &mut Builder, layer: Layer<'_>, is_linear: bool| {
        let activation = (!is_linear).then_some(config.activation);
        net.conv_norm(layer, &format!("{}_bn", layer.name), config.bn_epsilon, activation);
    };
    add(&mut net, Layer::new("conv1_1", width(32), Window::square(3, 2, config.padding)), false);
    for (stage, (expansion, outputs, count, stride)) in STAGES.into_iter().enumerate() {
        for block in 0..count {
            let name = format!("conv{}_{}", stage + 2, block + 1);
            let (start, inputs) = (net.at(), net.channels());
            let stride = if block == 0 { stride } else { 1 };
            let hidden = inputs * expansion;
            if expansion > 1 {
                add(&mut net, Layer::new(&format!("{name}_expand"), hidden, Window::POINT), false);
            }
            let window = Window::square(3, stride, config.padding);
            add(&mut net, Layer::depthwise(&format!("{name}_dwise"), hidden, window), false);
            add(&mut net, Layer::new(&format!("{name}_linear"), width(outputs), Window::POINT), true);
            if block > 0 {
                net.add(&format!("{name}_sum"), start);
            }
        }
    }
    let last = if config.scale > 1.0 { width(1280) } else { 1280 };
    add(&mut net, Layer::new("conv9", last, Window::POINT), false);
    net.global_average_pool("pool").flatten("features");
    net.linear("fc10", config.kind.head(), config.classes);
    Ok(net.finish())
}
