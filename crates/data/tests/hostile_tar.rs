//! Tar files that lie, are cut, or are no tar files: errors that name the file, in bounded time and memory.
#![allow(clippy::unwrap_used)]

mod common;

use common::{folder, tar_of};
use proptest::prelude::*;
use sparse_data::source::{Ilsvrc, WebDataset};
use sparse_data::{Error, Result, Source, Split};

/// A shard of two images.
fn shard() -> Vec<u8> {
    tar_of(&[("a.jpg", &[1; 700]), ("a.cls", b"1"), ("b.jpg", &[2; 10]), ("b.cls", b"2")])
}

fn open(bytes: Vec<u8>) -> Result<WebDataset> {
    let folder = folder(&[("train/x.tar", bytes)]);
    WebDataset::open(folder.path(), Split::Train, None)
}

#[track_caller]
fn fails(bytes: Vec<u8>, parts: &[&str]) {
    let error = open(bytes).unwrap_err();
    assert!(matches!(error, Error::Tar { .. }), "{error}");
    for part in ["train/x.tar"].iter().chain(parts) {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

/// The shard with the first header changed, its checksum right again.
fn with_header(change: impl Fn(&mut tar::Header)) -> Vec<u8> {
    let mut bytes = shard();
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&bytes[..512]);
    change(&mut header);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    bytes
}

#[test]
fn a_cut_anywhere_is_found_when_the_shard_is_opened() {
    let whole = shard();
    let open_end = whole.len() - 1024;
    assert!(whole[open_end..].iter().all(|&byte| byte == 0));
    for len in (0..=open_end).step_by(64).chain([1, 511, 513, open_end + 511]) {
        let folder = folder(&[("train/x.tar", whole[..len].to_vec())]);
        match WebDataset::open(folder.path(), Split::Train, None) {
            // A cut behind the last byte of a member looks like an archive without a mark.
            Ok(source) => assert!(source.remarks()[0].contains("without a mark of the end"), "{len}"),
            Err(Error::Empty { .. }) => assert!((1212..=1536).contains(&len), "{len}"),
            Err(error) => assert!(error.to_string().contains("cut short"), "{len}: {error}"),
        }
    }
    for len in [100, 600, 1211, 1537, 2561, 3073, 3585, open_end - 512] {
        fails(whole[..len].to_vec(), &["cut short", "fetch it again"]);
    }
    // One block of the mark is enough.
    assert_eq!(open(whole[..open_end + 512].to_vec()).unwrap().len(), 2);
}

#[test]
fn sizes_that_lie_are_refused_before_memory_is_taken() {
    for size in [2_000_000, 1 << 40, u64::MAX >> 1, u64::MAX - 511, u64::MAX] {
        fails(with_header(|header| header.set_size(size)), &["byte 0", "claims"]);
    }
    let not_octal = with_header(|header| header.as_old_mut().size = *b"12x456789abc");
    fails(not_octal, &["size is no number"]);
    // A long name of a terabyte, and one that is there but longer than any name.
    let long = |size| {
        with_header(|header| {
            header.set_entry_type(tar::EntryType::GNULongName);
            header.set_size(size);
        })
    };
    fails(long(1 << 40), &["claims"]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(1 << 20);
    header.set_cksum();
    tar.append(&header, &vec![b'x'; 1 << 20][..]).unwrap();
    fails(tar.into_inner().unwrap(), &["a name or attribute claims 1048576 bytes"]);
}

#[test]
fn sizes_in_attributes_are_obeyed_and_checked() {
    let pax = |size: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_pax_extensions([("path", "long/name.jpg".as_bytes()), ("size", size.as_bytes())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_path("short").unwrap();
        header.set_size(3);
        header.set_cksum();
        tar.append(&header, &[7u8; 3][..]).unwrap();
        let mut class = tar::Header::new_ustar();
        class.set_path("long/name.cls").unwrap();
        class.set_size(1);
        class.set_cksum();
        tar.append(&class, &b"4"[..]).unwrap();
        tar.into_inner().unwrap()
    };
    let source = open(pax("3")).unwrap();
    assert_eq!((source.len(), source.label(0)), (1, 4));
    fails(pax("99999999999"), &["claims 99999999999 bytes"]);
    fails(pax("18446744073709551615"), &["claims"]);
    fails(pax("-1"), &["extended attribute"]);
}

#[test]
fn what_is_no_tar_file_is_named() {
    fails(b"<html>not found</html>".repeat(100), &["byte 0", "a web page in place of the file"]);
    fails(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n".to_vec(), &["git lfs pull"]);
    fails(b"no archive ".repeat(100), &["byte 0", "checksum"]);
    fails([&[0x1f, 0x8b, 8][..], &[7; 2000]].concat(), &["compressed", "gunzip"]);
    fails(Vec::new(), &["cut short"]);
}

/// Nothing is unpacked, so a path is only a name to show.
#[test]
fn paths_that_climb_are_harmless_names() {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in
        [("../../etc/a.jpg", &b"abc"[..]), ("../../etc/a.cls", b"1"), ("/b.jpg", b"d"), ("/b.cls", b"0")]
    {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    }
    let source = open(tar.into_inner().unwrap()).unwrap();
    assert_eq!(common::listed(&source), [(1, 3), (0, 1)]);
    assert!(source.place(0).ends_with("../../etc/a.jpg"));
}

#[test]
fn links_to_nowhere_and_devices_are_strays() {
    use tar::EntryType;
    for kind in [EntryType::Link, EntryType::Symlink, EntryType::Fifo, EntryType::Char, EntryType::GNUSparse]
    {
        let source = open(with_header(|header| header.set_entry_type(kind))).unwrap();
        assert_eq!((source.len(), source.label(0)), (1, 2), "{kind:?}");
        assert!(source.strays().first()[0].place.ends_with("train/x.tar: a.jpg"), "{:?}", source.strays());
    }
}

#[test]
fn a_shard_that_shrinks_later_makes_bad_images() {
    let folder = folder(&[("train/x.tar", shard())]);
    let source = WebDataset::open(folder.path(), Split::Train, None).unwrap();
    std::fs::write(folder.path().join("train/x.tar"), b"").unwrap();
    let error = source.read(0, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(source.place(0).contains("member at byte 0"), "{}", source.place(0));
}

#[test]
fn inner_tar_files_may_not_reach_beyond_their_own_end() {
    let inner = tar_of(&[("x_1.JPEG", &[1; 600])]);
    // Cut within the inner file, with more of the outer one behind it.
    for len in [100, 512, 1024, inner.len() - 1024] {
        let outer = tar_of(&[("n01.tar", &inner[..len]), ("n02.tar", &inner)]);
        let folder = folder(&[("ILSVRC2012_img_train.tar", outer)]);
        let error = Ilsvrc::open(folder.path(), Split::Train).unwrap_err();
        assert!(
            matches!(error, Error::Tar { .. }) && error.to_string().contains("cut short"),
            "{len}: {error}"
        );
    }
    let folder =
        folder(&[("ILSVRC2012_img_train.tar", tar_of(&[("n01.tar", &inner), ("d/n01.tar", &inner)]))]);
    let error = Ilsvrc::open(folder.path(), Split::Train).unwrap_err();
    assert!(error.to_string().contains("n01 comes twice"), "{error}");
}

/// Opens a damaged shard and reads every image that seems to be there.
fn survive(bytes: Vec<u8>) {
    let total = bytes.len();
    if let Ok(source) = open(bytes) {
        assert!(source.len() <= total / 512);
        for index in 0..source.len() {
            let mut image = Vec::new();
            let _ = source.read(index, &mut image);
            assert!(image.len() <= total);
            source.place(index);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn changed_bytes(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut bytes = shard();
        for (position, byte) in changes {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        survive(bytes);
    }

    /// Headers with any bytes but a right checksum reach further into the reader.
    #[test]
    fn changed_headers(
        header in 0usize..4,
        changes in prop::collection::vec((0usize..512, any::<u8>()), 1..20),
    ) {
        let mut bytes = shard();
        let start = [0, 1536, 2560, 3584][header];
        let mut block = tar::Header::new_old();
        block.as_mut_bytes().copy_from_slice(&bytes[start..start + 512]);
        prop_assert!(block.size().is_ok());
        for (position, byte) in changes {
            block.as_mut_bytes()[position] = byte;
        }
        block.set_cksum();
        bytes[start..start + 512].copy_from_slice(block.as_bytes());
        survive(bytes);
    }

    #[test]
    fn random_blocks(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        survive(bytes);
    }
}
