//! The known keys with what each one expects, and the nearest one to a mistyped key.

use toml::Table;

use super::{ConfigError, Origin, checkpoint, data, model, prune, train};

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The section, such as `prune`.
    pub section: &'static str,
    /// The name within the section, such as `ratio`.
    pub name: &'static str,
    /// What the value must be, in words.
    pub expects: &'static str,
}

/// The keys of one section: name and what the value must be.
pub(super) type SectionKeys = &'static [(&'static str, &'static str)];

const SECTIONS: [(&str, SectionKeys); 5] = [
    ("data", data::KEYS),
    ("model", model::KEYS),
    ("train", train::KEYS),
    ("prune", prune::KEYS),
    ("checkpoint", checkpoint::KEYS),
];

/// All keys, section by section.
pub fn known_keys() -> impl Iterator<Item = Key> {
    SECTIONS
        .iter()
        .flat_map(|&(section, keys)| keys.iter().map(move |&(name, expects)| Key { section, name, expects }))
}

/// What the value of `section.name` must be, in words.
pub(super) fn expectation(path: &str) -> &'static str {
    path.split_once('.')
        .and_then(|(section, name)| known_keys().find(|key| key.section == section && key.name == name))
        .map_or("a known key", |key| key.expects)
}

/// Refuses a key that no section has, and a section that is not a table.
pub(super) fn check_known(table: &Table, origin: &Origin) -> Result<(), ConfigError> {
    for (section, value) in table {
        let known = SECTIONS.iter().find(|(name, _)| name == section);
        match (known, value.as_table()) {
            (Some((_, keys)), Some(entries)) => {
                let stray = entries.keys().find(|name| !keys.iter().any(|(known, _)| known == name));
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
    ConfigError::UnknownKey { nearest: nearest_key(&key), key, origin: origin.clone() }
}

/// The full path of the known key nearest to `path`: the same name in another section, else the most similar name,
/// those of the same section first.
fn nearest_key(path: &str) -> String {
    const SAME_SECTION: f64 = 0.05;
    let (section, name) = path.split_once('.').unwrap_or(("", path));
    let name = name.replace('-', "_").to_lowercase();
    let score = |key: &Key| {
        let bonus = if key.section == section { SAME_SECTION } else { 0.0 };
        strsim::normalized_damerau_levenshtein(key.name, &name) + bonus
    };
    known_keys()
        .max_by(|a, b| score(a).total_cmp(&score(b)))
        .map_or_else(String::new, |key| format!("{}.{}", key.section, key.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{CacheSetting, DataKind, InterpolationKind, TrainConfig};

    #[test]
    fn the_key_table_lists_exactly_the_fields_of_the_config() {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        config.data.num_workers = Some(1);
        config.data.train_files = Some("train-{00..99}.tar".to_owned());
        config.data.val_files = Some("*val*.tar".to_owned());
        config.data.classes = Some(vec![1]);
        (config.data.resize, config.data.crop) = (Some(1), Some(1));
        config.data.interpolation = InterpolationKind::Bicubic;
        (config.data.color_jitter, config.data.rotate, config.data.rand_augment) = (true, true, 1);
        (config.data.crop_area, config.data.cache) = (0.5, CacheSetting::On(true));
        config.model.pretrained_model = Some("weights".into());
        config.train.clip_norm = Some(1.0);
        config.train.use_gpu = Some(false);
        config.train.device = Some("cpu".to_owned());
        config.train.threads = Some(1);
        config.train.teacher = Some("teacher".into());
        config.checkpoint.every_steps = Some(1);
        let fields: BTreeSet<String> = Table::try_from(&config)
            .unwrap()
            .iter()
            .flat_map(|(section, entries)| {
                entries.as_table().unwrap().keys().map(move |name| format!("{section}.{name}"))
            })
            .collect();
        let keys: BTreeSet<String> =
            known_keys().map(|key| format!("{}.{}", key.section, key.name)).collect();
        assert_eq!(fields, keys);
    }

    #[test]
    fn a_mistyped_key_names_the_nearest_one_of_its_section() {
        assert_eq!(nearest_key("prune.rato"), "prune.ratio");
        assert_eq!(nearest_key("prune.treshold"), "prune.threshold");
        assert_eq!(nearest_key("train.batch-size"), "train.batch_size");
        assert_eq!(nearest_key("train.momentum"), "train.momentum_rate");
        assert_eq!(nearest_key("prune.pruning_epoch"), "prune.pruning_epochs");
        assert_eq!(nearest_key("prune.tuning_epochs"), "prune.tunning_epochs");
        assert_eq!(nearest_key("checkpoint.keeps"), "checkpoint.keep");
    }

    #[test]
    fn a_key_of_another_section_is_named_with_its_full_path() {
        assert_eq!(nearest_key("train.ratio"), "prune.ratio");
        assert_eq!(nearest_key("ratio"), "prune.ratio");
        assert_eq!(nearest_key("prunes.ratio"), "prune.ratio");
        assert_eq!(nearest_key("model.lr"), "train.lr");
        assert_eq!(nearest_key("train.pruning_epochs"), "prune.pruning_epochs");
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
    fn a_section_given_as_a_value_is_refused() {
        let table: Table = toml::from_str("train = 3").unwrap();
        let error = check_known(&table, &Origin::Default).unwrap_err().to_string();
        assert_eq!(error, "train = 3: is a section: write its keys under [train] or as train.KEY");
    }
}
