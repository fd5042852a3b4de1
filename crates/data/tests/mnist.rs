//! MNIST from generated files and from the real ones.
#![allow(clippy::unwrap_used)]

use flate2::Compression;
use flate2::read::GzEncoder;
use sparse_data::{CropFlip, Dataset, Error, Mnist, Normalise, Split, View};
use std::fs;
use std::io::Read;
use std::path::Path;
use tempfile::TempDir;

const HEIGHT: usize = 3;
const WIDTH: usize = 2;

fn idx(dimensions: &[usize], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    for &size in dimensions {
        bytes.extend((size as u32).to_be_bytes());
    }
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(bytes, Compression::default()).read_to_end(&mut packed).unwrap();
    packed
}

fn images(count: usize) -> Vec<u8> {
    idx(&[count, HEIGHT, WIDTH], &(0..count * HEIGHT * WIDTH).map(|byte| byte as u8).collect::<Vec<_>>())
}

fn folder(images: &[u8], labels: &[u8], suffix: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    for prefix in ["train", "t10k"] {
        fs::write(folder.path().join(format!("{prefix}-images-idx3-ubyte{suffix}")), images).unwrap();
        fs::write(folder.path().join(format!("{prefix}-labels-idx1-ubyte{suffix}")), labels).unwrap();
    }
    folder
}

fn open(folder: &TempDir) -> sparse_data::Result<Mnist> {
    Mnist::open(folder, Split::Test, &Normalise::default())
}

#[test]
fn plain_gzip_and_misnamed_files_are_read_alike() {
    let (images, labels) = (images(4), idx(&[4], &[3, 1, 4, 9]));
    let packed = (gzip(&images), gzip(&labels));
    let folders = [
        folder(&images, &labels, ""),
        folder(&packed.0, &packed.1, ".gz"),
        folder(&packed.0, &packed.1, ""),
        folder(&images, &labels, ".gz"),
    ];
    for folder in &folders {
        let data = Mnist::open(folder, Split::Train, &Normalise::default()).unwrap();
        assert_eq!((data.len(), data.classes(), data.image_shape()), (4, 10, [1, HEIGHT, WIDTH]));
        assert_eq!(data.labels(), [3, 1, 4, 9]);
        let mut image = [0.0; HEIGHT * WIDTH];
        assert_eq!(data.read(2, View::Eval, &mut image).unwrap(), 4);
        let expected: Vec<f32> = (12..18).map(|byte| (byte as f32 - 127.5) / 127.5).collect();
        assert_eq!(image, expected[..]);
    }
}

#[test]
fn train_and_test_are_different_files() {
    let folder = folder(&images(2), &idx(&[2], &[0, 1]), "");
    fs::write(folder.path().join("t10k-images-idx3-ubyte"), images(1)).unwrap();
    fs::write(folder.path().join("t10k-labels-idx1-ubyte"), idx(&[1], &[7])).unwrap();
    assert_eq!(Mnist::open(&folder, Split::Train, &Normalise::default()).unwrap().labels(), [0, 1]);
    assert_eq!(open(&folder).unwrap().labels(), [7]);
}

#[test]
fn a_missing_file_names_path_and_setting() {
    let folder = folder(&images(2), &idx(&[2], &[0, 1]), ".gz");
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }));
    let message = error.to_string();
    let path = folder.path().join("t10k-labels-idx1-ubyte").display().to_string();
    assert!(message.contains(&path), "{message}");
    assert!(message.contains("`data.path`") && message.contains("--set data.path="), "{message}");
}

#[test]
fn copies_with_a_dot_in_the_name_are_read() {
    for end in ["", ".gz"] {
        let folder = TempDir::new().unwrap();
        let pack = |bytes: Vec<u8>| if end.is_empty() { bytes } else { gzip(&bytes) };
        fs::write(folder.path().join(format!("t10k-images.idx3-ubyte{end}")), pack(images(2))).unwrap();
        fs::write(folder.path().join(format!("t10k-labels.idx1-ubyte{end}")), pack(idx(&[2], &[0, 1])))
            .unwrap();
        assert_eq!(open(&folder).unwrap().labels(), [0, 1]);
    }
}

#[test]
fn other_files_are_told_what_they_are() {
    let good = (images(2), idx(&[2], &[0, 1]));
    let told = |bytes: &[u8]| open(&folder(bytes, &good.1, "")).unwrap_err().to_string();
    for (bytes, part) in [
        (good.1.as_slice(), "with 1 dimension(s)"),
        (b"\0\0\x0d\x03....", "no bytes"),
        (b"PK\x03\x04....", "zip archive"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"BZh91AY", "not with gzip"),
    ] {
        assert!(told(bytes).contains(part), "{part}: {}", told(bytes));
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = folder(&images(2), &idx(&[2], &[0, 1]), "");
    let path = folder.path().join("t10k-images-idx3-ubyte");
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()));
    let error = open(&folder).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("t10k-images") && reason.contains("a pipe"), "{error}: {reason}");
}

#[test]
fn faults_name_the_file() {
    let good = (images(2), idx(&[2], &[0, 1]));
    let named = |images: &[u8], labels: &[u8]| {
        let error = open(&folder(images, labels, "")).unwrap_err();
        assert!(error.to_string().contains("t10k-"), "{error}");
        error
    };
    assert!(matches!(named(&good.0[..20], &good.1), Error::Truncated { expected: 28, got: 20, .. }));
    assert!(matches!(named(&gzip(&good.0)[..20], &good.1), Error::Truncated { .. }));
    assert!(matches!(named(b"no gzip, no idx", &good.1), Error::Magic { .. }));
    assert!(matches!(named(&good.1, &good.1), Error::Magic { got: 0x0801, .. }));
    assert!(matches!(named(&good.0, &good.0), Error::Magic { got: 0x0803, .. }));
    assert!(matches!(named(&images(3), &good.1), Error::CountMismatch { images: 3, labels: 2, .. }));
    assert!(matches!(named(&images(0), &idx(&[0], &[])), Error::Empty { .. }));
    let error = named(&good.0, &idx(&[2], &[0, 10]));
    assert!(matches!(error, Error::Label { label: 10, classes: 10, .. }));
    assert!(error.to_string().contains("label 1 (from 0)"), "{error}");
}

#[test]
fn augmentation_moves_training_images_only() {
    let data = open(&folder(&images(2), &idx(&[2], &[0, 1]), "")).unwrap();
    let data = data.with_augment(CropFlip { padding: 1, flip: false });
    let read = |view| {
        let mut image = [0.0; HEIGHT * WIDTH];
        data.read(1, view, &mut image).unwrap();
        image
    };
    let moved = (0..20).filter(|&epoch| read(View::Train { seed: 0, epoch }) != read(View::Eval)).count();
    assert!(moved > 10, "{moved}");
}

#[test]
fn the_real_files_have_the_known_numbers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist");
    let histogram = |split| {
        let data = Mnist::open(&folder, split, &Normalise::default()).unwrap();
        assert_eq!(data.image_shape(), [1, 28, 28]);
        let mut counts = [0; 10];
        data.labels().iter().for_each(|&label| counts[label as usize] += 1);
        (data.len(), counts)
    };
    let train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
    let test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];
    assert_eq!(histogram(Split::Train), (60_000, train));
    assert_eq!(histogram(Split::Test), (10_000, test));
}
