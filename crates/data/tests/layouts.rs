//! One small data set in each layout, found by what the folder holds.
#![allow(clippy::unwrap_used)]

mod common;

use common::{folder, image_set, listed, tar_of, write};
use sparse_data::source::{Folders, Ilsvrc, List, Selected, WebDataset};
use sparse_data::{BadImages, Error, Format, Source, SourceConfig, Split, check_layout, open_source};
use std::path::Path;

fn open(folder: &Path, split: Split) -> sparse_data::Result<Box<dyn Source>> {
    open_source(folder, split, &SourceConfig::default())
}

fn layout(folder: &Path) -> Format {
    check_layout(folder, &SourceConfig::default()).unwrap()
}

fn labels(source: &dyn Source) -> Vec<u32> {
    (0..source.len()).map(|index| source.label(index)).collect()
}

#[track_caller]
fn fails(result: sparse_data::Result<impl Sized>, parts: &[&str]) -> Error {
    let error = result.err().unwrap();
    for part in parts {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    error
}

#[test]
fn lists_allow_spaces_blank_lines_and_windows_ends() {
    let list = b"n01/a b.png 3\r\n\n  \nn01/c.png\t4".to_vec();
    let folder = folder(&[("val_list.txt", list), ("n01/a b.png", vec![1; 5]), ("n01/c.png", vec![1; 7])]);
    let source = open(folder.path(), Split::Test).unwrap();
    assert_eq!(layout(folder.path()), Format::List);
    assert_eq!(listed(&*source), [(3, 5), (4, 7)]);
    assert!(source.place(1).ends_with("n01/c.png"));
}

#[test]
fn bad_lists_are_named() {
    let fault = |list: &str| {
        let folder = folder(&[("val_list.txt", list.into())]);
        List::open(folder.path(), Split::Test)
            .and_then(|list| image_set(list, 5, BadImages::Refuse))
            .err()
            .unwrap()
    };
    for list in ["a.jpg 0\nb.jpg\n", "a.jpg 0\nb.jpg x\n", "a.jpg 0\nb.jpg -1\n", "a.jpg 0\n7\n"] {
        let error = fault(list);
        assert!(matches!(error, Error::ListLine { line: 2, .. }), "{error}");
        assert!(error.to_string().contains("val_list.txt, line 2"), "{error}");
    }
    let label = fault("a.jpg 4\nb.jpg 5\n");
    assert!(matches!(label, Error::Label { label: 5, classes: 5, .. }));
    assert!(
        label.to_string().contains("b.jpg") && label.to_string().contains("model.num_classes"),
        "{label}"
    );
    let label = fault("\n\na.jpg 4\n\nb.jpg 5\n").to_string();
    assert!(label.contains("val_list.txt, line 5 (b.jpg): label 5"), "{label}");
    assert!(fault(" \n\n").to_string().contains("val_list.txt: it lists no images"));
}

fn class_folders() -> tempfile::TempDir {
    folder(&[
        ("train/dog/b.JPEG", vec![0; 2]),
        ("train/dog/deep/a.png", vec![0; 3]),
        ("train/cat/1.jpg", vec![0; 1]),
        ("train/cat/._1.jpg", vec![0; 9]),
        ("train/cat/notes.txt", vec![0; 9]),
        ("val/dog/v.jpeg", vec![0; 4]),
        ("val/loose.jpg", vec![0; 9]),
    ])
}

#[test]
fn class_folders_are_numbered_by_sorted_names() {
    let folder = class_folders();
    assert_eq!(layout(folder.path()), Format::Folders);
    let train = open(folder.path(), Split::Train).unwrap();
    assert_eq!(train.class_names(), ["cat", "dog"]);
    assert_eq!(listed(&*train), [(0, 1), (1, 2), (1, 3)]);
    assert!(train.place(2).ends_with("train/dog/deep/a.png"));
    // The only class folder of the second split is not its first class.
    assert_eq!(listed(&*open(folder.path(), Split::Test).unwrap()), [(1, 4)]);
    std::fs::remove_dir_all(folder.path().join("train")).unwrap();
    assert_eq!(listed(&*open(folder.path(), Split::Test).unwrap()), [(0, 4)]);
    fails(open(folder.path(), Split::Train), &["train does not exist", "data.path"]);
}

#[test]
fn class_folders_that_do_not_fit_are_named() {
    let folder = class_folders();
    write(folder.path(), "val/horse/1.jpg", b"");
    fails(Folders::open(folder.path(), Split::Test), &["class folder horse", "2 in"]);
    write(folder.path(), "train/horse/1.txt", b"");
    fails(Folders::open(folder.path(), Split::Train), &["train/horse", "no .jpg"]);
    let flat = common::folder(&[("train/1.jpg", vec![])]);
    fails(Folders::open(flat.path(), Split::Train), &["no class folders"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_round_trips_end() {
    use std::os::unix::fs::symlink;
    let folder = class_folders();
    let dog = folder.path().join("train/dog");
    symlink(&dog, dog.join("deep/round")).unwrap();
    symlink(folder.path().join("val/dog"), dog.join("more")).unwrap();
    symlink("nowhere", dog.join("broken.jpg")).unwrap();
    let source = Folders::open(folder.path(), Split::Train).unwrap();
    assert_eq!(labels(&source), [0, 1, 1, 1, 1]);
    let broken = (0..5).find(|&index| source.place(index).ends_with("broken.jpg")).unwrap();
    assert!(source.read(broken, &mut Vec::new()).is_err());
}

const WNIDS: [&str; 3] = ["n01440764", "n01443537", "n02119789"];

/// The tar files of three classes, in an order of their own, and of three validation images.
fn ilsvrc() -> tempfile::TempDir {
    let class = |wnid: &str, lens: &[usize]| {
        let names: Vec<String> = (1..=lens.len()).map(|number| format!("{wnid}_{number}.JPEG")).collect();
        let images: Vec<Vec<u8>> = lens.iter().map(|&len| vec![7; len]).collect();
        let members: Vec<(&str, &[u8])> =
            names.iter().map(String::as_str).zip(images.iter().map(Vec::as_slice)).collect();
        tar_of(&members)
    };
    let inner = [class(WNIDS[2], &[513]), class(WNIDS[0], &[1, 2]), class(WNIDS[1], &[0, 512])];
    let train =
        tar_of(&[("n02119789.tar", &inner[0]), ("n01440764.tar", &inner[1]), ("./n01443537.tar", &inner[2])]);
    let val = tar_of(&[
        ("ILSVRC2012_val_00000002.JPEG", &[1, 2]),
        ("ILSVRC2012_val_00000001.JPEG", &[1]),
        ("ILSVRC2012_val_00000003.JPEG", &[1, 2, 3]),
    ]);
    folder(&[("ILSVRC2012_img_train.tar", train), ("ILSVRC2012_img_val.tar", val)])
}

#[test]
fn the_tar_of_tars_is_read_in_place_in_the_order_of_wnids() {
    let folder = ilsvrc();
    assert_eq!(layout(folder.path()), Format::Ilsvrc);
    let source = open(folder.path(), Split::Train).unwrap();
    assert_eq!(source.class_names(), WNIDS);
    assert_eq!(listed(&*source), [(0, 1), (0, 2), (1, 0), (1, 512), (2, 513)]);
    assert!(source.place(4).ends_with("ILSVRC2012_img_train.tar: n02119789_1.JPEG"), "{}", source.place(4));
}

#[test]
fn validation_labels_come_from_any_of_the_known_files() {
    let synsets = "n02119789\nn01440764\nn01443537\n";
    let solution = "ImageId,PredictionString\nILSVRC2012_val_00000001,n02119789 1 2 3 4 n02119789 5 6 7 8\n\
                    ILSVRC2012_val_00000003,n01443537 1 1 1 1\nILSVRC2012_val_00000002,n01440764 0 0 1 1\n";
    let list = "val/ILSVRC2012_val_00000002.JPEG 0\nILSVRC2012_val_00000003.JPEG 1\nILSVRC2012_val_00000001.JPEG 2\n";
    for (name, text) in [
        ("imagenet_2012_validation_synset_labels.txt", synsets),
        ("ILSVRC2012_devkit_t12/data/imagenet_2012_validation_synset_labels.txt", synsets),
        ("LOC_val_solution.csv", solution),
        ("data/val_list.txt", list),
    ] {
        let folder = ilsvrc();
        fails(
            Ilsvrc::open(folder.path(), Split::Test),
            &["no labels", "LOC_val_solution.csv", "ground_truth.txt"],
        );
        write(folder.path(), name, text.as_bytes());
        let source = open(folder.path(), Split::Test).unwrap();
        assert_eq!(listed(&*source), [(0, 2), (2, 1), (1, 3)], "{name}");
        assert_eq!(source.class_names(), WNIDS);
        std::fs::remove_file(folder.path().join("ILSVRC2012_img_train.tar")).unwrap();
        assert_eq!(listed(&*open(folder.path(), Split::Test).unwrap()), [(0, 2), (2, 1), (1, 3)], "{name}");
    }
}

/// The kit numbers its classes in an order of its own: 490 is sea snake, class 65.
#[test]
fn the_ground_truth_of_the_kit_is_translated() {
    let folder = ilsvrc();
    write(folder.path(), "ILSVRC2012_validation_ground_truth.txt", b"490\n361\n171\n");
    fails(Ilsvrc::open(folder.path(), Split::Test), &["1000 classes", "have 3", "synset_labels.txt"]);
    std::fs::remove_file(folder.path().join("ILSVRC2012_img_train.tar")).unwrap();
    assert_eq!(labels(&*open(folder.path(), Split::Test).unwrap()), [970, 65, 230]);
    for (text, parts) in [
        ("490\n", ["ILSVRC2012_val_00000002.JPEG has no label", "ground_truth.txt"]),
        ("0\n1\n", ["line 1: `0`", "from 1 to 1000"]),
        ("1\n1001\n", ["line 2: `1001`", "from 1 to 1000"]),
        ("cat\n", ["line 1: `cat`", "from 1 to 1000"]),
    ] {
        write(folder.path(), "ILSVRC2012_validation_ground_truth.txt", text.as_bytes());
        fails(Ilsvrc::open(folder.path(), Split::Test), &parts);
    }
    std::fs::remove_file(folder.path().join("ILSVRC2012_validation_ground_truth.txt")).unwrap();
    let name = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt";
    let kit = tar_of(&[("ILSVRC2012_devkit_t12/readme.txt", b"hello"), (name, b"490\n361\n171\n")]);
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zipped, &kit).unwrap();
    write(folder.path(), "ILSVRC2012_devkit_t12.tar.gz", &zipped.finish().unwrap());
    assert_eq!(labels(&*open(folder.path(), Split::Test).unwrap()), [970, 65, 230]);
}

#[test]
fn shards_pair_images_with_labels() {
    let long = format!("{}/0003", "folder".repeat(30));
    let first = tar_of(&[
        ("a/0001.jpg", &[1, 2, 3]),
        ("a/0001.cls", b"5\n"),
        ("a/0002.json", b"{\"label\": 6, \"width\": 1}"),
        ("a/0002.PNG", &[1]),
        ("a/README", b"no dot"),
        ("a/0009.txt", b"no image"),
    ]);
    let (image, class) = (format!("{long}.jpeg"), format!("{long}.cls"));
    let second =
        tar_of(&[(&class, b"7"), (&image, &[1, 2]), ("0001.jpg", &[9; 9]), ("0001.json", b"{\"label\":8}")]);
    let folder = folder(&[("set-train-000.tar", first), ("set-train-001.tar", second)]);
    assert_eq!(layout(folder.path()), Format::Webdataset);
    let source = open(folder.path(), Split::Train).unwrap();
    assert_eq!(listed(&*source), [(5, 3), (6, 1), (7, 2), (8, 9)]);
    assert!(source.place(1).ends_with("set-train-000.tar: a/0002.PNG"), "{}", source.place(1));
    fails(open(folder.path(), Split::Test), &["*val*.tar", "data.val_files"]);
    let named = WebDataset::open(folder.path(), Split::Test, Some("set-{train}-{001..001}.tar")).unwrap();
    assert_eq!(named.len(), 2);
    let config = SourceConfig { val_files: Some("*-001.tar".to_owned()), ..SourceConfig::default() };
    assert_eq!(open_source(folder.path(), Split::Test, &config).unwrap().len(), 2);
}

#[test]
fn shards_without_labels_are_named() {
    let fault = |members: &[(&str, &[u8])], parts: &[&str]| {
        let folder = folder(&[("train/x.tar", tar_of(members))]);
        fails(WebDataset::open(folder.path(), Split::Train, None), parts);
    };
    fault(
        &[("a.jpg", &[1]), ("b.cls", b"1")],
        &["a.jpg: it has no label: a.cls", "b.cls: it is a label without"],
    );
    fault(&[("a.jpg", &[1]), ("a.json", b"{\"label\": \"cat\"}")], &["a.jpg: its label a.json holds `cat`"]);
    fault(&[("a.jpg", &[1]), ("a.json", b"{{{")], &["a.json is no JSON"]);
    fault(&[("a.jpg", &[1]), ("a.cls", b"-1")], &["a.cls holds `-1`"]);
    fault(&[("a.cls", b"1")], &["no images"]);
    fault(&[], &["no images"]);
}

#[test]
fn a_folder_with_nothing_or_too_much_says_what_was_looked_for() {
    let empty = folder(&[("notes.txt", vec![])]);
    let error = fails(
        open(empty.path(), Split::Train),
        &[
            "holds no data set but 1 files (notes.txt)",
            "train_list.txt",
            "train/CLASS",
            "ILSVRC2012_img_train.tar",
            "*train*.tar",
            "parquet",
            "data.format",
        ],
    );
    assert!(matches!(error, Error::Layout { .. }));
    let both = ilsvrc();
    write(both.path(), "train/cat/1.jpg", b"");
    let error = fails(open(both.path(), Split::Train), &["more than one layout", "(folders)", "(ilsvrc)"]);
    assert!(!error.to_string().contains("(list)"));
    let config = SourceConfig { format: Format::Folders, ..SourceConfig::default() };
    assert_eq!(open_source(both.path(), Split::Train, &config).unwrap().len(), 1);
    // A list beside class folders, as PaddleSlim has them, is no doubt.
    let list = class_folders();
    write(list.path(), "train_list.txt", b"train/cat/1.jpg 3\n");
    assert_eq!(labels(&*open(list.path(), Split::Train).unwrap()), [3]);
    fails(check_layout(Path::new("no/such"), &SourceConfig::default()), &["no/such", "data.path"]);
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_needs_its_feature() {
    let folder = folder(&[("data/train-00000-of-00001.parquet", vec![])]);
    assert_eq!(layout(folder.path()), Format::Parquet);
    fails(open(folder.path(), Split::Train), &["--features parquet"]);
}

#[test]
fn kept_classes_are_renumbered_in_the_order_given() {
    let folder = folder(&[("train_list.txt", b"a 217\nb 0\nc 5\nd 701\ne 0\n".to_vec())]);
    let config =
        |classes: &[u32]| SourceConfig { classes: Some(classes.to_vec()), ..SourceConfig::default() };
    let source = open_source(folder.path(), Split::Train, &config(&[701, 0, 217])).unwrap();
    assert_eq!(labels(&*source), [2, 1, 0, 1]);
    let places: Vec<String> = (0..4).map(|index| source.place(index)).collect();
    assert!(places.iter().zip(["a", "b", "d", "e"]).all(|(place, name)| place.ends_with(name)), "{places:?}");
    fails(open_source(folder.path(), Split::Train, &config(&[0, 3])), &["data.classes", "label 3"]);
    let twice = Selected::new(open(folder.path(), Split::Train).unwrap(), &[0, 0]);
    fails(twice, &["twice"]);
    let named = class_folders();
    let source = open_source(named.path(), Split::Train, &config(&[1])).unwrap();
    assert_eq!((source.class_names(), labels(&*source)), (["dog".to_owned()].as_slice(), vec![0, 0]));
}
