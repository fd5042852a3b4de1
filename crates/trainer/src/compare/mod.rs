//! Runs against a dense one, over the same test images.
//!
//! Each image is right or wrong under both; several seeds of one recipe are averaged image by image. The difference in
//! top-1 is the mean over images of these differences, and its 95 % interval the normal one of paired samples,
//! ±1.96 · sd / √n. What all images have in common, hard or easy, cancels out, so that the interval is narrower than that of
//! either accuracy. It tells how sure the difference is over other images, not over other seeds: those are listed beside it.

mod group;
mod paired;

pub use group::RunGroup;
pub use paired::Difference;

use crate::error::Result;
use crate::plot::{Plot, Point, Series};
use crate::predictions::Prediction;
use serde::Serialize;
use sparse_prune::Sparsity;

/// Largest loss, as a fraction, that counts as none: half a point.
pub const DEFAULT_MARGIN: f64 = 0.005;

/// What may be said of a difference in top-1 and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval lies above 0.
    Better,
    /// The interval reaches 0 or more, and nowhere below minus the margin.
    NoLoss,
    /// The whole interval lies below 0.
    Loss,
    /// The interval holds 0 and losses larger than the margin: too few images to tell.
    Unclear,
}

impl Verdict {
    /// The rule: an interval that contains 0 is no proof of equality, so it must end above minus the margin as well.
    #[must_use]
    pub fn of(difference: &Difference, margin: f64) -> Self {
        match (difference.low, difference.high) {
            (low, _) if low > 0.0 => Self::Better,
            (_, high) if high < 0.0 => Self::Loss,
            (low, _) if low >= -margin => Self::NoLoss,
            _ => Self::Unclear,
        }
    }

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::NoLoss => "no loss",
            Self::Loss => "loss",
            Self::Unclear => "unclear",
        }
    }
}

/// One recipe, over all its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Run folders.
    pub runs: Vec<String>,
    /// Seeds of the runs, where their configs are there.
    pub seeds: Vec<u64>,
    /// Fraction of zeros, mean over the runs.
    pub sparsity: Sparsity,
    /// Top-1 accuracy, fraction, mean over the runs.
    pub top1: f64,
    /// Top-1 accuracy of each run.
    pub top1_of_runs: Vec<f64>,
    /// Top-5 accuracy, fraction, mean over the runs.
    pub top5: f64,
    /// Mean loss over test images and runs.
    pub loss: f64,
    /// Top-1 less that of the dense runs; `None` for these themselves.
    pub difference: Option<Difference>,
    /// What may be said of it.
    pub verdict: Option<Verdict>,
    /// Epochs trained, if known.
    pub epochs: Option<usize>,
    /// Training images per second, mean over the runs, if known.
    pub images_per_second: Option<f64>,
}

impl Row {
    /// The last part of the name that says more than a seed or a number.
    fn short_name(&self) -> &str {
        let Some((above, last)) = self.name.rsplit_once('/') else { return &self.name };
        let folder = above.rsplit('/').next().unwrap_or(above);
        if last.starts_with("seed-") {
            return folder;
        }
        let is_number = last.chars().all(|c| c.is_ascii_digit() || c == ',');
        if is_number { &self.name[above.len() - folder.len()..] } else { last }
    }
}

/// Rows, the dense one first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Largest loss, as a fraction, that counts as none.
    pub margin: f64,
    /// Test images.
    pub images: usize,
    /// The dense row, then the others.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// For each row the last part of its name that says something, or the whole name where several rows have the same.
    #[must_use]
    pub fn short_names(&self) -> Vec<&str> {
        let names: Vec<&str> = self.rows.iter().map(Row::short_name).collect();
        let alone = |name: &str| names.iter().filter(|other| **other == name).count() == 1;
        let pairs = self.rows.iter().zip(&names);
        pairs.map(|(row, &name)| if alone(name) { name } else { row.name.as_str() }).collect()
    }

    /// Top-1 over sparsity; rows whose names differ only in a number at their end, such as `gmp-75` and `gmp-90`, are one
    /// series.
    #[must_use]
    pub fn plot(&self) -> Plot {
        let mut series: Vec<Series> = Vec::new();
        let mut lines = Vec::new();
        for (row, name) in self.rows.iter().zip(self.short_names()) {
            let Some(difference) = row.difference else {
                lines.push((name.to_owned(), row.top1));
                continue;
            };
            let interval = [difference.low - difference.mean, difference.high - difference.mean];
            let point = Point { sparsity: row.sparsity.prunable, top1: row.top1, interval };
            let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || ".-_/,".contains(c));
            match series.iter_mut().find(|series| series.name == name) {
                Some(series) => series.points.push(point),
                None => series.push(Series { name: name.to_owned(), points: vec![point] }),
            }
        }
        for series in &mut series {
            series.points.sort_by(|a, b| a.sparsity.total_cmp(&b.sparsity));
        }
        Plot { title: "Top-1 over sparsity".to_owned(), series, lines }
    }
}

/// Compares groups of runs with the dense one, over the same images.
///
/// # Errors
/// If a file of a run is missing or malformed, or the runs were tested on different images.
pub fn compare(dense: &RunGroup, others: &[RunGroup], margin: f64) -> Result<Comparison> {
    let reference = dense.read()?;
    let mut rows = vec![row(dense, &reference)?];
    for group in others {
        let runs = group.read()?;
        let difference = paired::difference(&reference, &runs)?;
        let verdict = Some(Verdict::of(&difference, margin));
        rows.push(Row { difference: Some(difference), verdict, ..row(group, &runs)? });
    }
    let images = reference.first().map_or(0, |(_, predictions)| predictions.len());
    Ok(Comparison { margin, images, rows })
}

/// A run folder's name and its predictions.
pub(crate) type Predicted = (String, Vec<Prediction>);

fn row(group: &RunGroup, runs: &[Predicted]) -> Result<Row> {
    let facts = group.facts()?;
    let share = |counts: fn(&Prediction) -> f64| -> Vec<f64> {
        runs.iter().map(|(_, images)| images.iter().map(counts).sum::<f64>() / images.len() as f64).collect()
    };
    let top1_of_runs = share(|image| f64::from(u8::from(image.correct())));
    let speeds: Option<Vec<f64>> = facts.iter().map(|fact| fact.images_per_second).collect();
    Ok(Row {
        name: group.name.clone(),
        runs: runs.iter().map(|(name, _)| name.clone()).collect(),
        seeds: facts.iter().filter_map(|fact| fact.seed).collect(),
        sparsity: Sparsity {
            all_parameters: mean(facts.iter().map(|fact| fact.sparsity.all_parameters)),
            prunable: mean(facts.iter().map(|fact| fact.sparsity.prunable)),
            pointwise: mean(facts.iter().map(|fact| fact.sparsity.pointwise)),
        },
        top1: mean(top1_of_runs.iter().copied()),
        top1_of_runs,
        top5: mean(share(|image| f64::from(u8::from(image.top5)))),
        loss: mean(share(|image| image.loss)),
        difference: None,
        verdict: None,
        epochs: facts.first().and_then(|fact| fact.epochs),
        images_per_second: speeds.map(mean),
    })
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_loss_needs_an_interval_that_is_narrow_enough() {
        let verdict = |low, high| Verdict::of(&Difference { mean: (low + high) / 2.0, low, high }, 0.005);
        assert_eq!(verdict(0.001, 0.004), Verdict::Better);
        assert_eq!(verdict(-0.005, 0.001), Verdict::NoLoss);
        assert_eq!(verdict(-0.001, 0.02), Verdict::NoLoss);
        assert_eq!(verdict(-0.0051, 0.02), Verdict::Unclear);
        assert_eq!(verdict(-0.004, -0.001), Verdict::Loss);
        assert_eq!(verdict(0.0, 0.0), Verdict::NoLoss);
    }
}
