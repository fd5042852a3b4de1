//! The metadata of our weights files: the network, and what else was written beside it.

use super::InputHint;
use serde::Serialize;
use serde_json::{Map, Value};
use sparse_model::{Kind, NetworkConfig};
use sparse_network::Architecture;
use std::path::Path;

/// What the metadata of a file says, as far as it can be used.
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata {
    /// The whole object.
    keys: Map<String, Value>,
    network: Architecture,
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
                Architecture::default()
            }
            None => Architecture::default(),
        };
        Self { keys, network }
    }

    /// The network with what the metadata adds to it.
    pub(super) fn refine(&self, by_shape: &NetworkConfig) -> NetworkConfig {
        self.network.refine(by_shape)
    }

    /// Which network it is, if that is said.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.network.kind()
    }

    /// The settings of the run that made the file, by `section.key`.
    pub(super) fn recipe(&self) -> Option<&Map<String, Value>> {
        self.keys.get("recipe")?.as_object()
    }

    /// The whole object.
    pub(super) fn value(&self) -> Value {
        Value::Object(self.keys.clone())
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
        network: &NetworkConfig,
        input: Option<&InputHint>,
    ) -> serde_json::Result<String> {
        let mut keys = self.keys.clone();
        keys.insert("architecture".to_owned(), serde_json::to_value(Architecture::of(network))?);
        if let Some(input) = input {
            keys.insert("input".to_owned(), serde_json::to_value(input)?);
        }
        serde_json::to_string(&Value::Object(keys))
    }
}

/// The name of a setting as a config spells it.
pub(super) fn spelled(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
