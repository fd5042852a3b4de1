//! Lists as editors and programs of all systems write them.
#![allow(clippy::unwrap_used)]

mod common;

use common::{folder, write};
use sparse_data::source::List;
use sparse_data::{Source, Split};

/// Label and length of each image that a list names; `a.jpg` has 1 byte, `d/b.jpg` 2, `d/c d.jpg` 3.
fn read(list: &[u8]) -> Vec<(u32, usize)> {
    common::listed(&open(list).0)
}

fn open(list: &[u8]) -> (List, tempfile::TempDir) {
    let folder = folder(&[
        ("train_list.txt", list.to_vec()),
        ("a.jpg", vec![1]),
        ("d/b.jpg", vec![1; 2]),
        ("d/c d.jpg", vec![1; 3]),
    ]);
    (List::open(folder.path(), Split::Train).unwrap(), folder)
}

#[track_caller]
fn fails(list: &[u8], parts: &[&str]) {
    let folder = folder(&[("train_list.txt", list.to_vec())]);
    let error = List::open(folder.path(), Split::Train).unwrap_err().to_string();
    for part in ["train_list.txt"].iter().chain(parts) {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn marks_line_ends_and_blanks_of_all_systems_are_read() {
    let expected = [(0, 1), (1, 2), (2, 3)];
    for list in [
        b"a.jpg 0\nd/b.jpg 1\nd/c d.jpg 2\n".as_slice(),
        b"\xef\xbb\xbfa.jpg 0\nd/b.jpg 1\nd/c d.jpg 2",
        b"\xef\xbb\xbf\xef\xbb\xbfa.jpg 0\n\xef\xbb\xbfd/b.jpg 1\nd/c d.jpg 2\n\xef\xbb\xbf",
        b"\xef\xbb\xbfa.jpg 0\r\nd/b.jpg 1\r\n\r\nd/c d.jpg 2\r\n",
        b"a.jpg 0\rd/b.jpg 1\rd/c d.jpg 2\r",
        b"  a.jpg\t0 \n\n./d/b.jpg   1\n\t\nd/c d.jpg \t 2\n",
    ] {
        assert_eq!(read(list), expected, "{}", list.escape_ascii());
    }
}

#[test]
fn windows_paths_and_quotes_are_read_where_no_such_file_is_there() {
    let (list, _folder) = open(b"a.jpg 0\nd\\b.jpg 1\n\"d/c d.jpg\" 2\n'd\\c d.jpg' 3\n");
    assert_eq!(common::listed(&list), [(0, 1), (1, 2), (2, 3), (3, 3)]);
    assert!(list.remarks()[0].contains("3 paths"), "{:?}", list.remarks());
    assert!(list.place(1).ends_with("/d/b.jpg"));
    // What is nowhere keeps its name, to be found as a bad image.
    let (list, _folder) = open(b"d\\x.jpg 0\n");
    assert!(list.place(0).ends_with("d\\x.jpg") && list.remarks().is_empty());
}

#[cfg(unix)]
#[test]
fn a_backslash_in_a_real_name_is_kept() {
    let folder = folder(&[("train_list.txt", b"d\\b.jpg 0\n\"q\" 1\n".to_vec()), ("d/b.jpg", vec![1; 2])]);
    write(folder.path(), "d\\b.jpg", &[1; 9]);
    write(folder.path(), "\"q\"", &[1; 8]);
    let list = List::open(folder.path(), Split::Train).unwrap();
    assert_eq!(common::listed(&list), [(0, 9), (1, 8)]);
}

/// Names are bytes on Unix: those of Latin-1 and of UTF-8 stand in one list, and are shown apart.
#[cfg(unix)]
#[test]
fn names_of_any_encoding_are_opened() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder(&[("train_list.txt", b"caf\xe9.jpg 0\ncaf\xc3\xa9.jpg 1\ncaf\xe8.jpg 2\n".to_vec())]);
    for (name, len) in [(b"caf\xe9.jpg".as_slice(), 1), (b"caf\xc3\xa9.jpg", 2), (b"caf\xe8.jpg", 3)] {
        std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), vec![1; len]).unwrap();
    }
    let list = List::open(folder.path(), Split::Train).unwrap();
    assert_eq!(common::listed(&list), [(0, 1), (1, 2), (2, 3)]);
    assert!(list.place(0).ends_with("caf\\xE9.jpg") && list.place(1).ends_with("café.jpg"));
}

#[test]
fn absolute_paths_are_taken_as_they_are() {
    let (_, outside) = open(b"a.jpg 0\n");
    let path = outside.path().join("d/c d.jpg");
    assert_eq!(read(format!("{} 7\n", path.display()).as_bytes()), [(7, 3)]);
}

#[test]
fn labels_that_are_none_are_named_with_their_line() {
    for (label, part) in [
        ("-1", "label -1 is negative"),
        ("1.0", "label 1.0 is no whole number"),
        ("0.5", "label 0.5 is no whole number"),
        ("1e3", "label 1e3 is no whole number"),
        ("4294967296", "label 4294967296 is too large"),
        ("99999999999999999999", "is too large"),
        ("cat", "`cat` is no label"),
        ("0,1", "`0,1` is no label"),
    ] {
        fails(
            format!("a.jpg 0\r\n\r\nd/b.jpg {label}\r\n").as_bytes(),
            &["line 3", part, "RELATIVE/PATH LABEL"],
        );
    }
    fails(b"a.jpg\n", &["line 1", "it has no label"]);
    fails(b"\xef\xbb\xbf\n \n", &["lists no images"]);
    fails(b"caf\xe9.jpg x\n", &["caf\\xE9.jpg"]);
}

#[test]
fn lists_in_other_encodings_are_refused_by_name() {
    let utf16: Vec<u8> = "a.jpg 0\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fails(&[b"\xff\xfe", utf16.as_slice()].concat(), &["UTF-16", "UTF-8"]);
    fails(&utf16, &["UTF-16"]);
    let big: Vec<u8> = "a.jpg 0\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    fails(&[b"\xfe\xff", big.as_slice()].concat(), &["UTF-16"]);
    fails(&[0x1f, 0x8b, 8, 0, 0], &["gzip", "gunzip"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_list() {
    let folder = folder(&[]);
    common::pipe(&folder.path().join("train_list.txt"));
    let config = sparse_data::SourceConfig::default();
    let error = sparse_data::open_source(folder.path(), Split::Train, &config).err().unwrap();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("train_list.txt") && reason.contains("a pipe"), "{error} {reason}");
}
