//! Where the results of units lie in one arena: memory is used again as soon as nobody reads it any more.

use crate::lower::Lowered;
use sparse_kernels::host::inference::{Place, Slot};
use std::collections::BTreeMap;

/// Where each value lies, and how many numbers the arena has.
#[derive(Clone, Debug)]
pub(crate) struct Arrangement {
    /// By node.
    pub(crate) places: BTreeMap<usize, Place>,
    pub(crate) arena: usize,
}

/// Gives each value the lowest room that is free from its unit on until its last reader.
pub(crate) fn arrange(lowered: &Lowered, image: Place) -> Arrangement {
    let mut places = BTreeMap::from([(0, image)]);
    let mut arena = 0;
    // Start, end and last reader of what is in use.
    let mut in_use: Vec<(usize, usize, usize)> = Vec::new();
    for (index, unit) in lowered.units.iter().enumerate() {
        in_use.retain(|&(_, _, last)| last >= index);
        in_use.sort_unstable();
        let len = unit.planes.len().next_multiple_of(ALIGNMENT);
        let mut start = 0;
        for &(begin, end, _) in &in_use {
            if start + len <= begin {
                break;
            }
            start = start.max(end);
        }
        in_use.push((start, start + len, last_reader(lowered, unit.value)));
        arena = arena.max(start + len);
        places.insert(unit.value, Place { slot: Slot::Arena(start), planes: unit.planes });
    }
    Arrangement { places, arena }
}

/// Places begin at cache lines.
const ALIGNMENT: usize = 16;

/// The last unit that reads a value; the features are read after all.
fn last_reader(lowered: &Lowered, value: usize) -> usize {
    if value == lowered.features {
        return lowered.units.len();
    }
    lowered.units.iter().rposition(|unit| unit.inputs.contains(&value)).unwrap_or(0)
}
