//! Two sets of images are told apart by what tells them apart, and by nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use common::{folder, tar_of, write};
use sparse_data::{
    Cifar, CifarLabels, Dataset, Fingerprint, Mnist, Normalise, SourceConfig, Split, open_source,
};
use std::path::Path;

fn of(folder: &Path) -> Fingerprint {
    open_source(folder, Split::Train, &SourceConfig::default()).unwrap().fingerprint()
}

fn class_folders() -> tempfile::TempDir {
    folder(&[
        ("train/cat/1.jpg", vec![1; 10]),
        ("train/cat/2.jpg", vec![2; 20]),
        ("train/dog/3.jpg", vec![3; 30]),
    ])
}

#[test]
fn the_place_of_a_folder_and_its_dates_do_not_count() {
    let (one, other) = (class_folders(), class_folders());
    write(other.path(), "train/cat/1.jpg", &[1; 10]);
    assert_eq!(of(one.path()), of(other.path()));
    assert_eq!(of(one.path()).images, 3);
    let deep = folder(&[]);
    std::fs::create_dir(deep.path().join("deep")).unwrap();
    std::fs::rename(one.path().join("train"), deep.path().join("deep/train")).unwrap();
    assert_eq!(of(&deep.path().join("deep")), of(other.path()));
}

#[test]
fn added_removed_renamed_resized_and_moved_files_count() {
    let base = of(class_folders().path());
    let changed = |change: &dyn Fn(&Path)| {
        let folder = class_folders();
        change(folder.path());
        of(folder.path())
    };
    let remove = |path: &Path| std::fs::remove_file(path.join("train/cat/1.jpg")).unwrap();
    let rename = |to: &'static str| {
        move |path: &Path| std::fs::rename(path.join("train/cat/1.jpg"), path.join(to)).unwrap()
    };
    let added = changed(&|path| write(path, "train/dog/4.jpg", b"4"));
    assert_eq!(added.images, 4);
    assert_eq!(changed(&remove).images, 2);
    let renamed = changed(&rename("train/cat/0.jpg"));
    assert_eq!((renamed.images, renamed.contents), (3, base.contents));
    assert_ne!(renamed.names, base.names);
    // Another label for the file between two classes, in the same order and with the same number.
    let moved = changed(&|path| {
        std::fs::rename(path.join("train/cat/2.jpg"), path.join("train/dog/2.jpg")).unwrap();
    });
    assert_ne!(moved.names, base.names);
    let resized = changed(&|path| write(path, "train/dog/3.jpg", &[3; 31]));
    assert_eq!((resized.images, resized.names), (3, base.names));
    assert_ne!(resized.contents, base.contents);
    let swapped = changed(&|path| {
        write(path, "train/cat/1.jpg", &[1; 20]);
        write(path, "train/cat/2.jpg", &[2; 10]);
    });
    assert_ne!(swapped.contents, base.contents);
}

#[test]
fn lists_count_with_order_labels_and_missing_files() {
    let list = |text: &str| {
        let folder = folder(&[("train_list.txt", text.into()), ("a.jpg", vec![1; 3]), ("b.jpg", vec![1; 4])]);
        of(folder.path())
    };
    let base = list("a.jpg 0\nb.jpg 1\n");
    assert_eq!(list("\r\na.jpg 0\r\nb.jpg\t1"), base);
    for other in ["b.jpg 1\na.jpg 0\n", "a.jpg 0\nb.jpg 0\n", "a.jpg 1\nb.jpg 0\n", "a.jpg 0\nc.jpg 1\n"] {
        assert_ne!(list(other), base, "{other}");
    }
}

#[test]
fn archives_count_by_members_wherever_they_lie() {
    let shard = |members: &[(&str, &[u8])]| {
        let folder = folder(&[("x-train-0.tar", tar_of(members))]);
        of(folder.path())
    };
    let base = shard(&[("a.jpg", &[1; 9]), ("a.cls", b"0"), ("b.jpg", &[1; 7]), ("b.cls", b"1")]);
    assert_eq!(
        shard(&[
            ("README", b"hello"),
            ("a.cls", b"0"),
            ("a.jpg", &[1; 9]),
            ("b.jpg", &[1; 7]),
            ("b.cls", b"1")
        ]),
        base
    );
    for other in [
        [("c.jpg", &[1; 9][..]), ("c.cls", b"0"), ("b.jpg", &[1; 7]), ("b.cls", b"1")],
        [("a.jpg", &[1; 8]), ("a.cls", b"0"), ("b.jpg", &[1; 7]), ("b.cls", b"1")],
        [("a.jpg", &[1; 9]), ("a.cls", b"1"), ("b.jpg", &[1; 7]), ("b.cls", b"1")],
        [("b.jpg", &[1; 7]), ("b.cls", b"1"), ("a.jpg", &[1; 9]), ("a.cls", b"0")],
    ] {
        assert_ne!(shard(&other), base);
    }
}

#[test]
fn kept_classes_count() {
    let folder = class_folders();
    let of = |classes: Option<Vec<u32>>| {
        let config = SourceConfig { classes, ..SourceConfig::default() };
        open_source(folder.path(), Split::Train, &config).unwrap().fingerprint()
    };
    assert_eq!(of(Some(vec![0])).images, 2);
    assert_ne!(of(Some(vec![0, 1])), of(Some(vec![1, 0])));
    assert_ne!(of(Some(vec![0, 1])), of(None));
}

/// Data in memory are compared by their pixels, so that a file overwritten in place is noticed.
#[test]
fn pixels_in_memory_count() {
    let mnist = |tone: u8, label: u8| {
        let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2][..], &[1, 2, 3, tone]].concat();
        let labels = [0, 0, 8, 1, 0, 0, 0, 2, 1, label];
        let folder =
            folder(&[("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels.to_vec())]);
        Mnist::open(folder.path(), Split::Train, &Normalise::default()).unwrap().fingerprint()
    };
    let base = mnist(4, 5);
    assert_eq!((mnist(4, 5), base.images), (base, 2));
    assert_ne!(mnist(9, 5).contents, base.contents);
    assert_ne!(mnist(4, 6).names, base.names);
    let cifar = |tone: u8| {
        let mut record = vec![7; 3073];
        record[3072] = tone;
        let folder = folder(&[("test_batch.bin", record)]);
        Cifar::open(folder.path(), CifarLabels::Ten, Split::Test, &Normalise::default())
            .unwrap()
            .fingerprint()
    };
    assert_eq!(cifar(1), cifar(1));
    assert_ne!(cifar(1), cifar(2));
}

/// The numbers stand in checkpoints and stay the same from one version to the next. They are `zlib.crc32` of Python over
/// length (`<Q`), name and label (`<I`) of each image, and over the lengths (`<Q`).
#[test]
fn the_numbers_are_fixed() {
    let found = of(class_folders().path());
    assert_eq!(found, Fingerprint { images: 3, names: 168_204_101, contents: 4_090_522_513 });
}
