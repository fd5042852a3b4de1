//! The flags that stand for config keys, made from the declarations of the keys; each has its key's name.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use sparse_trainer::config::{Key, Layers, Value, Values, known_keys};

use super::values::boolean;

/// The config keys that were given as flags, with their values.
#[derive(Debug, Default)]
pub(super) struct KeyFlags(Vec<(&'static Key, Value)>);

impl KeyFlags {
    pub(super) fn add_to(self, layers: &mut Layers) {
        for (key, value) in self.0 {
            layers.flag(&key.path(), Some(value));
        }
    }
}

impl Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        let flags = known_keys().filter_map(flag);
        command.args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for key in known_keys().filter(|key| key.flag.is_some()) {
            let Some(values) = matches.try_get_many::<Value>(key.name).ok().flatten() else { continue };
            let values: Vec<Value> = values.cloned().collect();
            let value = match key.values {
                Values::List { .. } => Some(Value::Array(values)),
                _ => values.into_iter().next_back(),
            };
            given.extend(value.map(|value| (key, value)));
        }
        Ok(Self(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flag of a key, if it has one.
fn flag(key: &'static Key) -> Option<Arg> {
    let arg = Arg::new(key.name)
        .long(key.name)
        .value_name(key.flag?)
        .help(key.help())
        .help_heading(heading(key.section))
        .value_parser(move |text: &str| parse(key, &key.values, text));
    Some(match key.values {
        Values::List { .. } => arg.num_args(1..).action(ArgAction::Set).allow_negative_numbers(true),
        Values::Whole { .. } | Values::Number { .. } => arg.allow_negative_numbers(true),
        _ if key.bare => arg.num_args(0..=1).default_missing_value("true"),
        _ => arg,
    })
}

fn heading(section: &str) -> &'static str {
    match section {
        "data" => "Data",
        "model" => "Model",
        "train" => "Training",
        "prune" => "Pruning",
        _ => "Checkpoints",
    }
}

/// Reads a value of the right type; whether it is in its range is for the config to say, which names the source.
fn parse(key: &Key, values: &Values, text: &str) -> Result<Value, String> {
    let wrong = || format!("it must be {}", key.expects());
    Ok(match values {
        Values::Truth => Value::Boolean(boolean(text)?),
        Values::Whole { .. } => Value::Integer(text.parse().map_err(|_| wrong())?),
        Values::Number { .. } => Value::Float(text.parse().map_err(|_| wrong())?),
        Values::List { of, .. } => {
            let advice = || format!("it must be {}, with spaces between", key.expects());
            return parse(key, of, text).map_err(|_| advice());
        }
        Values::TruthOrText => boolean(text).map_or_else(|_| text.into(), Value::Boolean),
        // Tables have no flags.
        Values::Names { .. } | Values::Text | Values::Shares => text.into(),
    })
}
