//! Shards as people have them: keys with dots, links, archives of several programs, and what has no partner.
#![allow(clippy::unwrap_used)]

mod common;

use common::{folder, image_set, tar_of};
use sparse_data::source::WebDataset;
use sparse_data::{BadImages, Dataset, Error, Source, Split};
use tar::{EntryType, Header};

/// A tar file under construction, block by block.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn header(&mut self, mut header: Header, bytes: &[u8]) -> &mut Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(&mut self, name: &[u8], bytes: &[u8]) -> &mut Self {
        self.header(named(name, bytes.len()), bytes)
    }

    fn link(&mut self, kind: EntryType, name: &[u8], target: &[u8]) -> &mut Self {
        let mut header = named(name, 0);
        header.set_entry_type(kind);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        self.header(header, b"")
    }

    fn pax(&mut self, attributes: &[(&str, &[u8])]) -> &mut Self {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_pax_extensions(attributes.iter().copied()).unwrap();
        self.0.extend(tar.into_inner().unwrap().split_last_chunk::<1024>().unwrap().0);
        self
    }

    /// The bytes so far, with the mark of the end.
    fn end(&mut self) -> Vec<u8> {
        [&self.0[..], &[0; 1024]].concat()
    }
}

fn named(name: &[u8], size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header
}

fn open(bytes: Vec<u8>) -> sparse_data::Result<WebDataset> {
    let folder = folder(&[("x-train-0.tar", bytes)]);
    WebDataset::open(folder.path(), Split::Train, None)
}

/// Label and length of each image, and the names of strays.
#[track_caller]
fn gives(bytes: Vec<u8>, images: &[(u32, usize)], strays: &[&str]) -> WebDataset {
    let folder = folder(&[("x-train-0.tar", bytes)]);
    let source = WebDataset::open(folder.path(), Split::Train, None).unwrap();
    assert_eq!(common::listed(&source), images);
    let named: Vec<&str> =
        source.strays().first().iter().map(|stray| stray.place.rsplit(": ").next().unwrap()).collect();
    assert_eq!(named, strays, "{:?}", source.strays());
    source
}

#[track_caller]
fn fails(bytes: Vec<u8>, parts: &[&str]) {
    let error = open(bytes).unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn keys_with_dots_keep_their_images() {
    let members: [(&str, &[u8]); 10] = [
        ("1.jpg", &[1]),
        ("1.cls", b"0"),
        ("22.05.jpg", &[1; 2]),
        ("22.05.cls", b"1"),
        ("22.06.jpg", &[1; 3]),
        ("22.06.cls", b"2"),
        ("v1.5/3.jpg", &[1; 4]),
        ("v1.5/3.cls", b"3"),
        ("./4.JPG", &[1; 5]),
        ("./4.CLS", b"4"),
    ];
    gives(tar_of(&members), &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)], &[]);
}

#[test]
fn one_image_of_a_sample_may_be_called_anything() {
    let members: [(&str, &[u8]); 6] = [
        ("0.jpg", &[1]),
        ("0.cls", b"0"),
        ("1.image.jpg", &[1; 2]),
        ("1.cls", b"1"),
        ("2.cls", b"2"),
        ("2.rgb.image.png", &[1; 3]),
    ];
    gives(tar_of(&members), &[(0, 1), (1, 2), (2, 3)], &[]);
}

#[test]
fn masks_beside_the_image_are_told_and_two_views_without_one_are_strays() {
    let members: [(&str, &[u8]); 6] = [
        ("0.jpg", &[1]),
        ("0.seg.png", &[1; 2]),
        ("0.cls", b"5"),
        ("1.left.jpg", &[1; 3]),
        ("1.right.jpg", &[1; 4]),
        ("1.cls", b"6"),
    ];
    let source = gives(tar_of(&members), &[(5, 1)], &["1.left.jpg", "1.right.jpg"]);
    assert!(source.strays().first()[0].reason.contains("several images"), "{:?}", source.strays());
    assert!(source.remarks()[0].contains("1 images") && source.remarks()[0].contains("0.seg.png"));
}

#[test]
fn what_has_no_partner_is_counted_like_a_bad_image() {
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    for number in 0..98 {
        members.push((format!("{number:03}.jpg"), vec![1; number + 1]));
        members.push((format!("{number:03}.cls"), b"0".to_vec()));
    }
    members.push(("098.jpg".to_owned(), vec![1]));
    members.push(("099.cls".to_owned(), b"0".to_vec()));
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let set = |limit| image_set(open(tar_of(&members)).unwrap(), 1, BadImages::Skip { limit });
    let data = set(0.02).unwrap();
    assert_eq!((data.len(), data.strays().count()), (98, 2));
    let error = set(0.01).err().unwrap();
    assert!(matches!(error, Error::TooManyStrays { strays: 2, all: 100, .. }), "{error}");
    for part in [
        "2 of 100",
        "098.jpg: it has no label: 098.cls",
        "099.cls: it is a label without an image",
        "data.bad_images_limit",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let error = image_set(open(tar_of(&members)).unwrap(), 1, BadImages::Refuse).err().unwrap();
    assert!(matches!(&error, Error::Image { place, .. } if place.ends_with("098.jpg")), "{error}");
}

/// An image that turns out bad counts together with the strays.
#[test]
fn strays_and_bad_images_share_one_limit() {
    let members: [(&str, &[u8]); 7] = [
        ("0.jpg", b"no image"),
        ("0.cls", b"0"),
        ("1.jpg", b"no image"),
        ("1.cls", b"0"),
        ("2.cls", b"0"),
        ("3.jpg", b"no image"),
        ("3.cls", b"0"),
    ];
    let data = image_set(open(tar_of(&members)).unwrap(), 1, BadImages::Skip { limit: 0.5 }).unwrap();
    let read = |index| common::read(&data, index, sparse_data::View::Eval).unwrap_err();
    assert!(matches!(read(0), Error::LeftOut { .. }));
    assert!(matches!(read(1), Error::TooManyBadImages { bad: 3, len: 4, .. }));
}

#[test]
fn other_formats_and_labels_in_words_are_named() {
    let members: [(&str, &[u8]); 12] = [
        ("0.webp", &[1]),
        ("0.cls", b"0"),
        ("1.jpg", &[1]),
        ("1.cls", b"cat"),
        ("2.jpg", &[1]),
        ("2.json", b"{\"label\": \"dog\"}"),
        ("3.jpg", &[1; 3]),
        ("3.json", b"{\"label\": \"3\", \"caption\": \"x\"}"),
        ("4.jpg", &[1; 4]),
        ("4.json", b"{\"label\": 4.0}"),
        ("5.jpg", &[1; 5]),
        ("5.json", b"{\"caption\": \"x\"}"),
    ];
    let source = gives(tar_of(&members), &[(3, 3), (4, 4)], &["0.webp", "1.jpg", "2.jpg", "5.jpg"]);
    let reasons: Vec<&str> = source.strays().first().iter().map(|stray| stray.reason.as_str()).collect();
    for (reason, part) in
        reasons.iter().zip(["a .webp image", "1.cls holds `cat`", "2.json holds `dog`", "no label"])
    {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    fails(
        tar_of(&[("0.webp", &[1]), ("0.cls", b"0"), ("0.txt", b"x")]),
        &["holds no images", "1 .webp", "1 .txt", "0.webp: it is a .webp"],
    );
    fails(tar_of(&[("a/0.txt", b"x"), ("README", b"x")]), &["1 without an extension", "only JPEG and PNG"]);
}

#[test]
fn what_systems_add_is_passed_over() {
    let members: [(&str, &[u8]); 6] = [
        ("._0.jpg", b"junk"),
        ("0.jpg", &[1]),
        ("._0.cls", b"junk"),
        ("0.cls", b"7"),
        ("__MACOSX/0.jpg", b"junk"),
        ("a/.DS_Store", b"junk"),
    ];
    let source = gives(tar_of(&members), &[(7, 1)], &[]);
    assert_eq!(source.remarks(), [""; 0]);
}

#[test]
fn links_are_followed_in_the_archive() {
    let mut tar = Archive::default();
    tar.file(b"a/0.jpg", &[1; 5]).file(b"a/0.cls", b"3");
    tar.link(EntryType::Link, b"a/1.jpg", b"a/0.jpg").file(b"a/1.cls", b"4");
    tar.file(b"a/2.jpg", &[2; 6]).link(EntryType::Link, b"a/2.cls", b"./a/0.cls");
    tar.link(EntryType::Symlink, b"a/3.jpg", b"../b/9.jpg").file(b"a/3.cls", b"5");
    tar.link(EntryType::Symlink, b"a/4.jpg", b"3.jpg").link(EntryType::Symlink, b"a/4.cls", b"2.cls");
    tar.link(EntryType::Symlink, b"a/5.jpg", b"/etc/9.jpg").file(b"a/5.cls", b"6");
    tar.link(EntryType::Symlink, b"a/6.jpg", b"6.jpg").file(b"a/6.cls", b"6");
    tar.file(b"b/9.jpg", &[3; 7]).file(b"b/9.cls", b"8");
    let source = gives(tar.end(), &[(3, 5), (4, 5), (3, 6), (5, 7), (3, 7), (8, 7)], &["a/5.jpg", "a/6.jpg"]);
    let reason = &source.strays().first()[0].reason;
    assert!(
        reason.contains("symbolic link to /etc/9.jpg") && reason.contains("no file in this archive"),
        "{reason}"
    );
}

/// As when the archive is unpacked: a hard link is the file of that name before it, a symbolic one the last.
#[test]
fn a_name_that_comes_twice_is_linked_as_tar_does() {
    let mut tar = Archive::default();
    tar.file(b"f/0.jpg", &[1; 5]).file(b"f/0.cls", b"1");
    tar.link(EntryType::Link, b"1.jpg", b"f/0.jpg").file(b"1.cls", b"2");
    tar.link(EntryType::Symlink, b"2.jpg", b"f/0.jpg").file(b"2.cls", b"3");
    tar.file(b"f/0.jpg", &[1; 9]).file(b"f/0.cls", b"4");
    gives(tar.end(), &[(1, 5), (2, 5), (3, 9), (4, 9)], &[]);
}

#[test]
fn archives_one_behind_the_other_are_read_and_told() {
    let one = tar_of(&[("0.jpg", &[1]), ("0.cls", b"1")]);
    let other = tar_of(&[("1.jpg", &[1; 2]), ("1.cls", b"2")]);
    for padding in [0, 512, 9216, 1 << 17] {
        let both = [&one[..], &vec![0; padding], &other].concat();
        let source = gives(both, &[(1, 1), (2, 2)], &[]);
        assert!(source.remarks()[0].contains("another archive"), "{:?}", source.remarks());
    }
    let source = gives([&one[..], b"garbage".repeat(200).as_slice()].concat(), &[(1, 1)], &[]);
    assert!(source.remarks()[0].contains("is no archive"), "{:?}", source.remarks());
    // A single block of zeros with no header behind it is damage within the archive.
    fails([&one[..2048], &[0; 512], b"garbage".repeat(200).as_slice()].concat(), &["checksum"]);
}

#[test]
fn an_archive_without_a_mark_of_the_end_is_read_and_told() {
    let whole = tar_of(&[("0.jpg", &[1]), ("0.cls", b"1")]);
    for len in [whole.len() - 1024, whole.len() - 1024 - 511] {
        let source = gives(whole[..len].to_vec(), &[(1, 1)], &[]);
        assert!(source.remarks()[0].contains("without a mark of the end"), "{:?}", source.remarks());
    }
    assert_eq!(gives(whole, &[(1, 1)], &[]).remarks(), [""; 0]);
}

#[test]
fn long_names_of_gnu_and_pax_are_whole() {
    let long = format!("{}/x.y", "folder".repeat(40));
    let gnu = tar_of(&[(&format!("{long}.jpg"), &[1; 3]), (&format!("{long}.cls"), b"7")]);
    gives(gnu, &[(7, 3)], &[]);
    let mut tar = Archive::default();
    let (image, class) = (format!("{long}.jpg"), format!("{long}.cls"));
    let note = [("SCHILY.xattr.user.note", b"two\nlines 9 \xff".as_slice())];
    tar.pax(&[note[0], ("path", image.as_bytes())]).file(b"short", &[1; 3]);
    tar.pax(&[("path", class.as_bytes())]).file(b"short", b"7");
    let target = [("path", b"z.jpg".as_slice()), ("linkpath", image.as_bytes())];
    tar.pax(&target).link(EntryType::Link, b"short", b"other").file(b"z.cls", b"8");
    gives(tar.end(), &[(7, 3), (8, 3)], &[]);
}

#[test]
fn old_and_odd_headers_are_read() {
    let mut tar = Archive::default();
    // A header of V7: no magic; a folder is a name that ends in a stroke.
    let mut old = |name: &[u8], bytes: &[u8]| {
        let mut header = Header::new_old();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(bytes.len() as u64);
        header.as_old_mut().linkflag = [0];
        tar.header(header, bytes);
    };
    old(b"d.jpg/", b"");
    old(b"d.jpg/0.jpg", &[1; 3]);
    old(b"d.jpg/0.cls", b"1");
    // A size in base 256, as for files from 8 GiB on.
    let mut header = named(b"1.jpg", 0);
    header.as_old_mut().size = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
    tar.header(header, &[1; 4]).file(b"1.cls", b"2");
    // A checksum over signed bytes, as old programs made it, in a name that is no UTF-8.
    let mut header = named(b"\xe9.jpg", 5);
    header.set_cksum();
    let signed: i64 = header.cksum().unwrap().into();
    header.as_old_mut().cksum.copy_from_slice(format!("{:06o}\0 ", signed - 256).as_bytes());
    tar.0.extend_from_slice(header.as_bytes());
    tar.0.extend_from_slice(&[1; 5]);
    tar.0.resize(tar.0.len().next_multiple_of(512), 0);
    tar.file(b"\xe9.cls", b"3");
    // Folders and links that claim a size without contents.
    for (kind, name) in [(EntryType::Directory, b"e/".as_slice()), (EntryType::Link, b"2.jpg")] {
        let mut header = named(name, 3);
        header.set_entry_type(kind);
        header.as_old_mut().linkname[..5].copy_from_slice(b"1.jpg");
        tar.header(header, b"");
    }
    tar.file(b"2.cls", b"4");
    gives(tar.end(), &[(1, 3), (2, 4), (3, 5), (4, 4)], &[]);
}

#[test]
fn what_has_no_bytes_of_its_own_is_named() {
    let kinds = [
        (EntryType::Char, "a device"),
        (EntryType::Fifo, "a pipe"),
        (EntryType::GNUSparse, "a sparse file; pack it without --sparse"),
        (EntryType::new(b'M'), "another volume"),
        (EntryType::new(b'Q'), "not known"),
    ];
    for (kind, part) in kinds {
        let mut tar = Archive::default();
        tar.file(b"0.jpg", &[1]).file(b"0.cls", b"1");
        let mut header = named(b"1.jpg", 0);
        header.set_entry_type(kind);
        tar.header(header, b"").file(b"1.cls", b"1");
        let source = gives(tar.end(), &[(1, 1)], &["1.jpg"]);
        assert!(source.strays().first()[0].reason.contains(part), "{:?}", source.strays());
    }
    let mut tar = Archive::default();
    tar.pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"1.jpg"), ("path", b"GNUSparseFile.7/1.jpg")]);
    tar.file(b"GNUSparseFile.7/1.jpg", &[1; 9])
        .file(b"1.cls", b"1")
        .file(b"2.jpg", &[1; 2])
        .file(b"2.cls", b"2");
    gives(tar.end(), &[(2, 2)], &["1.jpg"]);
    // The map of a sparse file may go on in blocks of its own behind the header.
    let mut header = named(b"1.jpg", 9);
    header.set_entry_type(EntryType::GNUSparse);
    header.as_gnu_mut().unwrap().set_is_extended(true);
    let mut tar = Archive::default();
    tar.header(header, b"");
    let mut map = [0; 512];
    map[504] = 1;
    tar.0.extend_from_slice(&map);
    tar.0.extend_from_slice(&[0; 512]);
    tar.0.extend_from_slice(&[1; 512]);
    tar.file(b"1.cls", b"1").file(b"2.jpg", &[1; 2]).file(b"2.cls", b"2");
    gives(tar.end(), &[(2, 2)], &["1.jpg"]);
}

#[test]
fn a_key_that_comes_again_is_another_sample() {
    let members: [(&str, &[u8]); 8] = [
        ("0.jpg", &[1]),
        ("0.cls", b"1"),
        ("0.jpg", &[1; 2]),
        ("0.cls", b"2"),
        ("1.jpg", &[1; 3]),
        ("1.cls", b"3"),
        ("0.jpg", &[1; 4]),
        ("0.cls", b"4"),
    ];
    gives(tar_of(&members), &[(1, 1), (2, 2), (3, 3), (4, 4)], &[]);
    // All images, then all labels: no sample is whole.
    fails(
        tar_of(&[("0.jpg", &[1]), ("1.jpg", &[1]), ("0.cls", b"0"), ("1.cls", b"0")]),
        &["no images", "beside it"],
    );
}

#[test]
fn compressed_shards_are_refused_by_name() {
    let whole = tar_of(&[("0.jpg", &[1]), ("0.cls", b"1")]);
    let kinds: [(&str, &[u8], &str); 5] = [
        ("x-train-0.tar.gz", &[0x1f, 0x8b, 8], "gunzip"),
        ("x-train-0.tgz", &[0x1f, 0x8b, 8], "gunzip"),
        ("x-train-0.tar.zst", &[0x28, 0xb5, 0x2f, 0xfd], "unzstd"),
        ("x-train-0.tar.bz2", b"BZh9", "bunzip2"),
        ("x-train-0.tar", b"PK\x03\x04", "zip"),
    ];
    for (name, start, tool) in kinds {
        let folder = folder(&[(name, start.to_vec())]);
        let config = sparse_data::SourceConfig::default();
        let error = sparse_data::open_source(folder.path(), Split::Train, &config).err().unwrap().to_string();
        assert!(error.contains(tool) && error.contains(name) && !error.contains("fetch"), "{error}");
        // One compressed shard among others is not left out.
        common::write(folder.path(), "x-train-9.tar", &whole);
        assert!(WebDataset::open(folder.path(), Split::Train, None).is_err());
    }
    // A compressed archive beside the folders that were unpacked from it is no second layout.
    let folder = folder(&[("train/cat/1.jpg", vec![1]), ("train.tar.gz", vec![0x1f, 0x8b])]);
    let found = sparse_data::check_layout(folder.path(), &sparse_data::SourceConfig::default()).unwrap();
    assert_eq!(found, sparse_data::Format::Folders);
}

/// `cat` of shards whose names are no UTF-8, links to nothing and pipes: all that looks like a shard is opened or named.
#[cfg(unix)]
#[test]
fn no_shard_is_left_out_by_its_name() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder(&[("x-train-0.tar", tar_of(&[("0.jpg", &[1]), ("0.cls", b"1")]))]);
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"\xe9-train-1.tar"));
    std::fs::write(&odd, tar_of(&[("1.jpg", &[1; 2]), ("1.cls", b"2")])).unwrap();
    std::fs::write(folder.path().join("._x-train-0.tar"), b"junk").unwrap();
    for pattern in [None, Some("*.tar"), Some("*-{train}-*.tar"), Some("**/*.tar")] {
        let source = WebDataset::open(folder.path(), Split::Train, pattern).unwrap();
        assert_eq!(common::listed(&source), [(1, 1), (2, 2)], "{pattern:?}");
    }
    std::os::unix::fs::symlink("nowhere.tar", folder.path().join("x-train-2.tar")).unwrap();
    let error = WebDataset::open(folder.path(), Split::Train, None).unwrap_err().to_string();
    assert!(error.contains("x-train-2.tar") && error.contains("does not exist"), "{error}");
    std::fs::remove_file(folder.path().join("x-train-2.tar")).unwrap();
    common::pipe(&folder.path().join("x-train-3.tar"));
    let error = WebDataset::open(folder.path(), Split::Train, None).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("x-train-3.tar") && reason.contains("a pipe"), "{reason}");
}
