//! Section `checkpoint`: when full training states are saved and how many are kept.

use serde::{Deserialize, Serialize};

use super::{
    keys::SectionKeys,
    validate::{Problem, require},
};

/// Section `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSection {
    /// Steps between checkpoints within an epoch; `None` or 0 = only every `train.model_period` epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_steps: Option<usize>,
    /// How many of the newest checkpoints are kept.
    pub keep: usize,
}

pub(super) const KEYS: SectionKeys = &[
    ("every_steps", "a whole number of steps, 0 or more (0 = only at the end of epochs)"),
    ("keep", "a whole number, 1 or more"),
];

impl Default for CheckpointSection {
    fn default() -> Self {
        Self { every_steps: None, keep: 3 }
    }
}

impl CheckpointSection {
    /// True when the end of `step` (steps done, 1 or more) is a time to save within an epoch.
    #[must_use]
    pub fn is_due(&self, step: usize) -> bool {
        self.every_steps.is_some_and(|every| step.is_multiple_of(every))
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        require(self.keep >= 1, "checkpoint.keep")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_checkpoint_is_kept() {
        let problem = CheckpointSection { every_steps: None, keep: 0 }.check().unwrap_err();
        assert_eq!(
            (problem.key, problem.rule.as_str()),
            ("checkpoint.keep", "must be a whole number, 1 or more")
        );
        assert!(CheckpointSection::default().check().is_ok());
    }

    #[test]
    fn saving_is_due_at_multiples_of_the_period() {
        let due = |every_steps, step| CheckpointSection { every_steps, keep: 1 }.is_due(step);
        assert_eq!([99, 100, 101, 200].map(|step| due(Some(100), step)), [false, true, false, true]);
        assert!(!due(None, 100) && !due(Some(0), 100));
    }
}
