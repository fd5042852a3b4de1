//! Where rooms lie in one arena: what nobody reads any more makes room for results of the same height and width.

use crate::lower::Lowered;
use sparse_inference::{Place, Planes, Slot};
use std::collections::BTreeMap;

/// Where each value lies, and how many numbers the arena has.
#[derive(Clone, Debug)]
pub(crate) struct Arrangement {
    /// By node.
    pub(crate) places: BTreeMap<usize, Place>,
    pub(crate) arena: usize,
}

/// Memory for rooms, one after the other.
struct Memory {
    at: usize,
    planes: Planes,
    /// The last unit that uses what lies there.
    last: usize,
}

/// Gives each room memory that only channels of the same size use, one after the other.
///
/// Threads share an image by its pixels, so memory of one shape keeps belonging to the same thread, and its lines stay in the
/// cache of that thread's processor.
pub(crate) fn arrange(lowered: &Lowered, image: Place) -> Arrangement {
    let placed = &lowered.placed;
    let last = last_uses(lowered);
    let mut arena = 0;
    let mut memories: Vec<Memory> = Vec::new();
    // Where each room begins.
    let mut starts: Vec<Option<usize>> = vec![None; placed.rooms.len()];
    for (index, unit) in lowered.units.iter().enumerate() {
        let Some(spot) = placed.spots.get(&unit.value) else { continue };
        if starts[spot.room].is_some() {
            continue;
        }
        let planes = placed.rooms[spot.room];
        let at = match free(&mut memories, planes, index) {
            Some(memory) => {
                memory.last = last[spot.room];
                memory.at
            }
            None => {
                memories.push(Memory { at: arena, planes, last: last[spot.room] });
                arena += planes.len().next_multiple_of(ALIGNMENT);
                arena - planes.len().next_multiple_of(ALIGNMENT)
            }
        };
        starts[spot.room] = Some(at);
    }
    let mut places = BTreeMap::from([(0, image)]);
    for (&value, spot) in &placed.spots {
        if let (Some(start), Some(&planes)) = (starts[spot.room], placed.planes.get(&value)) {
            places.insert(value, Place { slot: Slot::Arena(start + spot.first * planes.pitch()), planes });
        }
    }
    Arrangement { places, arena }
}

/// Memory that nobody uses any more with room for planes: the same, or the smallest that has more channels.
fn free(memories: &mut [Memory], planes: Planes, unit: usize) -> Option<&mut Memory> {
    let fits = |memory: &&mut Memory| {
        memory.last < unit
            && (memory.planes.height, memory.planes.width) == (planes.height, planes.width)
            && memory.planes.channels >= planes.channels
    };
    memories.iter_mut().filter(fits).min_by_key(|memory| memory.planes.channels)
}

/// Places begin at pairs of cache lines.
const ALIGNMENT: usize = 32;

/// The last unit that uses each room; the features are read after all.
fn last_uses(lowered: &Lowered) -> Vec<usize> {
    let placed = &lowered.placed;
    let mut last = vec![0; placed.rooms.len()];
    for (index, unit) in lowered.units.iter().enumerate() {
        for value in unit.inputs.iter().chain([&unit.value]) {
            if let Some(spot) = placed.spots.get(value) {
                last[spot.room] = index;
            }
        }
    }
    if let Some(spot) = placed.spots.get(&lowered.features) {
        last[spot.room] = lowered.units.len();
    }
    last
}
