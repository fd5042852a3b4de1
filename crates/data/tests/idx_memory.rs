//! A header's claim takes no memory. Alone in its file: it measures the address space of the whole process.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use sparse_data::{Error, idx};
use std::path::Path;

/// Largest address space the process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_claim_of_a_gigabyte_takes_none() {
    // 1000 × 1000 × 1000 bytes are below the limit, four are there.
    let side = 1000u32.to_be_bytes();
    let bytes = [&[0, 0, 8, 3][..], &side, &side, &side, &[1, 2, 3, 4]].concat();
    let before = peak();
    let error = idx::parse(&bytes[..], Path::new("boasting"), 3).unwrap_err();
    assert!(matches!(error, Error::Truncated { expected: 1_000_000_016, got: 20, .. }), "{error}");
    let grown = peak() - before;
    assert!(grown < 100 << 10, "{grown} KiB");
}
