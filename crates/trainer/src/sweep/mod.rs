//! The highest sparsity whose accuracy stays within a given loss.
//!
//! One dense network is trained, or given. Every point of the sweep fine-tunes from it at another ratio, by the same
//! recipe and equally long, and [`Search`] chooses the next ratio from those that are known. The folder `train.model_path`
//! holds `dense/`, a run folder per ratio, `sweep.json` and `sweep.svg`. A sweep that is started again goes on: finished points
//! are taken from `sweep.json`, and one that was stopped half-way goes on from its checkpoint.

mod search;
mod state;

pub use search::Search;
pub use state::{DensePoint, Point, SweepReport};

use crate::compare::{RunGroup, compare};
use crate::config::{PruningMode, Resume, TrainConfig};
use crate::datasets::Datasets;
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::outcome::{Outcome, Summary};
use crate::plan::TrainPlan;
use crate::plot::{self, Plot, Series};
use crate::pretrained::{Pretrained, WeightsAt};
use crate::recipe::Recipe;
use crate::run_folder::RunFolder;
use crate::setup::{Start, check_pruner};
use crate::stop::StopFlag;
use crate::weights::{self, WEIGHTS_FILE};
use crate::{test, train};
use std::path::{Path, PathBuf};

const PLOT: &str = "sweep.svg";

/// Where a point begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// From the dense weights, so that all points are trained equally long.
    #[default]
    Dense,
    /// From the good point with the highest ratio below, which has been trained longer.
    LastGood,
}

/// What to look for, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepConfig {
    /// The recipe of the points; its ratio is replaced. `train.model_path` is the folder of the sweep, and
    /// `model.pretrained_model` the dense network; without it, one is trained by the same recipe without pruning.
    pub base: TrainConfig,
    /// Largest loss of top-1 that is allowed, a fraction.
    pub loss: f64,
    /// Which ratios to try.
    pub search: Search,
    /// Where each point begins.
    pub from: From,
}

/// How a sweep ended.
#[derive(Clone, Debug, PartialEq)]
pub enum SweepOutcome {
    /// The search is over.
    Finished(SweepReport),
    /// A signal asked to stop; the state was saved.
    Stopped {
        /// Number of the signal.
        signal: usize,
    },
}

/// Runs a sweep, or goes on with the one in its folder.
///
/// # Errors
/// [`Error::OtherSweep`] if the folder holds a sweep with other settings; what training and testing report.
pub fn sweep(
    config: &SweepConfig,
    datasets: &Datasets,
    stop: &StopFlag,
    observer: &mut dyn Observer,
) -> Result<SweepOutcome> {
    check_highest(config, datasets)?;
    let folder = RunFolder::open(&config.base.train.model_path)?;
    let report = SweepReport::open(
        &folder,
        config.loss,
        &config.search,
        recipe(&config.base),
        datasets.train.fingerprint(),
    )?;
    let mut sweep = Sweep { config, datasets, stop, folder, report };
    match sweep.run(observer) {
        Ok(()) => Ok(SweepOutcome::Finished(sweep.report)),
        Err(Error::Stopped { signal }) => Ok(SweepOutcome::Stopped { signal }),
        Err(error) => Err(error),
    }
}

/// Refuses what the last point would refuse, before days are spent on those before it.
fn check_highest(config: &SweepConfig, datasets: &Datasets) -> Result<()> {
    let highest = match &config.search {
        Search::Ladder(rungs) => rungs.iter().copied().fold(0.0, f64::max),
        Search::Bisection { low, .. } => *low,
    };
    let mut base = config.base.clone();
    (base.prune.pruning_mode, base.prune.ratio) = (PruningMode::Ratio, highest);
    base.prune.initial_ratio = base.prune.initial_ratio.min(highest);
    base.train.distill = false;
    let plan = TrainPlan::resolve(&base, &datasets.size())?;
    plan.check_memory()?;
    check_pruner(&plan)
}

/// The settings that all points share.
fn recipe(base: &TrainConfig) -> Recipe {
    let mut base = base.clone();
    base.prune.pruning_mode = PruningMode::Ratio;
    base.prune.ratio = 0.0;
    Recipe::of(&base)
}

struct Sweep<'a> {
    config: &'a SweepConfig,
    datasets: &'a Datasets,
    stop: &'a StopFlag,
    folder: RunFolder,
    report: SweepReport,
}

impl Sweep<'_> {
    fn run(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let dense = self.dense(observer)?;
        let most = self.config.search.most();
        let mut number = 0;
        while let Some(ratio) = self.next(&dense) {
            number += 1;
            let start = self.start(ratio, &dense);
            tracing::info!("ratio {ratio}, point {number} of at most {most} to do, from {}", start.display());
            let point = self.point(ratio, start, &dense, observer)?;
            let (top1, difference) = (100.0 * point.top1, 100.0 * point.difference.mean);
            let within = if self.report.allows(point.top1) { "within the limit" } else { "too much" };
            tracing::info!("ratio {ratio}: top-1 {top1:.2} %, {difference:+.2} points, {within}");
            self.report.add(point);
            self.save()?;
        }
        self.save()
    }

    /// The next ratio to try.
    fn next(&self, dense: &DensePoint) -> Option<f64> {
        self.config.search.next(|ratio| {
            let point = self.report.point(ratio).filter(|point| point.start == self.start(ratio, dense))?;
            Some(self.report.allows(point.top1))
        })
    }

    /// The weights that a point begins with.
    fn start(&self, ratio: f64, dense: &DensePoint) -> PathBuf {
        let good = match self.config.from {
            From::Dense => None,
            From::LastGood => self.report.last_good(ratio),
        };
        good.map_or_else(|| dense.weights.clone(), |point| point.run.join(WEIGHTS_FILE))
    }

    fn save(&mut self) -> Result<()> {
        self.report.save(&self.folder)?;
        plot::accuracy_over_sparsity(&self.folder.path().join(PLOT), &plot_of(&self.report))
    }

    /// The dense network, trained or tested if that was not done.
    fn dense(&mut self, observer: &mut dyn Observer) -> Result<DensePoint> {
        let mut config = self.config.base.clone();
        config.train.model_path = self.folder.path().join("dense");
        let given = WeightsAt::start(&self.config.base);
        if let Some(dense) = &self.report.dense {
            if checksum(given.unwrap_or_else(|| WeightsAt::from(&dense.weights)))?.1 != dense.crc32 {
                let (folder, key) = (self.folder.path().to_path_buf(), "model.pretrained_model".to_owned());
                return Err(Error::OtherSweep { folder, key });
            }
            return Ok(dense.clone());
        }
        let (weights, top1, loss, images) = if let Some(weights) = given {
            let found = test(&config, weights, self.stop, observer)?;
            (checksum(weights)?.0, found.top1, found.loss, found.images)
        } else {
            config.prune.pruning_mode = PruningMode::Dense;
            (config.train.distill, config.train.bn_recal) = (false, 0);
            tracing::info!("no dense network is given (--pretrained_model): training one");
            let found = self.train(&config, Resume::Auto, observer)?;
            (config.train.model_path.join(WEIGHTS_FILE), found.top1, found.loss, found.images)
        };
        let (weights, crc32) = checksum(given.unwrap_or_else(|| WeightsAt::from(&weights)))?;
        let dense = DensePoint { weights, crc32, top1, loss, images };
        self.report.dense = Some(dense.clone());
        self.report.save(&self.folder)?;
        Ok(dense)
    }

    /// Fine-tunes at a ratio.
    fn point(
        &mut self,
        ratio: f64,
        start: PathBuf,
        dense: &DensePoint,
        observer: &mut dyn Observer,
    ) -> Result<Point> {
        let run = self.folder.path().join(format!("ratio-{ratio:.4}"));
        let mut config = self.config.base.clone();
        (config.prune.pruning_mode, config.prune.ratio) = (PruningMode::Ratio, ratio);
        config.prune.initial_ratio = config.prune.initial_ratio.min(ratio);
        config.train.model_path.clone_from(&run);
        let of_dense = config.model.pretrained_model.as_ref().and(config.model.pretrained_key.take());
        config.model.pretrained_model = Some(start.clone());
        if start == dense.weights {
            config.model.pretrained_key.clone_from(&of_dense);
        }
        if config.train.distill && config.train.teacher.is_none() {
            config.train.teacher = Some(dense.weights.clone());
            config.train.teacher_key = config.train.teacher_key.take().or(of_dense);
        }
        let resume = self.resume(ratio)?;
        let summary = self.train(&config, resume, observer)?;
        let difference = difference(&self.folder.path().join("dense"), &run)?;
        let Summary { sparsity, top1, loss, images_per_second, .. } = summary;
        Ok(Point { ratio, run, start, sparsity, top1, loss, difference, images_per_second })
    }

    /// A point that began elsewhere is given up; any other goes on from its newest checkpoint.
    fn resume(&mut self, ratio: f64) -> Result<Resume> {
        if self.report.point(ratio).is_none() {
            return Ok(Resume::Auto);
        }
        self.report.forget(ratio);
        self.report.save(&self.folder)?;
        Ok(Resume::Fresh)
    }

    fn train(&self, config: &TrainConfig, resume: Resume, observer: &mut dyn Observer) -> Result<Summary> {
        let plan = TrainPlan::resolve(config, &self.datasets.size())?;
        let start = Start { resume, checkpoint: None };
        match train(&plan, self.datasets, &start, self.stop, observer)? {
            Outcome::Finished(summary) => Ok(summary),
            Outcome::Stopped { signal, .. } => Err(Error::Stopped { signal }),
        }
    }
}

/// The file of weights, and the CRC-32 of its tensors.
fn checksum(weights: WeightsAt<'_>) -> Result<(PathBuf, u32)> {
    let pretrained = Pretrained::read(weights)?;
    let crc32 = weights::checksum(&pretrained.to_tensors());
    Ok((pretrained.path, crc32))
}

fn difference(dense: &Path, run: &Path) -> Result<crate::compare::Difference> {
    let group = |path: &Path| RunGroup { name: String::new(), runs: vec![path.to_path_buf()] };
    let compared = compare(&group(dense), &[group(run)], 0.0)?;
    let found = compared.rows.into_iter().find_map(|row| row.difference);
    found.ok_or_else(|| Error::NoPredictions { path: run.to_path_buf() })
}

/// Accuracy over sparsity, with the dense network's and the limit as lines.
fn plot_of(report: &SweepReport) -> Plot {
    let point = |point: &Point| plot::Point {
        sparsity: point.sparsity.prunable,
        top1: point.top1,
        interval: [
            point.difference.low - point.difference.mean,
            point.difference.high - point.difference.mean,
        ],
    };
    let dense = report.dense.as_ref().map(|dense| dense.top1);
    let limit = dense.map(|top1| top1 - report.loss);
    Plot {
        title: "Top-1 over sparsity".to_owned(),
        series: vec![Series { name: "pruned".to_owned(), points: report.points.iter().map(point).collect() }],
        lines: dense
            .into_iter()
            .map(|top1| ("dense".to_owned(), top1))
            .chain(limit.map(|top1| ("limit".to_owned(), top1)))
            .collect(),
    }
}
