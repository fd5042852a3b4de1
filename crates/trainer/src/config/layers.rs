//! The layers a config is made of: flag over `--set` over config file over default.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{
    Architecture, ConfigError, DataKind, Origin, TrainConfig,
    data::GROUPS,
    file::read_text,
    keys::{check_known, expectation, known_key},
    mode::resolve_mode,
    set::{nested, parse_assignment},
    validate::{Problem, check_values},
    when::value_at,
};

/// The sources of a config, stacked; [`Layers::resolve`] turns them into one [`TrainConfig`].
///
/// ```
/// use sparse_trainer::config::{Layers, PruningMode};
///
/// let mut layers = Layers::new();
/// layers.text("a.toml".as_ref(), "[prune]\nthreshold = 0.01\n[train]\nlr = 0.05")?;
/// layers.set("prune.ratio=0.75")?;
/// layers.flag("train.lr", Some(0.005));
/// let config = layers.resolve()?;
/// assert_eq!(config.prune.pruning_mode, PruningMode::Ratio);
/// assert_eq!((config.prune.ratio, config.train.lr), (0.75, 0.005));
/// # Ok::<(), sparse_trainer::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Layers {
    beneath: Table,
    file: Option<(PathBuf, Table)>,
    sets: Vec<(String, Table)>,
    flags: Table,
    fixed: Table,
    command: String,
}

impl Layers {
    /// No sources: resolves to the defaults for MNIST.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the config file; a second call replaces the first.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], [`ConfigError::NotAConfig`] and [`ConfigError::Syntax`].
    pub fn file(&mut self, path: &Path) -> Result<&mut Self, ConfigError> {
        let text = read_text(path)?;
        self.text(path, &text)
    }

    /// Takes `text` as the config file; `name` is the path that error messages show.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`].
    pub fn text(&mut self, name: &Path, text: &str) -> Result<&mut Self, ConfigError> {
        let table = toml::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|source| ConfigError::Syntax { path: name.to_owned(), source: Box::new(source) })?;
        self.file = Some((name.to_owned(), table));
        Ok(self)
    }

    /// Adds one `SECTION.KEY=VALUE`; of two for the same key the later counts.
    ///
    /// # Errors
    /// [`ConfigError::BadSet`] when it has not that form.
    pub fn set(&mut self, assignment: &str) -> Result<&mut Self, ConfigError> {
        let table = parse_assignment(assignment)?;
        self.sets.push((assignment.to_owned(), table));
        Ok(self)
    }

    /// Adds the flag for `key` (`section.name`), if it was given; its name is the key's name.
    pub fn flag(&mut self, key: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(value) = value {
            merge(&mut self.flags, &nested(key, value.into()));
        }
        self
    }

    /// Gives `key` a value that no source may change, since `command` (such as "the sweep") decides it.
    pub fn fix(&mut self, command: &str, key: &str, value: impl Into<Value>) -> &mut Self {
        command.clone_into(&mut self.command);
        merge(&mut self.fixed, &nested(key, value.into()));
        self
    }

    /// Whether the command line gives `key` (`section.name`), by a flag or by `--set`.
    #[must_use]
    pub fn is_on_command_line(&self, key: &str) -> bool {
        matches!(self.origin(key), Origin::Flag(_) | Origin::Set(_))
    }

    /// Takes values that yield to every other source but replace defaults; a second call replaces the first.
    ///
    /// A file of pretrained weights knows such values of its network.
    pub fn beneath(&mut self, values: &Table) -> &mut Self {
        self.beneath = values.clone();
        self
    }

    /// Merges the layers, fills in the defaults and checks every value.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`], [`ConfigError::BadValue`] and [`ConfigError::TwoAmounts`], each with the
    /// source of the value.
    pub fn resolve(&self) -> Result<TrainConfig, ConfigError> {
        self.check_keys()?;
        let mut sets = Table::new();
        for (_, table) in &self.sets {
            merge(&mut sets, table);
        }
        let empty = Table::new();
        let (file_origin, file) = match &self.file {
            Some((path, table)) => (Origin::File(path.clone()), table),
            None => (Origin::Default, &empty),
        };
        let layers = [
            (&self.fixed, Origin::Default),
            (&self.flags, Origin::Flag(String::new())),
            (&sets, Origin::Set(String::new())),
            (file, file_origin),
        ];
        let mode = resolve_mode(&layers)?;
        let given = layers.iter().find_map(|(table, _)| table.get("data")?.get("data"));
        let mut defaults = TrainConfig::defaults(self.data_kind(given)?);
        let beneath = std::iter::once(&self.beneath);
        let models = layers.iter().map(|(table, _)| *table).chain(beneath);
        let model = models.filter_map(|table| table.get("model")?.get("model")?.as_str()).next();
        if let Some(network) = model.and_then(Architecture::named) {
            defaults.model.activation = network.activation();
        }
        let mut merged = to_table(&defaults)?;
        merge(&mut merged, &self.beneath);
        for (table, _) in layers.iter().rev() {
            merge(&mut merged, table);
        }
        if let Some(mode) = mode {
            merge(&mut merged, &nested("prune.pruning_mode", mode));
        }
        if let Some(outputs) = outputs_of_labels(&layers.map(|(table, _)| table)) {
            merge(&mut merged, &nested("model.num_classes", outputs));
        }
        self.typed(&merged)
    }

    fn check_keys(&self) -> Result<(), ConfigError> {
        if let Some((path, table)) = &self.file {
            check_known(table, &Origin::File(path.clone()))?;
        }
        for (assignment, table) in &self.sets {
            check_known(table, &Origin::Set(assignment.clone()))?;
        }
        check_known(&self.flags, &Origin::Flag("...".to_owned()))
    }

    fn data_kind(&self, given: Option<&Value>) -> Result<DataKind, ConfigError> {
        let Some(value) = given else { return Ok(DataKind::Mnist) };
        let kind = || value.clone().try_into();
        kind().map_err(|_| self.wrong(Problem::new("data.data", must_be("data.data")), Some(value)))
    }

    /// Checks the merged table and makes a config of it; an error names the one key at fault and its source.
    fn typed(&self, merged: &Table) -> Result<TrainConfig, ConfigError> {
        check_values(merged).map_err(|problem| {
            let value = value_at(merged, &problem.key);
            self.wrong(problem, value)
        })?;
        let config: TrainConfig = merged.clone().try_into().map_err(ConfigError::NotAConfig)?;
        config.validate().map_err(|error| self.with_origin(error))?;
        Ok(config)
    }

    fn wrong(&self, problem: Problem, value: Option<&Value>) -> ConfigError {
        let Problem { key, mut rule } = problem;
        let meant = value.and_then(|value| known_key(&key)?.values.meant(value));
        rule.extend(meant.map(|meant| format!("; {meant}")));
        let value = value.map_or_else(String::new, Value::to_string);
        let origin = self.origin(&key);
        ConfigError::BadValue { key, value, rule, origin }
    }

    fn with_origin(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::BadValue { key, value, rule, .. } => {
                let origin = self.origin(&key);
                ConfigError::BadValue { key, value, rule, origin }
            }
            other => other,
        }
    }

    /// The highest source that gives `section.name`.
    #[must_use]
    pub fn origin(&self, path: &str) -> Origin {
        self.given(path).map_or(Origin::Default, |(_, origin)| origin)
    }

    /// What the highest source gives for `section.name`, and which one that is.
    pub(super) fn given(&self, path: &str) -> Option<(Value, Origin)> {
        let name = path.rsplit('.').next().unwrap_or(path);
        let flag = value_at(&self.flags, path).map(|value| (value, Origin::Flag(name.to_owned())));
        let set = || {
            let given = |(assignment, table)| Some((value_at(table, path)?, Origin::Set(assignment)));
            self.sets.iter().rev().map(|(text, table)| (text.clone(), table)).find_map(given)
        };
        let file = || {
            let (name, table) = self.file.as_ref()?;
            Some((value_at(table, path)?, Origin::File(name.clone())))
        };
        flag.or_else(set).or_else(file).map(|(value, origin)| (value.clone(), origin))
    }

    /// The key that decides the pruning mode: itself, or a ratio, a threshold or a pattern that a higher source gives.
    pub(super) fn key_of_mode(&self) -> &'static str {
        const KEYS: [&str; 4] = ["prune.pruning_mode", "prune.ratio", "prune.threshold", "prune.pattern"];
        // 0 for a flag, 1 for --set, 2 for the file: in one layer the mode itself comes first.
        let layer = |key: &&str| match self.origin(key) {
            Origin::Flag(_) => 0,
            Origin::Set(_) => 1,
            Origin::File(_) => 2,
            Origin::Default => 3,
        };
        KEYS.into_iter().min_by_key(layer).unwrap_or(KEYS[0])
    }

    /// The command that decides `section.name`, whatever the sources say.
    pub(super) fn fixed_by(&self, path: &str) -> Option<&str> {
        value_at(&self.fixed, path).map(|_| self.command.as_str())
    }

    /// The file, without any other source.
    pub(super) fn only_file(&self) -> Self {
        Self { file: self.file.clone(), ..Self::default() }
    }
}

fn must_be(key: &str) -> String {
    format!("must be {}", expectation(key))
}

/// An output per class of `data.classes` or per group of `data.coarse_labels`, where no layer gives `model.num_classes`.
fn outputs_of_labels(layers: &[&Table]) -> Option<Value> {
    let given = |section, name| layers.iter().find_map(|table| table.get(section)?.get(name));
    let outputs = match given("data", "classes") {
        Some(classes) => classes.as_array()?.len(),
        None => given("data", "coarse_labels")?.as_bool()?.then_some(GROUPS)?,
    };
    let outputs = i64::try_from(outputs).ok()?;
    given("model", "num_classes").is_none().then_some(Value::Integer(outputs))
}

/// The config as a table.
pub(super) fn to_table(config: &TrainConfig) -> Result<Table, ConfigError> {
    Table::try_from(config).map_err(ConfigError::NotToml)
}

/// Copies every value of `over` into `base`, section by section.
fn merge(base: &mut Table, over: &Table) {
    for (section, value) in over {
        match (base.get_mut(section).and_then(Value::as_table_mut), value.as_table()) {
            (Some(entries), Some(new)) => entries.extend(new.clone()),
            _ => {
                base.insert(section.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PruningMode;

    fn layers(file: &str, sets: &[&str]) -> Layers {
        let mut layers = Layers::new();
        layers.text(Path::new("x.toml"), file).unwrap();
        for assignment in sets {
            layers.set(assignment).unwrap();
        }
        layers
    }

    fn message(layers: &Layers) -> String {
        layers.resolve().unwrap_err().to_string()
    }

    #[test]
    fn flag_beats_set_beats_file_beats_default() {
        let mut stack = Layers::new();
        assert_eq!(stack.resolve().unwrap().train.batch_size, 512);
        stack.text(Path::new("x.toml"), "[train]\nbatch_size = 1\nlr = 0.3").unwrap();
        assert_eq!(stack.resolve().unwrap().train.batch_size, 1);
        stack.set("train.batch_size=2").unwrap();
        assert_eq!(stack.resolve().unwrap().train.batch_size, 2);
        stack.set("train.batch_size=3").unwrap();
        assert_eq!(stack.resolve().unwrap().train.batch_size, 3);
        stack.flag("train.batch_size", Some(4)).flag("train.lr", None::<f64>);
        let config = stack.resolve().unwrap();
        assert_eq!((config.train.batch_size, config.train.lr), (4, 0.3));
    }

    #[test]
    fn defaults_follow_the_data_set_and_yield_to_given_values() {
        let config = layers("[data]\ndata = \"cifar10\"", &[]).resolve().unwrap();
        assert_eq!(config, TrainConfig::defaults(DataKind::Cifar10));
        let config =
            layers("[data]\ndata = \"cifar10\"", &["data.data=imagenet", "data.path=x"]).resolve().unwrap();
        assert_eq!(config.data.path, Path::new("x"));
        assert_eq!(config.model.num_classes, 1000);
    }

    #[test]
    fn a_list_may_come_from_set_and_a_single_number_stands_for_a_list_of_one() {
        let config =
            layers("", &["train.step_epochs=[71, 88]", "data.mean=0", "data.std=[255]"]).resolve().unwrap();
        assert_eq!(config.train.step_epochs, [71, 88]);
        assert_eq!((config.data.mean, config.data.std), (vec![0.0], vec![255.0]));
    }

    #[test]
    fn the_network_has_an_output_per_kept_class_unless_told_otherwise() {
        let kept = "[data]\ndata = \"imagenet\"\nclasses = [0, 217, 482]";
        let config = layers(kept, &[]).resolve().unwrap();
        assert_eq!((config.data.classes, config.model.num_classes), (Some(vec![0, 217, 482]), 3));
        let config = layers(kept, &["model.num_classes=1000"]).resolve().unwrap();
        assert_eq!(config.model.num_classes, 1000);
        assert_eq!(layers(kept, &["data.classes=[7]"]).resolve().unwrap().model.num_classes, 1);
        let outputs =
            |sets: &[&str]| layers("[data]\ndata = \"cifar100\"", sets).resolve().unwrap().model.num_classes;
        assert_eq!(outputs(&[]), 100);
        assert_eq!(outputs(&["data.coarse_labels=false"]), 100);
        assert_eq!(outputs(&["data.coarse_labels=true"]), 20);
        assert_eq!(outputs(&["data.coarse_labels=true", "model.num_classes=30"]), 30);
    }

    #[test]
    fn the_mode_of_the_highest_layer_wins_over_a_mode_below_it() {
        let mut stack = layers("[prune]\npruning_mode = \"threshold\"\nratio = 0.3", &[]);
        assert_eq!(stack.resolve().unwrap().prune.pruning_mode, PruningMode::Threshold);
        stack.flag("prune.ratio", Some(0.4));
        let config = stack.resolve().unwrap();
        assert_eq!((config.prune.pruning_mode, config.prune.ratio), (PruningMode::Ratio, 0.4));
    }

    #[test]
    fn an_unknown_key_names_its_source() {
        assert_eq!(
            message(&layers("", &["prune.rato=1"])),
            "unknown key `prune.rato` (--set prune.rato=1): did you mean `prune.ratio`?"
        );
        assert_eq!(
            message(&layers("[prune]\nlr = 1", &[])),
            "unknown key `prune.lr` (in x.toml): did you mean `train.lr`?"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_names_key_source_and_what_is_expected() {
        for (assignment, expected) in [
            (
                "train.batch_size=-1",
                "train.batch_size = -1 (--set train.batch_size=-1): must be a whole number of images, 1 or more",
            ),
            ("train.lr=fast", "train.lr = \"fast\" (--set train.lr=fast): must be a number above 0"),
            ("prune.regrow=1", "prune.regrow = 1 (--set prune.regrow=1): must be true or false"),
            (
                "prune.sparse_block=[1]",
                "prune.sparse_block = [1] (--set prune.sparse_block=[1]): must be two whole numbers, 1 or more each, such as [2, 1]",
            ),
            (
                "data.data=minst",
                "data.data = \"minst\" (--set data.data=minst): must be \"mnist\", \"cifar10\", \"cifar100\" or \
                 \"imagenet\"; the nearest is \"mnist\"",
            ),
            (
                "model.model=ResNet51",
                "model.model = \"ResNet51\" (--set model.model=ResNet51): must be \"MobileNet\", \"MobileNetCifar\", \"MobileNetV2\", \
                 \"ResNet18\", \"ResNet34\" or \"ResNet50\"; the nearest is \"ResNet50\"",
            ),
        ] {
            assert_eq!(message(&layers("", &[assignment])), expected);
        }
    }

    #[test]
    fn a_value_out_of_range_names_the_highest_source() {
        let mut stack = layers("[train]\nlr = -1", &[]);
        assert_eq!(message(&stack), "train.lr = -1 (in x.toml): must be a number above 0");
        stack.set("train.lr=-3").unwrap().set("train.lr=-4").unwrap();
        assert!(message(&stack).contains("(--set train.lr=-4)"));
        stack.flag("train.lr", Some(-2.0));
        assert_eq!(message(&stack), "train.lr = -2.0 (flag --lr): must be a number above 0");
    }

    #[test]
    fn a_broken_or_missing_file_is_an_error() {
        let mut stack = Layers::new();
        let error = stack.text(Path::new("x.toml"), "[train\n").unwrap_err();
        assert_eq!(error.to_string(), "x.toml is not valid TOML: correct the line shown");
        let error = stack.file(Path::new("no/such.toml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the config file no/such.toml: check the path after --config"
        );
    }
}
