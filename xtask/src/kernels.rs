//! `cargo xtask build-kernels`: PTX of `kernels/*.cu`, assembled for every architecture that counts.
//!
//! Each source becomes `kernels/ptx/NAME.ptx` for compute capability 7.0, which every later driver translates for its device. Sources
//! that store activations become `NAME.bf16.ptx` for 8.0 as well, the first with bf16. The first line of a file is the hash of what it was made
//! of, so that a stale one is found without a compiler. The PTX version is the lowest that assembles, so that old drivers take it.

mod ptx;
mod sources;
mod toolkit;

use anyhow::{Context, bail};
use cargo_metadata::Metadata;
use sources::Unit;
use std::fs;
use std::path::Path;
use toolkit::{Assembler, Compiler};

pub(crate) use toolkit::nvrtc;

/// Architectures that every kernel is assembled for; those of bf16 from 8.0 on.
const ARCHITECTURES: [u32; 8] = [70, 75, 80, 86, 89, 90, 100, 120];

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is as it should be.
    Good,
    /// Committed PTX is stale, or does not assemble, or a kernel spills.
    Bad,
    /// Hashes are right; there is nothing to assemble with.
    NotAssembled,
}

/// Writes the PTX and assembles it; with `check` nothing is written, and what is there is looked at. With `fetch` a missing
/// toolkit is downloaded into the target folder, by pip.
///
/// # Errors
/// If a source does not compile, or the toolkit cannot be had.
pub(crate) fn run(metadata: &Metadata, check: bool, fetch: bool) -> anyhow::Result<Outcome> {
    let folder = metadata.workspace_root.as_std_path().join("kernels");
    let downloads = metadata.target_directory.as_std_path().join("cuda-toolkit");
    let units = sources::units(&folder)?;
    if check {
        let stale = stale(&folder, &units)?;
        if !stale.is_empty() {
            stale
                .iter()
                .for_each(|name| eprintln!("stale: kernels/ptx/{name}; run `cargo xtask build-kernels`"));
            return Ok(Outcome::Bad);
        }
        eprintln!("{} files under kernels/ptx are of these sources", units.len());
    }
    if fetch {
        toolkit::fetch(&downloads)?;
    }
    let Some(assembler) = Assembler::find(&downloads) else {
        eprintln!(
            "there is no ptxas in $CUDA_HOME or PATH, nor under {}; --fetch downloads one",
            downloads.display()
        );
        return if check { Ok(Outcome::NotAssembled) } else { bail!("nothing to compile with") };
    };
    if !check {
        let compiler = Compiler::find(&downloads)
            .context("no nvcc in $NVCC, $CUDA_HOME or PATH, and no NVRTC; try --fetch")?;
        write(&folder, &units, &compiler, &assembler)?;
    }
    report(&folder, &units, &assembler)
}

/// Names of the files that are not of these sources: missing, of others, or left over.
fn stale(folder: &Path, units: &[Unit]) -> anyhow::Result<Vec<String>> {
    let committed = folder.join("ptx");
    let fresh = |unit: &Unit| {
        let text = fs::read_to_string(committed.join(unit.file())).unwrap_or_default();
        ptx::hash_of(&text) == Some(unit.hash)
    };
    let mut stale: Vec<String> = units.iter().filter(|unit| !fresh(unit)).map(Unit::file).collect();
    for entry in fs::read_dir(&committed).into_iter().flatten() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !units.iter().any(|unit| unit.file() == name) {
            stale.push(name);
        }
    }
    Ok(stale)
}

fn write(folder: &Path, units: &[Unit], compiler: &Compiler, assembler: &Assembler) -> anyhow::Result<()> {
    let committed = folder.join("ptx");
    fs::create_dir_all(&committed)?;
    for name in stale(folder, units)? {
        // What is left over of a source that is gone; the others are written again.
        let _ = fs::remove_file(committed.join(name));
    }
    for unit in units {
        let compiled = compiler.compile(unit, folder).with_context(|| format!("kernels/{}.cu", unit.name))?;
        let lowest = ptx::lowest_version(&compiled, |text| assembler.assembles(text, unit.architecture()))?;
        fs::write(committed.join(unit.file()), ptx::with_hash(&lowest, unit.hash))?;
        eprintln!("kernels/ptx/{}: PTX {}", unit.file(), ptx::version(&lowest).unwrap_or("?"));
    }
    Ok(())
}

/// Assembles all, and prints what each kernel takes; the most of all architectures.
fn report(folder: &Path, units: &[Unit], assembler: &Assembler) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Good;
    println!("| kernel | registers | shared, bytes | spills, bytes |\n|---|---|---|---|");
    for unit in units {
        let path = folder.join("ptx").join(unit.file());
        let mut rows: Vec<ptx::Usage> = Vec::new();
        for architecture in ARCHITECTURES.into_iter().filter(|&sm| sm >= unit.architecture()) {
            for usage in assembler.usage(&path, architecture)? {
                match rows.iter_mut().find(|row| row.kernel == usage.kernel) {
                    Some(row) => row.take_most(&usage),
                    None => rows.push(usage),
                }
            }
        }
        for row in &rows {
            println!("| {} | {} | {} | {} |", row.kernel, row.registers, row.shared, row.spills);
            if row.spills > 0 {
                outcome = Outcome::Bad;
            }
        }
    }
    if outcome == Outcome::Bad {
        eprintln!("kernels must not spill registers to memory");
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_ptx_is_of_the_sources() {
        let folder = crate::workspace_metadata().unwrap().workspace_root.into_std_path_buf().join("kernels");
        let units = sources::units(&folder).unwrap();
        assert_eq!(stale(&folder, &units).unwrap(), Vec::<String>::new(), "run `cargo xtask build-kernels`");
    }
}
