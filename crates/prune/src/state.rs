//! What a pruner has to remember beside its masks.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schedule::ScheduleState;

/// The state of a pruner, without its masks, to be saved in a checkpoint.
///
/// Numbers are written as text that reads back to the same bits in every format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrunerState {
    pub(crate) schedule: ScheduleState,
    pub(crate) threshold: Option<Exact>,
    pub(crate) thresholds: BTreeMap<String, Exact>,
    /// Steps that a criterion has observed; it comes with sums.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) observed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl PrunerState {
    /// Where the schedule stands.
    pub fn schedule(&self) -> ScheduleState {
        self.schedule
    }
}

/// A number that survives every text format bit for bit; infinity too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exact(pub(crate) f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Rust prints the shortest digits that parse back to the same number.
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}
