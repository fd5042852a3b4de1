//! Compiles `kernels/*.cu` for the host. Without a C++ compiler the crate builds all the same, and says at run time that it cannot run.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(emulated)");
    let kernels = Path::new("../../kernels");
    println!("cargo::rerun-if-changed={}", kernels.display());
    println!("cargo::rerun-if-changed=cpp");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).warnings(false).define("CUDA_EMULATOR", None);
    // Entry points register themselves when the program starts, so that all objects are needed.
    build.include("cpp").include(kernels).link_lib_modifier("+whole-archive");
    if build.try_get_compiler().is_err() || !build.is_flag_supported("-std=c++17").unwrap_or(false) {
        println!(
            "cargo::warning=no C++17 compiler: the CUDA kernels cannot be run on the CPU, and their tests are skipped"
        );
        return;
    }
    build.file("cpp/launch.cpp");
    for source in sources(kernels) {
        build.file(source);
    }
    build.compile("emulated_kernels");
    println!("cargo::rustc-cfg=emulated");
}

/// A C++ file for each kernel file, which the compiler takes for what it is by its name.
fn sources(kernels: &Path) -> Vec<PathBuf> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let files = fs::read_dir(kernels).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "cu")).collect();
    files.sort();
    let wrap = |file: PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = out.join(format!("{name}.cpp"));
        let absolute = fs::canonicalize(&file).unwrap_or(file);
        fs::write(&source, format!("#include \"{}\"\n", absolute.display())).map(|()| source)
    };
    files.into_iter().filter_map(|file| wrap(file).ok()).collect()
}
