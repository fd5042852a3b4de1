//! What is known of one key, and the words in which a declaration says it.

use toml::Value;

use super::{DataKind, TrainConfig, Values, When, layers::to_table, values::alternatives};

/// One key of the configuration, declared beside its field (see [`crate::config`]). Checks, flags, `--help`, warnings,
/// the JSON schema, `docs/keys.md` and the recipe all read it here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// The section, such as `prune`.
    pub section: &'static str,
    /// The name within the section, such as `ratio`.
    pub name: &'static str,
    /// The doc comment of its field; [`Key::summary`] is its first paragraph.
    doc: &'static str,
    /// What its value may be.
    pub values: Values,
    /// What a number counts, such as `epochs`; empty for a plain number.
    pub unit: &'static str,
    /// The rule in words, where [`Values`] alone says too little.
    words: Option<&'static str>,
    /// What is added to the rule in brackets.
    note: Option<&'static str>,
    /// The default in words, where it is no value of its own.
    pub default_words: Option<&'static str>,
    /// The flag of its name: what stands for the value in `--help`. `None`: it has no flag.
    pub flag: Option<&'static str>,
    /// Whether the flag alone means true.
    pub bare: bool,
    /// It has an effect only where all of these hold.
    pub only: &'static [When],
    /// As `only`, and another value than the default is an error where these do not hold.
    pub strict: &'static [When],
    /// Whether it has an effect in a test of given weights as well.
    pub in_tests: bool,
    /// What it means for the weights of a run.
    pub role: Role,
    /// Whether recipes leave it out while it has its default, as those of runs from before it was there do.
    pub added_later: bool,
}

/// What a setting means for the weights of a run, and so for one that is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It decides the weights: it is in the recipe, and a resumed run says where it differs.
    Decides,
    /// As [`Role::Decides`], and a saved state makes no sense under another value.
    MustAgree,
    /// The weights are the same whatever it is: paths, periods of logs, threads.
    Free,
}

/// A declaration: what the value may be, and what else there is to say.
impl Key {
    /// A key with these values.
    pub(super) const fn of(values: Values) -> Self {
        Self {
            section: "",
            name: "",
            doc: "",
            values,
            unit: "",
            words: None,
            note: None,
            default_words: None,
            flag: None,
            bare: false,
            only: &[],
            strict: &[],
            in_tests: false,
            role: Role::Decides,
            added_later: false,
        }
    }

    /// True or false.
    pub(super) const fn truth() -> Self {
        Self::of(Values::Truth)
    }

    /// A whole number of `unit` (or of nothing) from `from` on.
    pub(super) const fn whole(from: i64, unit: &'static str) -> Self {
        Self { unit, ..Self::of(Values::whole(from)) }
    }

    /// A text that is not empty, and what it is in words.
    pub(super) const fn text(words: &'static str) -> Self {
        Self::of(Values::Text).words(words)
    }

    /// Says the rule in these words.
    pub(super) const fn words(self, words: &'static str) -> Self {
        Self { words: Some(words), ..self }
    }

    /// Adds a word to the rule, in brackets.
    pub(super) const fn note(self, note: &'static str) -> Self {
        Self { note: Some(note), ..self }
    }

    /// Says the default in words.
    pub(super) const fn default_words(self, words: &'static str) -> Self {
        Self { default_words: Some(words), ..self }
    }

    /// Gives it a flag; `--help` shows `value` for its value.
    pub(super) const fn flag(self, value: &'static str) -> Self {
        Self { flag: Some(value), ..self }
    }

    /// Lets the flag alone mean true.
    pub(super) const fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    /// It has an effect only where these hold.
    pub(super) const fn only(self, only: &'static [When]) -> Self {
        Self { only, ..self }
    }

    /// It has an effect only where these hold, and is an error elsewhere.
    pub(super) const fn strictly(self, strict: &'static [When]) -> Self {
        Self { strict, ..self }
    }

    /// It has an effect in a test of given weights as well.
    pub(super) const fn in_tests(self) -> Self {
        Self { in_tests: true, ..self }
    }

    /// The weights are the same whatever it is.
    pub(super) const fn free(self) -> Self {
        Self { role: Role::Free, ..self }
    }

    /// A saved state makes no sense under another value.
    pub(super) const fn must_agree(self) -> Self {
        Self { role: Role::MustAgree, ..self }
    }

    /// It came after the first recipes were saved, and its default is what was done before.
    pub(super) const fn added_later(self) -> Self {
        Self { added_later: true, ..self }
    }

    /// Puts it under its name; for the macro `settings` alone.
    pub(super) const fn declared(self, section: &'static str, name: &'static str, doc: &'static str) -> Self {
        Self { section, name, doc, ..self }
    }
}

impl Key {
    /// `section.name`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// What it is, in one sentence without a full stop.
    #[must_use]
    pub fn summary(&self) -> String {
        let lines: Vec<&str> = self.doc.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        lines.join(" ").replace('`', "").trim_end_matches('.').to_owned()
    }

    /// What the value must be, in words.
    #[must_use]
    pub fn expects(&self) -> String {
        let rule = self.words.map_or_else(|| self.values.words(self.unit), str::to_owned);
        self.note.map_or_else(|| rule.clone(), |note| format!("{rule} ({note})"))
    }

    /// The default for a data set; `None` where it is left out.
    #[must_use]
    pub fn default(&self, data: DataKind) -> Option<Value> {
        to_table(&TrainConfig::defaults(data)).ok()?.get(self.section)?.get(self.name).cloned()
    }

    /// The default for MNIST as it is typed, or in words; "none" where there is none.
    #[must_use]
    pub fn usual_default(&self) -> String {
        let value = || self.default(DataKind::Mnist).map_or_else(|| "none".to_owned(), |value| typed(&value));
        self.default_words.map_or_else(value, str::to_owned)
    }

    /// How a command line gives it: by its flag, else by `--set`; `value` in TOML notation or as a word.
    #[must_use]
    pub fn given_as(&self, value: &str) -> String {
        match self.flag {
            Some(_) => format!("--{} {value}", self.name),
            None => format!("--set {}.{}={value}", self.section, self.name),
        }
    }

    /// What must hold for it to have an effect.
    pub fn conditions(&self) -> impl Iterator<Item = &'static When> {
        self.strict.iter().chain(self.only)
    }

    /// Its line in `--help`.
    #[must_use]
    pub fn help(&self) -> String {
        let choice = match self.values {
            Values::Names { names, .. } => {
                format!(": {}", alternatives(names.iter().map(|&name| name.to_owned())))
            }
            Values::Truth if !self.bare => ", true or false".to_owned(),
            _ => String::new(),
        };
        format!("{}{choice} [default: {}]", self.summary(), self.usual_default())
    }
}

/// A value as it is typed behind a flag.
pub(super) fn typed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) if *number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
        Value::Float(number) => number.to_string(),
        Value::Array(entries) => entries.iter().map(typed).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{known_key, known_keys};

    #[test]
    fn every_default_is_one_of_the_values_and_every_key_says_what_it_is() {
        for key in known_keys() {
            for data in DataKind::ALL {
                let default = key.default(data);
                assert!(default.is_none_or(|value| key.values.allow(&value)), "{}", key.path());
            }
            let summary = key.summary();
            assert!(summary.len() > 5 && !summary.contains("None"), "{}: {summary:?}", key.path());
            assert!(key.default(DataKind::Mnist).is_some() || key.default_words.is_some(), "{}", key.path());
        }
    }

    #[test]
    fn help_names_values_and_default() {
        let help = |path| known_key(path).unwrap().help();
        assert_eq!(
            help("train.batch_size"),
            "Images per training step, over all processes of a run that share it [default: 512]"
        );
        assert_eq!(help("train.l2_decay"), "L2 decay on all trainable tensors [default: 3e-5]");
        assert_eq!(help("data.data"), "Data set: mnist, cifar10, cifar100 or imagenet [default: mnist]");
        assert!(help("train.step_epochs").ends_with("[default: 30 60 90]"));
        assert!(help("prune.local_sparsity").ends_with(", true or false [default: false]"));
        assert!(help("train.threads").ends_with("[default: cores]"));
    }

    #[test]
    fn a_key_is_given_by_its_flag_or_by_set() {
        let given = |path| known_key(path).unwrap().given_as("2");
        assert_eq!(
            (given("prune.ratio"), given("checkpoint.keep")),
            ("--ratio 2".to_owned(), "--set checkpoint.keep=2".to_owned())
        );
    }
}
