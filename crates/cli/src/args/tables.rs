//! Every key and every flag as the text of `docs/keys.md`.

use clap::{Arg, Command};
use sparse_trainer::config::{DataKind, Key, known_keys};

const OPENING: &str = "# Keys and flags

<!-- Made by `sparse-train --print_keys`; a test holds it to that. Write it anew instead of editing it. -->

A key stands in a config file under its section, or behind `--set SECTION.KEY=VALUE`; those with a flag can be given by it
as well. A flag counts before `--set`, that before the file, that before the default. `--print_config` shows what
comes out, with the source of each value.
";

/// The text of `docs/keys.md` for this command line.
pub(crate) fn keys_and_flags(command: &Command) -> String {
    let mut text = OPENING.to_owned();
    let mut section = "";
    for key in known_keys() {
        if key.section != section {
            section = key.section;
            text += &format!(
                "\n## [{section}]\n\n| key | what it is | value | default | flag | counts |\n|---|---|---|---|---|---|\n"
            );
        }
        text += &row(&of_key(key));
    }
    text += "\n## Flags that are no keys\n";
    text += &of_command(command, "sparse-train");
    text
}

fn of_key(key: &Key) -> [String; 6] {
    let flag = key.flag.map_or_else(String::new, |_| format!("`--{}`", key.name));
    let conditions: Vec<String> = key.conditions().map(|when| when.to_string()).collect();
    let with = (!conditions.is_empty()).then(|| format!("with {}", conditions.join(" and ")));
    let training = (!key.in_tests).then(|| "while training".to_owned());
    let counts: Vec<String> = with.into_iter().chain(training).collect();
    [format!("`{}`", key.name), key.summary(), key.expects(), defaults(key), flag, counts.join(", ")]
}

/// The default, for each data set if they differ.
fn defaults(key: &Key) -> String {
    if let Some(words) = key.default_words {
        return words.to_owned();
    }
    let of = |data| key.default(data).map_or_else(String::new, |value| value.to_string());
    let all = DataKind::ALL.map(|data| (data.name(), of(data)));
    if all.iter().all(|(_, value)| *value == all[0].1) {
        return key.usual_default();
    }
    all.map(|(name, value)| format!("{name}: {value}")).join(", ")
}

/// A table of the flags of a command that are no keys, and those of its subcommands.
fn of_command(command: &Command, name: &str) -> String {
    let flags: Vec<&str> = known_keys().filter(|key| key.flag.is_some()).map(|key| key.name).collect();
    let id = |arg: &Arg| arg.get_id().as_str().to_owned();
    let has = |name: &&str| command.get_arguments().any(|arg| id(arg) == *name);
    // A command with a flag of its own may call it as a key is called.
    let shared = flags.iter().all(has);
    let is_key = |arg: &Arg| shared && flags.contains(&id(arg).as_str());
    let rows: Vec<String> =
        command.get_arguments().filter(|arg| !is_key(arg)).map(|arg| row(&of_arg(arg))).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        let keys = if shared { " Also the flags of all keys." } else { "" };
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        text = format!(
            "\n### {name}\n\n{about}.{keys}\n\n| flag | what it is | default |\n|---|---|---|\n{}",
            rows.concat()
        );
    }
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        text += &of_command(command, &format!("{name} {}", command.get_name()));
    }
    text
}

fn of_arg(arg: &Arg) -> [String; 3] {
    let names = arg.get_value_names().unwrap_or_default();
    let takes = arg.get_action().takes_values();
    let value =
        names.iter().map(|name| if arg.is_positional() { name.to_string() } else { format!(" {name}") });
    let value = if takes { value.collect::<Vec<_>>().concat() } else { String::new() };
    let name = match (arg.get_long(), arg.get_short()) {
        (Some(long), Some(short)) => format!("-{short}, --{long}{value}"),
        (Some(long), None) => format!("--{long}{value}"),
        (None, Some(short)) => format!("-{short}{value}"),
        (None, None) => value,
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let (mut help, default) = match help.rsplit_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (help, defaults.join(" ")),
    };
    let possible = arg.get_possible_values();
    let possible: Vec<&str> = possible.iter().map(|value| value.get_name()).collect();
    if takes && !possible.is_empty() {
        help += &format!(" ({})", possible.join(", "));
    }
    [format!("`{name}`"), help, default]
}

/// A line of a table; a bar within a cell would end it.
fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | ")).replace("  |", " |")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use sparse_trainer::config::schema;

    fn held(file: &str, flag: &str, made: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == made,
            "docs/{file} is not what the program makes: cargo run --release -p sparse-train -- {flag} > docs/{file}"
        );
    }

    #[test]
    fn the_committed_tables_are_those_of_the_program() {
        let command = crate::args::flags::CommandLine::command();
        held("keys.md", "--print_keys", &keys_and_flags(&command));
        let schema = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        held("config.schema.json", "--print_schema", &schema);
    }

    #[test]
    fn every_flag_of_every_command_has_its_line() {
        let command = crate::args::flags::CommandLine::command();
        let text = keys_and_flags(&command);
        let mut commands = vec![command];
        while let Some(command) = commands.pop() {
            for arg in command.get_arguments() {
                let name =
                    arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"));
                let name =
                    if arg.is_positional() { arg.get_value_names().unwrap()[0].to_string() } else { name };
                assert!(text.contains(&format!("`{name}")) || text.contains(&format!(", {name}")), "{name}");
            }
            commands.extend(command.get_subcommands().cloned());
        }
        for key in known_keys() {
            assert!(text.contains(&format!("| `{}` |", key.name)), "{}", key.path());
        }
    }
}
