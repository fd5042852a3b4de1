//! The kernel sources, and what is compiled of each.

use anyhow::Context;
use std::fs;
use std::path::Path;

/// A source, compiled in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Name of the source, without its ending.
    pub(super) name: String,
    /// Only the entry points that store bf16.
    pub(super) bf16: bool,
    /// Of the source, the headers and the way it is compiled.
    pub(super) hash: u32,
    /// The source.
    pub(super) text: String,
}

impl Unit {
    /// The PTX file.
    pub(super) fn file(&self) -> String {
        format!("{}{}.ptx", self.name, if self.bf16 { ".bf16" } else { "" })
    }

    /// Compute capability that it is compiled for, times ten.
    pub(super) fn architecture(&self) -> u32 {
        if self.bf16 { 80 } else { 70 }
    }
}

/// All units of a folder, in order of name.
pub(super) fn units(folder: &Path) -> anyhow::Result<Vec<Unit>> {
    let files = |ending: &str| -> anyhow::Result<Vec<(String, String)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|found| found == ending) {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path)?));
            }
        }
        files.sort();
        Ok(files)
    };
    let headers: String = files("cuh")?.into_iter().map(|(_, text)| text).collect();
    let mut units = Vec::new();
    for (name, text) in files("cu")? {
        let stores = text.contains("FOR_EACH_");
        for bf16 in [false, true].into_iter().filter(|&bf16| stores || !bf16) {
            let hash = crc32fast::hash(format!("{headers}\0{text}\0{bf16}").as_bytes());
            units.push(Unit { name: name.clone(), bf16, hash, text: text.clone() });
        }
    }
    Ok(units)
}
