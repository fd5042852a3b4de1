//! Images: what a crop shows is a part of the whole image, and other decoders see the same.

use std::path::Path;
use std::sync::LazyLock;

use image::ImageFormat;
use sparse_data::{Mode, Transform, TransformConfig, View, decode_image, idx};

/// Side of a crop.
const SIZE: usize = 8;
/// Files that claim more pixels are left to the tests of limits: they only slow the search.
const MOST_PIXELS: usize = 1 << 20;

/// A crop of 8 × 8 pixels out of the image as it is, and out of a smaller one.
static TRANSFORMS: LazyLock<[Transform; 2]> = LazyLock::new(|| {
    [0, 9].map(|resize_short| {
        let config = TransformConfig { resize_short, ..TransformConfig::imagenet(SIZE) };
        Transform::new(&config).expect("good settings")
    })
});

/// A JPEG file: each view shows the same pixels whether it is decoded for this view or as a whole.
pub(crate) fn jpeg(bytes: &[u8]) {
    if bytes.starts_with(&[0xff, 0xd8]) {
        views(bytes);
    }
}

/// A PNG file: as for JPEG; and the pixels are those of the `image` crate where both know them as grey or RGB.
pub(crate) fn png(bytes: &[u8]) {
    if !bytes.starts_with(b"\x89PNG") {
        return;
    }
    views(bytes);
    let Ok(ours) = decode_image(bytes) else { return };
    let Ok(theirs) = image::load_from_memory_with_format(bytes, ImageFormat::Png) else { return };
    assert_eq!((ours.width, ours.height), (theirs.width() as usize, theirs.height() as usize));
    match (ours.mode, &theirs) {
        (Mode::Rgb, image::DynamicImage::ImageRgb8(theirs)) => assert!(ours.pixels == *theirs.as_raw()),
        (Mode::Grey, image::DynamicImage::ImageLuma8(theirs)) => assert!(ours.pixels == *theirs.as_raw()),
        _ => {}
    }
}

fn views(bytes: &[u8]) {
    let Ok(picture) = decode_image(bytes) else {
        // What is refused as a whole must not end the program when a part of it is asked for.
        let mut image = [0.0; 3 * SIZE * SIZE];
        for transform in &*TRANSFORMS {
            let _ = transform.write(bytes, View::Eval, 0, &mut image);
        }
        return;
    };
    assert!(picture.width * picture.height * picture.mode.channels() == picture.pixels.len());
    if picture.width * picture.height > MOST_PIXELS {
        return;
    }
    for transform in &*TRANSFORMS {
        for view in [View::Eval, View::Train { seed: 1, epoch: 2 }] {
            let (mut part, mut whole) = ([0.0_f32; 3 * SIZE * SIZE], [0.0_f32; 3 * SIZE * SIZE]);
            let read = transform.write(bytes, view, 3, &mut part).map_err(|fault| fault.to_string());
            let cut = transform.write_picture(picture.clone(), view, 3, &mut whole);
            assert_eq!(read, cut.map_err(|fault| fault.to_string()));
            assert!(read.is_err() || part.map(f32::to_bits) == whole.map(f32::to_bits), "{view:?}");
        }
    }
}

/// An IDX file: what it says it holds is what is there.
pub(crate) fn idx(bytes: &[u8]) {
    for rank in [1, 3] {
        let Ok(found) = idx::parse(bytes, Path::new("idx"), rank) else { continue };
        assert_eq!(found.dimensions.len(), usize::from(rank));
        assert_eq!(found.dimensions.iter().product::<usize>(), found.data.len());
        if bytes.starts_with(&[0, 0]) {
            let header = 4 + 4 * usize::from(rank);
            let sizes =
                bytes[4..header].as_chunks::<4>().0.iter().map(|size| u32::from_be_bytes(*size) as usize);
            assert!(sizes.eq(found.dimensions.iter().copied()));
            assert!(bytes[header..] == *found.data);
        }
    }
}
