//! What classes are called.

use crate::config::DataKind;
use crate::error::{Error, Result};
use crate::pretrained::InputFacts;
use std::io::Read;
use std::path::Path;

/// The classes of ImageNet (ILSVRC 2012) in the order of their labels, one a line, synonyms with commas between.
///
/// Source: Russakovsky et al. 2015, arXiv:1409.0575; the names are WordNet's.
const IMAGENET: &str = include_str!("imagenet.txt");

/// A name for each of the classes: those of a file, or ImageNet's if its classes are ImageNet's or some of them.
///
/// # Errors
/// [`Error::ClassFile`] or [`Error::ClassCount`] if the file cannot be used.
pub(super) fn of(classes: usize, facts: &InputFacts, file: Option<&Path>) -> Result<Option<Vec<String>>> {
    match file {
        Some(path) => from_file(path, classes).map(Some),
        None if facts.data != DataKind::Imagenet => Ok(None),
        None => Ok(imagenet(classes, facts.labels.as_deref())),
    }
}

fn from_file(path: &Path, classes: usize) -> Result<Vec<String>> {
    let text = read(path).map_err(|source| Error::ClassFile { path: path.to_owned(), source })?;
    let names: Vec<String> =
        text.trim_start_matches('\u{feff}').lines().map(|line| line.trim().to_owned()).collect();
    if names.len() != classes {
        return Err(Error::ClassCount { path: path.to_owned(), lines: names.len(), classes });
    }
    Ok(names)
}

/// The text of a regular file; a pipe could wait for ever for its writer.
fn read(path: &Path) -> std::io::Result<String> {
    let (mut file, _) = sparse_data::open_regular(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// The names of all classes, or of the labels that were kept.
fn imagenet(classes: usize, labels: Option<&[u32]>) -> Option<Vec<String>> {
    let names: Vec<&str> = IMAGENET.lines().collect();
    match labels {
        Some(labels) if labels.len() == classes => {
            let kept: Option<Vec<String>> =
                labels.iter().map(|&label| names.get(label as usize).map(|&name| name.to_owned())).collect();
            if kept.is_some() {
                tracing::info!(
                    "classes are called as ImageNet's of the labels {labels:?}; otherwise with --classes"
                );
            }
            kept
        }
        None if classes == names.len() => Some(names.into_iter().map(str::to_owned).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenets_names_have_their_places() {
        let all = imagenet(1000, None).unwrap();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|name| !name.is_empty() && name.trim() == name));
        assert!(all[0].starts_with("tench") && all[701].starts_with("parachute"));
        assert!(all[999].starts_with("toilet tissue"));
        let kept = imagenet(2, Some(&[701, 0])).unwrap();
        assert_eq!(kept, [all[701].clone(), all[0].clone()]);
    }

    #[test]
    fn names_come_from_a_regular_file_with_or_without_a_byte_order_mark() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["cat\ndog\n", "\u{feff}cat\r\ndog"] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(from_file(file.path(), 2).unwrap(), ["cat", "dog"]);
        }
        // A device or a pipe could be read without end.
        #[cfg(unix)]
        assert!(matches!(from_file(Path::new("/dev/zero"), 2), Err(Error::ClassFile { .. })));
    }

    #[test]
    fn other_classes_have_no_names() {
        assert_eq!(imagenet(10, None), None);
        assert_eq!(imagenet(2, Some(&[1, 1000])), None);
        assert_eq!(imagenet(3, Some(&[1, 2])), None);
    }
}
