//! Images that cannot be used: replaced in training, left out of evaluation, listed, and too many.
#![allow(clippy::unwrap_used)]

mod common;

use common::{folder, image_set, plain, read, write};
use sparse_data::source::{Folders, List};
use sparse_data::{BadImages, Batch, Dataset, Error, ImageSet, Loader, LoaderConfig, Split, View};
use std::sync::Arc;
use tempfile::TempDir;

const TRAIN: View = View::Train { seed: 3, epoch: 1 };

/// Ten images of label 0 to 9 and red 10 to 100, of which 2, 5, 6 and 9 cannot be used.
fn ten() -> TempDir {
    let list: String = (0..10).map(|index| format!("{index}.png {index}\n")).collect();
    let folder = folder(&[("train_list.txt", list.into_bytes())]);
    for index in [0, 1, 3, 4, 7, 8] {
        write(folder.path(), &format!("{index}.png"), &plain(10 * index + 10));
    }
    write(folder.path(), "5.png", b"");
    let whole = plain(70);
    write(folder.path(), "6.png", &whole[..whole.len() / 2]);
    std::fs::create_dir(folder.path().join("9.png")).unwrap();
    folder
}

fn open(folder: &TempDir, bad_images: BadImages) -> ImageSet {
    image_set(List::open(folder.path(), Split::Train).unwrap(), 10, bad_images).unwrap()
}

const SKIP: BadImages = BadImages::Skip { limit: 0.4 };

#[test]
fn training_takes_the_next_good_image_with_its_label() {
    let folder = ten();
    let data = open(&folder, SKIP);
    let seen: Vec<(u32, u8)> = (0..10).map(|index| read(&data, index, TRAIN).unwrap()).collect();
    let expected = [0, 1, 3, 3, 4, 7, 7, 7, 8, 0].map(|label: u32| (label, 10 * label as u8 + 10));
    assert_eq!(seen, expected);
    let bad = data.bad_images();
    assert_eq!(bad.iter().map(|bad| bad.index).collect::<Vec<_>>(), [2, 5, 6, 9]);
    assert!(bad[0].place.ends_with("2.png") && bad[0].reason.contains("No such file"), "{bad:?}");
    assert_eq!(bad[1].reason, "the file is empty");
    assert!(bad[3].reason.contains("not a regular file"), "{bad:?}");
}

#[test]
fn a_replacement_is_seen_with_the_draws_of_the_bad_one() {
    let ramp = image::RgbImage::from_fn(60, 40, |x, y| image::Rgb([x as u8 * 4, y as u8 * 6, 0]));
    let image = common::encode(ramp, image::ImageFormat::Png);
    let folder =
        folder(&[("train_list.txt", b"gone 0\nb 0\nc 0\n".to_vec()), ("b", image.clone()), ("c", image)]);
    let data = open(&folder, SKIP);
    let pixels = |index| {
        let mut image = vec![0.0; 768];
        data.read(index, TRAIN, &mut image).unwrap();
        image
    };
    assert_ne!(pixels(0), pixels(1));
    write(folder.path(), "gone", &std::fs::read(folder.path().join("b")).unwrap());
    let replaced = pixels(0);
    std::fs::remove_file(folder.path().join("gone")).unwrap();
    assert_eq!(pixels(0), replaced);
}

#[test]
fn evaluation_leaves_bad_images_out() {
    let folder = ten();
    let data = Arc::new(open(&folder, SKIP));
    assert!(matches!(read(&*data, 5, View::Eval), Err(Error::LeftOut { .. })));
    for workers in [1, 3] {
        let config = LoaderConfig { workers, ..LoaderConfig::eval(4) };
        let batches: Vec<Batch> =
            Loader::new(Arc::<ImageSet>::clone(&data), config).unwrap().map(Result::unwrap).collect();
        let labels: Vec<&[u32]> = batches.iter().map(|batch| batch.labels.as_slice()).collect();
        assert_eq!(labels, [&[0, 1, 3][..], &[4, 7], &[8]]);
        for batch in batches {
            let red: Vec<u8> =
                batch.images.chunks(768).map(|image| (image[0] * 255.0).round() as u8).collect();
            assert_eq!(red, batch.labels.iter().map(|label| 10 * *label as u8 + 10).collect::<Vec<_>>());
            assert_eq!(batch.shape[0], batch.labels.len());
        }
    }
}

#[test]
fn too_many_bad_images_end_the_pass() {
    let folder = ten();
    let pass = |bad_images| {
        // Threads that read ahead may find more before the pass has ended.
        let config = LoaderConfig { workers: 1, ..LoaderConfig::train(2, 0, 0) };
        let loader = Loader::new(Arc::new(open(&folder, bad_images)), config).unwrap();
        loader.collect::<Result<Vec<Batch>, Error>>()
    };
    assert_eq!(pass(SKIP).unwrap().len(), 5);
    let error = pass(BadImages::Skip { limit: 0.3 }).unwrap_err();
    assert!(matches!(error, Error::TooManyBadImages { bad: 4, len: 10, .. }), "{error}");
    assert!(matches!(pass(BadImages::Skip { limit: 0.0 }), Err(Error::TooManyBadImages { bad: 1, .. })));
    let error = pass(BadImages::Refuse).unwrap_err();
    assert!(matches!(error, Error::Image { .. }) && error.to_string().contains("data.bad_images"), "{error}");
}

#[test]
fn nothing_but_bad_images_is_an_error_and_no_search_without_end() {
    let folder = folder(&[("train_list.txt", b"a 0\nb 1\nc 2\n".to_vec())]);
    let data = open(&folder, BadImages::Skip { limit: 1.0 });
    let error = read(&data, 1, TRAIN).unwrap_err();
    assert!(
        matches!(error, Error::Empty { .. }) && error.to_string().contains("none can be used"),
        "{error}"
    );
}

#[test]
fn threads_and_resumption_change_no_byte_beside_bad_images() {
    let folder = ten();
    let pass = |workers, first_batch| -> Vec<Batch> {
        let config = LoaderConfig { workers, first_batch, ..LoaderConfig::train(3, 5, 2) };
        Loader::new(Arc::new(open(&folder, SKIP)), config).unwrap().map(Result::unwrap).collect()
    };
    let all = pass(1, 0);
    assert_eq!(all.len(), 3);
    assert_eq!(pass(4, 0), all);
    assert_eq!(pass(2, 1), all[1..]);
}

#[test]
fn a_wrong_extension_matters_only_if_the_bytes_are_no_image() {
    let jpeg = common::encode(
        image::RgbImage::from_pixel(20, 20, image::Rgb([200, 0, 0])),
        image::ImageFormat::Jpeg,
    );
    let folder = folder(&[("train/a/1.png", jpeg), ("train/a/2.jpg", b"<html></html>".to_vec())]);
    let data =
        image_set(Folders::open(folder.path(), Split::Train).unwrap(), 1, BadImages::Skip { limit: 0.5 });
    let data = data.unwrap();
    assert_eq!((read(&data, 0, View::Eval).unwrap().0, data.bad_images().len()), (0, 0));
    assert!(matches!(read(&data, 1, View::Eval), Err(Error::LeftOut { .. })));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_image() {
    let folder = folder(&[("train_list.txt", b"pipe 0\n/dev/zero 0\n".to_vec())]);
    common::pipe(&folder.path().join("pipe"));
    let data = open(&folder, BadImages::Skip { limit: 1.0 });
    for index in [0, 1] {
        let error = read(&data, index, View::Eval).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
