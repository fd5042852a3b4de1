//! The exact cutoff over several variables, found on all threads.

use std::ops::{ControlFlow, Range};

use rayon::prelude::*;
use sparse_sparsity::Weight;
use sparse_sparsity::bracket::Bracket;
use sparse_sparsity::mask::WORD_BITS;
use sparse_sparsity::select::{Cutoff, Histogram, Selection};

use crate::score::Part;
use crate::variables::{CHUNK, first_nan};
use crate::{Error, Result};

/// Values in the sample that guesses where the cutoff lies.
const SAMPLE: usize = 1 << 14;

/// Where the ties at a cutoff end to be pruned: ties at value `index` of part `part` and after are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Boundary {
    pub(crate) part: usize,
    pub(crate) index: usize,
}

/// Values of one part that one task handles.
struct Chunk {
    part: usize,
    range: Range<usize>,
}

/// The cutoff that prunes `count` weights of all parts together, and where its ties end.
///
/// What threads count are integers, so the sums do not depend on which thread counted what.
pub(crate) fn select<S: Weight>(parts: &[Part<'_, S>], count: u64) -> Result<(Cutoff<S>, Boundary)> {
    let chunks = chunks(parts);
    let found = match by_bracket(parts, &chunks, count) {
        Ok(None) => by_histograms(parts, &chunks, count),
        Ok(Some(cutoff)) => Ok(cutoff),
        Err(error) => Err(error),
    };
    let cutoff = found.map_err(|error| name_nan(parts, error))?;
    Ok((cutoff, boundary(parts, &chunks, &cutoff)))
}

fn chunks<S: Weight>(parts: &[Part<'_, S>]) -> Vec<Chunk> {
    let of_part = |(part, len): (usize, usize)| {
        (0..len).step_by(CHUNK).map(move |start| Chunk { part, range: start..(start + CHUNK).min(len) })
    };
    parts.iter().map(|part| part.values.len()).enumerate().flat_map(of_part).collect()
}

/// One pass around a guess; none if the guess was wrong, or if it is not worth while.
fn by_bracket<S: Weight>(
    parts: &[Part<'_, S>],
    chunks: &[Chunk],
    count: u64,
) -> sparse_sparsity::Result<Option<Cutoff<S>>> {
    let len: usize = parts.iter().map(|part| part.values.len()).sum();
    if len < 4 * SAMPLE || parts.iter().any(|part| part.candidate.blocks.is_some()) {
        return Ok(None);
    }
    // An odd stride falls out of step with the rows of the usual widths.
    let stride = (len / SAMPLE) | 1;
    let sampled = |part: &Part<'_, S>| {
        let indices = (0..part.values.len()).step_by(stride);
        let counted = indices.filter(|&index| part.candidate.weights_of(index) > 0);
        counted.map(|index| part.values[index]).collect::<Vec<S>>()
    };
    let sample: Vec<S> = parts.iter().flat_map(sampled).collect();
    let total = parts.iter().map(Part::open_weights).sum();
    let bracket = Bracket::guess(&sample, count, total)?;
    let splits = chunks
        .par_iter()
        .map(|chunk| {
            let part = &parts[chunk.part];
            let words = |range: &Range<usize>| range.start / WORD_BITS..range.end.div_ceil(WORD_BITS);
            let members = part.candidate.frozen.and_then(|mask| mask.words().get(words(&chunk.range)));
            bracket.split(&part.values[chunk.range.clone()], members)
        })
        .collect::<sparse_sparsity::Result<Vec<_>>>()?;
    bracket.cutoff(&splits, count)
}

/// One pass per digit of the keys.
fn by_histograms<S: Weight>(
    parts: &[Part<'_, S>],
    chunks: &[Chunk],
    count: u64,
) -> sparse_sparsity::Result<Cutoff<S>> {
    let mut selection = Selection::new(count);
    loop {
        let empty = || selection.histogram();
        let histogram = chunks
            .par_iter()
            .try_fold(empty, |mut histogram, chunk| {
                count_chunk(parts, chunk, &mut histogram)?;
                Ok(histogram)
            })
            .try_reduce(empty, |mut sum, histogram| {
                sum.merge(&histogram);
                Ok(sum)
            })?;
        match selection.narrow(&histogram) {
            ControlFlow::Continue(next) => selection = next,
            ControlFlow::Break(cutoff) => return Ok(cutoff),
        }
    }
}

fn count_chunk<S: Weight>(
    parts: &[Part<'_, S>],
    chunk: &Chunk,
    histogram: &mut Histogram<S>,
) -> sparse_sparsity::Result<()> {
    let part = &parts[chunk.part];
    let values = &part.values[chunk.range.clone()];
    match part.candidate.weights_each() {
        Some(weights_each) => histogram.add(values, weights_each),
        None => histogram.add_weighted(values, |index| part.candidate.weights_of(chunk.range.start + index)),
    }
}

/// Finds the chunk in which the budget for ties runs out, then the value.
fn boundary<S: Weight>(parts: &[Part<'_, S>], chunks: &[Chunk], cutoff: &Cutoff<S>) -> Boundary {
    let mut budget = cutoff.budget();
    if budget == 0 {
        return Boundary { part: 0, index: 0 };
    }
    let view = |chunk: &Chunk| {
        let part = &parts[chunk.part];
        let start = chunk.range.start;
        (&part.values[chunk.range.clone()], move |index: usize| part.candidate.weights_of(start + index))
    };
    let tied: Vec<u64> = chunks
        .par_iter()
        .map(|chunk| {
            let (values, weights_of) = view(chunk);
            cutoff.tied(values, weights_of)
        })
        .collect();
    for (chunk, tied) in chunks.iter().zip(tied) {
        if tied > budget {
            let (values, weights_of) = view(chunk);
            let index = chunk.range.start + cutoff.boundary(values, budget, weights_of);
            return Boundary { part: chunk.part, index };
        }
        budget -= tied;
    }
    Boundary { part: parts.len(), index: 0 }
}

/// Names the first NaN in the order of the variables, whichever thread met one first.
fn name_nan<S: Weight>(parts: &[Part<'_, S>], error: sparse_sparsity::Error) -> Error {
    let nan = |part: &Part<'_, S>| {
        let name = part.candidate.name.to_owned();
        Some(Error::NotANumber { name, index: first_nan(part.candidate.weights)? })
    };
    parts.iter().find_map(nan).unwrap_or_else(|| error.into())
}
