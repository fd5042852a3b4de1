//! What the metadata of a weights file says about the network, under the key `architecture`.

use crate::{Activation, Kind, NetworkConfig, Padding};
use serde::{Deserialize, Serialize};

/// The object under the key `architecture`; files of the first version lack some of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    activation: Option<ActivationName>,
    bn_epsilon: Option<f64>,
    channels: Option<usize>,
    classes: Option<usize>,
    model: Option<KindName>,
    padding: Option<PaddingName>,
    scale: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActivationName {
    Relu,
    Relu6,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PaddingName {
    Symmetric,
    Same,
}

/// A [`Kind`] by its name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct KindName(Kind);

impl From<KindName> for String {
    fn from(KindName(kind): KindName) -> Self {
        kind.name().to_owned()
    }
}

impl TryFrom<String> for KindName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Kind::named(&name).map(Self).ok_or_else(|| format!("there is no network `{name}`"))
    }
}

impl Architecture {
    /// Everything there is to say about a network.
    pub fn of(network: &NetworkConfig) -> Self {
        Self {
            activation: Some(match network.activation {
                Activation::Relu => ActivationName::Relu,
                Activation::Relu6 => ActivationName::Relu6,
            }),
            bn_epsilon: Some(network.bn_epsilon),
            channels: Some(network.channels),
            classes: Some(network.classes),
            model: Some(KindName(network.kind)),
            padding: Some(match network.padding {
                Padding::Same => PaddingName::Same,
                Padding::Symmetric | Padding::Lines(_) => PaddingName::Symmetric,
            }),
            scale: Some(network.scale),
        }
    }

    /// A network of known widths with what else is said here; a scale that gives other widths, or a network of other
    /// parameters, is not believed.
    pub fn refine(&self, by_shape: &NetworkConfig) -> NetworkConfig {
        let mut network = *by_shape;
        let scaled = NetworkConfig { scale: self.scale.unwrap_or(network.scale), ..network };
        if scaled.has_parameters_of(&network) {
            network = scaled;
        }
        let other = NetworkConfig { kind: self.kind().unwrap_or(network.kind), ..network };
        if other.has_parameters_of(&network) {
            network = other;
        }
        match self.activation {
            Some(ActivationName::Relu) => network.activation = Activation::Relu,
            Some(ActivationName::Relu6) => network.activation = Activation::Relu6,
            None => {}
        }
        match self.padding {
            Some(PaddingName::Symmetric) => network.padding = Padding::Symmetric,
            Some(PaddingName::Same) => network.padding = Padding::Same,
            None => {}
        }
        if let Some(epsilon) = self.bn_epsilon.filter(|epsilon| epsilon.is_finite() && *epsilon > 0.0) {
            network.bn_epsilon = epsilon;
        }
        network
    }

    /// Which network, if it is said.
    pub fn kind(&self) -> Option<Kind> {
        self.model.map(|KindName(kind)| kind)
    }

    /// The width multiplier, if it is said.
    pub fn scale(&self) -> Option<f64> {
        self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back() {
        let network = NetworkConfig {
            activation: Activation::Relu6,
            padding: Padding::Same,
            bn_epsilon: 1e-3,
            ..NetworkConfig::mobilenet(0.5, 3, 7)
        };
        let text = serde_json::to_string(&serde_json::to_value(Architecture::of(&network)).unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"activation":"relu6","bn_epsilon":0.001,"channels":3,"classes":7,"model":"MobileNet","padding":"same","scale":0.5}"#
        );
        let read: Architecture = serde_json::from_str(&text).unwrap();
        let refined = read.refine(&NetworkConfig::mobilenet(0.5003, 3, 7));
        assert_eq!(refined, network);
    }

    #[test]
    fn which_network_of_the_same_parameters_is_said_and_another_is_not_believed() {
        let by_shape = NetworkConfig::mobilenet(0.5, 3, 7);
        for (kind, expected) in [
            (Kind::MobileNetCifar, Kind::MobileNetCifar),
            (Kind::MobileNet, Kind::MobileNet),
            (Kind::ResNet18, Kind::MobileNet),
        ] {
            let said = Architecture::of(&NetworkConfig { kind, ..by_shape });
            assert_eq!(said.refine(&by_shape).kind, expected);
        }
    }

    #[test]
    fn a_file_of_the_first_version_says_little_and_is_still_read() {
        let read: Architecture = serde_json::from_str(r#"{"scale":2.0,"bn_epsilon":-1.0}"#).unwrap();
        // Other widths than those of the file, and an impossible ε.
        assert_eq!(read.refine(&NetworkConfig::mobilenet(1.0, 3, 10)), NetworkConfig::mobilenet(1.0, 3, 10));
    }
}
