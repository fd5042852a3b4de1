//! Steps whose masks are computed where the weights are: on a device.

use std::collections::BTreeMap;

use sparse_sparsity::Mask;
use sparse_sparsity::report::count_of_share;

use crate::allocation::Ranked;
use crate::{Mode, Pruner, Result, Scope, Strategy};

/// What is to be computed in a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Nothing: the masks stay.
    Keep,
    /// Keep the weights of this magnitude or above that are not zero.
    Threshold(f64),
    /// Prune so many weights of the smallest magnitudes of each group of [`Pruner::groups`], of equal ones those that come first. Where
    /// pruned weights may not come back they are part of the count and are not ranked.
    Smallest(Vec<usize>),
}

impl Pruner {
    /// Whether a step is a [`Task`] for whoever holds the weights: single weights, ranked by magnitude.
    pub fn can_be_told(&self) -> bool {
        let config = self.config();
        let otherwise =
            matches!(config.mode, Mode::Pattern(_)) || matches!(config.strategy, Strategy::DropGrow(_));
        self.ranks_by_magnitude() && config.block == [1, 1] && !config.paddle_compat && !otherwise
    }

    /// The prunable variables that are ranked together, by name and in the order of the ranking.
    pub fn groups(&self) -> Vec<Vec<&str>> {
        self.ranked().into_iter().map(|group| group.names).collect()
    }

    /// Does one step of the schedule as [`Pruner::step`] does, and tells what is to be computed instead of computing it.
    pub fn tell_step(&mut self) -> Task {
        let update = self.advance();
        if update.is_some_and(|update| !update.recompute) {
            return Task::Keep;
        }
        match update.map_or(self.config().mode, |update| self.mode_at(update.ratio)) {
            // Not told: `can_be_told` says so.
            Mode::Pattern(_) => Task::Keep,
            Mode::Threshold(threshold) => Task::Threshold(threshold),
            Mode::Ratio(ratio) => {
                let count = |group: &Ranked<'_>| {
                    let total = group.names.iter().map(|&name| self.masks()[name].len() as u64).sum();
                    count_of_share(self.ratio_of(group, ratio), total) as usize
                };
                Task::Smallest(self.ranked().iter().map(count).collect())
            }
        }
    }

    /// Takes the masks that were computed; `thresholds` are the smallest magnitudes kept in each group of [`Pruner::groups`], none if the
    /// masks were never computed.
    ///
    /// # Errors
    /// [`crate::Error::RestoreNames`] and [`crate::Error::RestoreLength`] if the masks belong to other variables.
    pub fn take_masks(&mut self, masks: BTreeMap<String, Mask>, thresholds: Option<Vec<f64>>) -> Result<()> {
        self.check_masks(&masks)?;
        if let Some(thresholds) = thresholds {
            let groups = self.groups();
            let named = |(group, &threshold): (&Vec<&str>, &f64)| {
                group.iter().map(|&name| (name.to_owned(), threshold)).collect::<Vec<_>>()
            };
            let by_name = groups.iter().zip(&thresholds).flat_map(named).collect();
            let together = match self.config().mode {
                Mode::Threshold(threshold) => Some(threshold),
                Mode::Pattern(_) => None,
                Mode::Ratio(_) => {
                    let one = self.config().scope == Scope::Global && thresholds.len() == 1;
                    thresholds.first().copied().filter(|_| one)
                }
            };
            self.set_thresholds(together, by_name);
        }
        self.set_masks(masks);
        Ok(())
    }
}
