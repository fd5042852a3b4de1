//! What a layer reads of the images.

use super::activations::{Activations, Networks};
use super::layers::Layer;
use crate::error::Result;
use crate::stop::StopFlag;
use sparse_engine::shapes;
use sparse_oneshot::{Places, Statistics};

/// Most places at which a layer is looked at with its activation, and the bytes that they may take.
const MOST_PLACES: usize = 65536;
const MOST_BYTES: usize = 400 << 20;

/// What a layer reads, for each of its groups.
pub(super) struct Seen {
    /// Of all places.
    pub(super) statistics: Vec<Statistics>,
    /// Some places, if an activation with bounds comes next; else none.
    pub(super) places: Vec<Places>,
}

impl Seen {
    /// By all images.
    ///
    /// # Errors
    /// What the engine reports, [`super::OneshotError::Layer`], and if a signal asked to stop.
    pub(super) fn of(
        networks: Networks<'_>,
        layer: &Layer,
        activations: &mut Activations,
        stop: &StopFlag,
    ) -> Result<Self> {
        let mut places: Vec<Places> =
            (0..layer.groups).filter_map(|group| layer.places(networks.dense, group)).collect();
        let [_, statistics] = look(networks, layer, activations, 0, &mut places, stop)?;
        Ok(Self { statistics, places })
    }
}

/// The statistics of what a layer reads, for each of its groups: of the first `apart` images, and of all others.
///
/// # Errors
/// As [`Seen::of`].
pub(super) fn statistics(
    networks: Networks<'_>,
    layer: &Layer,
    activations: &mut Activations,
    apart: usize,
    stop: &StopFlag,
) -> Result<[Vec<Statistics>; 2]> {
    look(networks, layer, activations, apart, &mut [], stop)
}

fn look(
    networks: Networks<'_>,
    layer: &Layer,
    activations: &mut Activations,
    apart: usize,
    places: &mut [Places],
    stop: &StopFlag,
) -> Result<[Vec<Statistics>; 2]> {
    let shape = shapes(networks.dense).map_err(sparse_engine::Error::from)?[layer.reads];
    let mut statistics = [(); 2].map(|()| vec![Statistics::new(layer.inputs); layer.groups]);
    let (images, most) = (activations.images(), most_places(layer));
    activations.look(networks, layer.reads, stop, &mut |image, dense, pruned| {
        let statistics = &mut statistics[usize::from(image >= apart)];
        for (group, statistics) in statistics.iter_mut().enumerate() {
            let dense = layer.unfold(dense, shape, group);
            let pruned = pruned.map(|pruned| layer.unfold(pruned, shape, group));
            let pruned = pruned.as_deref();
            statistics.add(&dense, pruned).map_err(|source| layer.error(source))?;
            if let Some(places) = places.get_mut(group) {
                let picked = picked(image, dense.len() / layer.inputs.max(1), images, most);
                places.add(&dense, pruned, &picked).map_err(|source| layer.error(source))?;
            }
        }
        Ok(())
    })?;
    Ok(statistics)
}

/// Places of a layer that are picked at most.
pub(super) fn most_places(layer: &Layer) -> usize {
    let each = Places::bytes(1, [layer.outputs, layer.inputs]) * layer.groups;
    MOST_PLACES.min(MOST_BYTES / each.max(1))
}

/// The pixels of an image that are picked, so that some `most` of all images are: spread as if by chance, the same each time.
pub(super) fn picked(image: usize, pixels: usize, images: usize, most: usize) -> Vec<usize> {
    let share = most as f64 / (images * pixels).max(1) as f64;
    let taken = |pixel: &usize| {
        // Multiples of the golden ratio are spread evenly between 0 and 1.
        let at = ((image * pixels + pixel) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((at >> 11) as f64) < share * (1_u64 << 53) as f64
    };
    (0..pixels).filter(taken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_places_as_asked_for_are_picked_of_all_images() {
        for (images, pixels, most) in [(600, 196, 65536), (600, 49, 65536), (10, 12544, 3000), (1, 1, 100)] {
            let all: Vec<usize> =
                (0..images).map(|image| picked(image, pixels, images, most).len()).collect();
            let sum: usize = all.iter().sum();
            let wanted = most.min(images * pixels);
            assert!(sum.abs_diff(wanted) <= 2, "{sum} of {wanted}");
            let (least, greatest) = (all.iter().min().unwrap(), all.iter().max().unwrap());
            assert!(greatest - least <= pixels / 10 + 2, "{least} to {greatest} of {pixels}");
        }
    }
}
