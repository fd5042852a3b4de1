//! CIFAR-10 and CIFAR-100 from generated records.
#![allow(clippy::unwrap_used)]

use sparse_data::{Cifar, CifarLabels, CropFlip, Dataset, Error, Jitter, Normalise, Split, View};
use std::fs;
use tempfile::TempDir;

const PIXELS: usize = 3 * 32 * 32;

fn record(label: u8) -> Vec<u8> {
    let mut record = vec![label];
    record.extend((0..PIXELS).map(|pixel| (pixel / 1024 * 50 + pixel % 32 + usize::from(label)) as u8));
    record
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    for batch in 1..=5u8 {
        let records = [record(batch), record(0)].concat();
        fs::write(folder.path().join(format!("data_batch_{batch}.bin")), records).unwrap();
    }
    fs::write(folder.path().join("test_batch.bin"), record(9)).unwrap();
    folder
}

fn open(folder: &TempDir, split: Split, augment: bool) -> sparse_data::Result<Cifar> {
    let data = Cifar::open(folder, CifarLabels::Ten, split, &Normalise::default())?;
    Ok(if augment { data.with_augment(CropFlip::CIFAR) } else { data })
}

/// A folder of CIFAR-100: label 37 of group 5, and label 99 of group 19; one image to test on.
fn hundred() -> TempDir {
    let folder = TempDir::new().unwrap();
    let two = |group: u8, label: u8| [vec![group], record(label)].concat();
    fs::write(folder.path().join("train.bin"), [two(5, 37), two(19, 99)].concat()).unwrap();
    fs::write(folder.path().join("test.bin"), two(0, 64)).unwrap();
    folder
}

fn open_hundred(folder: &TempDir, labels: CifarLabels, split: Split) -> sparse_data::Result<Cifar> {
    Cifar::open(folder, labels, split, &Normalise::default())
}

fn read(data: &Cifar, index: usize, view: View) -> Vec<f32> {
    let mut image = vec![0.0; PIXELS];
    data.read(index, view, &mut image).unwrap();
    image
}

#[test]
fn records_come_in_file_order_and_normalised() {
    let folder = folder();
    let train = open(&folder, Split::Train, false).unwrap();
    assert_eq!((train.len(), train.classes(), train.image_shape()), (10, 10, [3, 32, 32]));
    assert_eq!(train.labels(), [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
    let test = open(&folder, Split::Test, false).unwrap();
    assert_eq!(test.labels(), [9]);
    let expected: Vec<f32> = record(9)[1..].iter().map(|&byte| (f32::from(byte) - 127.5) / 127.5).collect();
    assert_eq!(read(&test, 0, View::Eval), expected);
}

#[test]
fn augmentation_is_a_function_of_seed_epoch_and_index() {
    let folder = folder();
    let (plain, data) =
        (open(&folder, Split::Train, false).unwrap(), open(&folder, Split::Train, true).unwrap());
    let again = open(&folder, Split::Train, true).unwrap();
    let view = |seed, epoch| View::Train { seed, epoch };
    assert_eq!(read(&plain, 0, view(1, 0)), read(&plain, 0, View::Eval));
    assert_eq!(read(&data, 0, View::Eval), read(&plain, 0, View::Eval));
    assert_eq!(read(&data, 0, view(1, 2)), read(&again, 0, view(1, 2)));
    // Images 1 and 3 are equal; what differs is their place.
    let differ =
        |other: &dyn Fn(u64) -> Vec<f32>| (0..10).any(|epoch| read(&data, 1, view(1, epoch)) != other(epoch));
    assert!(differ(&|epoch| read(&data, 1, view(2, epoch))));
    assert!(differ(&|epoch| read(&data, 1, view(1, epoch + 1))));
    assert!(differ(&|epoch| read(&data, 3, view(1, epoch))));
}

#[test]
fn faults_name_the_file() {
    let fault = |name: &str, bytes: Option<Vec<u8>>| {
        let folder = folder();
        let path = folder.path().join(name);
        match bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = open(&folder, Split::Train, true).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        error
    };
    assert!(matches!(fault("data_batch_3.bin", None), Error::Missing { .. }));
    assert!(matches!(
        fault("data_batch_5.bin", Some(vec![])),
        Error::RecordSize { got: 0, record: 3073, .. }
    ));
    let cut = record(1)[..3000].to_vec();
    assert!(matches!(fault("data_batch_1.bin", Some(cut)), Error::RecordSize { got: 3000, .. }));
    let hundred = fault("data_batch_1.bin", Some(vec![0; 2 * 3074])).to_string();
    assert!(hundred.contains("--data cifar100`"), "{hundred}");
    let other = fault("data_batch_1.bin", Some(vec![0; 3000])).to_string();
    assert!(other.contains("cifar-10-binary.tar.gz"), "{other}");
    let label = fault("data_batch_2.bin", Some([record(0), record(10)].concat()));
    assert!(matches!(label, Error::Label { label: 10, classes: 10, .. }));
    assert!(label.to_string().contains("record 1 (from 0)"), "{label}");
}

#[test]
fn cifar_100_has_labels_of_classes_and_of_groups() {
    let folder = hundred();
    for (labels, classes, expected) in
        [(CifarLabels::Fine, 100, [37, 99]), (CifarLabels::Coarse, 20, [5, 19])]
    {
        let train = open_hundred(&folder, labels, Split::Train).unwrap();
        assert_eq!((train.len(), train.classes(), train.image_shape()), (2, classes, [3, 32, 32]));
        assert_eq!(train.labels(), expected);
        let first: Vec<f32> = record(37)[1..].iter().map(|&byte| (f32::from(byte) - 127.5) / 127.5).collect();
        assert_eq!(read(&train, 0, View::Eval), first);
    }
    let of = |labels| open_hundred(&folder, labels, Split::Train).unwrap().fingerprint();
    assert_ne!(of(CifarLabels::Fine), of(CifarLabels::Coarse));
    assert_eq!(open_hundred(&folder, CifarLabels::Fine, Split::Test).unwrap().labels(), [64]);
}

#[test]
fn jitter_is_for_training_and_a_function_of_seed_epoch_and_index() {
    let folder = hundred();
    let plain = open_hundred(&folder, CifarLabels::Fine, Split::Train).unwrap();
    let data = plain.clone().with_augment(CropFlip::CIFAR).with_jitter(Jitter::CIFAR100).unwrap();
    let view = |seed, epoch| View::Train { seed, epoch };
    assert_eq!(read(&data, 0, View::Eval), read(&plain, 0, View::Eval));
    assert_eq!(read(&data, 0, view(1, 2)), read(&data.clone(), 0, view(1, 2)));
    for other in [view(2, 2), view(1, 3), View::Eval] {
        assert_ne!(read(&data, 0, view(1, 2)), read(&data, 0, other), "{other:?}");
    }
    let strong = Jitter { contrast: 2.0, ..Jitter::CIFAR100 };
    assert!(matches!(plain.with_jitter(strong), Err(Error::Setting { setting: "data.contrast", .. })));
}

#[test]
fn faults_of_cifar_100_say_what_the_file_is() {
    let fault = |bytes: Option<Vec<u8>>| {
        let folder = hundred();
        let path = folder.path().join("train.bin");
        match bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = open_hundred(&folder, CifarLabels::Fine, Split::Train).unwrap_err();
        assert!(error.to_string().contains("train.bin"), "{error}");
        error
    };
    assert!(matches!(fault(None), Error::Missing { .. }));
    assert!(matches!(fault(Some(vec![])), Error::RecordSize { got: 0, record: 3074, .. }));
    for (bytes, said) in [
        (vec![0; 2 * 3074 - 1], "cifar-100-binary.tar.gz"),
        (vec![0; 2 * 3073], "--data cifar10`"),
        ([b"\x1f\x8b".as_slice(), &[0; 99]].concat(), "unpack it"),
        ([b"\x80\x02}q".as_slice(), &[0; 99]].concat(), "Python version"),
    ] {
        let error = fault(Some(bytes)).to_string();
        assert!(error.contains(said), "{error}");
    }
    let label = fault(Some([vec![0], record(100)].concat()));
    assert!(matches!(label, Error::Label { label: 100, classes: 100, .. }), "{label}");
    let folder = hundred();
    fs::write(folder.path().join("train.bin"), [vec![20], record(7)].concat()).unwrap();
    let group = open_hundred(&folder, CifarLabels::Coarse, Split::Train).unwrap_err();
    assert!(matches!(group, Error::Label { label: 20, classes: 20, .. }), "{group}");
}
