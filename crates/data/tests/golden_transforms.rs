//! The transforms against PaddleSlim's `process_image` on Pillow, draw for draw.
//!
//! `GOLDEN_DIR` names another folder with a folder `transforms` of the same form.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use safetensors::SafeTensors;
use serde_json::Value;
use sparse_data::{Draws, Mode, Normalise, Picture, Transform, TransformConfig, View, decode_image};
use std::collections::VecDeque;
use std::path::PathBuf;

const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const STD: [f64; 3] = [0.229, 0.224, 0.225];

fn folder() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    std::env::var_os("GOLDEN_DIR").map_or_else(|| own.into(), PathBuf::from).join("transforms")
}

/// Gives the recorded numbers, and checks that the right ones are asked for.
struct Recorded(VecDeque<(f64, f64, f64)>);

impl Recorded {
    fn new(draws: &Value) -> Self {
        let number = |value: &Value| value.as_f64().unwrap();
        let draw = |draw: &Value| (number(&draw[1][0]), number(&draw[1][1]), number(&draw[2]));
        Self(draws.as_array().unwrap().iter().map(draw).collect())
    }

    fn next(&mut self, low: f64, high: f64) -> f64 {
        let (recorded_low, recorded_high, value) = self.0.pop_front().unwrap();
        assert!((recorded_low - low).abs() < 1e-12 && (recorded_high - high).abs() < 1e-12, "{low} {high}");
        value
    }
}

impl Draws for Recorded {
    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        self.next(low, high)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next(0.0, bound as f64) as u64
    }
}

fn mode(name: &str) -> Mode {
    match name {
        "RGB" => Mode::Rgb,
        "RGBA" => Mode::Rgba,
        "L" => Mode::Grey,
        "CMYK" => Mode::Cmyk,
        "P" => Mode::Palette,
        other => panic!("{other}"),
    }
}

/// The image of a case: decoded by this crate and compared, or from its raw pixels if it is no PNG file.
fn picture(name: &str, facts: &Value, raw: &[u8]) -> Picture {
    let file = folder().join(facts["file"].as_str().unwrap());
    let side = |at: usize| facts["size_wh"][at].as_u64().unwrap() as usize;
    let (mode, width, height) = (mode(facts["mode"].as_str().unwrap()), side(0), side(1));
    if file.extension().is_some_and(|extension| extension == "png") {
        let decoded = decode_image(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!((decoded.mode, decoded.width, decoded.height), (mode, width, height), "{name}");
        assert_eq!(decoded.pixels, raw, "{name}");
        return decoded;
    }
    Picture { mode, width, height, pixels: raw.to_vec(), palette: Vec::new() }
}

/// Pixels of 0 to 255 again, in whole numbers up to rounding.
fn pixels(image: &[f32]) -> Vec<f64> {
    let size = image.len() / 3;
    let pixel = |(at, &value): (usize, &f32)| 255.0 * (f64::from(value) * STD[at / size] + MEAN[at / size]);
    image.iter().enumerate().map(pixel).collect()
}

#[test]
fn every_case_has_the_pixels_of_the_original() {
    let text = std::fs::read_to_string(folder().join("transforms.json")).unwrap();
    let facts: Value = serde_json::from_str(&text).unwrap();
    let bytes = std::fs::read(folder().join("transforms.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let normalise = Normalise::new(MEAN.to_vec(), STD.to_vec()).unwrap();
    let (mut exact, mut count, mut worst, mut in_floats) = (0, 0, 0.0f64, 0.0f32);
    for case in facts["cases"].as_array().unwrap() {
        let (name, key) = (case["image"].as_str().unwrap(), case["key"].as_str().unwrap());
        let size = case["shape"][1].as_u64().unwrap() as usize;
        let resize_short = size * 4 / 3;
        let config =
            TransformConfig { resize_short, normalise: normalise.clone(), ..TransformConfig::imagenet(size) };
        let transform = Transform::new(&config).unwrap();
        let raw = tensors.tensor(&format!("{name}/raw_pixels")).unwrap();
        let picture = picture(name, &facts["images"][name], raw.data());
        let mut image = vec![0.0; 3 * size * size];
        if case["mode"] == "val" {
            transform.write_picture(picture, View::Eval, 0, &mut image).unwrap();
        } else {
            let mut draws = Recorded::new(&case["draws"]);
            transform.write_drawn(picture, &mut draws, &mut image).unwrap();
            assert!(draws.0.is_empty(), "{key}");
        }
        let expected: Vec<f32> = floats(tensors.tensor(key).unwrap().data());
        for (got, expected) in image.iter().zip(&expected) {
            in_floats = in_floats.max((got - expected).abs());
        }
        let before = exact;
        for (got, expected) in pixels(&image).iter().zip(pixels(&expected)) {
            let difference = (got - expected).abs();
            exact += usize::from(difference < 0.01);
            worst = worst.max(difference);
            count += 1;
        }
        println!("{key}: {} of {} exact", exact - before, image.len());
    }
    println!(
        "{exact} of {count} pixels are exact, the worst differs by {worst:.4} of 255, values by {in_floats:e}"
    );
    assert!(count > 0 && worst < 1.01 && exact * 1000 >= count * 999, "{exact} of {count}, worst {worst}");
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect()
}
