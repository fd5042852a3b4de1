//! Where the results of units lie in one arena: what nobody reads any more makes room for results of the same shape.

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

/// Gives each value memory that only values of the same shape use, one after the other.
///
/// Threads share an image by its pixels, so memory of one shape keeps belonging to the same thread, and its lines stay in the
/// cache of that thread's processor.
pub(crate) fn arrange(lowered: &Lowered, image: Place) -> Arrangement {
    let mut places = BTreeMap::from([(0, image)]);
    let mut arena = 0;
    // Places and the last reader of what lies there.
    let mut rooms: Vec<(Place, usize)> = Vec::new();
    for (index, unit) in lowered.units.iter().enumerate() {
        let last = last_reader(lowered, unit.value);
        let free = |&&mut (place, last): &&mut (Place, usize)| place.planes == unit.planes && last < index;
        let place = match rooms.iter_mut().find(free) {
            Some(room) => {
                room.1 = last;
                room.0
            }
            None => {
                let place = Place { slot: Slot::Arena(arena), planes: unit.planes };
                arena += unit.planes.len().next_multiple_of(ALIGNMENT);
                rooms.push((place, last));
                place
            }
        };
        places.insert(unit.value, place);
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
