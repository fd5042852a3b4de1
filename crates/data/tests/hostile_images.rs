//! Damaged and lying image files: an error or an image, never a crash, a hang, or much memory.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use sparse_data::{ImageFault, SampleRng, Transform, TransformConfig, View, decode_image, sample_rng};
use sparse_testing::Need;
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Whole small files: made here, and of each kind of JPEG.
fn corpus() -> Vec<Vec<u8>> {
    let noise = |x: u32, y: u32| ((x * 37) ^ (y * 91)).wrapping_mul(2_654_435_761) as u8;
    let rgb = RgbImage::from_fn(33, 21, |x, y| Rgb([noise(x, y), noise(y, x), (x * 7) as u8]));
    let grey = GrayImage::from_fn(20, 30, |x, y| Luma([noise(x, y)]));
    let rgba = RgbaImage::from_fn(9, 9, |x, y| Rgba([noise(x, y), 1, 2, noise(y, x)]));
    let mut files = vec![
        encode(rgb.clone(), ImageFormat::Png),
        encode(rgb, ImageFormat::Jpeg),
        encode(grey.clone(), ImageFormat::Png),
        encode(grey, ImageFormat::Jpeg),
        encode(rgba, ImageFormat::Png),
    ];
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/jpeg");
    for name in ["420-small", "420-restart", "440", "progressive", "cmyk"] {
        files.push(std::fs::read(golden.join(name).with_extension("jpg")).unwrap());
    }
    files
}

/// Changes a file in one to eight places: bits, bytes, markers, lengths, cuts, repeats.
fn damage(bytes: &mut Vec<u8>, rng: &mut SampleRng) {
    for _ in 0..=rng.below(8) {
        let Some(last) = bytes.len().checked_sub(1) else { return };
        // Half of the damage goes to the header, where sizes and tables are.
        let end = if rng.coin() { last.min(700) } else { last };
        let at = rng.below(end as u64 + 1) as usize;
        match rng.below(8) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize],
            2 => bytes[at] = rng.next_u64() as u8,
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..last.min(at + rng.below(64) as usize)].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => drop(bytes.drain(at..last.min(at + rng.below(64) as usize))),
            6 => bytes[at..last.min(at + 2)].fill(0xff),
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
}

/// Reads a file in each way; panics only if the crate does.
fn read(transform: &Transform, bytes: &[u8], image: &mut [f32]) -> Result<(), ImageFault> {
    let whole = decode_image(bytes).map(|picture| {
        assert_eq!(picture.pixels.len(), picture.width * picture.height * picture.mode.channels());
    });
    let mut part = Ok(());
    for view in [View::Eval, View::Train { seed: 0, epoch: 0 }, View::Train { seed: 0, epoch: 1 }] {
        part = part.and(transform.write(bytes, view, 0, image));
    }
    for result in [&whole, &part] {
        // The decoder of PNG files may panic, and it is caught; this crate's own may not.
        if let Err(ImageFault::Panicked(message)) = result {
            assert!(!bytes.starts_with(&[0xff, 0xd8]), "{message}");
            println!("caught: {message}");
        }
    }
    whole.and(part)
}

#[test]
fn damaged_files_are_errors_or_images() {
    let transform = Transform::new(&TransformConfig::imagenet(16)).unwrap();
    let mut image = vec![0.0; 3 * 16 * 16];
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(300);
    let (mut read_well, mut refused) = (0, 0);
    for (number, whole) in corpus().into_iter().enumerate() {
        assert!(read(&transform, &whole, &mut image).is_ok(), "{number}");
        for round in 0..rounds {
            let mut bytes = whole.clone();
            damage(&mut bytes, &mut sample_rng(11, round, number));
            match read(&transform, &bytes, &mut image) {
                Ok(()) => read_well += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(read_well > 0 && refused > 0, "{read_well} read, {refused} refused");
}

#[test]
fn every_cut_of_a_file_is_an_error() {
    let transform = Transform::new(&TransformConfig::imagenet(16)).unwrap();
    let mut image = vec![0.0; 3 * 16 * 16];
    for whole in corpus() {
        for length in (0..whole.len() - 12).step_by(7) {
            let cut = transform.write(&whole[..length], View::Eval, 0, &mut image);
            assert!(cut.is_err(), "{length} of {}", whole.len());
        }
    }
}

#[test]
fn a_small_file_that_claims_a_large_image_is_refused_at_once() {
    for mut bytes in corpus() {
        let claim = if bytes.starts_with(b"\x89PNG") {
            bytes[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
            let mut checksum = flate2::Crc::new();
            checksum.update(&bytes[12..29]);
            bytes[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
            decode_image(&bytes)
        } else {
            let frame = bytes.windows(2).position(|pair| matches!(pair, [0xff, 0xc0 | 0xc2])).unwrap();
            bytes[frame + 5..frame + 9].copy_from_slice(&[0x75, 0x30, 0x75, 0x30]);
            decode_image(&bytes)
        };
        let fault = claim.unwrap_err();
        assert!(matches!(fault, ImageFault::TooLarge { width: 30_000, height: 30_000, .. }), "{fault}");
    }
}

/// Every file of a folder of awkward images, `SHARED_DATA/images`, against the list in its `MANIFEST.tsv` of what
/// Pillow reads: no file may lift the memory of the process above a gibibyte.
#[test]
fn awkward_files_are_read_or_refused_in_bounds() {
    let Some(folder) = sparse_testing::shared_data() else {
        return Need::SharedData.left_out("awkward images");
    };
    let folder = folder.join("images");
    let transform = Transform::new(&TransformConfig::imagenet(224)).unwrap();
    let mut image = vec![0.0; 3 * 224 * 224];
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let (mut count, mut differ, mut slowest) = (0, 0, Duration::ZERO);
    for line in manifest.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let pillow = columns[2].split(' ').any(|tag| tag == "pillow-decodes");
        let bytes = std::fs::read(folder.join(columns[0])).unwrap();
        let start = Instant::now();
        let result = read(&transform, &bytes, &mut image);
        slowest = slowest.max(start.elapsed());
        count += 1;
        if result.is_ok() != pillow {
            differ += 1;
            println!("Pillow {}: {} {result:?}", if pillow { "reads" } else { "refuses" }, columns[0]);
        }
    }
    println!("{count} files, {differ} otherwise than Pillow, at most {slowest:?} for one");
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        println!("{peak}");
        let kibibytes: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kibibytes < 1 << 20, "{peak}");
    }
}
