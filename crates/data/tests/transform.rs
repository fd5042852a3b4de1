//! Crops, sizes and colours of generated images.
#![allow(clippy::unwrap_used)]

mod common;

use common::{SIZE, encode, transform};
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use sparse_data::{Error, ImageFault, Normalise, Transform, TransformConfig, View, sample_rng};

/// Red rises from left to right, green from top to bottom, blue is constant.
fn ramp(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 90]))
}

fn write(bytes: &[u8], index: usize, view: View) -> Result<Vec<f32>, ImageFault> {
    let mut image = vec![0.0; 3 * SIZE * SIZE];
    transform().write(bytes, view, index, &mut image).map(|()| image)
}

fn one(bytes: Vec<u8>) -> Result<Vec<f32>, ImageFault> {
    write(&bytes, 0, View::Eval)
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
    // Grey of 16 bits is cut at 255, as Pillow cuts it.
    assert!(deep.iter().all(|value| (value - 1.0).abs() < 0.005));
}

#[test]
fn training_crops_and_flips_by_seed_epoch_and_index() {
    let jpeg = encode(ramp(60, 40), ImageFormat::Jpeg);
    let train = |index, seed, epoch| write(&jpeg, index, View::Train { seed, epoch }).unwrap();
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
    let config = TransformConfig::imagenet(224);
    assert_eq!((config.size, config.resize_short), (224, 256));
    assert_eq!(config.normalise, Normalise::imagenet());
    assert_eq!(TransformConfig::imagenet(128).resize_short, 146);
}

#[test]
fn bad_bytes_are_refused() {
    let fails = |bytes: Vec<u8>| one(bytes).unwrap_err().to_string();
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
    assert!(error.to_string().contains("imit"), "{error}");
}

#[test]
fn a_thread_of_pixels_is_enlarged_only_where_it_is_seen() {
    let transform = Transform::new(&TransformConfig::imagenet(224)).unwrap();
    let bytes = encode(ramp(30_000, 1), ImageFormat::Png);
    assert!(transform.write(&bytes, View::Eval, 0, &mut vec![0.0; 3 * 224 * 224]).is_ok());
}

#[test]
fn settings_that_do_not_fit_are_named() {
    let small = TransformConfig { resize_short: 15, ..TransformConfig::imagenet(16) };
    let error = Transform::new(&small).unwrap_err();
    assert!(matches!(error, Error::Setting { setting: "data.resize", .. }), "{error}");
}
