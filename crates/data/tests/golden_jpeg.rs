//! JPEG files of each kind against what Pillow on libjpeg-turbo makes of them (`tests/golden/jpeg/make.py`).
#![allow(clippy::unwrap_used)]

use sparse_data::{Interpolation, Mode, Normalise, Picture, Transform, TransformConfig, View, decode_image};
use std::path::PathBuf;

fn bytes(name: &str) -> Vec<u8> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    let folder = std::env::var_os("GOLDEN_DIR").map_or_else(|| own.into(), PathBuf::from);
    std::fs::read(folder.join("jpeg").join(name)).unwrap()
}

fn picture(name: &str) -> Picture {
    decode_image(&bytes(name)).unwrap()
}

const FILES: [&str; 12] = [
    "444",
    "422",
    "440",
    "420",
    "420-restart",
    "420-whole-units",
    "420-small",
    "420-narrow",
    "rgb",
    "grey",
    "progressive",
    "cmyk",
];

fn transform(size: usize, resize_short: usize, interpolation: Interpolation) -> Transform {
    let normalise = Normalise::new(vec![0.0], vec![1.0]).unwrap();
    let config =
        TransformConfig { resize_short, interpolation, normalise, ..TransformConfig::imagenet(size) };
    Transform::new(&config).unwrap()
}

#[test]
fn files_have_the_pixels_of_libjpeg_turbo() {
    for name in FILES {
        let (got, expected) = (picture(&format!("{name}.jpg")), picture(&format!("{name}.png")));
        // Inks are stored as a PNG of four channels.
        let mode = if name == "cmyk" { Mode::Cmyk } else { expected.mode };
        assert_eq!((got.mode, got.width, got.height), (mode, expected.width, expected.height), "{name}");
        let differ =
            got.pixels.iter().zip(&expected.pixels).filter(|(got, expected)| got != expected).count();
        assert_eq!(differ, 0, "{name}: of {}", got.pixels.len());
    }
}

/// A crop that is decoded alone is the same as one cut out of all pixels.
#[test]
fn a_crop_has_the_pixels_of_the_whole() {
    for name in FILES {
        let (file, picture) = (bytes(&format!("{name}.jpg")), picture(&format!("{name}.jpg")));
        for transform in [transform(16, 17, Interpolation::Lanczos), transform(3, 0, Interpolation::Bicubic)]
        {
            let size = transform.config().size;
            let (mut part, mut whole) = (vec![0.0; 3 * size * size], vec![1.0; 3 * size * size]);
            let views = (0..100).map(|epoch| View::Train { seed: 1, epoch }).chain([View::Eval]);
            for view in views {
                transform.write(&file, view, 7, &mut part).unwrap();
                transform.write_picture(picture.clone(), view, 7, &mut whole).unwrap();
                assert!(part == whole, "{name} {view:?}");
            }
        }
    }
}

#[test]
fn the_central_view_is_pillows() {
    for (filter, name) in [
        (Interpolation::Lanczos, "lanczos"),
        (Interpolation::Bicubic, "bicubic"),
        (Interpolation::Bilinear, "bilinear"),
    ] {
        let mut image = vec![0.0; 3 * 32 * 32];
        transform(32, 40, filter).write(&bytes("420.jpg"), View::Eval, 0, &mut image).unwrap();
        let expected = picture(&format!("420.{name}.png"));
        for (at, value) in image.iter().enumerate() {
            let pixel = expected.pixels[at % 1024 * 3 + at / 1024];
            assert!((255.0 * value - f32::from(pixel)).abs() < 0.001, "{name} {at}");
        }
    }
}

/// The turned and coloured views are the same for the same draws, others for others, and within range.
#[test]
fn options_change_the_training_view_alone() {
    let base = transform(16, 18, Interpolation::Lanczos);
    let read = |config: &TransformConfig, view| {
        let mut image = vec![0.0; 3 * 16 * 16];
        Transform::new(config).unwrap().write(&bytes("420.jpg"), view, 3, &mut image).unwrap();
        image
    };
    let view = |epoch| View::Train { seed: 5, epoch };
    let plain = base.config().clone();
    let options = [
        TransformConfig { rotate: true, ..plain.clone() },
        TransformConfig { color_jitter: true, ..plain.clone() },
        TransformConfig { rand_augment: 9, ..plain.clone() },
    ];
    for config in options {
        assert_eq!(read(&config, View::Eval), read(&plain, View::Eval));
        assert_eq!(read(&config, view(4)), read(&config, view(4)));
        let others = (0..20).filter(|&epoch| read(&config, view(epoch)) != read(&plain, view(epoch))).count();
        assert!(others >= 15, "{others}");
        assert!(
            (0..20).all(|epoch| read(&config, view(epoch)).iter().all(|value| (0.0..=1.0).contains(value)))
        );
    }
    let still = TransformConfig { augment: false, ..plain.clone() };
    assert_eq!(read(&still, view(4)), read(&plain, View::Eval));
}
