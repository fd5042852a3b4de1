//! What C hands over, checked.

use super::failure::{Failure, misuse};
use crate::{Options, Precision, Products};
use std::ffi::{CStr, c_int};
use std::path::PathBuf;

/// More threads than any machine here has processors, and few enough to be started.
const MOST_THREADS: usize = 1024;

/// The values of `enum sparse_engine_precision`.
pub(super) const F32: c_int = 0;
pub(super) const BF16: c_int = 1;

pub(super) fn options(threads: usize, size: [usize; 2], precision: c_int) -> Result<Options, Failure> {
    if threads > MOST_THREADS {
        return Err(misuse(format!("{threads} threads are too many; at most {MOST_THREADS}")));
    }
    let size = match size {
        [0, 0] => None,
        [0, _] | [_, 0] => return Err(misuse("give height and width, or 0 for both")),
        size => Some(size),
    };
    let precision = match precision {
        F32 => Precision::F32,
        BF16 => Precision::Bf16,
        other => return Err(misuse(format!("precision {other} is none: {F32} is f32, {BF16} is bf16"))),
    };
    let threads = if threads == 0 { Options::default().threads } else { threads };
    Ok(Options { threads, products: Products::Measured, size, precision })
}

#[cfg(unix)]
pub(super) fn path_of(path: &CStr) -> Result<PathBuf, Failure> {
    use std::os::unix::ffi::OsStrExt;
    Ok(std::ffi::OsStr::from_bytes(path.to_bytes()).into())
}

#[cfg(not(unix))]
pub(super) fn path_of(path: &CStr) -> Result<PathBuf, Failure> {
    Ok(path.to_str().map_err(|_| misuse("`path` is not UTF-8"))?.into())
}

/// Numbers of `count` times `each`, if so many can be in memory.
pub(super) fn numbers(count: usize, each: usize) -> Result<usize, Failure> {
    let most = isize::MAX.unsigned_abs() / size_of::<f32>();
    let numbers = count.checked_mul(each).filter(|&numbers| numbers <= most);
    numbers.ok_or_else(|| misuse(format!("{count} images do not fit into memory")))
}

/// A pointer that is neither null nor between two numbers.
pub(super) fn checked<T>(pointer: *mut T, name: &str) -> Result<*mut T, Failure> {
    if pointer.is_null() {
        return Err(misuse(format!("`{name}` is NULL")));
    }
    if !pointer.is_aligned() {
        return Err(misuse(format!("`{name}` is not aligned")));
    }
    Ok(pointer)
}
