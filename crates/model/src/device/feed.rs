//! The way of a batch to the device.

use super::room::Room;
use crate::Result;
use sparse_cuda::{Memory, Queue, Slice};

/// Two places for batches, filled in turn, so that a batch can come while the one before is worked on.
pub struct Feed<M> {
    rooms: [Room<M>; 2],
    /// Which of them was filled last.
    newest: usize,
    images: usize,
    image_bytes: usize,
    highest: u32,
    size: [usize; 2],
}

/// A batch on the device.
#[derive(Clone, Copy, Debug)]
pub struct Fed<'a> {
    /// f32, `[N, C, H, W]`.
    pub(super) images: Slice<'a>,
    /// u32, `[N]`.
    pub(super) labels: Slice<'a>,
    /// N.
    pub(super) count: usize,
    /// The largest label.
    pub(super) highest: u32,
    /// Height and width.
    pub(super) size: [usize; 2],
}

impl<M> Default for Feed<M> {
    fn default() -> Self {
        let rooms = [Room::default(), Room::default()];
        Self { rooms, newest: 0, images: 0, image_bytes: 0, highest: 0, size: [0; 2] }
    }
}

impl<M: Memory> Feed<M> {
    /// Sends a batch: `images: [N, C, H, W]` of this height and width, `labels: [N]`.
    ///
    /// # Errors
    /// The queue's.
    pub fn put<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        images: &[f32],
        labels: &[u32],
        size: [usize; 2],
    ) -> Result<()> {
        self.newest = 1 - self.newest;
        let (images_bytes, labels_bytes) = (size_of_val(images), size_of_val(labels));
        let room = &mut self.rooms[self.newest];
        room.resize(queue, images_bytes + labels_bytes)?;
        (self.images, self.image_bytes, self.size) = (labels.len(), images_bytes, size);
        self.highest = labels.iter().copied().max().unwrap_or(0);
        queue.write_aside([bytemuck::cast_slice(images), bytemuck::cast_slice(labels)], room.slice())?;
        Ok(())
    }

    /// How many images the last batch has.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The batch that was sent last.
    pub fn batch(&self) -> Fed<'_> {
        let slice = self.rooms[self.newest].slice();
        let labels = slice.bytes() - self.image_bytes;
        Fed {
            images: slice.part(0, self.image_bytes),
            labels: slice.part(self.image_bytes, labels),
            count: self.images,
            highest: self.highest,
            size: self.size,
        }
    }
}
