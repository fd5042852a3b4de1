//! The metadata of our weights files: the network, and what else was written beside it.

use super::InputHint;
use crate::config::{Activation, Architecture, Padding};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sparse_mobilenet::{MobileNetConfig, layers};
use std::path::Path;

/// What the metadata of a file says, as far as it can be used.
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata {
    /// The whole object.
    keys: Map<String, Value>,
    network: Network,
}

/// Key `architecture`; files of the first version lack some of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Network {
    scale: Option<f64>,
    activation: Option<Activation>,
    padding: Option<Padding>,
    bn_epsilon: Option<f64>,
}

impl Metadata {
    /// Reads the text; what makes no sense is left out with a warning.
    pub(super) fn parse(text: Option<&str>, path: &Path) -> Self {
        let Some(text) = text else { return Self::default() };
        let Ok(Value::Object(keys)) = serde_json::from_str(text) else {
            tracing::warn!("the metadata of {} is no JSON object and is not used", path.display());
            return Self::default();
        };
        let network = match keys.get("architecture").cloned().map(serde_json::from_value) {
            Some(Ok(network)) => network,
            Some(Err(error)) => {
                tracing::warn!("the architecture in {} is not used: {error}", path.display());
                Network::default()
            }
            None => Network::default(),
        };
        Self { keys, network }
    }

    /// The network with what the metadata adds to it.
    pub(super) fn refine(&self, by_shape: &MobileNetConfig) -> MobileNetConfig {
        let mut network = *by_shape;
        let said = MobileNetConfig { scale: self.network.scale.unwrap_or(network.scale), ..network };
        if matches!((layers(&said), layers(&network)), (Ok(a), Ok(b)) if a == b) {
            network.scale = said.scale;
        }
        if let Some(activation) = self.network.activation {
            network.activation = activation.into();
        }
        if let Some(padding) = self.network.padding {
            network.padding = padding.into();
        }
        if let Some(epsilon) = self.network.bn_epsilon.filter(|epsilon| epsilon.is_finite() && *epsilon > 0.0)
        {
            network.bn_epsilon = epsilon;
        }
        network
    }

    pub(super) fn input(&self) -> Option<InputHint> {
        serde_json::from_value(self.keys.get("input")?.clone()).ok()
    }

    /// The metadata for a file with this network: what was there, and what is known of network and input.
    ///
    /// # Errors
    /// Serde's.
    pub(super) fn text(
        &self,
        network: &MobileNetConfig,
        input: Option<&InputHint>,
    ) -> serde_json::Result<String> {
        let mut keys = self.keys.clone();
        keys.insert("architecture".to_owned(), architecture(network));
        if let Some(input) = input {
            keys.insert("input".to_owned(), serde_json::to_value(input)?);
        }
        serde_json::to_string(&Value::Object(keys))
    }
}

/// Key `architecture` of the metadata.
pub(crate) fn architecture(network: &MobileNetConfig) -> Value {
    json!({
        "activation": Activation::from(network.activation),
        "bn_epsilon": network.bn_epsilon,
        "channels": network.channels,
        "classes": network.classes,
        "model": Architecture::MobileNet,
        "padding": Padding::from(network.padding),
        "scale": network.scale,
    })
}

/// The name of a setting as a config spells it.
pub(super) fn spelled(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
