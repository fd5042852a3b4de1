//! Configs: one that is taken is written in full and read back as the same.

use std::path::Path;

use sparse_trainer::config::TrainConfig;

/// The text of a config file.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = TrainConfig::from_toml(Path::new("config.toml"), text) else { return };
    let written = config.to_toml().expect("a config from a text has a text");
    let again = TrainConfig::from_toml(Path::new("config.toml"), &written);
    assert!(again.as_ref().is_ok_and(|again| *again == config), "{again:?}\n{written}");
}
