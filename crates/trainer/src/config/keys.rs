//! The known keys with what each one expects, and the nearest one to a mistyped key.

use toml::Table;

use super::{ConfigError, Key, Origin, checkpoint, data, model, prune, train};

const SECTIONS: [(&str, &[Key]); 5] = [
    ("data", data::KEYS),
    ("model", model::KEYS),
    ("train", train::KEYS),
    ("prune", prune::KEYS),
    ("checkpoint", checkpoint::KEYS),
];

/// All keys, section by section.
pub fn known_keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|(_, keys)| keys.iter())
}

/// The key of a path, `section.name`.
#[must_use]
pub fn known_key(path: &str) -> Option<&'static Key> {
    let (section, name) = path.split_once('.')?;
    known_keys().find(|key| key.section == section && key.name == name)
}

/// What the value of `section.name` must be, in words.
pub(super) fn expectation(path: &str) -> String {
    known_key(path).map_or_else(|| "a known key".to_owned(), Key::expects)
}

/// Refuses a key that no section has, and a section that is not a table.
pub(super) fn check_known(table: &Table, origin: &Origin) -> Result<(), ConfigError> {
    for (section, value) in table {
        let known = SECTIONS.iter().find(|(name, _)| name == section);
        match (known, value.as_table()) {
            (Some((_, keys)), Some(entries)) => {
                let stray = entries.keys().find(|name| !keys.iter().any(|known| known.name == *name));
                if let Some(name) = stray {
                    return Err(unknown(format!("{section}.{name}"), origin));
                }
            }
            (Some(_), None) => {
                return Err(ConfigError::BadValue {
                    key: section.clone(),
                    value: value.to_string(),
                    rule: format!("is a section: write its keys under [{section}] or as {section}.KEY"),
                    origin: origin.clone(),
                });
            }
            (None, entries) => {
                let first = entries.and_then(|entries| entries.keys().next());
                let key = first.map_or_else(|| section.clone(), |name| format!("{section}.{name}"));
                return Err(unknown(key, origin));
            }
        }
    }
    Ok(())
}

fn unknown(key: String, origin: &Origin) -> ConfigError {
    ConfigError::UnknownKey { advice: advice(&key), key, origin: origin.clone() }
}

/// Which key may be meant, or which there are.
fn advice(path: &str) -> String {
    if let Some(nearest) = nearest_key(path) {
        return format!("did you mean `{nearest}`?");
    }
    let section = path.split_once('.').map_or(path, |(section, _)| section);
    match SECTIONS.iter().find(|(name, _)| *name == section) {
        Some((_, keys)) => {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            format!("the keys of {section} are {}", names.join(", "))
        }
        None => {
            let names = SECTIONS.map(|(name, _)| name);
            format!("a key is SECTION.NAME, and the sections are {}", names.join(", "))
        }
    }
}

/// The full path of the known key nearest to `path`, if one is near: the same name in another section, else the most
/// similar name, those of the same section first.
fn nearest_key(path: &str) -> Option<String> {
    const SAME_SECTION: f64 = 0.05;
    const NEAR: f64 = 0.6;
    let (section, name) = path.split_once('.').unwrap_or(("", path));
    let name = name.replace('-', "_").to_lowercase();
    let likeness = |key: &&Key| strsim::normalized_damerau_levenshtein(key.name, &name);
    let score = |key: &&Key| likeness(key) + if key.section == section { SAME_SECTION } else { 0.0 };
    let nearest = known_keys().max_by(|a, b| score(a).total_cmp(&score(b)));
    nearest.filter(|key| likeness(key) >= NEAR).map(Key::path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_names_the_nearest_one_of_its_section() {
        assert_eq!(nearest_key("prune.rato").as_deref(), Some("prune.ratio"));
        assert_eq!(nearest_key("prune.treshold").as_deref(), Some("prune.threshold"));
        assert_eq!(nearest_key("train.batch-size").as_deref(), Some("train.batch_size"));
        assert_eq!(nearest_key("train.momentum").as_deref(), Some("train.momentum_rate"));
        assert_eq!(nearest_key("prune.pruning_epoch").as_deref(), Some("prune.pruning_epochs"));
        assert_eq!(nearest_key("prune.tuning_epochs").as_deref(), Some("prune.tunning_epochs"));
        assert_eq!(nearest_key("checkpoint.keeps").as_deref(), Some("checkpoint.keep"));
    }

    #[test]
    fn a_key_of_another_section_is_named_with_its_full_path() {
        assert_eq!(nearest_key("train.ratio").as_deref(), Some("prune.ratio"));
        assert_eq!(nearest_key("ratio").as_deref(), Some("prune.ratio"));
        assert_eq!(nearest_key("prunes.ratio").as_deref(), Some("prune.ratio"));
        assert_eq!(nearest_key("model.lr").as_deref(), Some("train.lr"));
        assert_eq!(nearest_key("train.pruning_epochs").as_deref(), Some("prune.pruning_epochs"));
    }

    #[test]
    fn unknown_keys_and_sections_are_refused() {
        for (text, wrong, nearest) in [
            ("[prune]\nrato = 1", "prune.rato", "prune.ratio"),
            ("[prunes]\nratio = 1", "prunes.ratio", "prune.ratio"),
            ("ratio = 1", "ratio", "prune.ratio"),
            ("[data]\nbatch_size = 1", "data.batch_size", "train.batch_size"),
        ] {
            let table: Table = toml::from_str(text).unwrap();
            let error = check_known(&table, &Origin::File("x.toml".into())).unwrap_err().to_string();
            assert_eq!(error, format!("unknown key `{wrong}` (in x.toml): did you mean `{nearest}`?"));
        }
    }

    #[test]
    fn where_no_key_is_near_those_of_the_section_are_named() {
        let message = |text: &str| {
            let table: Table = toml::from_str(text).unwrap();
            check_known(&table, &Origin::Default).unwrap_err().to_string()
        };
        assert_eq!(
            message("[checkpoint]\nnope = 1"),
            "unknown key `checkpoint.nope`: the keys of checkpoint are every_steps, keep"
        );
        assert!(message("[prune]\nnope = 1").contains("the keys of prune are pruning_mode, "));
        assert!(
            message("[zebra]\nqqq = 1").contains("the sections are data, model, train, prune, checkpoint")
        );
    }

    #[test]
    fn a_section_given_as_a_value_is_refused() {
        let table: Table = toml::from_str("train = 3").unwrap();
        let error = check_known(&table, &Origin::Default).unwrap_err().to_string();
        assert_eq!(error, "train = 3: is a section: write its keys under [train] or as train.KEY");
    }
}
