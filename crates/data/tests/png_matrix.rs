//! PNG files of every kind (colour type × bits × interlace × tRNS), resized or not, against Pillow (`tests/golden/png/make.py`).
#![allow(clippy::unwrap_used, clippy::panic)]

use flate2::read::GzDecoder;
use sparse_data::{ImageFault, Interpolation, Normalise, Transform, TransformConfig, View, decode_image};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

fn archive() -> HashMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/png/matrix.tar.gz");
    let mut tar = tar::Archive::new(GzDecoder::new(std::fs::File::open(path).unwrap()));
    let files = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    });
    files.collect()
}

/// CRC-32 of a view, `[size, size, 3]`.
fn view(bytes: &[u8], size: usize, resize_short: usize, interpolation: Interpolation) -> u32 {
    let normalise = Normalise::new(vec![0.0], vec![1.0]).unwrap();
    let config =
        TransformConfig { resize_short, interpolation, normalise, ..TransformConfig::imagenet(size) };
    let mut image = vec![0.0; 3 * size * size];
    Transform::new(&config).unwrap().write(bytes, View::Eval, 0, &mut image).unwrap();
    let mut sum = flate2::Crc::new();
    for at in 0..size * size {
        let pixel = [0, 1, 2].map(|channel| (image[channel * size * size + at] * 255.0).round() as u8);
        sum.update(&pixel);
    }
    sum.sum()
}

#[test]
fn every_kind_of_file_is_seen_as_pillow_sees_it() {
    let files = archive();
    let expected = String::from_utf8(files["expected.tsv"].clone()).unwrap();
    let mut wrong = Vec::new();
    for line in expected.lines() {
        let [name, size, short, filter, sum] = *line.split('\t').collect::<Vec<_>>() else {
            panic!("{line}")
        };
        let filter = match filter {
            "lanczos" => Interpolation::Lanczos,
            "bicubic" => Interpolation::Bicubic,
            _ => Interpolation::Bilinear,
        };
        if view(&files[name], size.parse().unwrap(), short.parse().unwrap(), filter)
            != sum.parse::<u32>().unwrap()
        {
            wrong.push(line);
        }
    }
    assert!(expected.lines().count() > 1000);
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), expected.lines().count());
}

#[test]
fn a_wrong_checksum_of_the_pixels_is_refused_as_by_pillow() {
    let mut bytes = archive()["2-8-0-0-0.png"].clone();
    decode_image(&bytes).unwrap();
    let at = bytes.windows(4).position(|kind| kind == b"IDAT").unwrap();
    let end = at + 4 + u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
    bytes[end - 1] ^= 1;
    let mut sum = flate2::Crc::new();
    sum.update(&bytes[at..end]);
    bytes[end..end + 4].copy_from_slice(&sum.sum().to_be_bytes());
    assert!(decode_image(&bytes).is_err());
}

#[test]
fn other_formats_are_refused_by_name() {
    for (bytes, name) in [
        (&b"GIF89a\x01\0\x01\0"[..], "GIF"),
        (b"BM6\0\0\0", "BMP"),
        (b"RIFF\x20\0\0\0WEBPVP8 ", "WebP"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x0a\0\0", "JPEG XL"),
        (b"P6\n1 1\n255\n", "PNM"),
    ] {
        let fault = decode_image(bytes).unwrap_err();
        let expected =
            format!("{name} is not supported; convert it to JPEG or PNG, the formats that are read");
        assert_eq!(fault.to_string(), expected);
    }
    assert_eq!(decode_image(b"<html></html>").unwrap_err(), ImageFault::Format);
}
