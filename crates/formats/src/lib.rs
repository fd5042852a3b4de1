//! Tensors on disk: safetensors files in and out, written atomically.
//!
//! A file holds named tensors and one optional metadata text, stored under the key `sparse_train` and meant to be JSON.
//! [`write()`] and [`read()`] work on paths; [`encode`] and [`decode`] do the same on bytes, for callers that put several
//! files into one folder with [`atomic::write_dir`] or want a checksum of what they store. The same tensors and the same
//! metadata always give the same bytes. Files of other programs are read too: their tensors keep their dtype, their
//! other metadata keys are ignored.
//!
//! Pruned weights are small in a packed file ([`packed`]), a safetensors file whose tensors are a bit per weight and the
//! numbers that are left; it is read like any other. [`MappedFile`] maps a file instead of reading it.
//!
//! Invariant: nothing read from a file is ever executed or trusted. Every size in a header is checked against the bytes
//! that are really there before anything is allocated for it, and whatever is written appears under its final name
//! complete or not at all. The crate knows no model and no tensor library. Its one `unsafe` maps a file, in `map.rs`.
//!
//! # Where things lie
//!
//! Safetensors in and out (`file.rs`, `tensor.rs`), with one optional metadata text, weights of other programs in
//! (`import/`, a file per format, told apart by `sniff.rs`; pickles by a machine that knows a list of classes and
//! keeps every other as inert data; `dictionaries.rs` and `modules.rs` find all dictionaries of tensors, and
//! `import_with` lets the caller choose), and files and folders that appear complete or not at all (`atomic.rs`).
//! `explain.rs` turns a malformed file into a message that says what is wrong. `regular.rs` opens plain files only,
//! so that a pipe is refused and not waited for.
//!
//! `packed/` is small files of pruned weights, a bit for each weight and the numbers that are not zero, laid out as
//! `docs/packed.md` says: `pack.rs` makes them, `parts.rs` checks and unpacks one tensor, `int8.rs` is weights of
//! eight bits with their scales (version 2), and `decode` and `import` unpack what is marked, so that no other
//! crate knows. `map.rs` maps a file for callers that want one tensor at a time (`MappedFile`).
//!
//! ```
//! use sparse_formats::{Tensor, Tensors};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("weights.safetensors");
//! let mut tensors = Tensors::new();
//! tensors.insert("fc.weight".to_owned(), Tensor::from_f32([2, 3], &[1.0, 0.0, 0.5, 0.0, 0.0, -2.0]));
//! sparse_formats::write(&path, &tensors, Some(r#"{"step":7}"#))?;
//!
//! let (read_back, metadata) = sparse_formats::read(&path)?;
//! assert_eq!(read_back["fc.weight"].to_f32()?[5], -2.0);
//! assert_eq!(metadata.as_deref(), Some(r#"{"step":7}"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod atomic;
mod error;
mod explain;
mod file;
mod header;
#[cfg(feature = "import")]
pub mod import;
mod map;
pub mod packed;
mod regular;
mod sniff;
mod tensor;
mod view;

pub use error::{Error, Result};
pub use file::{LARGEST_FILE, METADATA_KEY, decode, encode, read, write};
#[cfg(feature = "import")]
pub use import::{Format, Imported, import};
pub use map::MappedFile;
pub use regular::{open_regular, read_regular};
pub use sniff::foreign_weights;
pub use tensor::{Dtype, Tensor, Tensors};
pub use view::TensorView;
