//! The command line: flags and subcommands, and the config they stand for.
//!
//! Flags carry PaddleSlim's names; hyphens work as well as underscores. [`parse`] reads an argument list;
//! [`Flags::into_config`] stacks flag over `--set` over config file over default.

mod bench;
mod compare;
mod error;
mod export;
mod flags;
mod keys;
mod normalise;
mod predict;
mod prune;
mod quantize;
mod resolve;
mod sensitivity;
mod sweep;
mod tables;
mod values;

pub(crate) use bench::{BenchArgs, BenchTrainArgs, BenchWhat};
pub(crate) use compare::CompareArgs;
pub(crate) use error::UsageError;
pub(crate) use export::{ExportArgs, Target};
pub(crate) use flags::{Action, ConvertArgs, Flags, InspectArgs};
pub(crate) use predict::PredictArgs;
pub(crate) use prune::{PruneArgs, Pruning};
pub(crate) use quantize::QuantizeArgs;
pub(crate) use resolve::{Print, Resolved};
pub(crate) use sensitivity::{Sensing, SensitivityArgs};
pub(crate) use sweep::SweepArgs;

use std::ffi::OsString;

use clap::{
    CommandFactory, Parser,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};
use sparse_trainer::config::known_keys;

/// As [`parse`]; the program's name alone asks for help, since a run of nothing but defaults is hardly meant.
///
/// # Errors
/// As [`parse`].
pub(crate) fn read(arguments: impl ExactSizeIterator<Item = OsString>) -> Result<Action, clap::Error> {
    if arguments.len() > 1 {
        return parse(arguments);
    }
    let mut command = flags::CommandLine::command();
    let help = command.render_help();
    Err(command.error(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, help))
}

/// The text of `docs/keys.md`.
pub(crate) fn keys_and_flags() -> String {
    tables::keys_and_flags(&flags::CommandLine::command())
}

/// Reads an argument list, the program's name first.
///
/// # Errors
/// Clap's error for a usage error, and for `--help` and `--version`: its `exit()` prints it and exits with the right
/// code (2 for a usage error, else 0).
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Action, clap::Error> {
    let arguments = normalise::normalise(arguments);
    let subcommand = arguments.get(1).is_some_and(|first| {
        flags::CommandLine::command().get_subcommands().any(|command| *first == *command.get_name())
    });
    // Subcommands have no `--set`.
    let not_utf8 = normalise::not_utf8(&arguments);
    let hint = |error: clap::Error| match (error.kind(), not_utf8) {
        (ErrorKind::InvalidUtf8, Some(what)) => {
            flags::CommandLine::command().error(ErrorKind::InvalidUtf8, what)
        }
        _ if subcommand => error,
        _ => with_key_hint(error),
    };
    flags::CommandLine::try_parse_from(arguments).map(flags::CommandLine::into_action).map_err(hint)
}

/// What other programs call our flags.
const OTHER_NAMES: [(&str, &str); 10] = [
    ("learning_rate", "lr"),
    ("weight_decay", "l2_decay"),
    ("wd", "l2_decay"),
    ("momentum", "momentum_rate"),
    ("epochs", "num_epochs"),
    ("sparsity", "ratio"),
    ("dataset", "data"),
    ("workers", "num_workers"),
    ("output", "model_path"),
    ("output_dir", "model_path"),
];

/// Names `--set` for an unknown flag that is a config key without a flag, such as `--scale`, and our name of a flag that
/// other programs have; a stray word is named as such, and not taken for a subcommand.
fn with_key_hint(mut error: clap::Error) -> clap::Error {
    if let (ErrorKind::ArgumentConflict, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
        && flags::CommandLine::command().find_subcommand(word).is_none()
    {
        let message = format!(
            "`{word}` belongs to no flag: a value stands behind its flag, as in --config FILE, and a subcommand before all \
             flags"
        );
        return flags::CommandLine::command().error(ErrorKind::UnknownArgument, message);
    }
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return error };
    let name = flag.trim_start_matches('-');
    let has_flag =
        flags::CommandLine::command().get_arguments().any(|option| option.get_long() == Some(name));
    if let Some((_, ours)) = OTHER_NAMES.iter().find(|(theirs, _)| *theirs == name) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{ours}")));
        error.remove(ContextKind::Usage);
        return error;
    }
    if let Some(key) = known_keys().find(|key| key.name == name && !has_flag) {
        let hint = format!("it is a config key: use --set {}=VALUE", key.path());
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::Usage);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(flag: &str) -> String {
        parse(["sparse-train", flag, "1"].map(OsString::from)).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_flag_that_is_a_config_key_names_set() {
        assert!(error("--scale").contains("it is a config key: use --set model.scale=VALUE"));
        assert!(error("--every-steps").contains("--set checkpoint.every_steps=VALUE"));
        assert!(error("--treshold").contains("'--threshold'"));
        assert!(
            error("--learning-rate").contains("'--lr'") && error("--weight_decay").contains("'--l2_decay'")
        );
        for (_, ours) in OTHER_NAMES {
            assert!(known_keys().any(|key| key.flag.is_some() && key.name == ours), "{ours}");
        }
        let stray = ["sparse-train", "--config", "a.toml", "b.toml"].map(OsString::from);
        assert!(parse(stray).unwrap_err().to_string().contains("`b.toml` belongs to no flag"));
        assert!(!error("--no-such-flag").contains("--set"));
        let words = ["sparse-train", "inspect", "weights", "--lr", "1"].map(OsString::from);
        assert!(!parse(words).unwrap_err().to_string().contains("--set"));
        let words = ["sparse-train", "bench", "train", "--every_steps", "1"].map(OsString::from);
        assert!(!parse(words).unwrap_err().to_string().contains("--set"));
    }

    #[test]
    fn every_option_is_declared_with_underscores() {
        let command = flags::CommandLine::command();
        command.clone().debug_assert();
        let mut commands = vec![command];
        while let Some(command) = commands.pop() {
            let hyphened = command
                .get_arguments()
                .filter_map(|option| option.get_long())
                .find(|name| name.contains('-'));
            assert_eq!(hyphened, None, "{}", command.get_name());
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
