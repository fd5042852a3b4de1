//! Layers of which pruning leaves nothing: no layer goes around another, so nothing of an image passes them.

use crate::advice::some;
use crate::config::{PruneSection, PruningMode};
use crate::state::State;
use sparse_sparsity::block::Blocks;
use std::collections::BTreeSet;

/// The layers without a weight that were told of.
#[derive(Debug, Default)]
pub(crate) struct Emptied {
    /// `None` before anything was looked at.
    told: Option<BTreeSet<String>>,
}

impl Emptied {
    /// Warns of layers without a weight, the first time that it is called.
    pub(crate) fn warn_at_first(&mut self, state: &State, prune: &PruneSection) {
        if self.told.is_none() {
            self.warn_of_new(state, prune);
        }
    }

    /// Warns of layers without a weight that were not told of before.
    pub(crate) fn warn_of_new(&mut self, state: &State, prune: &PruneSection) {
        let masks = state.pruner().masks().iter();
        let empty = masks.filter(|(_, mask)| state.prunes() && mask.kept() == 0).map(|(name, _)| name);
        let told = self.told.get_or_insert_default();
        let new: Vec<String> = empty.filter(|name| !told.contains(*name)).cloned().collect();
        if new.is_empty() {
            return;
        }
        tracing::warn!(
            "all weights are pruned in {}: nothing of an image passes there; {}, or keep such layers dense (prune.exclude)",
            some(&new),
            advice(prune)
        );
        told.extend(new);
    }
}

/// How less is pruned of a layer.
fn advice(prune: &PruneSection) -> &'static str {
    match prune.pruning_mode {
        _ if prune.sparse_block != [1, 1] => {
            "prune smaller blocks (--sparse_block) or less (--ratio, --threshold)"
        }
        PruningMode::Threshold => "lower prune.threshold (--threshold)",
        _ if prune.local_sparsity => "lower prune.ratio (--ratio)",
        _ => "lower prune.ratio (--ratio), prune the same share of each layer (--local_sparsity True)",
    }
}

/// Warns of layers that are no larger than one block: each of them is pruned as a whole or not at all.
pub(crate) fn warn_of_large_blocks(state: &State, prune: &PruneSection) {
    let block = prune.sparse_block;
    if !state.prunes() || block == [1, 1] {
        return;
    }
    let variables = state.model().variables();
    let is_one_block = |name: &&String| {
        let blocks = variables.get(*name).and_then(|variable| Blocks::new(variable.dims(), block).ok());
        blocks.is_some_and(|blocks| blocks.len() == 1)
    };
    let whole: Vec<String> = state.pruner().masks().keys().filter(is_one_block).cloned().collect();
    if !whole.is_empty() {
        tracing::warn!(
            "prune.sparse_block = {block:?} is as large as the whole of {}: such a layer is pruned entirely or not at all; \
             lower it (--sparse_block), or keep such layers dense (prune.exclude)",
            some(&whole)
        );
    }
}
