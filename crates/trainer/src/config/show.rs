//! A resolved config with the source of every value.

use std::fmt::Write;

use super::{ConfigError, Layers, Origin, TrainConfig, keys::known_keys, layers::to_table, when::value_at};

impl Layers {
    /// The config that the sources make, as TOML that reads back as the same config; a comment behind a value names the
    /// source that gave it, and one in its place says what holds where it is left out.
    ///
    /// # Errors
    /// [`ConfigError::NotToml`] when a value has no TOML form.
    pub fn describe(&self, config: &TrainConfig) -> Result<String, ConfigError> {
        let table = to_table(config)?;
        let (mut text, mut section) = (String::new(), "");
        for key in known_keys() {
            if key.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = key.section;
                let _ = writeln!(text, "{gap}[{section}]");
            }
            let _ = match value_at(&table, &key.path()) {
                Some(value) => {
                    let usual = key.default(config.data.data).as_ref() == Some(value);
                    writeln!(text, "{} = {value}{}", key.name, self.source(&key.path(), usual))
                }
                None => writeln!(text, "# {} is left out: {}", key.name, key.usual_default()),
            };
        }
        Ok(text)
    }

    /// The source of a value as a comment; nothing for a default, which is `usual`.
    fn source(&self, path: &str, usual: bool) -> String {
        if let Some(command) = self.fixed_by(path) {
            return format!("  # {command}");
        }
        let path = if path == "prune.pruning_mode" { self.key_of_mode() } else { path };
        match self.origin(path) {
            Origin::Flag(name) => format!("  # --{name}"),
            Origin::Set(_) => "  # --set".to_owned(),
            Origin::File(file) => format!("  # {}", one_line(&file.display().to_string())),
            Origin::Default if usual => String::new(),
            Origin::Default => "  # follows from the weights or from other settings".to_owned(),
        }
    }
}

/// A path in a comment must not end it.
fn one_line(path: &str) -> String {
    path.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_described_config_names_sources_and_reads_back() {
        let mut layers = Layers::new();
        layers.text(Path::new("a\nb.toml"), "[prune]\nratio = 0.5\n[data]\ndata = 'imagenet'").unwrap();
        layers.set("checkpoint.keep=2").unwrap().flag("train.lr", Some(0.25));
        let config = layers.resolve().unwrap();
        let text = layers.describe(&config).unwrap();
        for line in [
            "ratio = 0.5  # a\\nb.toml",
            "keep = 2  # --set",
            "lr = 0.25  # --lr",
            "batch_size = 512",
            "pruning_mode = \"ratio\"  # a\\nb.toml",
            "# threads is left out: cores",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        assert_eq!(TrainConfig::from_toml(Path::new("x.toml"), &text).unwrap(), config);
    }

    #[test]
    fn the_source_of_the_mode_is_the_one_that_decided_it() {
        let file = "[prune]\npruning_mode = 'threshold'";
        let shown = |change: &dyn Fn(&mut Layers)| {
            let mut layers = Layers::new();
            layers.text(Path::new("a.toml"), file).unwrap();
            change(&mut layers);
            let text = layers.describe(&layers.resolve().unwrap()).unwrap();
            text.lines().find(|line| line.starts_with("pruning_mode")).unwrap_or_default().to_owned()
        };
        assert_eq!(shown(&|_| {}), "pruning_mode = \"threshold\"  # a.toml");
        let ratio = |layers: &mut Layers| {
            layers.flag("prune.ratio", Some(0.5));
        };
        assert_eq!(shown(&ratio), "pruning_mode = \"ratio\"  # --ratio");
        let set = |layers: &mut Layers| {
            layers.set("prune.ratio=0.5").unwrap();
        };
        assert_eq!(shown(&set), "pruning_mode = \"ratio\"  # --set");
    }
}
