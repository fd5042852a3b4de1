//! Both READMEs show the same cargo commands in the same order, so that a translation cannot go stale unseen.

use super::Offence;

pub(super) const ORIGINAL: &str = "README.md";
pub(super) const TRANSLATION: &str = "README.zh-CN.md";

/// The first command in which the two texts differ.
pub(super) fn check(original: &str, translation: &str) -> Option<Offence> {
    let (expected, got) = (commands(original), commands(translation));
    let position = (0..expected.len().max(got.len())).find(|&index| expected.get(index) != got.get(index))?;
    let shown = |commands: &[String]| match commands.get(position) {
        Some(command) => format!("`{command}`"),
        None => "no more command".to_owned(),
    };
    Some(Offence::in_file(
        TRANSLATION,
        format!("command {} is {}, in {ORIGINAL} it is {}", position + 1, shown(&got), shown(&expected)),
    ))
}

/// The cargo commands in the `console` and `sh` blocks, without prompt, line breaks and trailing comment.
pub(crate) fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        if matches!(language.trim(), "console" | "sh") {
            let joined = block.join("\n").replace("\\\n", " ");
            commands.extend(joined.lines().filter_map(command));
        }
    }
    commands
}

fn command(line: &str) -> Option<String> {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
    (words.first() == Some(&"cargo")).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "Train:\n```console\n$ cargo run --release -- \\\n    --epochs 1   # a minute\nepoch 1\n```\n\
        ```toml\ncargo = 1\n```\n```sh\ncargo test\n```\n";

    #[test]
    fn commands_are_read_from_console_and_sh_blocks_only() {
        assert_eq!(commands(ENGLISH), ["cargo run --release -- --epochs 1", "cargo test"]);
        assert_eq!(commands("cargo in prose\n```rust\ncargo build\n```\n"), [""; 0]);
    }

    #[test]
    fn a_translated_comment_is_no_difference() {
        let chinese = ENGLISH.replace("Train:", "训练：").replace("# a minute", "# 一分钟");
        assert_eq!(check(ENGLISH, &chinese), None);
    }

    #[test]
    fn a_changed_missing_or_added_command_is_found() {
        let message = |translation: &str| check(ENGLISH, translation).map(|offence| offence.to_string());
        assert_eq!(
            message(&ENGLISH.replace("--epochs 1", "--epochs 2")).unwrap(),
            "README.zh-CN.md: command 1 is `cargo run --release -- --epochs 2`, \
             in README.md it is `cargo run --release -- --epochs 1`"
        );
        let without_test = ENGLISH.replace("cargo test\n", "");
        assert!(message(&without_test).unwrap().contains("command 2 is no more command"));
        let with_more = format!("{ENGLISH}```sh\ncargo bench\n```\n");
        assert!(message(&with_more).unwrap().contains("command 3 is `cargo bench`"));
    }
}
