//! The program that libFuzzer drives: the target that `$FUZZ_TARGET` names. `cargo xtask fuzz` starts it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sparse_fuzz::{Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    // libFuzzer's own hook ends the program at every panic, also at one of a dependency that the reader catches and reports. A panic that comes
    // out of the target ends it all the same.
    let _ = std::panic::take_hook();
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name} is no target"))
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
