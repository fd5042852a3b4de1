//! Copies to a device while it works: through pinned memory, on a stream of their own.

#![allow(unsafe_code)]

use super::Slice;
use cudarc::driver::{CudaEvent, CudaStream, DriverError, PinnedHostSlice, result};
use std::sync::Arc;

/// A stream of copies beside the stream of work.
pub(super) struct Copies {
    stream: Arc<CudaStream>,
    /// Used in turn: while one is read by a copy, the other is filled.
    slots: [Slot; 2],
    next: usize,
    /// The work that was queued before the last copy; what it used may be overwritten once it is done.
    worked: Option<CudaEvent>,
}

/// Pinned memory, and the copy that reads it.
#[derive(Default)]
struct Slot {
    pinned: Option<PinnedHostSlice<u8>>,
    copied: Option<CudaEvent>,
}

impl Copies {
    pub(super) fn new(work: &CudaStream) -> Result<Self, DriverError> {
        let stream = work.context().new_stream()?;
        Ok(Self { stream, slots: Default::default(), next: 0, worked: None })
    }

    /// Copies `from` to `to`, which work queued since the last call does not use; with `all`, after all work queued before.
    pub(super) fn put(
        &mut self,
        work: &CudaStream,
        from: [&[u8]; 2],
        to: Slice<'_>,
        all: bool,
    ) -> Result<(), DriverError> {
        if all {
            self.worked = Some(work.record_event(None)?);
        }
        let slot = &mut self.slots[self.next];
        self.next = 1 - self.next;
        let bytes = slot.fill(work, from)?;
        if let Some(worked) = self.worked.take() {
            self.stream.wait(&worked)?;
        }
        // SAFETY: `to` is as long as both runs together, and the pinned memory stays until the copy is over: `fill` and `drop` wait, and
        // without an event to wait for, the next lines do.
        unsafe { result::memcpy_htod_async(to.address(), bytes, self.stream.cu_stream())? };
        let queued = self.stream.record_event(None).and_then(|copied| work.wait(&copied).map(|()| copied));
        match queued {
            Ok(copied) => slot.copied = Some(copied),
            Err(error) => {
                self.stream.synchronize()?;
                return Err(error);
            }
        }
        self.worked = Some(work.record_event(None)?);
        Ok(())
    }
}

/// Small copies in the order of the work: through pinned memory, so that nothing is waited for.
#[derive(Default)]
pub(super) struct SmallCopies {
    slots: [Slot; 8],
    next: usize,
}

impl SmallCopies {
    /// Most bytes of a copy; more are copied and waited for.
    pub(super) const MOST: usize = 4096;

    pub(super) fn put(&mut self, work: &CudaStream, from: &[u8], to: Slice<'_>) -> Result<(), DriverError> {
        let next = (self.next + 1) % self.slots.len();
        let slot = &mut self.slots[std::mem::replace(&mut self.next, next)];
        let bytes = slot.fill(work, [from, &[]])?;
        // SAFETY: as in `Copies::put`.
        unsafe { result::memcpy_htod_async(to.address(), bytes, work.cu_stream())? };
        match work.record_event(None) {
            Ok(copied) => slot.copied = Some(copied),
            Err(error) => {
                work.synchronize()?;
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Slot {
    /// Takes the bytes, once the copy that reads the memory is over.
    fn fill(&mut self, work: &CudaStream, from: [&[u8]; 2]) -> Result<&[u8], DriverError> {
        if let Some(copied) = self.copied.take() {
            copied.synchronize()?;
        }
        let [first, second] = from;
        let len = first.len() + second.len();
        let pinned = match self.pinned.take().filter(|pinned| pinned.len() >= len) {
            Some(pinned) => pinned,
            // SAFETY: the bytes that a copy reads are written first.
            None => unsafe { work.context().alloc_pinned::<u8>(len.max(SmallCopies::MOST))? },
        };
        let bytes = &mut self.pinned.insert(pinned).as_mut_slice()?[..len];
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..].copy_from_slice(second);
        Ok(bytes)
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        // The pinned memory is read until then; of an error the context keeps a record.
        self.stream.context().record_err(self.stream.synchronize());
    }
}
