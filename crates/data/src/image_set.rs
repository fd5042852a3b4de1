//! A data set of encoded images: a source of bytes, and a transform that makes pixels of them.

use crate::bad_images::{BadImage, BadImages, BadList};
use crate::dataset::{Dataset, View, check_request};
use crate::fingerprint::{Fingerprint, Sum};
use crate::source::{Source, Strays};
use crate::transform::Transform;
use crate::worker::panic_message;
use crate::{Error, PixelCache, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Settings of an [`ImageSet`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageSetConfig {
    /// Number of classes; labels are below it.
    pub classes: usize,
    /// What to do with images that cannot be used.
    pub bad_images: BadImages,
}

/// JPEG and PNG images of a [`Source`], decoded when read, as `[3, image_size, image_size]` in RGB (or one channel of grey).
///
/// Images that cannot be used (missing, empty, damaged, of absurd size, or such that the decoder panics) are
/// found when they are read. Under [`BadImages::Skip`] the training view gives in their place the next image, in
/// the order of the source and round its end, that can be used, with its label and with the random numbers
/// drawn for the bad one; the evaluation view leaves them out. Both depend on the images alone, so any number of
/// threads and a resumed run see the same bytes.
pub struct ImageSet {
    source: Box<dyn Source>,
    transform: Transform,
    config: ImageSetConfig,
    bad: BadList,
    cache: Option<PixelCache>,
}

impl ImageSet {
    /// Joins a source and a transform.
    ///
    /// # Errors
    ///
    /// When the source is empty, a label is out of range, or the limit of bad images is no fraction.
    pub fn new(source: Box<dyn Source>, transform: Transform, config: ImageSetConfig) -> Result<Self> {
        let len = source.len();
        if len == 0 {
            return Err(Error::empty("the data set"));
        }
        let bad = BadList::new(config.bad_images, len, source.strays())?;
        let classes = config.classes;
        if let Some(index) = (0..len).find(|&index| source.label(index) as usize >= classes) {
            let (place, label) = (source.label_place(index), u64::from(source.label(index)));
            return Err(Error::Label { place, label, classes });
        }
        Ok(Self { source, transform, config, bad, cache: None })
    }

    /// Reads from decoded images in `file` from now on, which are made on so many threads unless they are there; the
    /// reason why they were made anew, if they were. See [`PixelCache`].
    ///
    /// # Errors
    ///
    /// When `file` is something else, or cannot be read or written.
    pub fn keep(&mut self, file: &Path, threads: usize) -> Result<Option<&'static str>> {
        let Fingerprint { names, contents, .. } = self.source.fingerprint();
        let mut list = Sum::default();
        list.labels(&[names, contents]);
        let read = |index: usize| {
            let mut bytes = Vec::new();
            self.source.read(index, &mut bytes).ok().map(|_| bytes)
        };
        let (cache, reason) = PixelCache::open_or_build(
            file,
            &self.transform,
            list.value(),
            self.source.len(),
            threads,
            &read,
        )?;
        self.cache = Some(cache);
        Ok(reason)
    }

    /// Where the bytes of image `index` lie.
    pub fn place(&self, index: usize) -> String {
        self.source.place(index)
    }

    /// Reads and transforms the image at `at`, with the random numbers of `index`.
    fn try_read(
        &self,
        at: usize,
        view: View,
        index: usize,
        image: &mut [f32],
    ) -> std::result::Result<(), String> {
        guarded(|| {
            if let Some(cache) = &self.cache
                && self
                    .transform
                    .write_cached(cache, at, view, index, image)
                    .map_err(|fault| fault.to_string())?
            {
                return Ok(());
            }
            let mut bytes = Vec::new();
            self.source.read(at, &mut bytes).map_err(|error| error.to_string())?;
            if bytes.is_empty() {
                return Err("the file is empty".to_owned());
            }
            self.transform.write(&bytes, view, index, image).map_err(|fault| fault.to_string())
        })
    }
}

/// Runs a decoder, a panic of which is one more reason.
fn guarded(decode: impl FnOnce() -> std::result::Result<(), String>) -> std::result::Result<(), String> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|payload| Err(format!("the decoder panicked: {}", panic_message(&*payload))))
}

impl Dataset for ImageSet {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn classes(&self) -> usize {
        self.config.classes
    }

    fn image_shape(&self) -> [usize; 3] {
        let config = self.transform.config();
        [config.channels(), config.size, config.size]
    }

    fn read(&self, index: usize, view: View, image: &mut [f32]) -> Result<u32> {
        check_request(self, index, image)?;
        let len = self.len();
        for at in (index..len).chain(0..index) {
            let Err(reason) = self.try_read(at, view, index, image) else {
                return Ok(self.source.label(at));
            };
            let place = self.source.place(at);
            self.bad.report(at, &place, &reason)?;
            if view == View::Eval {
                return Err(Error::LeftOut { place, reason });
            }
        }
        // Only a limit of 1 lets the search come round.
        Err(Error::empty("the data set, of whose images none can be used,"))
    }

    fn bad_images(&self) -> Vec<BadImage> {
        self.bad.all()
    }

    fn check_bad_images(&self, found: &[BadImage]) -> Result<()> {
        self.bad.check(found)
    }

    fn strays(&self) -> &Strays {
        self.source.strays()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.source.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_is_one_more_bad_image() {
        let reason = guarded(|| panic!("index out of bounds")).unwrap_err();
        assert_eq!(reason, "the decoder panicked: index out of bounds");
        assert_eq!(guarded(|| Err("cut".to_owned())), Err("cut".to_owned()));
        assert_eq!(guarded(|| Ok(())), Ok(()));
    }
}
