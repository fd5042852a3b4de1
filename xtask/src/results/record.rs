//! The record of a table under `docs/results`.

use super::table::{Run, Table};
use anyhow::{Context, bail};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes the table, the plot, the configs and the metrics into `RECORDS/DATE-NAME`, and returns that folder.
pub(super) fn write(table: &Table, file: &Path, binary: &Path, records: &Path) -> anyhow::Result<PathBuf> {
    let folder = records.join(format!("{}-{}", output(Command::new("date").arg("+%F"))?, table.name));
    let configs = folder.join("configs");
    fs::create_dir_all(&configs).with_context(|| format!("cannot create {}", configs.display()))?;
    let compare = || {
        let mut command = Command::new(binary);
        command.arg("compare").args(table.compared());
        command
    };
    let rows = output(compare().arg("--svg").arg(folder.join("plot.svg")))?;
    fs::write(folder.join("results.json"), output(compare().arg("--json"))? + "\n")?;
    fs::copy(file, folder.join("table.toml"))?;
    let mut metrics = String::new();
    for run in table.runs() {
        // What is pruned or only tested has none.
        let trained = run.folder.join("metrics.jsonl");
        if !trained.is_file() {
            continue;
        }
        if run.seed == table.seeds[0] {
            let config = fs::read_to_string(run.folder.join("config.toml"))?;
            fs::write(configs.join(format!("{}.toml", run.row)), config)?;
        }
        metrics += &tagged(&run, &fs::read_to_string(trained)?)?;
    }
    fs::write(folder.join("metrics.jsonl"), metrics)?;
    fs::write(folder.join("README.md"), readme(table, file, &rows)?)?;
    Ok(folder)
}

/// The metrics of a run, each with its row and seed.
fn tagged(run: &Run, metrics: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    for line in metrics.lines() {
        let Value::Object(record) = serde_json::from_str(line)? else { bail!("not an object: {line}") };
        let mut tagged = serde_json::Map::new();
        tagged.insert("row".to_owned(), run.row.clone().into());
        tagged.insert("seed".to_owned(), run.seed.into());
        tagged.extend(record);
        writeln!(text, "{}", Value::Object(tagged))?;
    }
    Ok(text)
}

fn readme(table: &Table, file: &Path, rows: &str) -> anyhow::Result<String> {
    let hash = output(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]))?;
    let changed = output(Command::new("git").args(["status", "--porcelain", "--untracked-files=no"]))?;
    let state = if changed.is_empty() { "" } else { ", with changes that are not committed" };
    let seeds: Vec<String> = table.seeds.iter().map(u64::to_string).collect();
    Ok(format!(
        "# {}\n\n{}\n\n{}\n\n![Top-1 over sparsity](plot.svg)\n\n\
         Commit {hash}{state}; seeds {}; differences in points to `{}`, paired over the same images. Made with\n\
         `cargo xtask results {}`; resolved configs of the first seed are in `configs/`.\n",
        table.title,
        table.text.trim(),
        rows.trim_end(),
        seeds.join(", "),
        table.reference,
        file.display(),
    ))
}

/// What a command prints, trimmed.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_carry_their_row_and_seed() {
        let (row, folder) = ("dense".to_owned(), PathBuf::new());
        let run = Run { row, seed: 2, folder, config: None, arguments: vec![], makes: vec![] };
        let text = tagged(&run, "{\"step\":1}\n{\"step\":2,\"top1\":0.5}\n").unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[1], serde_json::json!({"row": "dense", "seed": 2, "step": 2, "top1": 0.5}));
        assert!(tagged(&run, "[1]").is_err());
    }
}
