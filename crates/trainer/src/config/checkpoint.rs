//! Section `checkpoint`: when full training states are saved and how many are kept.

use super::{Key, declare::settings};

settings! {
    /// Section `checkpoint`.
    pub struct CheckpointSection: "checkpoint", with the defaults for _ => {
        /// Steps between checkpoints within an epoch, beside those every `train.model_period` epochs.
        every_steps: Option<usize> = None,
            Key::whole(0, "steps").note("0 = only at the end of epochs").default_words("none").free();
        /// How many of the newest checkpoints are kept.
        keep: usize = 3,
            Key::whole(1, "checkpoints").free();
    }
}

impl CheckpointSection {
    /// True when the end of `step` (steps done, 1 or more) is a time to save within an epoch.
    #[must_use]
    pub fn is_due(&self, step: usize) -> bool {
        self.every_steps.is_some_and(|every| step.is_multiple_of(every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saving_is_due_at_multiples_of_the_period() {
        let due = |every_steps, step| CheckpointSection { every_steps, keep: 1 }.is_due(step);
        assert_eq!([99, 100, 101, 200].map(|step| due(Some(100), step)), [false, true, false, true]);
        assert!(!due(None, 100) && !due(Some(0), 100));
    }
}
