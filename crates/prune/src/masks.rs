//! From ranked values to masks.

use rayon::prelude::*;
use sparse_sparsity::mask::WORD_BITS;
use sparse_sparsity::report::count_of_share;
use sparse_sparsity::select::Cutoff;
use sparse_sparsity::threshold::{keep_words, without_zeros};
use sparse_sparsity::{Mask, Weight, paddle};

use crate::cutoff::{Boundary, select};
use crate::score::{Group, Part, Values};
use crate::variables::CHUNK;
use crate::{Result, Weights};

/// How much is pruned of weights that are ranked together.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    /// What lies below.
    Threshold(f64),
    /// A fraction.
    Ratio(f64),
}

/// Which values are kept.
enum Rule<S> {
    /// Those of this magnitude or above, where the weight is not zero.
    Threshold(S),
    /// Those above the cutoff, and the ties from the boundary on.
    Exact(Cutoff<S>, Boundary),
}

/// The masks of one group, in the order of its parts, and the smallest magnitude or score that is kept.
pub(crate) struct Selected {
    pub(crate) masks: Vec<Mask>,
    pub(crate) threshold: f64,
}

/// Computes the masks of variables that are ranked together.
pub(crate) fn masks_of_group(group: &Group<'_>, amount: Amount, paddle_compat: bool) -> Result<Selected> {
    match group {
        Group::F32(parts) => masks_of_parts(parts, amount, paddle_compat),
        Group::F64(parts) => masks_of_parts(parts, amount, paddle_compat),
    }
}

fn masks_of_parts<S: Weight>(parts: &[Part<'_, S>], amount: Amount, paddle_compat: bool) -> Result<Selected> {
    let (rule, threshold) = match amount {
        Amount::Threshold(threshold) => (Rule::Threshold(S::from_f64(threshold)), threshold),
        Amount::Ratio(ratio) if paddle_compat => {
            let threshold = paddle_threshold(parts, ratio)?;
            (Rule::Threshold(threshold), threshold.to_f64())
        }
        Amount::Ratio(ratio) => {
            let (cutoff, boundary) = select(parts, count_to_prune(parts, ratio))?;
            (Rule::Exact(cutoff, boundary), cutoff.magnitude().to_f64())
        }
    };
    let of_part = |(index, part)| mask_of_part(part, index, &rule);
    let masks = parts.par_iter().enumerate().map(of_part).collect::<Result<_>>()?;
    Ok(Selected { masks, threshold })
}

/// Number of weights to prune beside those that stay pruned.
fn count_to_prune<S: Weight>(parts: &[Part<'_, S>], ratio: f64) -> u64 {
    let total = parts.iter().map(|part| part.candidate.weights.len() as u64).sum();
    let frozen = parts.iter().filter_map(|part| part.candidate.frozen).map(|mask| mask.pruned() as u64).sum();
    count_of_share(ratio, total).saturating_sub(frozen)
}

fn paddle_threshold<S: Weight>(parts: &[Part<'_, S>], ratio: f64) -> Result<S> {
    let total = parts.iter().map(|part| part.candidate.weights.len() as u64).sum();
    let zeros = parts.iter().map(Part::zeros).sum();
    match paddle::threshold_index(ratio, total, zeros) {
        Some(index) => Ok(select(parts, index)?.0.magnitude()),
        None => Ok(S::ZERO),
    }
}

fn mask_of_part<S: Weight>(part: &Part<'_, S>, index: usize, rule: &Rule<S>) -> Result<Mask> {
    let mut mask = match &part.candidate.blocks {
        Some(blocks) => blocks.mask(|block| part.values[block].magnitude() >= rule.minimum(index, block)),
        None => mask_of_values(&part.values, index, rule),
    };
    if matches!(rule, Rule::Threshold(_)) && !matches!(part.values, Values::Weights(_)) {
        mask.intersect(&non_zero(part.candidate.weights))?;
    }
    Ok(mask)
}

fn mask_of_values<S: Weight>(values: &Values<'_, S>, part: usize, rule: &Rule<S>) -> Mask {
    let threshold = match (rule, values) {
        // A zero weight is never kept, so a threshold of 0 becomes the smallest magnitude above it.
        (Rule::Threshold(threshold), Values::Weights(_)) => without_zeros(*threshold),
        (Rule::Threshold(threshold), Values::Scores(_)) => *threshold,
        (Rule::Exact(..), _) => S::ZERO,
    };
    let mut mask = Mask::all_pruned(values.len());
    let words = mask.words_mut().par_chunks_mut(CHUNK / WORD_BITS);
    values.par_chunks(CHUNK).zip(words).enumerate().for_each(|(chunk, (values, words))| match rule {
        Rule::Threshold(_) => keep_words(values, threshold, words),
        Rule::Exact(cutoff, boundary) => {
            cutoff.keep_words(values, boundary.within(part, chunk * CHUNK, values.len()), words);
        }
    });
    mask
}

/// The mask that keeps the weights that are not zero.
pub(crate) fn non_zero(weights: Weights<'_>) -> Mask {
    match weights {
        Weights::F32(weights) => Mask::non_zero(weights),
        Weights::F64(weights) => Mask::non_zero(weights),
    }
}

impl<S: Weight> Rule<S> {
    /// The smallest magnitude that value `index` of part `part` is kept with.
    fn minimum(&self, part: usize, index: usize) -> S {
        match self {
            Self::Threshold(threshold) => *threshold,
            Self::Exact(cutoff, boundary) => cutoff.minimum((part, index) >= (boundary.part, boundary.index)),
        }
    }
}

impl Boundary {
    /// The boundary as an index into a chunk of `len` values that begins at value `start` of part `part`.
    fn within(self, part: usize, start: usize, len: usize) -> usize {
        match part.cmp(&self.part) {
            std::cmp::Ordering::Less => len,
            std::cmp::Ordering::Equal => self.index.saturating_sub(start).min(len),
            std::cmp::Ordering::Greater => 0,
        }
    }
}
