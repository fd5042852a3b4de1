//! The check of all values of a config.

use super::{ConfigError, Origin, TrainConfig, keys::expectation, layers::to_table};

/// A value that breaks a rule: the key and the rule in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) key: &'static str,
    pub(super) rule: String,
}

impl Problem {
    pub(super) fn new(key: &'static str, rule: String) -> Self {
        Self { key, rule }
    }
}

/// A problem with `key` (`section.name`) unless `holds`; the rule is what the key table says the value must be.
pub(super) fn require(holds: bool, key: &'static str) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem::new(key, format!("must be {}", expectation(key)))) }
}

impl TrainConfig {
    /// Checks every value by itself and against the others.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`] for the first value that breaks its rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let checked = self
            .data
            .check()
            .and_then(|()| self.model.check())
            .and_then(|()| self.train.check())
            .and_then(|()| self.prune.check())
            .and_then(|()| self.checkpoint.check());
        let Err(Problem { key, rule }) = checked else { return Ok(()) };
        let table = to_table(self)?;
        let value = key.split_once('.').and_then(|(section, name)| table.get(section)?.get(name));
        let value = value.map_or_else(String::new, ToString::to_string);
        Err(ConfigError::BadValue { key: key.to_owned(), value, rule, origin: Origin::Default })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataKind;

    type Change = fn(&mut TrainConfig);

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
            (|config| config.checkpoint.keep = 0, "checkpoint.keep = 0: must be a whole number, 1 or more"),
        ];
        for (change, expected) in changes {
            let mut config = TrainConfig::defaults(DataKind::Mnist);
            assert!(config.validate().is_ok());
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
