//! Section `model`: which network.

use std::path::PathBuf;

use sparse_mobilenet::MobileNetConfig;

use super::{
    Key, Values,
    declare::{choices, settings},
};

choices! {
    /// The networks there are.
    pub enum Architecture {
        /// MobileNetV1.
        MobileNet = "MobileNet",
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

impl From<Activation> for sparse_mobilenet::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Relu => Self::Relu,
            Activation::Relu6 => Self::Relu6,
        }
    }
}

impl From<sparse_mobilenet::Activation> for Activation {
    fn from(activation: sparse_mobilenet::Activation) -> Self {
        match activation {
            sparse_mobilenet::Activation::Relu => Self::Relu,
            sparse_mobilenet::Activation::Relu6 => Self::Relu6,
        }
    }
}

impl From<Padding> for sparse_mobilenet::Padding {
    fn from(padding: Padding) -> Self {
        match padding {
            Padding::Symmetric => Self::Symmetric,
            Padding::Same => Self::Same,
        }
    }
}

impl From<sparse_mobilenet::Padding> for Padding {
    fn from(padding: sparse_mobilenet::Padding) -> Self {
        match padding {
            sparse_mobilenet::Padding::Symmetric => Self::Symmetric,
            sparse_mobilenet::Padding::Same => Self::Same,
        }
    }
}

settings! {
    /// Section `model`.
    pub struct ModelSection: "model", with the defaults for data => {
        /// Network.
        model: Architecture = Architecture::MobileNet,
            Key::of(Architecture::VALUES).words("\"MobileNet\", the one network there is").flag("MODEL").in_tests()
                .must_agree();
        /// Width multiplier: every layer has `int(channels · scale)` channels.
        scale: f64 = 1.0,
            Key::of(Values::ABOVE_ZERO).words("a width multiplier above 0").in_tests().must_agree();
        /// Outputs of the head.
        num_classes: usize = data.classes(),
            Key::whole(1, "").flag("N").in_tests().must_agree()
                .default_words("those of the weights given, else one for each of data.classes, else 1000 for imagenet and 10 for the others");
        /// What follows each batch norm.
        activation: Activation = Activation::Relu,
            Key::of(Activation::VALUES).in_tests().must_agree();
        /// Where the 3×3 convolutions have their border of zeros.
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
    pub fn network(&self, channels: usize) -> MobileNetConfig {
        MobileNetConfig {
            activation: self.activation.into(),
            padding: self.padding.into(),
            bn_epsilon: self.bn_epsilon,
            ..MobileNetConfig::new(self.scale, channels, self.num_classes)
        }
    }
}
