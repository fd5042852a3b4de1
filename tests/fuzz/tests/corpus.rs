//! Bytes that a fuzzer found interesting, tried again.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sparse_fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn names(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_file_of_the_corpus_passes_its_target() {
    for (name, target) in TARGETS {
        let files = names(&corpus().join(name));
        assert!(!files.is_empty(), "{name} has no seeds");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            let passed = std::panic::catch_unwind(|| target(&bytes));
            assert!(passed.is_ok(), "{}", file.display());
        }
    }
}

// Where the targets are those of the default features.
#[cfg(feature = "config")]
#[test]
fn every_folder_of_the_corpus_has_a_target() {
    let known = |folder: &Path| {
        let name = folder.file_name().unwrap().to_str().unwrap();
        name == "parquet" || TARGETS.iter().any(|(target, _)| *target == name)
    };
    let strangers: Vec<_> = names(&corpus()).into_iter().filter(|folder| !known(folder)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}
