//! Section `model`: which network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sparse_mobilenet::MobileNetConfig;

use super::{
    DataKind,
    keys::SectionKeys,
    validate::{Problem, require},
};

/// The networks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    /// MobileNetV1.
    MobileNet,
}

/// What follows each batch norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(0, z)`.
    Relu,
    /// `min(max(0, z), 6)`.
    Relu6,
}

/// Where the 3×3 convolutions have their border of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// One line on every side.
    Symmetric,
    /// TensorFlow's "SAME".
    Same,
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

/// Section `model`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// The network.
    pub model: Architecture,
    /// Width multiplier, above 0: every layer has `int(channels · scale)` channels.
    pub scale: f64,
    /// Outputs of the head.
    pub num_classes: usize,
    /// What follows each batch norm.
    pub activation: Activation,
    /// Where the 3×3 convolutions have their border of zeros.
    pub padding: Padding,
    /// ε of batch norm, above 0.
    pub bn_epsilon: f64,
    /// Weights to start from: a file or folder of any program that [`crate::Pretrained`] reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrained_model: Option<PathBuf>,
}

pub(super) const KEYS: SectionKeys = &[
    ("model", "\"MobileNet\", the one network there is"),
    ("scale", "a width multiplier above 0"),
    ("num_classes", "a whole number, 1 or more"),
    ("activation", "\"relu\" or \"relu6\""),
    ("padding", "\"symmetric\" or \"same\""),
    ("bn_epsilon", "a number above 0, such as 1e-5"),
    ("pretrained_model", "a weights file or a run folder"),
];

impl ModelSection {
    /// The defaults for one data set.
    #[must_use]
    pub fn defaults(data: DataKind) -> Self {
        let num_classes = data.classes();
        Self {
            model: Architecture::MobileNet,
            scale: 1.0,
            num_classes,
            activation: Activation::Relu,
            padding: Padding::Symmetric,
            bn_epsilon: 1e-5,
            pretrained_model: None,
        }
    }

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

    pub(super) fn check(&self) -> Result<(), Problem> {
        require(self.scale.is_finite() && self.scale > 0.0, "model.scale")?;
        require(self.num_classes >= 1, "model.num_classes")?;
        require(self.bn_epsilon.is_finite() && self.bn_epsilon > 0.0, "model.bn_epsilon")?;
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        require(self.pretrained_model.as_ref().is_none_or(named), "model.pretrained_model")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_at_fault(change: impl Fn(&mut ModelSection)) -> &'static str {
        let mut section = ModelSection::defaults(DataKind::Mnist);
        change(&mut section);
        section.check().unwrap_err().key
    }

    #[test]
    fn the_scale_is_finite_and_above_zero() {
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(key_at_fault(|section| section.scale = scale), "model.scale");
        }
        assert!(ModelSection::defaults(DataKind::Mnist).check().is_ok());
    }

    #[test]
    fn epsilon_is_above_zero() {
        for epsilon in [0.0, -1e-5, f64::NAN, f64::INFINITY] {
            assert_eq!(key_at_fault(|section| section.bn_epsilon = epsilon), "model.bn_epsilon");
        }
    }

    #[test]
    fn there_is_at_least_one_output() {
        assert_eq!(key_at_fault(|section| section.num_classes = 0), "model.num_classes");
    }

    #[test]
    fn a_given_path_is_not_empty() {
        assert_eq!(
            key_at_fault(|section| section.pretrained_model = Some("".into())),
            "model.pretrained_model"
        );
    }
}
