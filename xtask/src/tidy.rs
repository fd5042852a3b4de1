//! `cargo xtask tidy`: the house rules that no compiler checks. Every offence is printed, not only the first.

mod arrows;
mod readme;
mod sizes;
mod unsafe_code;
mod words;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use cargo_metadata::Metadata;

use crate::picture;

pub(crate) use readme::commands as readme_commands;

/// One broken rule, at a line where it has one.
#[derive(Debug, PartialEq)]
struct Offence {
    path: String,
    line: Option<usize>,
    message: String,
}

impl Offence {
    fn in_file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), message: message.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.path, self.message),
            None => write!(formatter, "{}: {}", self.path, self.message),
        }
    }
}

/// A text file of the repository; `path` counts from its root, with `/`.
struct TextFile {
    path: String,
    text: String,
}

/// Runs every check; whether there was no offence.
pub(crate) fn run(metadata: &Metadata) -> anyhow::Result<bool> {
    let files = text_files(metadata.workspace_root.as_std_path())?;
    let mut offences = arrows::check(&arrows::crates(metadata)?);
    for file in &files {
        offences.extend(words::check(&file.path, &file.text));
        if file.path.ends_with(".rs") {
            offences.extend(sizes::check(&file.path, &file.text));
            offences.extend(unsafe_code::check(&file.path, &file.text));
        }
    }
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    if let (Some(original), Some(translation)) = (text_of(readme::ORIGINAL), text_of(readme::TRANSLATION)) {
        offences.extend(readme::check(original, translation));
    }
    if text_of(picture::FILE) != Some(picture::draw(metadata)?.as_str()) {
        offences.push(Offence::in_file(picture::FILE, "is of other crates; run `cargo xtask picture`"));
    }
    for offence in &offences {
        println!("{offence}");
    }
    eprintln!("tidy: {} offences in {} text files", offences.len(), files.len());
    Ok(offences.is_empty())
}

/// The text files that are committed or about to be: tracked ones, and new ones that git does not ignore.
fn text_files(root: &Path) -> anyhow::Result<Vec<TextFile>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot start git")?;
    ensure!(listed.status.success(), "`git ls-files` failed: {}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).context("a file name is not UTF-8")?;

    let mut files = Vec::new();
    for path in listed.split_terminator('\0') {
        let full = root.join(path);
        // A file that was deleted but is still tracked is listed too.
        if !full.is_file() {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(TextFile { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offence_reads_like_a_compiler_message() {
        assert_eq!(Offence::at("a.rs", 7, "too long").to_string(), "a.rs:7: too long");
        assert_eq!(Offence::in_file("a.rs", "too long").to_string(), "a.rs: too long");
    }
}
