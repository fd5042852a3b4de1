//! Large buffers that are kept from step to step.

use crate::{Error, Result};
use bytemuck::Pod;
use memmap2::MmapMut;
use std::marker::PhantomData;

/// Memory for activations, from the system in one piece and in large pages where there are some: kernels walk many channels
/// side by side, each far from the next, and small pages would cost a table look-up for each.
pub(super) struct Buffer<E> {
    map: Option<MmapMut>,
    len: usize,
    element: PhantomData<E>,
}

impl<E> Default for Buffer<E> {
    fn default() -> Self {
        Self { map: None, len: 0, element: PhantomData }
    }
}

impl<E: Pod> Buffer<E> {
    /// Makes it `len` elements long; what they hold is not defined.
    ///
    /// # Errors
    /// [`Error::Memory`] if the system has no room.
    pub(super) fn resize(&mut self, len: usize) -> Result<()> {
        let bytes = len * size_of::<E>();
        if self.map.as_ref().map_or(0, |map| map.len()) < bytes {
            self.map = None;
            let map = MmapMut::map_anon(bytes).map_err(|source| Error::Memory { bytes, source })?;
            // Advice: it works without.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            self.map = Some(map);
        }
        self.len = len;
        Ok(())
    }

    /// The elements.
    pub(super) fn as_slice(&self) -> &[E] {
        match &self.map {
            Some(map) => bytemuck::cast_slice(&map[..self.len * size_of::<E>()]),
            None => &[],
        }
    }

    /// The elements, to be written.
    pub(super) fn as_mut_slice(&mut self) -> &mut [E] {
        match &mut self.map {
            Some(map) => bytemuck::cast_slice_mut(&mut map[..self.len * size_of::<E>()]),
            None => &mut [],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_shrinks_and_keeps_its_memory() {
        let mut buffer = Buffer::<f32>::default();
        assert!(buffer.as_slice().is_empty());
        buffer.resize(1000).unwrap();
        buffer.as_mut_slice().fill(2.0);
        let start = buffer.as_slice().as_ptr();
        buffer.resize(10).unwrap();
        buffer.resize(1000).unwrap();
        assert_eq!((buffer.as_slice().as_ptr(), buffer.as_slice().len()), (start, 1000));
        assert!(buffer.as_slice().iter().all(|&value| value == 2.0));
        buffer.resize(1 << 20).unwrap();
        assert_eq!(buffer.as_slice().len(), 1 << 20);
        buffer.resize(0).unwrap();
        assert!(buffer.as_mut_slice().is_empty());
    }

    #[test]
    fn more_memory_than_there_is_is_an_error_that_says_what_to_do() {
        let error = Buffer::<f32>::default().resize(1 << 60).unwrap_err().to_string();
        assert!(error.contains("batch_size"), "{error}");
    }
}
