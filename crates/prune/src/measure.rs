//! What a pruner reports about the weights.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sparse_sparsity::Weight;
use sparse_sparsity::report::{Count, Magnitudes, Sparsity, count_of_share, magnitudes};

use crate::cutoff::select;
use crate::score::{Candidate, Group, Part, Scored, Values};
use crate::variables::{Reader, Variable, first_nan};
use crate::{Error, Pruner, Result, Weights};

/// The magnitudes of the prunable weights; in units of the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightSummary {
    /// Over all prunable weights together.
    pub all: Magnitudes,
    /// Over each prunable variable on its own.
    pub by_layer: BTreeMap<String, Magnitudes>,
}

impl Pruner {
    /// The fraction of zeros over every value of every variable in the map, running statistics included.
    ///
    /// # Errors
    /// [`Error::Candle`] if values cannot be read.
    ///
    /// Source: PaddleSlim, unstructured_pruner.
    pub fn total_sparse(&self) -> Result<f64> {
        self.sparsity_where(|_| true)
    }

    /// The fraction of zeros over the kernels of all 1×1 convolutions; 0 if there are none.
    ///
    /// # Errors
    /// [`Error::Candle`] if values cannot be read.
    ///
    /// Source: PaddleSlim, unstructured_pruner.
    pub fn total_sparse_conv1x1(&self) -> Result<f64> {
        self.sparsity_where(Variable::is_pointwise)
    }

    /// The fractions of zeros over all parameters, over the weights that are prunable by default (two dimensions or
    /// more, whatever the settings choose of them), and over the pointwise ones.
    ///
    /// # Errors
    /// [`Error::Candle`] if values cannot be read.
    pub fn sparsity(&self) -> Result<Sparsity> {
        let mut counts = [Count::default(); 3];
        for variable in self.variables() {
            let count = variable.count()?;
            let member = [true, variable.is_prunable_by_default(), variable.is_pointwise()];
            for (sum, _) in counts.iter_mut().zip(member).filter(|(_, member)| *member) {
                *sum = *sum + count;
            }
        }
        let [all_parameters, prunable, pointwise] = counts.map(Count::sparsity);
        Ok(Sparsity { all_parameters, prunable, pointwise })
    }

    /// The fraction of zeros over the variables that the settings choose to prune.
    ///
    /// # Errors
    /// [`Error::Candle`] if values cannot be read.
    pub fn zeros(&self) -> Result<f64> {
        self.sparsity_where(|variable| variable.prunable)
    }

    /// The fraction of zeros of every variable in the map, prunable or not.
    ///
    /// # Errors
    /// [`Error::Candle`] if values cannot be read.
    pub fn sparse_by_layer(&self) -> Result<BTreeMap<String, f64>> {
        let of = |variable: &Variable| Ok((variable.name.clone(), variable.count()?.sparsity()));
        self.variables().iter().map(of).collect()
    }

    /// The threshold that prunes the fraction `ratio` of the prunable weights, by what threshold mode compares with it:
    /// magnitudes, the means of blocks, or the scores of a criterion. Ties and the size of blocks may make it prune less.
    /// Infinite for a ratio that counts all weights.
    ///
    /// # Errors
    /// As [`Pruner::step`].
    pub fn threshold_for(&self, ratio: f64) -> Result<f64> {
        self.smallest_kept(|weights| count_of_share(ratio, weights))
    }

    /// The largest value that threshold mode compares with the threshold: above it nothing is kept.
    ///
    /// # Errors
    /// As [`Pruner::step`].
    pub fn largest_ranked(&self) -> Result<f64> {
        self.smallest_kept(|weights| weights.saturating_sub(1))
    }

    /// The smallest ranked value that is kept if `count` of all prunable weights are pruned.
    fn smallest_kept(&self, count: impl Fn(u64) -> u64) -> Result<f64> {
        let readers: Vec<Reader<'_>> = self.prunable().map(Variable::read).collect();
        let count = count(self.prunable().map(|variable| variable.len() as u64).sum());
        let scored: Vec<Scored<'_>> =
            readers.iter().map(|reader| self.scoring().score(reader, None)).collect::<Result<_>>()?;
        Ok(match Group::of(scored) {
            Group::F32(parts) => select(&parts, count)?.0.magnitude().to_f64(),
            Group::F64(parts) => select(&parts, count)?.0.magnitude().to_f64(),
        })
    }

    /// Smallest, middle and largest magnitude of the prunable weights, and the threshold that would prune the
    /// fraction `ratio` of them one by one, without blocks: over all together, and layer by layer.
    ///
    /// # Errors
    /// [`Error::Sparsity`] if the ratio lies outside [0, 1], [`Error::NotANumber`] if a weight is NaN.
    pub fn summarize_weights(&self, ratio: f64) -> Result<WeightSummary> {
        let readers: Vec<Reader<'_>> = self.prunable().map(Variable::read).collect();
        let mut by_layer = BTreeMap::new();
        let mut parts = Vec::new();
        for reader in &readers {
            let name = reader.variable.name.clone();
            let weights = reader.weights()?;
            if let Some(index) = first_nan(weights) {
                return Err(Error::NotANumber { name, index });
            }
            by_layer.insert(name, summary(&Group::of(vec![part(reader, weights)]), ratio)?);
            parts.push(part(reader, weights));
        }
        Ok(WeightSummary { all: summary(&Group::of(parts), ratio)?, by_layer })
    }

    fn sparsity_where(&self, member: impl Fn(&Variable) -> bool) -> Result<f64> {
        let members = self.variables().iter().filter(|variable| member(variable));
        let counts: Vec<Count> = members.map(Variable::count).collect::<Result<_>>()?;
        Ok(counts.into_iter().sum::<Count>().sparsity())
    }
}

fn part<'a>(reader: &'a Reader<'a>, weights: Weights<'a>) -> Scored<'a> {
    let candidate = Candidate { name: &reader.variable.name, weights, blocks: None, frozen: None };
    match weights {
        Weights::F32(slice) => Scored::F32(Part { candidate, values: Values::Weights(slice) }),
        Weights::F64(slice) => Scored::F64(Part { candidate, values: Values::Weights(slice) }),
    }
}

fn summary(group: &Group<'_>, ratio: f64) -> Result<Magnitudes> {
    let table = match group {
        Group::F32(parts) => magnitudes(&slices(parts), &[ratio]),
        Group::F64(parts) => magnitudes(&slices(parts), &[ratio]),
    };
    Ok(table?)
}

fn slices<'a, S>(parts: &'a [Part<'_, S>]) -> Vec<&'a [S]> {
    parts.iter().map(|part| &*part.values).collect()
}
