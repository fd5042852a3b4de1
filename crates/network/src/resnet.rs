//! Residual networks.

use crate::{Builder, Graph, Layer, NetworkConfig, Padding, Result, Window};

/// How a residual network is made up.
pub(crate) struct Depth {
    /// Blocks of each of the four stages.
    pub(crate) blocks: [usize; 4],
    /// Whether a block is a bottleneck: 1×1, 3×3, and 1×1 to four times the channels.
    pub(crate) is_bottleneck: bool,
}

pub(crate) const RESNET18: Depth = Depth { blocks: [2, 2, 2, 2], is_bottleneck: false };
pub(crate) const RESNET34: Depth = Depth { blocks: [3, 4, 6, 3], is_bottleneck: false };
pub(crate) const RESNET50: Depth = Depth { blocks: [3, 4, 6, 3], is_bottleneck: true };

/// Channels of the stages at scale 1, before a bottleneck widens them.
const STAGES: [usize; 4] = [64, 128, 256, 512];

/// A ResNet with the stride in the 3×3 convolutions, as torchvision and Paddle have it; the last batch norm of each block
/// begins with a scale of zero, so that a block begins as the way around it. Convolutions are called as in PaddleSlim's models, batch norms
/// after their convolution.
///
/// Source: He et al. 2016, arXiv:1512.03385, table 1; Goyal et al. 2017, arXiv:1706.02677, section 5.1.
///
/// # Errors
/// As [`super::mobilenet_v1::graph`].
pub(crate) fn graph(config: &NetworkConfig, depth: &Depth) -> Result<Graph> {
    config.check("conv1", 64)?;
    let mut net = Builder::new(config.channels);
    let padding = config.padding;
    net.conv_norm(
        Layer::new("conv1", config.width(64), Window::square(7, 2, padding)),
        "conv1_bn",
        config.bn_epsilon,
        Some(config.activation),
    );
    net.max_pool("pool1", Window::square(3, 2, Padding::Lines([1; 4])));
    for (stage, (channels, blocks)) in STAGES.into_iter().zip(depth.blocks).enumerate() {
        for block in 0..blocks {
            // 2a, 2b, …: stages count from 2, blocks have letters.
            let name = format!("{}{}", stage + 2, char::from(b'a' + block as u8));
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            add_block(&mut net, config, &name, (config.width(channels), stride), depth.is_bottleneck);
        }
    }
    net.global_average_pool("pool").flatten("features");
    net.linear("fc", config.kind.head(), config.classes);
    Ok(net.finish())
}

fn add_block(
    net: &mut Builder,
    config: &NetworkConfig,
    name: &str,
    (channels, stride): (usize, usize),
    is_bottleneck: bool,
) {
    let (start, inputs) = (net.at(), net.channels());
    let around = |kernel: usize, stride: usize| Window::square(kernel, stride, config.padding);
    let branches = match is_bottleneck {
        false => vec![(channels, around(3, stride)), (channels, around(3, 1))],
        true => vec![(channels, Window::POINT), (channels, around(3, stride)), (4 * channels, Window::POINT)],
    };
    let (last, outputs) = (branches.len() - 1, branches[branches.len() - 1].0);
    for (index, (outputs, window)) in branches.into_iter().enumerate() {
        let letter = char::from(b'a' + index as u8);
        let layer = format!("res{name}_branch2{letter}");
        net.conv(Layer::new(&layer, outputs, window));
        net.batch_norm(&format!("{layer}_bn"), config.bn_epsilon, if index == last { 0.0 } else { 1.0 });
        if index < last {
            net.clip(&format!("{layer}_relu"), config.activation.bounds());
        }
    }
    let end = net.at();
    net.go_to(start);
    if stride != 1 || inputs != outputs {
        let branch = format!("res{name}_branch1");
        let layer = Layer::new(&branch, outputs, around(1, stride));
        net.conv_norm(layer, &format!("{branch}_bn"), config.bn_epsilon, None);
    }
    net.add(&format!("res{name}_sum"), end).clip(&format!("res{name}_relu"), config.activation.bounds());
}
