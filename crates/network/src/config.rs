//! Networks by name.

use crate::{Activation, Error, Graph, Padding, Result, mobilenet_v1, mobilenet_v2, resnet};

/// The networks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// MobileNetV1.
    #[default]
    MobileNet,
    /// MobileNetV1 with smaller strides, for images of 32².
    MobileNetCifar,
    /// MobileNetV2.
    MobileNetV2,
    /// Residual network of 18 layers.
    ResNet18,
    /// Residual network of 34 layers.
    ResNet34,
    /// Residual network of 50 layers.
    ResNet50,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::MobileNet,
        Self::MobileNetCifar,
        Self::MobileNetV2,
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
    ];

    /// What configs and files call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MobileNet => "MobileNet",
            Self::MobileNetCifar => "MobileNetCifar",
            Self::MobileNetV2 => "MobileNetV2",
            Self::ResNet18 => "ResNet18",
            Self::ResNet34 => "ResNet34",
            Self::ResNet50 => "ResNet50",
        }
    }

    /// The network of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Names of the weight, `[features, classes]`, and the bias of its head.
    pub const fn head(self) -> [&'static str; 2] {
        match self {
            Self::MobileNet | Self::MobileNetCifar => ["fc7_weights", "fc7_offset"],
            Self::MobileNetV2 => ["fc10_weights", "fc10_offset"],
            Self::ResNet18 | Self::ResNet34 | Self::ResNet50 => ["fc_weights", "fc_offset"],
        }
    }

    /// Name of the weight of its first convolution.
    pub const fn first(self) -> &'static str {
        match self {
            Self::MobileNetV2 => "conv1_1_weights",
            Self::MobileNet | Self::MobileNetCifar | Self::ResNet18 | Self::ResNet34 | Self::ResNet50 => {
                "conv1_weights"
            }
        }
    }

    /// Smallest height and width of images.
    pub const fn least_size(self) -> usize {
        match self {
            Self::MobileNet
            | Self::MobileNetCifar
            | Self::MobileNetV2
            | Self::ResNet18
            | Self::ResNet34
            | Self::ResNet50 => 16,
        }
    }
}

/// What network to build.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkConfig {
    /// Which.
    pub kind: Kind,
    /// Width multiplier α: every channel count is `int(count · scale)`.
    pub scale: f64,
    /// Input channels, 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Classes.
    pub classes: usize,
    /// What follows each batch norm, but for those that are linear.
    pub activation: Activation,
    /// Where convolutions have their border of zeros.
    pub padding: Padding,
    /// ε of batch norm, added to the variance.
    pub bn_epsilon: f64,
}

impl NetworkConfig {
    /// PaddleSlim's MobileNetV1: ReLU, symmetric padding, ε = 1e-5.
    pub const fn mobilenet(scale: f64, channels: usize, classes: usize) -> Self {
        Self::new(Kind::MobileNet, scale, channels, classes)
    }

    /// A network with the activation of its paper, symmetric padding and ε = 1e-5.
    pub const fn new(kind: Kind, scale: f64, channels: usize, classes: usize) -> Self {
        let activation = match kind {
            Kind::MobileNetV2 => Activation::Relu6,
            Kind::MobileNet | Kind::MobileNetCifar | Kind::ResNet18 | Kind::ResNet34 | Kind::ResNet50 => {
                Activation::Relu
            }
        };
        Self { kind, scale, channels, classes, activation, padding: Padding::Symmetric, bn_epsilon: 1e-5 }
    }

    /// The network.
    ///
    /// # Errors
    /// [`Error::Scale`] if a layer is left without channels, [`Error::Empty`] without input channels or classes.
    pub fn graph(&self) -> Result<Graph> {
        match self.kind {
            Kind::MobileNet => mobilenet_v1::graph(self, mobilenet_v1::IMAGENET),
            Kind::MobileNetCifar => mobilenet_v1::graph(self, mobilenet_v1::CIFAR),
            Kind::MobileNetV2 => mobilenet_v2::graph(self),
            Kind::ResNet18 => resnet::graph(self, &resnet::RESNET18),
            Kind::ResNet34 => resnet::graph(self, &resnet::RESNET34),
            Kind::ResNet50 => resnet::graph(self, &resnet::RESNET50),
        }
    }

    /// Whether the parameters of another network have the same names and shapes, so that its weights fit.
    pub fn has_parameters_of(&self, other: &Self) -> bool {
        let parameters = |network: &Self| network.graph().map(|graph| graph.parameters);
        matches!((parameters(self), parameters(other)), (Ok(a), Ok(b)) if a == b)
    }

    /// Channels of a layer that has `count` at scale 1.
    pub(crate) fn width(&self, count: usize) -> usize {
        (count as f64 * self.scale) as usize
    }

    /// Checks that the narrowest layer, which has `count` channels at scale 1, keeps one.
    pub(crate) fn check(&self, layer: &str, count: usize) -> Result<()> {
        let &Self { scale, channels, classes, .. } = self;
        if channels == 0 || classes == 0 {
            return Err(Error::Empty { channels, classes });
        }
        if self.width(count) == 0 {
            let (layer, least) = (layer.to_owned(), 1.0 / count as f64);
            return Err(Error::Scale { scale, layer, channels: 0, least });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parameter, Shape};

    /// Parameters with running statistics, trainable ones, and multiply-adds of torchvision 0.25's networks at 224².
    const TORCHVISION: [(Kind, usize, usize, u64); 5] = [
        (Kind::MobileNet, 4_253_864, 4_231_976, 568_740_352),
        (Kind::MobileNetV2, 3_538_984, 3_504_872, 300_774_272),
        (Kind::ResNet18, 11_699_112, 11_689_512, 1_814_073_344),
        (Kind::ResNet34, 21_814_696, 21_797_672, 3_663_761_408),
        (Kind::ResNet50, 25_610_152, 25_557_032, 4_089_184_256),
    ];

    #[test]
    fn counts_of_parameters_and_multiply_adds_are_those_of_torchvision() {
        for (kind, all, trainable, macs) in TORCHVISION {
            let graph = NetworkConfig::new(kind, 1.0, 3, 1000).graph().unwrap();
            let count = |keep: fn(&Parameter) -> bool| -> usize {
                graph.parameters.iter().filter(|p| keep(p)).map(Parameter::count).sum()
            };
            assert_eq!(count(|p| p.trainable), trainable, "{kind:?}");
            assert_eq!(count(|_| true), all, "{kind:?}");
            let sum: u64 = graph.macs([224, 224]).unwrap().iter().sum();
            assert_eq!(sum, macs, "{kind:?}");
            assert_eq!(graph.shapes([224, 224]).unwrap()[graph.output], Shape::Flat(1000));
            assert_eq!(Kind::named(kind.name()), Some(kind));
            assert_eq!(graph.parameters[0].name, kind.first());
            assert_eq!(
                graph.head().map(|(weight, bias)| [&*weight.name, &*bias.unwrap().name]),
                Some(kind.head())
            );
        }
    }

    /// In the demo a stem and a last block without strides make 4² of 32², and the weights are those of MobileNetV1.
    #[test]
    fn the_network_for_cifar_has_the_parameters_of_mobilenet_and_larger_images() {
        let cifar = NetworkConfig::new(Kind::MobileNetCifar, 1.0, 3, 100);
        let graph = cifar.graph().unwrap();
        let count = |keep: fn(&Parameter) -> bool| -> usize {
            graph.parameters.iter().filter(|p| keep(p)).map(Parameter::count).sum()
        };
        // 1024 · 900 fewer weights and 900 fewer biases than with a thousand classes.
        assert_eq!(
            (count(|p| p.trainable), count(|_| true)),
            (4_231_976 - 1025 * 900, 4_253_864 - 1025 * 900)
        );
        assert_eq!(count(|p| p.shape.len() == 4 && p.shape[2..] == [1, 1]), 3_139_584);
        let shapes = graph.shapes([32, 32]).unwrap();
        let last_image = shapes.iter().rev().find(|shape| shape.size() != [1, 1]).unwrap();
        assert_eq!((*last_image, shapes[graph.output]), (Shape::Image([1024, 4, 4]), Shape::Flat(100)));
        let macs: u64 = graph.macs([32, 32]).unwrap().iter().sum();
        assert_eq!(macs, 65_486_848);
        let plain = NetworkConfig { kind: Kind::MobileNet, ..cifar };
        assert!(cifar.has_parameters_of(&plain) && plain.graph().unwrap() != graph);
        assert!(!cifar.has_parameters_of(&NetworkConfig { scale: 0.5, ..plain }));
        assert!(!cifar.has_parameters_of(&NetworkConfig { kind: Kind::ResNet18, ..plain }));
    }

    #[test]
    fn a_scale_without_channels_is_refused() {
        for kind in Kind::ALL {
            let error = NetworkConfig::new(kind, 0.01, 3, 10).graph().unwrap_err();
            assert!(error.to_string().contains("use a scale of at least 0."), "{error}");
            assert!(NetworkConfig::new(kind, f64::NAN, 3, 10).graph().is_err());
            assert!(NetworkConfig::new(kind, 1.0, 0, 10).graph().is_err());
        }
    }

    #[test]
    fn images_of_the_least_size_fit() {
        for kind in Kind::ALL {
            let graph = NetworkConfig::new(kind, 0.25, 3, 10).graph().unwrap();
            for padding in [Padding::Symmetric, Padding::Same] {
                let config = NetworkConfig { padding, ..NetworkConfig::new(kind, 0.25, 3, 10) };
                config.graph().unwrap().shapes([kind.least_size(); 2]).unwrap();
            }
            assert!(
                graph.parameters.iter().map(|p| &p.name).collect::<std::collections::BTreeSet<_>>().len()
                    == graph.parameters.len()
            );
        }
    }
}
