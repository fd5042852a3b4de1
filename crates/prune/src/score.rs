//! What is ranked: the weights themselves, the scores of a criterion, or the scores of blocks.

use std::ops::Deref;

use rayon::prelude::*;
use sparse_sparsity::block::Blocks;
use sparse_sparsity::report::zeros;
use sparse_sparsity::{Mask, Weight};

use crate::signed::to_magnitude;
use crate::variables::{CHUNK, Reader, first_nan};
use crate::watch::{Watch, facts};
use crate::{Criterion, Error, Facts, Memory, Mode, PrunerConfig, Result, Weights};

/// One variable whose weights are ranked.
pub(crate) struct Candidate<'a> {
    pub(crate) name: &'a str,
    pub(crate) weights: Weights<'a>,
    /// How it is cut into blocks, if it is.
    pub(crate) blocks: Option<Blocks>,
    /// The mask so far, if the weights that it prunes stay pruned and count first.
    pub(crate) frozen: Option<&'a Mask>,
}

/// The ranked values of one variable: one per weight or one per block.
pub(crate) enum Values<'a, S> {
    /// The weights, ranked by magnitude.
    Weights(&'a [S]),
    /// Scores, 0 or above.
    Scores(Vec<S>),
}

/// A variable with its ranked values.
pub(crate) struct Part<'a, S> {
    pub(crate) candidate: Candidate<'a>,
    pub(crate) values: Values<'a, S>,
}

/// A part in the precision of its values.
pub(crate) enum Scored<'a> {
    F32(Part<'a, f32>),
    F64(Part<'a, f64>),
}

/// Parts that are ranked together, in one precision.
pub(crate) enum Group<'a> {
    F32(Vec<Part<'a, f32>>),
    F64(Vec<Part<'a, f64>>),
}

/// What the scores depend on.
pub(crate) struct Scoring<'a> {
    pub(crate) config: &'a PrunerConfig,
    pub(crate) criterion: Option<&'a dyn Criterion>,
    pub(crate) watch: &'a Watch,
}

impl<S> Deref for Values<'_, S> {
    type Target = [S];

    fn deref(&self) -> &[S] {
        match self {
            Self::Weights(weights) => weights,
            Self::Scores(scores) => scores,
        }
    }
}

impl Candidate<'_> {
    /// Number of weights that each value stands for, if it is the same for all.
    pub(crate) fn weights_each(&self) -> Option<u64> {
        match (&self.blocks, self.frozen) {
            (_, Some(_)) => None,
            (None, None) => Some(1),
            (Some(blocks), None) => blocks.size_of_all().map(|size| size as u64),
        }
    }

    /// Number of weights that value `index` stands for, without those that stay pruned.
    pub(crate) fn weights_of(&self, index: usize) -> u64 {
        let count = match (&self.blocks, self.frozen) {
            (None, None) => 1,
            (None, Some(mask)) => usize::from(mask.get(index)),
            (Some(blocks), None) => blocks.size(index),
            (Some(blocks), Some(mask)) => blocks.runs(index).map(|run| mask.kept_in(run)).sum(),
        };
        count as u64
    }
}

impl<S> Part<'_, S> {
    /// Number of weights that may still be pruned.
    pub(crate) fn open_weights(&self) -> u64 {
        self.candidate.frozen.map_or(self.candidate.weights.len(), Mask::kept) as u64
    }
}

impl<S: Weight> Part<'_, S> {
    /// Number of weights whose value is zero.
    pub(crate) fn zeros(&self) -> u64 {
        match &self.candidate.blocks {
            None => self.values.par_chunks(CHUNK).map(|chunk| zeros(chunk) as u64).sum(),
            Some(blocks) => {
                let zero = |&index: &usize| self.values[index] == S::ZERO;
                (0..blocks.len()).filter(zero).map(|index| blocks.size(index) as u64).sum()
            }
        }
    }
}

impl<'a> Part<'a, f32> {
    fn widen(self) -> Part<'a, f64> {
        let scores = self.values.iter().map(|&value| f64::from(value)).collect();
        Part { candidate: self.candidate, values: Values::Scores(scores) }
    }
}

impl<'a> Group<'a> {
    /// Puts parts together: in `f32` if all of them are, else in `f64`.
    pub(crate) fn of(scored: Vec<Scored<'a>>) -> Self {
        if scored.iter().any(|part| matches!(part, Scored::F64(_))) {
            let widened = scored.into_iter().map(|part| match part {
                Scored::F32(part) => part.widen(),
                Scored::F64(part) => part,
            });
            return Self::F64(widened.collect());
        }
        let single = scored.into_iter().filter_map(|part| match part {
            Scored::F32(part) => Some(part),
            Scored::F64(_) => None,
        });
        Self::F32(single.collect())
    }
}

impl Scoring<'_> {
    /// Ranks the weights of one variable; `mask` is its mask so far.
    pub(crate) fn score<'a>(&self, reader: &'a Reader<'a>, mask: Option<&'a Mask>) -> Result<Scored<'a>> {
        let candidate = self.candidate(reader, mask)?;
        let compat = self.config.paddle_compat;
        Ok(match (self.criterion, &candidate.blocks, candidate.weights) {
            (Some(criterion), ..) => {
                let facts = self.facts(reader, mask)?;
                in_f64(criterion_scores(criterion, &facts, candidate.blocks.as_ref())?, candidate)
            }
            (None, None, Weights::F32(slice)) => {
                Scored::F32(Part { candidate, values: Values::Weights(slice) })
            }
            (None, None, Weights::F64(slice)) => {
                Scored::F64(Part { candidate, values: Values::Weights(slice) })
            }
            (None, Some(blocks), Weights::F32(slice)) if compat => {
                let scores = magnitudes_of_means(blocks, slice);
                Scored::F32(Part { candidate, values: Values::Scores(scores) })
            }
            (None, Some(blocks), Weights::F64(slice)) if compat => {
                in_f64(magnitudes_of_means(blocks, slice), candidate)
            }
            (None, Some(blocks), Weights::F32(slice)) => in_f64(mean_magnitudes(blocks, slice), candidate),
            (None, Some(blocks), Weights::F64(slice)) => in_f64(mean_magnitudes(blocks, slice), candidate),
        })
    }

    /// The score of each weight of a variable, whatever the blocks.
    pub(crate) fn of_weights(&self, reader: &Reader<'_>, mask: Option<&Mask>) -> Result<Vec<f64>> {
        let weights = reader.weights()?;
        if let Some(index) = first_nan(weights) {
            return Err(Error::NotANumber { name: reader.variable.name.clone(), index });
        }
        match self.criterion {
            Some(criterion) => criterion_scores(criterion, &self.facts(reader, mask)?, None),
            None => Ok(weights.iter().map(f64::abs).collect()),
        }
    }

    /// What is known of a variable at a selection.
    fn facts<'a>(&'a self, reader: &'a Reader<'a>, mask: Option<&'a Mask>) -> Result<Facts<'a>> {
        let sums = self.watch.sums_of(&reader.variable.name);
        Ok(Facts { sums, steps: self.watch.steps, ..facts(reader, mask)? })
    }

    fn candidate<'a>(&self, reader: &'a Reader<'a>, mask: Option<&'a Mask>) -> Result<Candidate<'a>> {
        let name = reader.variable.name.as_str();
        let weights = reader.weights()?;
        let exact_ratio = matches!(self.config.mode, Mode::Ratio(_)) && !self.config.paddle_compat;
        let single = self.config.block == [1, 1];
        // The exact ranking of single weights finds a NaN on its way.
        if !(exact_ratio && single && self.criterion.is_none())
            && let Some(index) = first_nan(weights)
        {
            return Err(Error::NotANumber { name: name.to_owned(), index });
        }
        let dims = reader.variable.var.dims();
        let blocks = if single { None } else { Some(Blocks::new(dims, self.config.block)?) };
        let frozen = if exact_ratio && !self.config.regrow { mask } else { None };
        Ok(Candidate { name, weights, blocks, frozen })
    }
}

fn in_f64<'a>(scores: Vec<f64>, candidate: Candidate<'a>) -> Scored<'a> {
    Scored::F64(Part { candidate, values: Values::Scores(scores) })
}

fn criterion_scores(
    criterion: &dyn Criterion,
    facts: &Facts<'_>,
    blocks: Option<&Blocks>,
) -> Result<Vec<f64>> {
    if criterion.memory() != Memory::Nothing && facts.steps == 0 {
        return Err(Error::NothingObserved);
    }
    let signed = criterion.is_signed();
    let mut scores = vec![0.0; facts.weights.len()];
    criterion.score(facts, &mut scores);
    if let Some(index) = scores.iter().position(|&score| score.is_nan() || (score < 0.0 && !signed)) {
        return Err(Error::Score { name: facts.name.to_owned(), index, got: scores[index] });
    }
    let mut scores = match blocks {
        None => scores,
        Some(blocks) if signed => means(blocks, &scores),
        Some(blocks) => mean_magnitudes(blocks, &scores),
    };
    if signed {
        scores.iter_mut().for_each(|score| *score = to_magnitude(*score));
    }
    Ok(scores)
}

/// The mean of each block, with the signs.
fn means(blocks: &Blocks, scores: &[f64]) -> Vec<f64> {
    let sum = |index| blocks.runs(index).flat_map(|run| &scores[run]).sum::<f64>();
    (0..blocks.len()).map(|index| sum(index) / blocks.size(index) as f64).collect()
}

fn mean_magnitudes<T: Weight>(blocks: &Blocks, weights: &[T]) -> Vec<f64> {
    let mut means = vec![0.0; blocks.len()];
    let rows = means.par_chunks_mut(blocks.across().max(1)).enumerate();
    rows.for_each(|(row, means)| blocks.mean_magnitudes(row, weights, means));
    means
}

fn magnitudes_of_means<T: Weight>(blocks: &Blocks, weights: &[T]) -> Vec<T> {
    (0..blocks.len())
        .into_par_iter()
        .map_init(Vec::new, |buffer, index| blocks.magnitude_of_mean(index, weights, buffer))
        .collect()
}
