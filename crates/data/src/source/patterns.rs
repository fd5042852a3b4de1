//! Which files are the shards of a split.

use super::{content, split_name};
use crate::dataset::Split;
use crate::{Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// More shards than this are a mistake in a pattern.
const MOST_SHARDS: usize = 100_000;

/// What compressed shards end in. They cannot be read by position, so they are refused by name.
const COMPRESSED: [&str; 11] = [
    ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.lz4", ".tar.z",
    ".taz",
];

/// Words for a split, in folder and file names; the first that is there counts.
fn words(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train"],
        Split::Test => &["val", "validation", "valid", "test"],
    }
}

/// The folder of a split, `train` or one of `val`, `validation`, `valid` and `test`, if there is one; in any case where no
/// folder has just that name.
pub(super) fn split_folder(folder: &Path, split: Split) -> Option<PathBuf> {
    let exact = words(split).iter().map(|word| folder.join(word)).find(|path| path.is_dir());
    exact.or_else(|| {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        entries.sort_unstable();
        let is_called = |path: &PathBuf, word: &str| {
            path.file_name().is_some_and(|name| name.eq_ignore_ascii_case(word)) && path.is_dir()
        };
        words(split).iter().find_map(|word| entries.iter().find(|path| is_called(path, word)).cloned())
    })
}

/// Whether there are shards of a split by their names.
pub(super) fn has_shards(folder: &Path, split: Split, extension: &str) -> bool {
    let right = |path: &PathBuf| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
    by_name(folder, split, extension).is_ok_and(|files| files.iter().any(right))
}

/// Whether there are compressed shards of a split by their names.
pub(super) fn has_compressed(folder: &Path, split: Split) -> bool {
    by_name(folder, split, "tar").is_ok_and(|files| !files.is_empty())
}

/// The shards of a split, sorted: those that match the pattern, else those whose folder or name says it.
///
/// # Errors
///
/// When there are none, or the pattern is none.
pub(super) fn shards(
    folder: &Path,
    split: Split,
    pattern: Option<&str>,
    extension: &str,
) -> Result<Vec<PathBuf>> {
    let (found, looked_for) = match pattern {
        Some(pattern) => (by_pattern(folder, pattern)?, pattern.to_owned()),
        None => {
            let word = split_name(split);
            (by_name(folder, split, extension)?, format!("*{word}*.{extension} or {word}/*.{extension}"))
        }
    };
    if found.is_empty() {
        let reason = format!(
            "no files {looked_for} are there; name them with `data.{}_files`, as in `images-{{000..146}}.{extension}`",
            split_name(split)
        );
        return Err(content(folder, reason));
    }
    Ok(found)
}

fn by_name(folder: &Path, split: Split, extension: &str) -> Result<Vec<PathBuf>> {
    if let Some(own) = split_folder(folder, split) {
        let files = files_in(&own, extension, |_| true)?;
        if !files.is_empty() {
            return Ok(files);
        }
    }
    for place in [folder.to_owned(), folder.join("data")] {
        for word in words(split) {
            let named =
                |name: &str| name.split(|letter: char| !letter.is_alphanumeric()).any(|part| part == *word);
            let files = files_in(&place, extension, named)?;
            if !files.is_empty() {
                return Ok(files);
            }
        }
    }
    Ok(Vec::new())
}

/// The files of a folder with this extension whose name fits, sorted; the tars of ILSVRC2012 are no shards.
///
/// Compressed shards are among them, and links to nothing and pipes, so that opening them tells what is wrong.
fn files_in(folder: &Path, extension: &str, fits: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let is_shard = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let right = path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
        (right || extension == "tar" && COMPRESSED.iter().any(|compressed| name.ends_with(compressed)))
            && !name.starts_with('.')
            && !name.starts_with(if right { "ilsvrc2012_img_" } else { "ilsvrc2012_" })
            && fits(&name)
            && !path.is_dir()
    };
    let mut files = entries(folder)?;
    files.retain(is_shard);
    files.sort_unstable();
    Ok(files)
}

/// What lies in a folder; nothing where it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry.map_err(io)?.path())).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(io(error)),
    }
}

/// The files that a pattern names: `{a,b}` and `{000..146}` are written out, `*` and `?` are looked up.
fn by_pattern(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let fault = |reason: String| Error::Setting { setting: "data.train_files or data.val_files", reason };
    let mut names = Vec::new();
    if !expand(pattern, &mut names) {
        return Err(fault(format!("`{pattern}` names more than {MOST_SHARDS} files")));
    }
    let mut files = Vec::new();
    for name in names {
        let (start, below) =
            name.strip_prefix('/').map_or((folder, name.as_str()), |below| (Path::new("/"), below));
        let parts: Vec<&str> = below.split('/').collect();
        descend(start, &parts, &mut files, &|part| {
            glob::Pattern::new(part).map_err(|error| fault(format!("`{part}` is no pattern: {error}")))
        })?;
    }
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// The files below a folder whose path fits the parts of a pattern, whatever the encoding of their names. A `*` takes no
/// dot in front; a name without wildcards need not be there.
fn descend(
    folder: &Path,
    parts: &[&str],
    files: &mut Vec<PathBuf>,
    compile: &impl Fn(&str) -> Result<glob::Pattern>,
) -> Result<()> {
    let [part, rest @ ..] = parts else { return Ok(()) };
    if !part.contains(['*', '?', '[']) {
        let path = folder.join(part);
        match rest {
            [] => files.push(path),
            rest if path.is_dir() => descend(&path, rest, files, compile)?,
            _ => {}
        }
        return Ok(());
    }
    let (any_depth, pattern) = (*part == "**", compile(part)?);
    if any_depth {
        descend(folder, rest, files, compile)?;
    }
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let hidden = name.starts_with('.') && !part.starts_with('.');
        if hidden || !pattern.matches(&name) {
            continue;
        }
        match rest {
            _ if any_depth && path.is_dir() && !path.is_symlink() => descend(&path, parts, files, compile)?,
            [] if !path.is_dir() => files.push(path),
            rest if !any_depth && path.is_dir() => descend(&path, rest, files, compile)?,
            _ => {}
        }
    }
    Ok(())
}

/// Writes out the braces of a pattern; false if that gives too many names.
fn expand(pattern: &str, names: &mut Vec<String>) -> bool {
    let braces = pattern.find('{').and_then(|open| Some((open, open + pattern[open..].find('}')?)));
    let Some((open, close)) = braces else {
        names.push(pattern.to_owned());
        return names.len() <= MOST_SHARDS;
    };
    let (before, after) = (&pattern[..open], &pattern[close + 1..]);
    let Some(parts) = alternatives(&pattern[open + 1..close]) else { return false };
    parts.into_iter().all(|part| expand(&format!("{before}{part}{after}"), names))
}

/// `a,b` as its parts, `000..146` as numbers of the same width; none when there are too many.
fn alternatives(inside: &str) -> Option<Vec<String>> {
    let range = inside.split_once("..").and_then(|(first, last)| {
        let number = |text: &str| text.parse::<u64>().ok();
        Some((number(first)?, number(last)?, first.len()))
    });
    match range {
        Some((first, last, _)) if last.saturating_sub(first) >= MOST_SHARDS as u64 => None,
        Some((first, last, width)) => {
            Some((first..=last).map(|number| format!("{number:0width$}")).collect())
        }
        None => Some(inside.split(',').map(str::to_owned).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &str) -> Vec<String> {
        let mut names = Vec::new();
        assert!(expand(pattern, &mut names));
        names
    }

    #[test]
    fn braces_are_written_out() {
        assert_eq!(expanded("a-{008..010}.tar"), ["a-008.tar", "a-009.tar", "a-010.tar"]);
        assert_eq!(expanded("{a,b}{1..2}"), ["a1", "a2", "b1", "b2"]);
        assert_eq!(expanded("a{1.tar"), ["a{1.tar"]);
        assert_eq!(expanded("{5..4}"), Vec::<String>::new());
    }

    #[test]
    fn billions_of_shards_are_refused() {
        for pattern in ["{0..99999999999}", "{0..18446744073709551615}", "{0..999}{0..999}"] {
            assert!(!expand(pattern, &mut Vec::new()), "{pattern}");
        }
        let error = by_pattern(Path::new("x"), "{0..99999999999}.tar").unwrap_err().to_string();
        assert!(error.contains("data.train_files"), "{error}");
    }

    #[test]
    fn shards_are_found_by_folder_and_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        };
        let found = |split, pattern| -> Vec<String> {
            let files = shards(folder.path(), split, pattern, "tar").unwrap();
            let name = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
            files.iter().map(name).collect()
        };
        for name in
            ["set-train-1.tar", "set-train-0.TAR", "strain.tar", "ILSVRC2012_img_train.tar", "train.txt"]
        {
            write(name);
        }
        assert_eq!(found(Split::Train, None), ["set-train-0.TAR", "set-train-1.tar"]);
        assert!(
            shards(folder.path(), Split::Test, None, "tar")
                .unwrap_err()
                .to_string()
                .contains("data.val_files")
        );
        write("set-test-0.tar");
        assert_eq!(found(Split::Test, None), ["set-test-0.tar"]);
        write("data/set-validation-0.tar");
        write("val/x.tar");
        assert_eq!(found(Split::Test, None), ["val/x.tar"]);
        assert_eq!(found(Split::Train, Some("s*.tar")), ["set-test-0.tar", "set-train-1.tar", "strain.tar"]);
        assert_eq!(found(Split::Train, Some("n-{0..1}.tar")), ["n-0.tar", "n-1.tar"]);
    }
}
