//! The file of a table.

use anyhow::{bail, ensure};
use serde::Deserialize;
use std::path::PathBuf;

/// A table of runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// Short name; part of the folder of the record.
    pub(super) name: String,
    /// The heading of the record.
    pub(super) title: String,
    /// What the table shows and how it was made, a few lines.
    pub(super) text: String,
    /// Where the runs lie.
    pub(super) folder: PathBuf,
    /// One run of each row per seed.
    pub(super) seeds: Vec<u64>,
    /// Settings for every run, as `--set` takes them.
    #[serde(default)]
    pub(super) set: Vec<String>,
    /// Weights that every row starts from, unless there is a row to start from.
    pub(super) start: Option<PathBuf>,
    /// The row whose runs of the same seed all others start from; it comes first.
    pub(super) first: Option<String>,
    /// The row that the others are compared with.
    pub(super) reference: String,
    /// What is pruned by images, of the weights in `start` or of the first row, for rows to start from.
    #[serde(default, rename = "prune")]
    pub(super) prunes: Vec<Prune>,
    /// The rows.
    #[serde(rename = "row")]
    pub(super) rows: Vec<Row>,
}

/// Weights that `sparse-train prune` makes for each seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prune {
    /// Its name, by which rows start from it.
    pub(super) name: String,
    /// What the program is called with beside the weights and the seed.
    pub(super) flags: Vec<String>,
}

/// A row of a table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// Its name: a number at its end is the place in a series of the plot.
    pub(super) name: String,
    /// The config.
    pub(super) config: PathBuf,
    /// Further settings, as `--set` takes them.
    #[serde(default)]
    pub(super) set: Vec<String>,
    /// The name of what was pruned that it starts from.
    pub(super) start: Option<String>,
    /// Whether what it starts from is tested as it is, without training.
    #[serde(default)]
    pub(super) test: bool,
}

/// One run of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// Name of its row.
    pub(super) row: String,
    pub(super) seed: u64,
    /// The run folder.
    pub(super) folder: PathBuf,
    /// The config; nothing if weights are pruned.
    pub(super) config: Option<PathBuf>,
    /// What the program is called with.
    pub(super) arguments: Vec<String>,
    /// Files that are there when it is done.
    pub(super) makes: Vec<PathBuf>,
}

impl Table {
    /// Reads a table and checks it.
    ///
    /// # Errors
    /// If it is malformed, or names a row that is not there.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let table: Self = toml::from_str(text)?;
        ensure!(!table.seeds.is_empty(), "seeds is empty");
        for (number, row) in table.rows.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            ensure!(!row.name.is_empty() && row.name.chars().all(plain), "row name {:?}", row.name);
            let twice = table.rows[..number].iter().any(|other| other.name == row.name);
            ensure!(!twice, "two rows are called {}", row.name);
        }
        if table.row(&table.reference).is_none() {
            bail!("reference = {:?} is no row", table.reference);
        }
        for (number, prune) in table.prunes.iter().enumerate() {
            let taken = table.prunes[..number].iter().any(|other| other.name == prune.name);
            ensure!(!taken && table.row(&prune.name).is_none(), "two are called {}", prune.name);
            let has_weights = table.start.is_some() || table.first.is_some();
            ensure!(has_weights, "prune needs start or first: the weights that are pruned");
        }
        for start in table.rows.iter().filter_map(|row| row.start.as_ref()) {
            ensure!(table.prunes.iter().any(|prune| prune.name == *start), "start = {start:?} is no prune");
        }
        match &table.first {
            Some(_) if table.start.is_some() => bail!("give first or start, not both"),
            Some(first) => ensure!(
                table.rows.first().is_some_and(|row| row.name == *first),
                "first = {first:?} is not the first row"
            ),
            None => {}
        }
        Ok(table)
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// All runs: the first row that others start from, what is pruned, then row by row.
    pub(super) fn runs(&self) -> Vec<Run> {
        let (first, others): (Vec<&Row>, Vec<&Row>) =
            self.rows.iter().partition(|row| self.first.as_ref() == Some(&row.name));
        let of = |rows: Vec<&Row>| -> Vec<Run> {
            rows.iter().flat_map(|row| self.seeds.iter().map(|&seed| self.run(row, seed))).collect()
        };
        let prunes =
            self.prunes.iter().flat_map(|prune| self.seeds.iter().map(|&seed| self.prune(prune, seed)));
        of(first).into_iter().chain(prunes).chain(of(others)).collect()
    }

    fn folder_of(&self, row: &str, seed: u64) -> PathBuf {
        self.folder.join(row).join(format!("seed-{seed}"))
    }

    fn prune(&self, prune: &Prune, seed: u64) -> Run {
        let folder = self.folder_of(&prune.name, seed);
        let to = folder.with_extension("safetensors");
        let first = self.first.as_ref().map(|first| self.folder_of(first, seed));
        let from = first.or_else(|| self.start.clone()).unwrap_or_default();
        let mut arguments = vec!["prune".to_owned(), from.display().to_string()];
        arguments.extend(["-o".to_owned(), to.display().to_string()]);
        arguments.extend(prune.flags.iter().cloned());
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
        Run { row: prune.name.clone(), seed, folder, config: None, arguments, makes: vec![to] }
    }

    fn run(&self, row: &Row, seed: u64) -> Run {
        let folder = self.folder_of(&row.name, seed);
        let mut arguments = vec!["--config".to_owned(), row.config.display().to_string()];
        for assignment in self.set.iter().chain(&row.set) {
            arguments.extend(["--set".to_owned(), assignment.clone()]);
        }
        let start = match (&row.start, &self.first) {
            (Some(pruned), _) => Some(self.folder_of(pruned, seed).with_extension("safetensors")),
            (None, Some(first)) if *first != row.name => Some(self.folder_of(first, seed)),
            (None, Some(_)) => None,
            (None, None) => self.start.clone(),
        };
        if let Some(start) = start {
            arguments.extend(["--pretrained_model".to_owned(), start.display().to_string()]);
        }
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
        arguments.extend(["--model_path".to_owned(), folder.display().to_string()]);
        let more = if row.test { ["--phase", "test"] } else { ["--resume", "auto"] };
        arguments.extend(more.map(str::to_owned));
        let result = if row.test { "test.json" } else { "summary.json" };
        let makes = [result, "predictions.csv"].map(|name| folder.join(name)).to_vec();
        Run { row: row.name.clone(), seed, folder, config: Some(row.config.clone()), arguments, makes }
    }

    /// What `sparse-train compare` is called with: the reference, then all rows.
    pub(super) fn compared(&self) -> Vec<String> {
        let folder = |row: &str| {
            let runs = self.seeds.iter().map(|seed| self.folder.join(row).join(format!("seed-{seed}")));
            runs.map(|run| run.display().to_string()).collect::<Vec<_>>().join(",")
        };
        let others = self.rows.iter().filter(|row| row.name != self.reference);
        std::iter::once(self.reference.as_str())
            .chain(others.map(|row| row.name.as_str()))
            .map(folder)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "small"
title = "A title"
text = "Three lines."
folder = "runs/small"
seeds = [1, 2]
set = ["train.threads=2"]
first = "dense"
reference = "longer"

[[row]]
name = "dense"
config = "configs/dense.toml"

[[row]]
name = "longer"
config = "configs/dense.toml"
set = ["train.lr=0.01"]
"#;

    #[test]
    fn rows_start_from_the_first_one_of_the_same_seed() {
        let runs = Table::parse(TEXT).unwrap().runs();
        let shown: Vec<String> = runs.iter().map(|run| run.arguments.join(" ")).collect();
        assert_eq!(shown.len(), 4);
        assert_eq!(
            shown[1],
            "--config configs/dense.toml --set train.threads=2 --seed 2 --model_path runs/small/dense/seed-2 --resume auto"
        );
        assert_eq!(
            shown[3],
            "--config configs/dense.toml --set train.threads=2 --set train.lr=0.01 --pretrained_model \
             runs/small/dense/seed-2 --seed 2 --model_path runs/small/longer/seed-2 --resume auto"
        );
    }

    #[test]
    fn rows_may_start_from_what_was_pruned_and_be_tested_as_they_are() {
        let text = TEXT.replace("first = \"dense\"", "start = \"w.safetensors\"").replace(
            "set = [\"train.lr=0.01\"]",
            "start = \"half\"\ntest = true\n[[prune]]\nname = \"half\"\nflags = [\"--ratio\", \"0.5\"]",
        );
        let runs = Table::parse(&text).unwrap().runs();
        assert_eq!(runs.len(), 6);
        assert_eq!(
            runs[1].arguments.join(" "),
            "prune w.safetensors -o runs/small/half/seed-2.safetensors --ratio 0.5 --seed 2"
        );
        assert_eq!(
            runs[5].arguments.join(" "),
            "--config configs/dense.toml --set train.threads=2 --pretrained_model runs/small/half/seed-2.safetensors \
             --seed 2 --model_path runs/small/longer/seed-2 --phase test"
        );
        let runs =
            Table::parse(&text.replace("start = \"w.safetensors\"", "first = \"dense\"")).unwrap().runs();
        assert_eq!(runs[3].arguments[..2], ["prune", "runs/small/dense/seed-2"]);
        for (from, to, part) in [
            ("start = \"half\"", "start = \"third\"", "no prune"),
            ("start = \"w.safetensors\"\n", "", "needs start"),
        ] {
            let error = Table::parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(part), "{to}: {error}");
        }
    }

    #[test]
    fn all_rows_may_start_from_the_same_weights() {
        let table = Table::parse(&TEXT.replace("first = \"dense\"", "start = \"w.safetensors\"")).unwrap();
        assert!(
            table
                .runs()
                .iter()
                .all(|run| run.arguments.join(" ").contains("--pretrained_model w.safetensors"))
        );
    }

    #[test]
    fn the_reference_is_compared_with_the_others() {
        let compared = Table::parse(TEXT).unwrap().compared();
        assert_eq!(
            compared,
            [
                "runs/small/longer/seed-1,runs/small/longer/seed-2",
                "runs/small/dense/seed-1,runs/small/dense/seed-2"
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (from, to, part) in [
            ("reference = \"longer\"", "reference = \"none\"", "no row"),
            ("first = \"dense\"", "first = \"longer\"", "first row"),
            ("first = \"dense\"", "first = \"dense\"\nstart = \"w\"", "not both"),
            ("name = \"longer\"", "name = \"dense\"", "two rows"),
            ("name = \"longer\"", "name = \"a/b\"", "row name"),
            ("seeds = [1, 2]", "seeds = []", "seeds"),
            ("seeds", "sedes", "sedes"),
        ] {
            let error = Table::parse(&TEXT.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(part), "{to}: {error}");
        }
    }
}
