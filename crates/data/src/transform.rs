//! From the bytes of an image file to the input of a network: decode, crop, resize, convert, augment, normalise.

use crate::augment::{self, Augment};
use crate::decode::{Source, guarded};
use crate::geometry::{self, Draws, Rectangle};
use crate::lines::Lines;
use crate::normalise::Table;
use crate::resample::{self, Interpolation, Taps};
use crate::{Error, ImageFault, Mode, Normalise, Picture, PixelCache, Result, View, jpeg, sample_rng};
use std::cell::Cell;
use std::ops::Range;

/// Settings of a [`Transform`].
#[derive(Clone, Debug, PartialEq)]
pub struct TransformConfig {
    /// Side of the square that comes out, in pixels.
    pub size: usize,
    /// Short side, in pixels, to which an image is resized before its centre is cut out for evaluation; 0 cuts the
    /// centre out of the image as it is.
    pub resize_short: usize,
    /// Filter of each resize.
    pub interpolation: Interpolation,
    /// Normalisation of red, green and blue, or of grey.
    pub normalise: Normalise,
    /// Whether the result has one channel, the grey of Pillow's `L`, in place of red, green and blue.
    pub grey: bool,
    /// Whether the training view is a random crop, flipped half of the time; else it is the evaluation view.
    pub augment: bool,
    /// Least share of the image's area that a training crop covers, above 0, at most 1.
    pub crop_area: f64,
    /// Whether a training image is first turned by up to 10 degrees (PaddleSlim's `rotate`).
    pub rotate: bool,
    /// Whether brightness, contrast and saturation of a training image are each changed by up to a half, in a random
    /// order (PaddleSlim's `color_jitter`).
    pub color_jitter: bool,
    /// Strength from 1 to 10 of two random colour operations on each training image; 0 for none. It is RandAugment
    /// (Cubuk et al. 2020) without the operations that move pixels.
    pub rand_augment: u32,
}

impl TransformConfig {
    /// PaddleSlim's ImageNet recipe for squares of `size` pixels: `resize_short` = `size` / 0.875 rounded (256 for
    /// 224), Lanczos, ImageNet's mean and deviation, random crops and flips.
    pub fn imagenet(size: usize) -> Self {
        Self {
            size,
            resize_short: (size as f64 / 0.875).round_ties_even() as usize,
            interpolation: Interpolation::Lanczos,
            normalise: Normalise::imagenet(),
            grey: false,
            augment: true,
            crop_area: 0.08,
            rotate: false,
            color_jitter: false,
            rand_augment: 0,
        }
    }

    /// Channels of the result.
    pub(crate) fn channels(&self) -> usize {
        if self.grey { 1 } else { 3 }
    }
}

/// Makes network inputs out of image files, on any thread; buffers are kept per thread.
///
/// The training view takes a random crop (area `crop_area` to 1, aspect 3/4 to 4/3) and resizes it; the evaluation view
/// resizes the short side and takes the centre. It is PaddleSlim's `process_image` (`imagenet_reader.py`) on Pillow:
/// the same draws, crops and filters, pixels converted to RGB after the resize, and for JPEG files of the usual kind the
/// same decoded pixels. An orientation in the EXIF data is not obeyed, as Pillow's `convert` does not. Colour
/// operations are the exception: they follow the conversion to RGB.
///
/// ```
/// use sparse_data::{Transform, TransformConfig, View};
///
/// let transform = Transform::new(&TransformConfig::imagenet(32))?;
/// let mut image = vec![0.0; 3 * 32 * 32];
/// let fault = transform.write(b"no image", View::Eval, 0, &mut image).unwrap_err();
/// assert_eq!(fault.to_string(), "it begins neither as a JPEG nor as a PNG file");
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Transform {
    config: TransformConfig,
    tables: Vec<Table>,
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    jpeg: jpeg::Scratch,
    resample: resample::Scratch,
    columns: Lines,
    rows: Lines,
    rgb: Lines,
    across: Taps,
    down: Taps,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Runs with this thread's buffers.
fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = work(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

/// What is to be seen of an image.
struct Plan {
    /// The part that is resized.
    area: Rectangle,
    /// To which width and height.
    resized: (usize, usize),
    /// Columns and rows of the result that are kept.
    columns: Range<usize>,
    rows: Range<usize>,
}

impl Transform {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// When a side or a strength is out of its range, or the centre does not fit into the resized image.
    pub fn new(config: &TransformConfig) -> Result<Self> {
        const LIMIT: usize = 1 << 13;
        let TransformConfig { size, resize_short, rand_augment, .. } = *config;
        let fits = (1..=LIMIT).contains(&size);
        if !fits || resize_short != 0 && !(size..=LIMIT).contains(&resize_short) {
            let reason = format!(
                "{resize_short} with `data.image_size` {size} cannot be used; \
                 choose 1 <= image_size <= resize <= {LIMIT}, or resize 0 for none"
            );
            return Err(Error::Setting { setting: "data.resize", reason });
        }
        let area = config.crop_area;
        if !(area > 0.0 && area <= 1.0) {
            let reason =
                format!("{area} cannot be used; choose a share of the image's area above 0, at most 1");
            return Err(Error::Setting { setting: "data.crop_area", reason });
        }
        if rand_augment > 10 {
            let reason =
                format!("{rand_augment} cannot be used; choose a strength from 1 to 10, or 0 for none");
            return Err(Error::Setting { setting: "data.rand_augment", reason });
        }
        Ok(Self { config: config.clone(), tables: config.normalise.tables(config.channels())? })
    }

    /// The settings.
    pub fn config(&self) -> &TransformConfig {
        &self.config
    }

    /// Writes the image in `bytes`, one whole JPEG or PNG file, into `image: [C, size, size]`, C = 3 or, of
    /// grey, 1.
    ///
    /// Random numbers are those of [`sample_rng`] of the view and `index`.
    ///
    /// # Errors
    ///
    /// When the bytes are no image that can be used, or `image` has another length. What cannot be used may depend
    /// on the crop: damage below it is not looked for.
    pub fn write(
        &self,
        bytes: &[u8],
        view: View,
        index: usize,
        image: &mut [f32],
    ) -> std::result::Result<(), ImageFault> {
        guarded(|| self.write_source(&mut Source::open(bytes)?, view, index, image))
    }

    /// Writes a decoded image.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_picture(
        &self,
        picture: Picture,
        view: View,
        index: usize,
        image: &mut [f32],
    ) -> std::result::Result<(), ImageFault> {
        self.write_source(&mut Source::picture(picture)?, view, index, image)
    }

    /// Writes image `slot` of a cache; false if it holds no such image, so that its file has to be read.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_cached(
        &self,
        cache: &PixelCache,
        slot: usize,
        view: View,
        index: usize,
        image: &mut [f32],
    ) -> std::result::Result<bool, ImageFault> {
        let Some(mut source) = cache.source(slot) else { return Ok(false) };
        self.write_source(&mut source, view, index, image).map(|()| true)
    }

    /// Decodes an image and shrinks it until its short side has so many pixels: width, height and columns
    /// `[3, width, height]`.
    pub(crate) fn shrunk(
        &self,
        bytes: &[u8],
        short: u32,
    ) -> std::result::Result<(usize, usize, Vec<u8>), ImageFault> {
        guarded(|| self.shrink(&mut Source::open(bytes)?, short))
    }

    fn shrink(
        &self,
        source: &mut Source,
        short: u32,
    ) -> std::result::Result<(usize, usize, Vec<u8>), ImageFault> {
        let (width, height) = source.size();
        let area = Rectangle { left: 0, top: 0, width: width as u32, height: height as u32 };
        let resized = match area.width.min(area.height) > short {
            true => geometry::resize_short(area.width, area.height, short),
            false => (area.width, area.height),
        };
        let (width, height) = (resized.0 as usize, resized.1 as usize);
        let plan = Plan { area, resized: (width, height), columns: 0..width, rows: 0..height };
        with_scratch(|scratch| {
            self.see(source, &plan, scratch)?;
            scratch.rgb.transpose_into(&mut scratch.columns);
            let columns = &scratch.columns;
            let lines = columns.data().chunks_exact(columns.stride());
            Ok((width, height, lines.flat_map(|line| &line[..height]).copied().collect()))
        })
    }

    /// Writes a decoded image in the training view with random numbers of one's own, drawn in PaddleSlim's order:
    /// angle, aspect, area, left, top, colours, flip.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_drawn(
        &self,
        picture: Picture,
        draws: &mut dyn Draws,
        image: &mut [f32],
    ) -> std::result::Result<(), ImageFault> {
        with_scratch(|scratch| self.train(&mut Source::picture(picture)?, draws, scratch, image))
    }

    fn write_source(
        &self,
        source: &mut Source,
        view: View,
        index: usize,
        image: &mut [f32],
    ) -> std::result::Result<(), ImageFault> {
        with_scratch(|scratch| match view {
            View::Train { seed, epoch } if self.config.augment => {
                self.train(source, &mut sample_rng(seed, epoch, index), scratch, image)
            }
            _ => {
                let plan = self.central(source.size())?;
                self.see(source, &plan, scratch)?;
                self.normalise(&scratch.rgb, false, image)
            }
        })
    }

    fn train(
        &self,
        source: &mut Source,
        draws: &mut dyn Draws,
        scratch: &mut Scratch,
        image: &mut [f32],
    ) -> std::result::Result<(), ImageFault> {
        let TransformConfig { size, crop_area, rotate, color_jitter, rand_augment, .. } = self.config;
        if rotate {
            let degrees = draws.below(21) as i32 - 10;
            source.rotate(degrees, &mut scratch.jpeg)?;
        }
        let (width, height) = source.size();
        let area = geometry::random_crop(draws, crop_area, width as u32, height as u32);
        let plan = Plan { area, resized: (size, size), columns: 0..size, rows: 0..size };
        self.see(source, &plan, scratch)?;
        if color_jitter {
            augment::jitter(draws, &mut scratch.rgb);
        }
        for _ in 0..if rand_augment > 0 { 2 } else { 0 } {
            Augment::draw(draws, rand_augment).apply(&mut scratch.rgb);
        }
        let flip = draws.below(2) == 1;
        self.normalise(&scratch.rgb, flip, image)
    }

    /// The evaluation view of an image of this size.
    fn central(&self, (width, height): (usize, usize)) -> std::result::Result<Plan, ImageFault> {
        let TransformConfig { size, resize_short, .. } = self.config;
        let whole = Rectangle { left: 0, top: 0, width: width as u32, height: height as u32 };
        let resized = match resize_short {
            0 if width.min(height) < size => {
                return Err(ImageFault::BelowCrop { width, height, size });
            }
            0 => (whole.width, whole.height),
            short => geometry::resize_short(whole.width, whole.height, short as u32),
        };
        let left = geometry::centre(resized.0, size as u32) as usize;
        let top = geometry::centre(resized.1, size as u32) as usize;
        let resized = (resized.0 as usize, resized.1 as usize);
        Ok(Plan { area: whole, resized, columns: left..left + size, rows: top..top + size })
    }

    /// Decodes what the plan needs and resizes it, to `scratch.rgb`.
    fn see(
        &self,
        source: &mut Source,
        plan: &Plan,
        scratch: &mut Scratch,
    ) -> std::result::Result<(), ImageFault> {
        let Scratch { jpeg, resample, columns, rows, rgb, across, down } = scratch;
        let Rectangle { left, top, width, height } = plan.area;
        let filter = self.config.interpolation;
        let resized = plan.resized != (width as usize, height as usize);
        across.set(filter, width as usize, plan.resized.0, plan.columns.clone());
        down.set(filter, height as usize, plan.resized.1, plan.rows.clone());
        let (x, y) = (across.needed(), down.needed());
        let nearest = source.nearest();
        let needed = if nearest { (0..width as usize, 0..height as usize) } else { (x, y) };
        let area = Rectangle {
            left: left + needed.0.start as u32,
            top: top + needed.1.start as u32,
            width: needed.0.len() as u32,
            height: needed.1.len() as u32,
        };
        let mode = source.columns(area, jpeg, columns)?;
        if nearest {
            let x = resample::nearest(width as usize, plan.resized.0, plan.columns.clone());
            let y = resample::nearest(height as usize, plan.resized.1, plan.rows.clone());
            resample::pick(columns, &x, &y, rows);
        } else if mode == Mode::Grey16 {
            resample::resize_words(columns, across, down, rows);
        } else {
            // Pillow multiplies the opacity in for a resize alone: without one, colours below it stay.
            if resized {
                mode.before(columns);
            }
            resample::resize(columns, across, down, resample, rows);
            if resized {
                mode.after(rows);
            }
        }
        mode.rgb(source.palette(), rows, rgb);
        Ok(())
    }

    /// Writes rows of bytes as network input.
    fn normalise(&self, rgb: &Lines, flip: bool, image: &mut [f32]) -> std::result::Result<(), ImageFault> {
        let size = self.config.size;
        if image.len() != self.config.channels() * size * size {
            let reason = "they do not fill the buffer of the image";
            return Err(ImageFault::Sides { width: size, height: size, reason });
        }
        if let ([table], true) = (self.tables.as_slice(), self.config.grey) {
            for (y, target) in image.chunks_exact_mut(size).enumerate() {
                let grey = augment::grey_line(rgb, y, size).map(|byte| table[usize::from(byte)]);
                target.iter_mut().zip(grey).for_each(|(value, grey)| *value = grey);
                if flip {
                    target.reverse();
                }
            }
            return Ok(());
        }
        for (channel, (plane, table)) in image.chunks_exact_mut(size * size).zip(&self.tables).enumerate() {
            let rows = rgb.channel(channel).chunks_exact(rgb.stride());
            for (target, row) in plane.chunks_exact_mut(size).zip(rows) {
                let row = &row[..size];
                if flip {
                    for (value, &byte) in target.iter_mut().rev().zip(row) {
                        *value = table[usize::from(byte)];
                    }
                } else {
                    for (value, &byte) in target.iter_mut().zip(row) {
                        *value = table[usize::from(byte)];
                    }
                }
            }
        }
        Ok(())
    }
}

impl Source<'_> {
    /// A picture whose bytes are as many as its sides say.
    fn picture(picture: Picture) -> std::result::Result<Self, ImageFault> {
        let Picture { mode, width, height, ref pixels, .. } = picture;
        if pixels.is_empty()
            || Some(pixels.len())
                != width.checked_mul(height).and_then(|area| area.checked_mul(mode.channels()))
        {
            return Err(ImageFault::Sides { width, height, reason: "another number of pixels is given" });
        }
        Ok(Self::Picture(picture))
    }

    /// Whether it is resized to the nearest pixel.
    fn nearest(&self) -> bool {
        matches!(self, Self::Picture(Picture { mode: Mode::Bit | Mode::Palette, .. }))
    }

    /// Turns the image, which is decoded whole for that.
    fn rotate(&mut self, degrees: i32, scratch: &mut jpeg::Scratch) -> std::result::Result<(), ImageFault> {
        self.decode(scratch)?;
        if let Self::Picture(picture) = self {
            *picture = picture.rotated(degrees);
        }
        Ok(())
    }
}
