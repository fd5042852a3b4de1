//! The C library as an example target, so that `cargo test` makes it by the way and `tests/c_api.rs` finds it.
//!
//! The functions are those of `src/c_api.rs`. For a library to ship see `docs/embedding.md`.

use sparse_engine as _;
