//! Class folders as they come from other systems: links, junk, odd names, and files that are no images.
#![allow(clippy::unwrap_used)]

mod common;

use common::{folder, write};
use sparse_data::source::Folders;
use sparse_data::{BadImages, Error, Source, Split};
use std::path::Path;
use tempfile::TempDir;

/// Two classes in each split; the length of each image tells which it is.
fn cats_and_dogs() -> TempDir {
    folder(&[
        ("train/cat/1.jpg", vec![1; 1]),
        ("train/cat/2.jpg", vec![1; 2]),
        ("train/dog/3.jpg", vec![1; 3]),
        ("val/cat/4.jpg", vec![1; 4]),
        ("val/dog/5.jpg", vec![1; 5]),
    ])
}

fn open(folder: &Path, split: Split) -> Folders {
    Folders::open(folder, split).unwrap()
}

/// Label and length of each training image, and a word of each remark.
#[track_caller]
fn gives(folder: &Path, images: &[(u32, usize)], remarks: &[&str]) -> Folders {
    let source = open(folder, Split::Train);
    assert_eq!(common::listed(&source), images);
    assert_eq!(source.remarks().len(), remarks.len(), "{:?}", source.remarks());
    for (remark, part) in source.remarks().iter().zip(remarks) {
        assert!(remark.contains(part), "{part}: {remark}");
    }
    source
}

#[track_caller]
fn fails(folder: &Path, split: Split, parts: &[&str]) {
    let error = Folders::open(folder, split).unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

const PLAIN: [(u32, usize); 3] = [(0, 1), (0, 2), (1, 3)];

#[test]
fn what_systems_leave_behind_is_no_class_and_no_image() {
    let folder = cats_and_dogs();
    for name in [
        "__MACOSX/train/cat/._1.jpg",
        "train/__MACOSX/cat/._1.jpg",
        "train/.ipynb_checkpoints/1-checkpoint.jpg",
        "train/cat/.ipynb_checkpoints/1-checkpoint.jpg",
        "train/@eaDir/1.jpg",
        "train/dog/@eaDir/3.jpg/SYNOPHOTO_THUMB_M.jpg",
        "train/dog/._3.jpg",
        "train/.DS_Store",
        "train/cat/.DS_Store",
        "train/cat/Thumbs.db",
        "train/dog/desktop.ini",
        "train/cat/notes.txt",
        "train/README",
    ] {
        write(folder.path(), name, b"junk");
    }
    gives(folder.path(), &PLAIN, &[]);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_above_is_not_followed() {
    use std::os::unix::fs::symlink;
    for (place, target) in
        [("cat/loop", ".."), ("cat/loop", "."), ("cat/loop", "../.."), ("dog/deep/up", "../..")]
    {
        let folder = cats_and_dogs();
        let link = folder.path().join("train").join(place);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
        gives(folder.path(), &PLAIN, &["is a link to a folder that it lies in"]);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_counts_once_in_a_class_and_is_told_in_two() {
    use std::os::unix::fs::symlink;
    let folder = cats_and_dogs();
    write(folder.path(), "train/cat/deep/6.jpg", &[1; 6]);
    symlink("deep", folder.path().join("train/cat/more")).unwrap();
    gives(folder.path(), &[(0, 1), (0, 2), (0, 6), (1, 3)], &["train/cat/more leads to a folder"]);
    let folder = cats_and_dogs();
    symlink("../dog", folder.path().join("train/cat/dogs")).unwrap();
    gives(folder.path(), &[(0, 1), (0, 2), (0, 3), (1, 3)], &["train/cat/dogs is a link into another class"]);
    let folder = cats_and_dogs();
    symlink("cat", folder.path().join("train/kitten")).unwrap();
    let remarks = ["class folders cat and kitten"];
    gives(folder.path(), &[(0, 1), (0, 2), (1, 3), (2, 1), (2, 2)], &remarks);
    // A class folder may lie elsewhere.
    let folder = cats_and_dogs();
    std::fs::rename(folder.path().join("train/dog"), folder.path().join("dogs")).unwrap();
    symlink("../dogs", folder.path().join("train/dog")).unwrap();
    gives(folder.path(), &PLAIN, &[]);
    let folder = cats_and_dogs();
    std::fs::remove_dir_all(folder.path().join("val")).unwrap();
    symlink("train", folder.path().join("val")).unwrap();
    let remarks = open(folder.path(), Split::Test).remarks().to_vec();
    assert!(remarks[0].contains("same folder") && remarks.len() == 1, "{remarks:?}");
}

#[test]
fn images_beside_the_class_folders_are_told() {
    let folder = cats_and_dogs();
    write(folder.path(), "train/loose.jpg", b"1");
    write(folder.path(), "train/other.webp", b"1");
    gives(folder.path(), &PLAIN, &["2 images lie in"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", folder.path().join("train/bird")).unwrap();
        gives(folder.path(), &PLAIN, &["loose.jpg, other.webp", "links to nothing: bird"]);
    }
    let flat =
        common::folder(&[("train/cat/1.jpg", vec![1]), ("val/a.jpg", vec![1]), ("val/b.jpg", vec![1])]);
    fails(flat.path(), Split::Test, &["no class folders but 2 images, such as a.jpg", "into one"]);
}

#[test]
fn images_of_other_formats_are_counted_like_bad_ones() {
    let folder = cats_and_dogs();
    write(folder.path(), "train/cat/7.WEBP", &[1]);
    write(folder.path(), "train/dog/8.jfif", &[1; 8]);
    write(folder.path(), "train/dog/9", &[1; 9]);
    let source =
        gives(folder.path(), &[(0, 1), (0, 2), (1, 3), (1, 8)], &["1 .webp, 1 without an extension"]);
    let strays = source.strays();
    assert_eq!((strays.count(), strays.first()[0].place.ends_with("train/cat/7.WEBP")), (1, true));
    let set = |bad_images| common::image_set(open(folder.path(), Split::Train), 2, bad_images);
    let error = set(BadImages::Skip { limit: 0.1 }).err().unwrap();
    assert!(matches!(error, Error::TooManyStrays { strays: 1, all: 5, .. }), "{error}");
    assert!(error.to_string().contains("7.WEBP: it is a .WEBP image"), "{error}");
    assert!(set(BadImages::Skip { limit: 0.2 }).is_ok());
    assert!(matches!(set(BadImages::Refuse), Err(Error::Image { .. })));
}

#[test]
fn a_class_without_images_tells_what_it_holds() {
    let folder = cats_and_dogs();
    write(folder.path(), "train/fox/1.webp", b"1");
    write(folder.path(), "train/fox/2.webp", b"1");
    write(folder.path(), "train/fox/a.xml", b"1");
    fails(folder.path(), Split::Train, &["train/fox", "no .jpg, .jpeg or .png", "2 .webp, 1 .xml"]);
    std::fs::remove_dir_all(folder.path().join("train/fox")).unwrap();
    std::fs::create_dir(folder.path().join("train/fox")).unwrap();
    fails(folder.path(), Split::Train, &["train/fox", "take it away or fill it"]);
    let only = common::folder(&[("train/cat/1.jpg", vec![1]), ("val/cat/1.gif", vec![1])]);
    fails(only.path(), Split::Test, &["holds no images", "1 .gif", "only JPEG and PNG"]);
}

#[test]
fn classes_that_differ_between_the_splits_are_named() {
    let folder = cats_and_dogs();
    std::fs::remove_dir_all(folder.path().join("val/dog")).unwrap();
    let remarks = open(folder.path(), Split::Test).remarks().to_vec();
    assert!(
        remarks.iter().any(|remark| remark.contains("no images of 1 of the 2 classes: dog")),
        "{remarks:?}"
    );
    write(folder.path(), "val/Dog/1.jpg", b"1");
    fails(folder.path(), Split::Test, &["class folder Dog is none of the 2", "`dog` there", "`Dog` here"]);
    let folder = common::folder(&[
        ("train/caf\u{e9}/1.jpg", vec![1]),
        ("train/tea/1.jpg", vec![1]),
        ("val/cafe\u{301}/1.jpg", vec![1]),
    ]);
    fails(folder.path(), Split::Test, &["`caf\\u{e9}` there", "`cafe\\u{301}` here"]);
}

#[test]
fn classes_that_are_easily_mistaken_are_told() {
    let folder = cats_and_dogs();
    write(folder.path(), "train/Cat/1.jpg", &[1; 9]);
    gives(folder.path(), &[(0, 9), (1, 1), (1, 2), (2, 3)], &["Cat and cat in"]);
    let names: Vec<String> = (0..11).map(|number| format!("train/{number}/1.jpg")).collect();
    let numbers: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), vec![1])).collect();
    let remarks = open(common::folder(&numbers).path(), Split::Train).remarks().to_vec();
    assert!(remarks[0].contains("numbered as text, 10 before 2") && remarks.len() == 1, "{remarks:?}");
    let nested =
        common::folder(&[("train/animals/cat/1.jpg", vec![1]), ("train/animals/dog/1.jpg", vec![1; 2])]);
    gives(nested.path(), &[(0, 1), (0, 2)], &["one class folder, animals"]);
}

#[test]
fn the_folder_of_a_split_may_be_written_in_any_case() {
    let folder = cats_and_dogs();
    std::fs::rename(folder.path().join("train"), folder.path().join("Train")).unwrap();
    std::fs::rename(folder.path().join("val"), folder.path().join("VAL")).unwrap();
    gives(folder.path(), &PLAIN, &[]);
    assert_eq!(common::listed(&open(folder.path(), Split::Test)), [(0, 4), (1, 5)]);
}

/// Names are bytes on Unix; two that look alike when they are shown carelessly are two classes.
#[cfg(unix)]
#[test]
fn names_of_any_encoding_are_classes_and_images() {
    use std::os::unix::ffi::OsStrExt;
    let folder = cats_and_dogs();
    for (class, name, len) in [(b"\xe9".as_slice(), b"\xe9.jpg".as_slice(), 6), (b"\xe8", b"\xe8.JPG", 7)] {
        for split in ["train", "val"] {
            let path = folder.path().join(split).join(std::ffi::OsStr::from_bytes(class));
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join(std::ffi::OsStr::from_bytes(name)), vec![1; len]).unwrap();
        }
    }
    let source = gives(folder.path(), &[(0, 1), (0, 2), (1, 3), (2, 7), (3, 6)], &[]);
    assert_eq!(source.class_names(), ["cat", "dog", "\\xE8", "\\xE9"]);
    assert!(source.place(3).ends_with("train/\\xE8/\\xE8.JPG"), "{}", source.place(3));
    assert_eq!(common::listed(&open(folder.path(), Split::Test)), [(0, 4), (1, 5), (2, 7), (3, 6)]);
}

#[cfg(unix)]
#[test]
fn a_pipe_among_images_is_an_image_that_cannot_be_read() {
    let folder = cats_and_dogs();
    common::pipe(&folder.path().join("train/cat/3.jpg"));
    let source = open(folder.path(), Split::Train);
    assert_eq!(source.len(), 4);
    let error = source.read(2, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("a pipe, not a regular file"), "{error}");
}
