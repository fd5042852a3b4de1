//! Settings that were given where they have no effect.

use toml::{Table, Value};

use super::{
    Key, Layers, Origin, Phase, TrainConfig, When, keys::known_keys, layers::to_table, validate::Problem,
    values::joined, when::value_at,
};

/// A setting that was given.
struct Given {
    key: &'static Key,
    value: Value,
    origin: Origin,
}

/// Why a setting has no effect.
#[derive(Clone, PartialEq)]
enum Reason {
    /// The command decides it.
    Fixed(String),
    /// A test does not train.
    Test,
    /// These do not hold.
    Conditions(Vec<When>),
}

impl Layers {
    /// A sentence for each reason for which settings that were given have no effect; `config` is what
    /// [`Layers::resolve`] made of them.
    ///
    /// Every flag and every `--set` counts as given. Of a file only what contradicts the file itself does: a file that
    /// several commands share holds settings that some of them do not use, and that of an earlier run every default.
    #[must_use]
    pub fn without_effect(&self, config: &TrainConfig, phase: Phase) -> Vec<String> {
        let mut groups: Vec<(Reason, Vec<Given>)> = Vec::new();
        for (given, reason) in self.idle(config, phase) {
            match groups.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, group)) => group.push(given),
                None => groups.push((reason, vec![given])),
            }
        }
        let table = to_table(config).unwrap_or_default();
        groups.iter().map(|(reason, group)| sentence(reason, group, &table)).collect()
    }

    /// The settings without effect, each with its reason, in the order of their keys.
    fn idle(&self, config: &TrainConfig, phase: Phase) -> Vec<(Given, Reason)> {
        let Ok(table) = to_table(config) else { return Vec::new() };
        let file = self.file_alone();
        let mut found = Vec::new();
        for key in known_keys() {
            let Some((value, origin)) = self.given(&key.path()) else { continue };
            let reason = match self.fixed_by(&key.path()) {
                Some(command) => Some(Reason::Fixed(command.to_owned())),
                None if phase == Phase::Test && !key.in_tests => Some(Reason::Test),
                None => failed(key, config, &table).map(Reason::Conditions),
            };
            let of_file = matches!(origin, Origin::File(_));
            let counts = !of_file
                || matches!(reason, Some(Reason::Conditions(_)))
                    && file.as_ref().is_some_and(|(alone, table)| {
                        key.default(alone.data.data).as_ref() != Some(&value)
                            && failed(key, alone, table).is_some()
                    });
            found.extend(reason.filter(|_| counts).map(|reason| (Given { key, value, origin }, reason)));
        }
        found
    }

    /// What the file makes alone, if it makes a config.
    fn file_alone(&self) -> Option<(TrainConfig, Table)> {
        let config = self.only_file().resolve().ok()?;
        let table = to_table(&config).ok()?;
        Some((config, table))
    }
}

/// The conditions of a key that do not hold, if there are any.
fn failed(key: &Key, config: &TrainConfig, table: &Table) -> Option<Vec<When>> {
    let failed: Vec<When> = key.conditions().filter(|when| !when.holds(config, table)).copied().collect();
    (!failed.is_empty()).then_some(failed)
}

fn sentence(reason: &Reason, group: &[Given], table: &Table) -> String {
    let named = |given: &Given| format!("{} = {}{}", given.key.path(), given.value, given.origin);
    let names = joined(group.iter().map(named), "and");
    let (has, it, counts) =
        if group.len() == 1 { ("has", "it", "it counts") } else { ("have", "them", "they count") };
    match reason {
        Reason::Fixed(command) => format!("{names} {has} no effect: {command} decides"),
        Reason::Test => format!("{names} {has} no effect with --phase test: {counts} only while training"),
        Reason::Conditions(conditions) => {
            let (needed, remedy) = in_words(conditions, table);
            format!("{names} {has} no effect: {counts} only with {needed}; leave {it} out, or give {remedy}")
        }
    }
}

/// What must hold and what there is instead, and how to make it hold.
fn in_words(conditions: &[When], table: &Table) -> (String, String) {
    let needed = |when: &When| match when {
        When::Is { key, .. } => {
            let now = value_at(table, key).map_or_else(|| "left out".to_owned(), Value::to_string);
            format!("{when} (now {now})")
        }
        When::OnGpu => format!("{when} (now on the CPU)"),
    };
    let remedies: Vec<String> = conditions.iter().filter_map(When::remedy).collect();
    (joined(conditions.iter().map(needed), "and"), remedies.join(" "))
}

/// Refuses another value than the default where a key may not be given at all.
pub(super) fn check_strict(config: &TrainConfig, table: &Table) -> Result<(), Problem> {
    for key in known_keys().filter(|key| !key.strict.is_empty()) {
        let path = key.path();
        let given = value_at(table, &path).cloned();
        if given == key.default(config.data.data) {
            continue;
        }
        let failed: Vec<When> =
            key.strict.iter().filter(|when| !when.holds(config, table)).copied().collect();
        if !failed.is_empty() {
            let (needed, _) = in_words(&failed, table);
            return Err(Problem::new(&path, format!("counts only with {needed}: leave it out")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, Values, known_key};
    use std::path::Path;

    /// A value that the key may have: its default, or another one where it has none.
    fn sample(key: &Key) -> Value {
        key.default(crate::config::DataKind::Mnist).unwrap_or_else(|| match key.values {
            Values::Truth => false.into(),
            Values::Whole { from, .. } => from.max(224).into(),
            Values::Number { .. } => 0.5.into(),
            Values::List { .. } => vec![0].into(),
            Values::Shares => Table::from_iter([("a".to_owned(), 0.5.into())]).into(),
            _ => "cpu".into(),
        })
    }

    fn set(layers: &mut Layers, path: &str, value: &Value) {
        layers.set(&format!("{path}={value}")).unwrap();
    }

    /// `--set`s under which a condition holds, or does not, one entry for each way.
    fn ways(when: &When, holds: bool) -> Vec<(&'static str, Value)> {
        match when {
            When::OnGpu => vec![("train.device", Value::from(if holds { "cuda" } else { "cpu" }))],
            When::Is { key, values } => {
                let all: Vec<Value> = match known_key(key).unwrap().values {
                    Values::Names { names, .. } => names.iter().map(|&name| name.into()).collect(),
                    Values::Truth => vec![true.into(), false.into()],
                    _ => panic!("{key} has no names"),
                };
                let among = |value: &Value| values.contains(&value.to_string().trim_matches('"'));
                all.into_iter().filter(|value| among(value) == holds).map(|value| (*key, value)).collect()
            }
        }
    }

    /// The sentences that name `path` when it is given under these settings.
    fn sentences(key: &Key, settings: &[(&str, Value)], phase: Phase) -> Result<Vec<String>, ConfigError> {
        let mut layers = Layers::new();
        settings.iter().for_each(|(path, value)| set(&mut layers, path, value));
        if settings.iter().all(|(path, _)| *path != key.path()) {
            set(&mut layers, &key.path(), &sample(key));
        }
        let config = layers.resolve()?;
        let named = format!("{} = ", key.path());
        let all = layers.without_effect(&config, phase);
        Ok(all
            .into_iter()
            .filter(|text| text.starts_with(&named) || text.contains(&format!(" {named}")))
            .collect())
    }

    #[test]
    fn every_key_has_one_warning_where_it_has_no_effect_and_none_where_it_has_one() {
        let mut warned = 0;
        for key in known_keys() {
            let held: Vec<_> = key.conditions().map(|when| ways(when, true).swap_remove(0)).collect();
            assert_eq!(sentences(key, &held, Phase::Train).unwrap(), [""; 0], "{}", key.path());
            let in_tests = sentences(key, &held, Phase::Test).unwrap();
            assert_eq!(in_tests.len(), usize::from(!key.in_tests), "{}: {in_tests:?}", key.path());
            for (index, when) in key.conditions().enumerate() {
                for way in ways(when, false) {
                    let mut settings = held.clone();
                    settings[index] = way;
                    match sentences(key, &settings, Phase::Train) {
                        Ok(found) => {
                            assert_eq!(found.len(), 1, "{} with {settings:?}: {found:?}", key.path());
                            assert!(
                                found[0].contains("no effect: ") && found[0].contains("out, or give"),
                                "{found:?}"
                            );
                            warned += 1;
                        }
                        // It may not be given at all, or another setting is wrong already.
                        Err(error) => {
                            let error = error.to_string();
                            let own = error.starts_with(&key.path()) && error.contains("counts only with");
                            assert!(
                                own || error.contains("raises a ratio") || error.contains("does not go with"),
                                "{error}"
                            );
                        }
                    }
                }
            }
        }
        assert!(warned > 50, "{warned}");
    }

    fn said(file: &str, flags: &[(&str, Value)], phase: Phase) -> Vec<String> {
        let mut layers = Layers::new();
        layers.text(Path::new("x.toml"), file).unwrap();
        for (path, value) in flags {
            layers.flag(path, Some(value.clone()));
        }
        let config = layers.resolve().unwrap();
        layers.without_effect(&config, phase)
    }

    #[test]
    fn a_sentence_names_source_condition_and_remedy_for_all_that_share_a_reason() {
        let flags = [
            ("prune.ratio", Value::from(0.5)),
            ("prune.pruning_epochs", 3.into()),
            ("prune.pruning_steps", 10.into()),
        ];
        assert_eq!(
            said("", &flags, Phase::Train),
            [
                "prune.pruning_epochs = 3 (flag --pruning_epochs) and prune.pruning_steps = 10 (flag --pruning_steps) have no \
              effect: they count only with prune.pruning_strategy = \"gmp\" (now \"base\"); leave them out, or give \
              --pruning_strategy gmp"
            ]
        );
        let flags = [("prune.pruning_mode", Value::from("none")), ("prune.ratio", 0.5.into())];
        assert_eq!(
            said("", &flags, Phase::Train),
            [
                "prune.ratio = 0.5 (flag --ratio) has no effect: it counts only with prune.pruning_mode = \"ratio\" (now \
              \"none\"); leave it out, or give --pruning_mode ratio"
            ]
        );
        assert_eq!(
            said("", &[("train.lr", 0.5.into()), ("train.device", "cpu".into())], Phase::Test),
            ["train.lr = 0.5 (flag --lr) has no effect with --phase test: it counts only while training"]
        );
    }

    #[test]
    fn a_file_is_held_to_its_own_mode_alone() {
        let gmp = "[prune]\nratio = 0.5\npruning_strategy = 'gmp'\npruning_steps = 10";
        let none = [("prune.pruning_mode", Value::from("none"))];
        assert_eq!(said(gmp, &[], Phase::Train), [""; 0]);
        assert_eq!(said(gmp, &none, Phase::Train), [""; 0]);
        assert_eq!(said(gmp, &[], Phase::Test), [""; 0]);
        let contradicts = "[prune]\nratio = 0.5\npruning_steps = 10";
        assert_eq!(said(contradicts, &[], Phase::Train).len(), 1);
        let gradually = [("prune.pruning_strategy", Value::from("gmp"))];
        assert_eq!(said(contradicts, &gradually, Phase::Train), [""; 0]);
    }

    #[test]
    fn the_config_of_an_earlier_run_holds_every_default_and_is_no_cause_for_warnings() {
        for data in crate::config::DataKind::ALL {
            let config = TrainConfig::defaults(data).to_toml().unwrap();
            assert_eq!(said(&config, &[], Phase::Train), [""; 0]);
            assert_eq!(said(&config, &[("prune.pruning_mode", "none".into())], Phase::Train), [""; 0]);
        }
    }

    #[test]
    fn what_a_command_decides_has_no_effect_and_is_no_contradiction() {
        let mut layers = Layers::new();
        layers.fix("the sweep", "prune.pruning_mode", "ratio").fix("the sweep", "prune.ratio", 0.9);
        layers.flag("prune.ratio", Some(0.3)).flag("prune.threshold", Some(0.1));
        let config = layers.resolve().unwrap();
        assert_eq!(config.prune.ratio, 0.9);
        let said = layers.without_effect(&config, Phase::Train);
        assert_eq!(said[0], "prune.ratio = 0.3 (flag --ratio) has no effect: the sweep decides");
        assert!(said[1].starts_with("prune.threshold = 0.1 (flag --threshold) has no effect"), "{said:?}");
    }
}
