//! Section `model`: which network.

use std::path::PathBuf;

use sparse_model::{Kind, NetworkConfig};

use super::{
    Key, Values,
    declare::{choices, settings},
};

choices! {
    /// The networks there are.
    pub enum Architecture {
        /// MobileNetV1.
        MobileNet = "MobileNet",
        /// MobileNetV1 with smaller strides, for images of 32x32 pixels.
        MobileNetCifar = "MobileNetCifar",
        /// MobileNetV2.
        MobileNetV2 = "MobileNetV2",
        /// Residual network of 18 layers.
        ResNet18 = "ResNet18",
        /// Residual network of 34 layers.
        ResNet34 = "ResNet34",
        /// Residual network of 50 layers.
        ResNet50 = "ResNet50",
    }
}

impl Architecture {
    /// The network of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Kind::named(name).map(Self::from)
    }

    /// What follows each batch norm in its paper.
    pub(super) fn activation(self) -> Activation {
        NetworkConfig::new(self.into(), 1.0, 3, 1).activation.into()
    }
}

impl From<Architecture> for Kind {
    fn from(network: Architecture) -> Self {
        match network {
            Architecture::MobileNet => Self::MobileNet,
            Architecture::MobileNetCifar => Self::MobileNetCifar,
            Architecture::MobileNetV2 => Self::MobileNetV2,
            Architecture::ResNet18 => Self::ResNet18,
            Architecture::ResNet34 => Self::ResNet34,
            Architecture::ResNet50 => Self::ResNet50,
        }
    }
}

impl From<Kind> for Architecture {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::MobileNet => Self::MobileNet,
            Kind::MobileNetCifar => Self::MobileNetCifar,
            Kind::MobileNetV2 => Self::MobileNetV2,
            Kind::ResNet18 => Self::ResNet18,
            Kind::ResNet34 => Self::ResNet34,
            Kind::ResNet50 => Self::ResNet50,
        }
    }
}

choices! {
    /// What follows each batch norm.
    pub enum Activation {
        /// `max(0, z)`.
        Relu = "relu",
        /// `min(max(0, z), 6)`.
        Relu6 = "relu6",
    }
}

choices! {
    /// Where the 3×3 convolutions have their border of zeros.
    pub enum Padding {
        /// One line on every side.
        Symmetric = "symmetric",
        /// TensorFlow's "SAME".
        Same = "same",
    }
}

impl From<Activation> for sparse_model::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Relu => Self::Relu,
            Activation::Relu6 => Self::Relu6,
        }
    }
}

impl From<sparse_model::Activation> for Activation {
    fn from(activation: sparse_model::Activation) -> Self {
        match activation {
            sparse_model::Activation::Relu => Self::Relu,
            sparse_model::Activation::Relu6 => Self::Relu6,
        }
    }
}

impl From<Padding> for sparse_model::Padding {
    fn from(padding: Padding) -> Self {
        match padding {
            Padding::Symmetric => Self::Symmetric,
            Padding::Same => Self::Same,
        }
    }
}

impl From<sparse_model::Padding> for Padding {
    fn from(padding: sparse_model::Padding) -> Self {
        match padding {
            sparse_model::Padding::Same => Self::Same,
            sparse_model::Padding::Symmetric | sparse_model::Padding::Lines(_) => Self::Symmetric,
        }
    }
}

settings! {
    /// Section `model`.
    pub struct ModelSection: "model", with the defaults for data => {
        /// Network.
        model: Architecture = Architecture::MobileNet,
            Key::of(Architecture::VALUES).flag("MODEL").in_tests().must_agree();
        /// Width multiplier: every layer has `int(channels · scale)` channels.
        scale: f64 = 1.0,
            Key::of(Values::ABOVE_ZERO).words("a width multiplier above 0").in_tests().must_agree();
        /// Outputs of the head.
        num_classes: usize = data.classes(),
            Key::whole(1, "").flag("N").in_tests().must_agree()
                .default_words("those of the weights given, else one for each class of data.classes or data.coarse_labels, else 1000 for imagenet, 100 for \
                     cifar100 and 10 for the others");
        /// What follows each batch norm.
        activation: Activation = Activation::Relu,
            Key::of(Activation::VALUES).in_tests().must_agree().default_words("relu6 for MobileNetV2, else relu");
        /// Where convolutions have their border of zeros.
        padding: Padding = Padding::Symmetric,
            Key::of(Padding::VALUES).in_tests().must_agree();
        /// ε of batch norm.
        bn_epsilon: f64 = 1e-5,
            Key::of(Values::ABOVE_ZERO).words("a number above 0, such as 1e-5").in_tests().must_agree();
        /// Weights to start from, or to test with --phase test; a run folder, or a file or folder of Paddle, PyTorch or
        /// safetensors.
        ///
        /// [`crate::Pretrained`] reads them.
        pretrained_model: Option<PathBuf> = None,
            Key::text("a weights file or a run folder").flag("PATH").in_tests().free().default_words("none");
        /// The network to take of a checkpoint with several, such as model_ema.module; . is the top.
        ///
        /// [`crate::WeightsAt`] describes it.
        pretrained_key: Option<String> = None,
            Key::text("the keys that lead to the network, with dots between them").flag("NAME").in_tests().free()
                .default_words("the only one");
    }
}

impl ModelSection {
    /// The network for images of `channels` channels.
    #[must_use]
    pub fn network(&self, channels: usize) -> NetworkConfig {
        NetworkConfig {
            activation: self.activation.into(),
            padding: self.padding.into(),
            bn_epsilon: self.bn_epsilon,
            ..NetworkConfig::new(self.model.into(), self.scale, channels, self.num_classes)
        }
    }
}
