//! Small images, folders and archives for the tests of sources.
#![allow(dead_code, reason = "each test file uses a part of these helpers")]
#![allow(clippy::unwrap_used)]

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use sparse_data::{
    BadImages, Dataset, ImageSet, ImageSetConfig, Normalise, Source, Transform, TransformConfig, View,
};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use tempfile::TempDir;

pub(crate) const SIZE: usize = 16;

pub(crate) fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG file whose red is `tone` everywhere.
pub(crate) fn plain(tone: u8) -> Vec<u8> {
    encode(RgbImage::from_pixel(20, 18, Rgb([tone, 0, 0])), ImageFormat::Png)
}

/// Writes files with the folders above them.
pub(crate) fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        write(folder.path(), name, bytes);
    }
    folder
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A tar file with these members.
pub(crate) fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Pixels are fractions of 255.
pub(crate) fn transform() -> Transform {
    let normalise = Normalise::new(vec![0.0], vec![1.0]).unwrap();
    Transform::new(&TransformConfig { resize_short: 18, normalise, ..TransformConfig::imagenet(SIZE) })
        .unwrap()
}

pub(crate) fn image_set(
    source: impl Source + 'static,
    classes: usize,
    bad_images: BadImages,
) -> sparse_data::Result<ImageSet> {
    ImageSet::new(Box::new(source), transform(), ImageSetConfig { classes, bad_images })
}

/// Label and red of the first pixel, as a byte.
pub(crate) fn read(data: &dyn Dataset, index: usize, view: View) -> sparse_data::Result<(u32, u8)> {
    let mut image = vec![0.0; 3 * SIZE * SIZE];
    let label = data.read(index, view, &mut image)?;
    Ok((label, (image[0] * 255.0).round() as u8))
}

/// The labels and files of a source, each file as its length.
pub(crate) fn listed(source: &dyn Source) -> Vec<(u32, usize)> {
    (0..source.len())
        .map(|index| {
            let mut bytes = Vec::new();
            source.read(index, &mut bytes).unwrap();
            (source.label(index), bytes.len())
        })
        .collect()
}

/// A pipe without a writer, which would keep whoever opens it waiting.
#[cfg(unix)]
pub(crate) fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo, of every unix, is needed");
}
