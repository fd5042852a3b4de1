//! The memory of a run as threads share it: bare pointers, whose sizes [`super::program`] has checked.

#![allow(unsafe_code)]

use super::planes::{Planes, Slot};

/// The memory of one image's run: what is read, and what threads write side by side.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    /// The image, tight planes.
    pub(super) image: *const f32,
    /// The arena.
    pub(super) arena: *mut f32,
    /// Panels that all threads read, after they filled them together.
    pub(super) panels: *mut f32,
    /// Where the features go.
    pub(super) features: *mut f32,
}

// SAFETY: threads that share one `Memory` write to places that do not overlap between two barriers; `Program` checks the
// places when it is made, and its steps cut their output by tiles, rows or channels.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Where a slot begins.
    ///
    /// # Safety
    /// The slot must lie within memory. The image must not be written to.
    #[inline(always)]
    pub(super) unsafe fn at(self, slot: Slot) -> *mut f32 {
        match slot {
            Slot::Image => self.image.cast_mut(),
            // SAFETY: the caller promises that the arena reaches so far.
            Slot::Arena(at) => unsafe { self.arena.add(at) },
        }
    }
}

/// The planes that a source reads.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// First number of channel 0.
    pub(super) start: *const f32,
    pub(super) planes: Planes,
    /// Width and pixels of the output.
    pub(super) width: usize,
    pub(super) pixels: usize,
}
