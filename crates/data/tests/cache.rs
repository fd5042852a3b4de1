//! Decoded images in a file.
#![allow(clippy::unwrap_used)]

use image::{ImageFormat, Rgb, RgbImage};
use sparse_data::{Error, PixelCache, Transform, TransformConfig, View, decode_image};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use tempfile::TempDir;

fn png(width: u32, height: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, (x ^ y) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Wide, tall, smaller than the cache makes them, and none.
fn files() -> Vec<Option<Vec<u8>>> {
    vec![Some(png(400, 300)), Some(png(280, 560)), Some(png(60, 50)), None, Some(b"no image".to_vec())]
}

fn transform() -> Transform {
    Transform::new(&TransformConfig::imagenet(64)).unwrap()
}

fn open(path: &Path, list: u32, threads: usize) -> sparse_data::Result<(PixelCache, Option<&'static str>)> {
    let files = files();
    PixelCache::open_or_build(path, &transform(), list, files.len(), threads, &|index| files[index].clone())
}

fn read(cache: &PixelCache, slot: usize, view: View) -> Option<Vec<f32>> {
    let mut image = vec![0.0; 3 * 64 * 64];
    transform().write_cached(cache, slot, view, slot, &mut image).unwrap().then_some(image)
}

#[test]
fn a_cache_is_made_once_whatever_the_threads_and_read_again() {
    let folder = TempDir::new().unwrap();
    let (one, three) = (folder.path().join("one"), folder.path().join("three"));
    let (cache, reason) = open(&one, 1, 1).unwrap();
    assert_eq!((cache.decoded(), reason), (3, Some("there was none")));
    open(&three, 1, 3).unwrap();
    assert_eq!(fs::read(&one).unwrap(), fs::read(&three).unwrap());
    let (again, reason) = open(&one, 1, 1).unwrap();
    assert_eq!(reason, None);
    for (slot, there) in [(0, true), (1, true), (2, true), (3, false), (4, false), (5, false)] {
        let image = read(&again, slot, View::Train { seed: 1, epoch: 2 });
        assert_eq!(image.is_some(), there, "{slot}");
        assert_eq!(image, read(&cache, slot, View::Train { seed: 1, epoch: 2 }));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_cache() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()));
    let error = open(&path, 1, 1).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(matches!(error, Error::Io { .. }) && reason.contains("a pipe"), "{reason}");
}

#[test]
fn a_small_image_is_kept_as_it_is_and_a_large_one_is_near() {
    let folder = TempDir::new().unwrap();
    let (cache, _) = open(&folder.path().join("a"), 1, 2).unwrap();
    let exact = |slot: usize, view| {
        let mut image = vec![0.0; 3 * 64 * 64];
        let bytes = files()[slot].clone().unwrap();
        transform().write_picture(decode_image(&bytes).unwrap(), view, slot, &mut image).unwrap();
        image
    };
    for view in (0..20).map(|epoch| View::Train { seed: 0, epoch }).chain([View::Eval]) {
        assert_eq!(read(&cache, 2, view).unwrap(), exact(2, view));
    }
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let (kept, exact) = (read(&cache, 0, View::Eval).unwrap(), exact(0, View::Eval));
    assert!((mean(&kept) - mean(&exact)).abs() < 0.02, "{} {}", mean(&kept), mean(&exact));
}

#[test]
fn a_stale_or_damaged_cache_is_made_anew_and_another_file_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a");
    open(&path, 1, 1).unwrap();
    let reason = |list| open(&path, list, 1).unwrap().1;
    assert_eq!(reason(2), Some("the list of images or the filter has changed"));
    assert_eq!(reason(2), None);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(reason(2), Some("it was cut short"));
    fs::write(&path, &whole[..10]).unwrap();
    assert_eq!(reason(2), Some("it was cut short"));
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert_eq!(reason(2), Some("it was damaged"));
    let mut other = whole.clone();
    other[7] += 1;
    fs::write(&path, &other).unwrap();
    assert_eq!(reason(2), Some("it was of another version"));
    assert_eq!(fs::read(&path).unwrap(), whole);
    for foreign in [&b"a text of one's own, which is longer than a header"[..], b"short", b""] {
        fs::write(&path, foreign).unwrap();
        let error = open(&path, 2, 1).unwrap_err();
        assert!(matches!(error, Error::Setting { setting: "data.cache", .. }), "{error}");
        assert!(error.to_string().contains("delete this one if it is a damaged cache"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), foreign);
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_cache_stays_and_one_to_nothing_is_refused() {
    let folder = TempDir::new().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    std::os::unix::fs::symlink("file", &link).unwrap();
    let error = open(&link, 1, 1).unwrap_err().to_string();
    assert!(error.contains("a link to a file that is not there"), "{error}");
    open(&file, 1, 1).unwrap();
    open(&link, 2, 1).unwrap();
    assert!(link.is_symlink());
    assert_eq!(open(&file, 2, 1).unwrap().1, None);
}
