//! Images of ten classes in MNIST's files: a bright bar whose place depends on the class, on dark noise.

use std::path::Path;

pub(crate) const TRAIN_IMAGES: usize = 640;
pub(crate) const TEST_IMAGES: usize = 200;
const CLASSES: usize = 10;
const SIDE: usize = 28;

/// Writes both splits, without compression.
pub(crate) fn write_data(folder: &Path) {
    write_some_data(folder, TRAIN_IMAGES, TEST_IMAGES);
}

/// [`write_data`] with so many images to train on and to test on.
pub(crate) fn write_some_data(folder: &Path, train: usize, test: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for (prefix, count, seed) in [("train", train, 1), ("t10k", test, 2)] {
        let write = |name: String, bytes: Vec<u8>| std::fs::write(folder.join(name), bytes).unwrap();
        write(format!("{prefix}-images-idx3-ubyte"), idx_images(count, seed));
        write(format!("{prefix}-labels-idx1-ubyte"), idx_labels(&labels(count)));
    }
}

/// Writes a folder as ImageNet's is laid out: a list and 16 images of 48x40 pixels per split, one class for each.
pub(crate) fn write_image_folder(folder: &Path) {
    let mut noise = Noise(3);
    for split in ["train", "val"] {
        std::fs::create_dir_all(folder.join(split)).unwrap();
        let mut list = String::new();
        for class in 0..16 {
            let path = format!("{split}/{class}.png");
            let pixel = |_, _| image::Rgb([noise.below(60), class * 15, noise.below(255)]);
            image::RgbImage::from_fn(48, 40, pixel).save(folder.join(&path)).unwrap();
            list.push_str(&format!("{path} {class}\n"));
        }
        std::fs::write(folder.join(format!("{split}_list.txt")), list).unwrap();
    }
}

/// Class folders with 20 images each to train on and 5 to test on, of 3 classes; in all 6 of the former and 2 of the
/// latter cannot be used.
pub(crate) fn write_class_folders(folder: &Path) {
    for (split, count) in [("train", 20), ("val", 5)] {
        for (number, class) in ["cat", "dog", "emu"].iter().enumerate() {
            let place = folder.join(split).join(class);
            std::fs::create_dir_all(&place).unwrap();
            for image in 0..count {
                let pixel = image::Rgb([80 * number as u8, image * 7, 99]);
                let file = place.join(format!("{image:02}.png"));
                image::RgbImage::from_pixel(48, 40, pixel).save(file).unwrap();
            }
        }
    }
    let train = folder.join("train");
    let whole = std::fs::read(train.join("cat/00.png")).unwrap();
    let bad = |path: &str, bytes: &[u8]| std::fs::write(folder.join(path), bytes).unwrap();
    bad("train/cat/01.png", b"");
    bad("train/cat/02.png", &whole[..whole.len() - 30]);
    bad("train/dog/03.png", b"<html>not found</html>");
    bad("train/dog/more.jpg", b"\xff\xd8\xff\xe0");
    bad("train/emu/00.png", &claim_of_gigapixels(&whole));
    bad("train/emu/19.png", &whole[..40]);
    bad("val/dog/00.png", b"");
    bad("val/emu/04.png", &whole[..whole.len() / 2]);
}

/// A PNG file that claims to be 60,000 pixels wide and high, its checksum right.
fn claim_of_gigapixels(png: &[u8]) -> Vec<u8> {
    let mut png = png.to_vec();
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let mut checksum = flate2::Crc::new();
    checksum.update(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
    png
}

fn labels(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % CLASSES) as u8).collect()
}

/// An IDX file of labels.
pub(crate) fn idx_labels(labels: &[u8]) -> Vec<u8> {
    let count = labels.len() as u32;
    [0x0801_u32.to_be_bytes().as_slice(), &count.to_be_bytes(), labels].concat()
}

/// An IDX file of images whose classes go round.
pub(crate) fn idx_images(count: usize, seed: u64) -> Vec<u8> {
    let header = [0x0803, count as u32, SIDE as u32, SIDE as u32];
    let mut bytes: Vec<u8> = header.iter().flat_map(|number| number.to_be_bytes()).collect();
    let mut noise = Noise(seed);
    for label in labels(count) {
        bytes.extend(image(usize::from(label), &mut noise));
    }
    bytes
}

fn image(class: usize, noise: &mut Noise) -> Vec<u8> {
    let mut pixels: Vec<u8> = (0..SIDE * SIDE).map(|_| noise.below(60)).collect();
    let top = 3 + class / 5 * 12 + usize::from(noise.below(2));
    let left = 1 + class % 5 * 5 + usize::from(noise.below(2));
    for row in top..top + 9 {
        for pixel in &mut pixels[row * SIDE + left..][..5] {
            *pixel = 200 + noise.below(55);
        }
    }
    pixels
}

/// A linear congruential generator.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u64) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound) as u8
    }
}
