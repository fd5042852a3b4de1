//! The `sparse-train` binary.

fn main() {}
