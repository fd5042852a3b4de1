//! ImageNet and other folders of image files with a list.

use crate::dataset::{Dataset, Split, View, check_request};
use crate::normalise::{Normalise, Table};
use crate::{Error, Result, decode, files, geometry, sample_rng};
use image::RgbImage;
use std::path::{Path, PathBuf};

/// Settings of an [`ImageFolder`].
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFolderConfig {
    /// Number of classes; labels on the list are below it.
    pub classes: usize,
    /// Side of the square images that come out, in pixels.
    pub image_size: usize,
    /// Short side, in pixels, to which an image is resized before its centre is cut out for evaluation.
    pub resize_short: usize,
    /// Normalisation of red, green and blue.
    pub normalise: Normalise,
}

impl ImageFolderConfig {
    /// The ImageNet recipe for `image_size`: 1000 classes, `resize_short` = `image_size` / 0.875 rounded (256
    /// for 224), ImageNet's mean and deviation.
    pub fn imagenet(image_size: usize) -> Self {
        let resize_short = (image_size as f64 / 0.875).round_ties_even() as usize;
        Self { classes: 1000, image_size, resize_short, normalise: Normalise::imagenet() }
    }
}

/// A folder of JPEG and PNG files with the lists `train_list.txt` and `val_list.txt`.
///
/// A line is `RELATIVE/PATH LABEL`, split at the last white space, label 0-based; blank lines are skipped.
/// Images come out as `[3, image_size, image_size]` in RGB. Training view: random resized crop (area 0.08 to 1,
/// aspect 3/4 to 4/3) and a flip half of the time. Evaluation view: short side to `resize_short`, then the
/// centre. Both resize with Lanczos (PaddleSlim, imagenet_reader). Files are opened when read, not before; an
/// image may take up to 512 MiB decoded.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    folder: PathBuf,
    entries: Vec<Entry>,
    classes: usize,
    image_size: u32,
    resize_short: u32,
    tables: Vec<Table>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    label: u32,
}

impl ImageFolder {
    /// Reads the list of one split in `folder`.
    ///
    /// # Errors
    ///
    /// When the list is missing, empty or has a malformed line or a label out of range, or a setting does not
    /// fit the others.
    pub fn open(folder: impl AsRef<Path>, split: Split, config: &ImageFolderConfig) -> Result<Self> {
        let (name, what) = match split {
            Split::Train => ("train_list.txt", "list of training images"),
            Split::Test => ("val_list.txt", "list of validation images"),
        };
        let (image_size, resize_short) = checked_sizes(config)?;
        let tables = config.normalise.tables(3)?;
        let folder = folder.as_ref().to_owned();
        let entries = read_list(&folder.join(name), what, config.classes)?;
        Ok(Self { folder, entries, classes: config.classes, image_size, resize_short, tables })
    }

    /// The file of image `index`, if there is such an image.
    pub fn path(&self, index: usize) -> Option<PathBuf> {
        self.entries.get(index).map(|entry| self.folder.join(&entry.path))
    }

    /// Crops, resizes and normalises as the view asks.
    fn write(
        &self,
        decoded: &RgbImage,
        index: usize,
        view: View,
        image: &mut [f32],
    ) -> std::result::Result<(), String> {
        let (width, height) = decoded.dimensions();
        match view {
            View::Train { seed, epoch } => {
                let mut rng = sample_rng(seed, epoch, index);
                let crop = geometry::random_crop(&mut rng, width, height);
                let flip = rng.coin();
                let resized = decode::crop_and_resize(decoded, crop, self.image_size)?;
                decode::write_window(&resized, (0, 0), flip, &self.tables, image);
            }
            View::Eval => {
                let (width, height) = geometry::resize_short(width, height, self.resize_short);
                let resized = decode::resize(decoded, width, height)?;
                let corner =
                    (geometry::centre(width, self.image_size), geometry::centre(height, self.image_size));
                decode::write_window(&resized, corner, false, &self.tables, image);
            }
        }
        Ok(())
    }
}

/// Checks that the central window fits into the resized image.
fn checked_sizes(config: &ImageFolderConfig) -> Result<(u32, u32)> {
    const LIMIT: usize = 1 << 13;
    let ImageFolderConfig { image_size, resize_short, .. } = *config;
    if (1..=LIMIT).contains(&image_size) && (image_size..=LIMIT).contains(&resize_short) {
        return Ok((image_size as u32, resize_short as u32));
    }
    let reason = format!(
        "{resize_short} with `data.image_size` {image_size} cannot be used; choose 1 <= image_size <= resize_short <= {LIMIT}"
    );
    Err(Error::Setting { setting: "data.resize_short", reason })
}

fn read_list(path: &Path, what: &'static str, classes: usize) -> Result<Vec<Entry>> {
    let bytes = files::read(path, what, files::FILE_LIMIT)?;
    let mut entries = Vec::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let text = String::from_utf8_lossy(line);
        if text.trim().is_empty() {
            continue;
        }
        let number = number + 1;
        let Some(entry) = parse_line(text.trim()) else {
            let text = text.trim().chars().take(200).collect();
            return Err(Error::ListLine { path: path.to_owned(), line: number, text });
        };
        if entry.label as usize >= classes {
            let place = format!("{}, line {number}", path.display());
            return Err(Error::Label { place, label: u64::from(entry.label), classes });
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(Error::Empty { place: path.display().to_string() });
    }
    Ok(entries)
}

/// Splits a trimmed line at its last white space; paths may contain spaces.
fn parse_line(line: &str) -> Option<Entry> {
    let (path, label) = line.rsplit_once(char::is_whitespace)?;
    Some(Entry { path: path.trim_end().to_owned(), label: label.parse().ok()? })
}

impl Dataset for ImageFolder {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn image_shape(&self) -> [usize; 3] {
        [3, self.image_size as usize, self.image_size as usize]
    }

    fn read(&self, index: usize, view: View, image: &mut [f32]) -> Result<u32> {
        check_request(self, index, image)?;
        let Entry { path, label } = &self.entries[index];
        let path = self.folder.join(path);
        let decoded = decode::decode(&path)?;
        self.write(&decoded, index, view, image).map_err(|reason| Error::Image { path, reason })?;
        Ok(*label)
    }
}
