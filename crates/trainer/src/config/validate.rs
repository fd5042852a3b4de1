//! The check of all values of a config: each by its declaration, then against each other.

use toml::Table;

use super::{ConfigError, Origin, TrainConfig, keys, layers::to_table, when::value_at, without_effect};

/// A value that breaks a rule: the key and the rule in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) key: String,
    pub(super) rule: String,
}

impl Problem {
    pub(super) fn new(key: &str, rule: String) -> Self {
        Self { key: key.to_owned(), rule }
    }
}

/// A problem with `key` (`section.name`) unless `holds`; the rule is what the declaration says the value must be.
pub(super) fn require(holds: bool, key: &str) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem::new(key, format!("must be {}", keys::expectation(key)))) }
}

/// Checks each value of a table by the declaration of its key.
pub(super) fn check_values(table: &Table) -> Result<(), Problem> {
    for key in keys::known_keys() {
        let path = key.path();
        require(value_at(table, &path).is_none_or(|value| key.values.allow(value)), &path)?;
    }
    Ok(())
}

impl TrainConfig {
    /// Checks every value by itself and against the others.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`] for the first value that breaks its rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let table = to_table(self)?;
        let checked = check_values(&table)
            .and_then(|()| self.data.check())
            .and_then(|()| self.train.check())
            .and_then(|()| self.prune.check())
            .and_then(|()| without_effect::check_strict(self, &table));
        let Err(Problem { key, rule }) = checked else { return Ok(()) };
        let value = value_at(&table, &key).map_or_else(String::new, ToString::to_string);
        Err(ConfigError::BadValue { key, value, rule, origin: Origin::Default })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::DataKind;

    type Change = fn(&mut TrainConfig);

    /// The key at fault in the changed defaults and the rule that it breaks; empty if there is none.
    pub(in crate::config) fn problem(data: DataKind, change: impl Fn(&mut TrainConfig)) -> (String, String) {
        let mut config = TrainConfig::defaults(data);
        change(&mut config);
        match config.validate() {
            Ok(()) => Default::default(),
            Err(ConfigError::BadValue { key, rule, .. }) => (key, rule),
            Err(other) => panic!("{other}"),
        }
    }

    /// The key at fault in the changed defaults for MNIST.
    pub(in crate::config) fn key_at_fault(change: impl Fn(&mut TrainConfig)) -> String {
        problem(DataKind::Mnist, change).0
    }

    #[test]
    fn every_section_is_checked_and_the_message_has_key_value_and_rule() {
        let changes: [(Change, &str); 5] = [
            (|config| config.data.std = vec![0.0], "data.std = [0.0]: must be a list of numbers above 0"),
            (|config| config.model.scale = 0.0, "model.scale = 0.0: must be a width multiplier above 0"),
            (|config| config.train.lr = f64::NAN, "train.lr = nan: must be a number above 0"),
            (
                |config| config.prune.ratio = 1.0,
                "prune.ratio = 1.0: must be a fraction, at least 0 and below 1",
            ),
            (
                |config| config.checkpoint.keep = 0,
                "checkpoint.keep = 0: must be a whole number of checkpoints, 1 or more",
            ),
        ];
        for (change, expected) in changes {
            let mut config = TrainConfig::defaults(DataKind::Mnist);
            assert!(config.validate().is_ok());
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn network_paths_and_widths_are_checked() {
        for number in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(key_at_fault(|config| config.model.scale = number), "model.scale");
            assert_eq!(key_at_fault(|config| config.model.bn_epsilon = number), "model.bn_epsilon");
        }
        assert_eq!(key_at_fault(|config| config.model.num_classes = 0), "model.num_classes");
        assert_eq!(
            key_at_fault(|config| config.model.pretrained_model = Some("".into())),
            "model.pretrained_model"
        );
    }
}
