//! The ImageNet folder from generated images.
#![allow(clippy::unwrap_used)]

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use sparse_data::{Dataset, Error, ImageFolder, ImageFolderConfig, Normalise, Split, View, sample_rng};
use std::fs;
use std::io::Cursor;
use tempfile::TempDir;

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Red rises from left to right, green from top to bottom, blue is constant.
fn ramp(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 90]))
}

fn folder(list: &str, files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in ["train_list.txt", "val_list.txt"] {
        fs::write(folder.path().join(name), list).unwrap();
    }
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// Small images whose values are fractions of 255.
fn config() -> ImageFolderConfig {
    let normalise = Normalise::new(vec![0.0], vec![1.0]).unwrap();
    ImageFolderConfig { classes: 5, image_size: 16, resize_short: 18, normalise }
}

fn open(folder: &TempDir) -> sparse_data::Result<ImageFolder> {
    ImageFolder::open(folder, Split::Test, &config())
}

fn read(data: &ImageFolder, index: usize, view: View) -> sparse_data::Result<Vec<f32>> {
    let mut image = vec![0.0; 3 * 16 * 16];
    data.read(index, view, &mut image).map(|_| image)
}

fn one(bytes: Vec<u8>) -> sparse_data::Result<Vec<f32>> {
    let folder = folder("a.jpg 0\n", &[("a.jpg", bytes)]);
    read(&open(&folder).unwrap(), 0, View::Eval)
}

#[test]
fn lists_allow_spaces_blank_lines_and_windows_ends() {
    let png = encode(ramp(20, 20), ImageFormat::Png);
    let list = "n01/a b.png 3\r\n\n  \nn01/c.png\t4";
    let folder = folder(list, &[("n01/a b.png", png.clone()), ("n01/c.png", png)]);
    let data = open(&folder).unwrap();
    assert_eq!((data.len(), data.classes(), data.image_shape()), (2, 5, [3, 16, 16]));
    let mut image = vec![0.0; 768];
    assert_eq!(data.read(0, View::Eval, &mut image).unwrap(), 3);
    assert_eq!(data.read(1, View::Eval, &mut image).unwrap(), 4);
    assert!(data.path(1).unwrap().ends_with("n01/c.png"));
    assert_eq!(data.path(2), None);
}

#[test]
fn evaluation_takes_the_centre() {
    // 36×18 becomes itself at short side 18; the window starts at column 10 and row 1.
    let source = ramp(36, 18);
    let image = one(encode(source.clone(), ImageFormat::Png)).unwrap();
    for (channel, plane) in image.chunks_exact(256).enumerate() {
        for (position, &value) in plane.iter().enumerate() {
            let pixel = source.get_pixel(10 + position as u32 % 16, 1 + position as u32 / 16);
            assert!((value - f32::from(pixel[channel]) / 255.0).abs() < 1e-6);
        }
    }
}

#[test]
fn shrinking_averages_like_a_convolution() {
    // Noise becomes nearly even grey when the filter is widened with the scale, and stays noise when it is not.
    let mut rng = sample_rng(0, 0, 0);
    let noise = GrayImage::from_fn(360, 360, |_, _| Luma([if rng.coin() { 255 } else { 0 }]));
    let image = one(encode(noise, ImageFormat::Png)).unwrap();
    assert!(image.iter().all(|value| (value - 0.5).abs() < 0.2));
}

#[test]
fn grey_and_transparent_images_become_rgb() {
    let grey = one(encode(GrayImage::from_pixel(30, 20, Luma([51])), ImageFormat::Jpeg)).unwrap();
    assert!(grey.iter().all(|value| (value - 0.2).abs() < 0.005));
    let clear =
        one(encode(RgbaImage::from_pixel(30, 20, Rgba([51, 102, 153, 128])), ImageFormat::Png)).unwrap();
    for (channel, plane) in clear.chunks_exact(256).enumerate() {
        let expected = 0.2 * (channel + 1) as f32;
        assert!(plane.iter().all(|value| (value - expected).abs() < 0.005), "{channel}");
    }
    let deep = image::ImageBuffer::<Luma<u16>, _>::from_pixel(20, 20, Luma([13107u16]));
    let deep = one(encode(deep, ImageFormat::Png)).unwrap();
    assert!(deep.iter().all(|value| (value - 0.2).abs() < 0.005));
}

#[test]
fn training_crops_and_flips_by_seed_epoch_and_index() {
    let jpeg = encode(ramp(60, 40), ImageFormat::Jpeg);
    let folder = folder("a.jpg 0\nb.jpg 0\n", &[("a.jpg", jpeg.clone()), ("b.jpg", jpeg)]);
    let data = open(&folder).unwrap();
    let train = |index, seed, epoch| read(&data, index, View::Train { seed, epoch }).unwrap();
    assert_eq!(train(0, 1, 2), train(0, 1, 2));
    assert_ne!(train(0, 1, 2), train(0, 1, 3));
    assert_ne!(train(0, 1, 2), train(0, 2, 2));
    assert_ne!(train(0, 1, 2), train(1, 1, 2));
    // Red falls from left to right in a mirrored image; green always rises.
    let images: Vec<_> = (0..200).map(|epoch| train(0, 0, epoch)).collect();
    let flipped = images.iter().filter(|image| image[0] > image[15]).count();
    assert!((70..130).contains(&flipped), "{flipped}");
    assert!(images.iter().all(|image| image[256] < image[256 + 240]));
}

#[test]
fn imagenet_defaults_are_the_recipe() {
    let config = ImageFolderConfig::imagenet(224);
    assert_eq!((config.classes, config.image_size, config.resize_short), (1000, 224, 256));
    assert_eq!(config.normalise, Normalise::imagenet());
    assert_eq!(ImageFolderConfig::imagenet(128).resize_short, 146);
}

#[test]
fn bad_images_are_named() {
    let fails = |bytes: Vec<u8>| {
        let error = one(bytes).unwrap_err();
        assert!(matches!(error, Error::Image { .. }), "{error}");
        assert!(error.to_string().contains("a.jpg"), "{error}");
        error.to_string()
    };
    for format in [ImageFormat::Jpeg, ImageFormat::Png] {
        let whole = encode(ramp(200, 200), format);
        for len in [0, 1, 10, whole.len() / 2, whole.len() - 20] {
            fails(whole[..len].to_vec());
        }
    }
    let jpeg = encode(ramp(200, 200), ImageFormat::Jpeg);
    assert!(fails(jpeg[..jpeg.len() - 2].to_vec()).contains("cut short"));
    assert!(one([&jpeg[..], b"trailing"].concat()).is_ok());
    fails(b"<html></html>".to_vec());
}

#[test]
fn a_claim_of_gigabytes_is_refused() {
    let mut png = encode(ramp(20, 20), ImageFormat::Png);
    // The header chunk: type at 12, width and height at 16, checksum at 29.
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let mut checksum = flate2::Crc::new();
    checksum.update(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
    let error = one(png).unwrap_err();
    assert!(matches!(error, Error::Image { .. }) && error.to_string().contains("imit"), "{error}");
}

#[test]
fn a_thread_of_pixels_is_refused_before_it_is_enlarged() {
    let folder = folder("a.jpg 0\n", &[("a.jpg", encode(ramp(30_000, 1), ImageFormat::Png))]);
    let data = ImageFolder::open(&folder, Split::Test, &ImageFolderConfig::imagenet(224)).unwrap();
    let error = data.read(0, View::Eval, &mut vec![0.0; 3 * 224 * 224]).unwrap_err();
    assert!(matches!(error, Error::Image { .. }) && error.to_string().contains("30000x1"), "{error}");
}

#[test]
fn bad_lists_and_settings_are_named() {
    let fault = |list: &str| open(&folder(list, &[])).unwrap_err();
    for list in ["a.jpg 0\nb.jpg\n", "a.jpg 0\nb.jpg x\n", "a.jpg 0\nb.jpg -1\n", "a.jpg 0\n7\n"] {
        let error = fault(list);
        assert!(matches!(error, Error::ListLine { line: 2, .. }), "{error}");
        assert!(error.to_string().contains("val_list.txt, line 2"), "{error}");
    }
    let label = fault("a.jpg 4\nb.jpg 5\n");
    assert!(matches!(label, Error::Label { label: 5, classes: 5, .. }));
    assert!(label.to_string().contains("val_list.txt, line 2"), "{label}");
    assert!(matches!(fault(" \n\n"), Error::Empty { .. }));
    let missing = open(&TempDir::new().unwrap()).unwrap_err();
    assert!(
        matches!(missing, Error::Missing { .. }) && missing.to_string().contains("data.path"),
        "{missing}"
    );
    let image = read(&open(&folder("gone.jpg 0\n", &[])).unwrap(), 0, View::Eval).unwrap_err();
    assert!(matches!(image, Error::Missing { .. }) && image.to_string().contains("gone.jpg"), "{image}");
    let small = ImageFolderConfig { resize_short: 15, ..config() };
    let error = ImageFolder::open(folder("a.jpg 0\n", &[]), Split::Train, &small).unwrap_err();
    assert!(matches!(error, Error::Setting { setting: "data.resize_short", .. }), "{error}");
}
