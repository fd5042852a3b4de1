//! Bombs take little memory. Alone in its file: it measures the address space of the whole process.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]
#![cfg(target_os = "linux")]

use sparse_formats::Error;
use sparse_formats::import::import_bytes;

/// Largest address space the process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The opening, and 20 million bytes of it again and again.
fn bomb(opening: &[u8], again: &[u8]) -> Vec<u8> {
    [opening, &again.repeat(20_000_000 / again.len())].concat()
}

#[test]
fn bombs_are_refused_within_300_mebibytes() {
    let bombs = [
        ("values", bomb(b"\x80\x02", b"N")),
        ("dictionaries", bomb(b"\x80\x02", b"}")),
        ("copies", bomb(b"\x80\x02N", b"2")),
        ("items", bomb(b"\x80\x02]q\x00N", b"2a")),
        ("memos", bomb(b"\x80\x04N", b"\x94")),
        ("nesting", bomb(b"\x80\x02N", b"\x85")),
        ("doubling", bomb(b"\x80\x02Nq\x00", b"h\x00h\x00\x86q\x00")),
        ("shapes", bomb(b"\x80\x02K\x01q\x00", b"(h\x00h\x00h\x00h\x00t")),
        ("classes", bomb(b"\x80\x02", b"cm\nC\n")),
        ("objects", bomb(b"\x80\x02cm\nC\nq\x00", b"h\x00)R")),
        ("entries", bomb(b"\x80\x02cm\nC\n)RNq\x000", b"h\x00h\x00s")),
        ("pairs", bomb(b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01NN\x86a", b"h\x00h\x01\x85R")),
        ("length", b"\x80\x02B\xff\xff\xff\xff".to_vec()),
        ("number", b"\x80\x02\x8b\xff\xff\xff\x7f".to_vec()),
    ];
    let before = peak();
    for (name, bytes) in &bombs {
        let error = import_bytes(name, bytes).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. } | Error::BadPickle { .. }), "{name}: {error}");
    }
    let grown = peak() - before;
    assert!(grown < 300 << 10, "{grown} KiB");
}
