//! The C functions as C and C++ see them: programs are compiled against the header, linked with the library, and run.
//!
//! The library is the example target `c_library`, which `cargo test` has made before it starts this test, from the
//! dependencies of this test: so nothing is built twice. `cargo test --test c_api` alone leaves it as it was; then the test
//! has it made. Without a C compiler (`$CC`, or `cc`) the tests say that they are skipped, and pass.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use sparse_engine::{Engine, Options};
use sparse_formats::MappedFile;
use sparse_testing::Need;
use std::collections::BTreeSet;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use std::{env, fs};

const C: [&str; 5] = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
const CPP: [&str; 5] = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// What the standard library of Rust needs beside the archive.
const SYSTEM: &[&str] = if cfg!(target_os = "linux") { &["-lpthread", "-ldl", "-lm"] } else { &["-liconv"] };

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn model(name: &str) -> PathBuf {
    crate_folder().join("../../tests/onnx").join(format!("{name}.onnx"))
}

fn golden(name: &str) -> Vec<f32> {
    let file = MappedFile::open(crate_folder().join("../../tests/onnx/io.safetensors")).unwrap();
    file.values(name).unwrap().1
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// The compiler that a variable names, or the usual one; nothing and a word why if it cannot be started.
fn compiler(variable: &str, usual: &str) -> Option<String> {
    let need = if variable == "CC" { Need::CCompiler } else { Need::CppCompiler };
    need.is_met_for("the C functions").then(|| env::var(variable).unwrap_or_else(|_| usual.to_owned()))
}

/// The folder with the library, as new as its sources.
fn library() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let executable = env::current_exe().unwrap();
        let folder = executable.parent().and_then(Path::parent).unwrap().join("examples");
        if !is_current(&folder) {
            let profile = folder.parent().and_then(Path::file_name).unwrap().to_str().unwrap();
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "-p", "sparse-engine", "--example", "c_library", "--target-dir"]);
            build.arg(folder.parent().and_then(Path::parent).unwrap());
            build.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
            assert!(build.current_dir(crate_folder()).status().unwrap().success());
        }
        folder
    })
}

/// Whether the library is there and newer than all that it was made from, which cargo lists beside it.
fn is_current(folder: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let named = |end| folder.join(format!("{DLL_PREFIX}c_library{end}"));
    let oldest = [DLL_SUFFIX, ".a"].map(|end| changed(&named(end)).unwrap_or(SystemTime::UNIX_EPOCH));
    let oldest = oldest.into_iter().min().unwrap_or(SystemTime::UNIX_EPOCH);
    let Ok(list) = fs::read_to_string(named(".d")) else { return false };
    let sources = list.lines().filter_map(|line| line.split_once(": ")).flat_map(|(_, names)| {
        names
            .replace("\\ ", "\0")
            .split(' ')
            .map(|name| PathBuf::from(name.replace('\0', " ")))
            .collect::<Vec<_>>()
    });
    sources.into_iter().all(|source| changed(&source).is_ok_and(|time| time <= oldest))
}

/// Compiles a source and links it with the library, or with the archive.
fn compile(compiler: &str, flags: &[&str], source: &Path, archive: bool) -> PathBuf {
    // Tests run at once, and a program that runs cannot be written.
    static PROGRAMS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("c-{}", PROGRAMS.fetch_add(1, Ordering::Relaxed));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let folder = library();
    let mut command = Command::new(compiler);
    command.args(flags).arg("-I").arg(crate_folder().join("include")).arg(source).arg("-o").arg(&program);
    if archive {
        command.arg(folder.join(format!("{DLL_PREFIX}c_library.a"))).args(SYSTEM);
    } else {
        let place = format!("-Wl,-rpath,{}", folder.display());
        command.arg(folder.join(format!("{DLL_PREFIX}c_library{DLL_SUFFIX}"))).args([&place, "-lpthread"]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Runs a program with some input; what it printed if it ended well.
fn run(command: &mut Command, input: &[u8]) -> Result<String, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that ends early does not read it all.
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    if status.success() { Ok(stdout) } else { Err(stderr) }
}

#[test]
fn the_example_prints_the_scores_of_the_engine() {
    let Some(cc) = compiler("CC", "cc") else { return };
    let programs =
        [false, true].map(|archive| compile(&cc, &C, &crate_folder().join("examples/classify.c"), archive));
    for name in ["mobilenet_13", "resnet_17", "grouped_9"] {
        let images = golden(&format!("{name}.input"));
        let mut scores = vec![0.0; 2 * 5];
        let engine = Engine::load(model(name), Options::default()).unwrap();
        engine.session().unwrap().run(&images, &mut scores).unwrap();
        for (score, golden) in scores.iter().zip(golden(&format!("{name}.logits"))) {
            assert!((score - golden).abs() < 1e-4 * (1.0 + golden.abs()), "{name}: {score} and {golden}");
        }
        for program in &programs {
            let printed = run(Command::new(program).arg(model(name)), &bytes(&images)).unwrap();
            assert_eq!(parsed(&printed), ranked(&scores), "{name}");
        }
    }
}

/// The lines of the example: image, class and score. Nine digits tell every f32 from its neighbours.
fn parsed(printed: &str) -> Vec<(usize, usize, f32)> {
    let line = |line: &str| {
        let [image, class, score] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        (image.parse().unwrap(), class.parse().unwrap(), score.parse().unwrap())
    };
    printed.lines().map(line).collect()
}

/// Images of five scores as the example shows them: higher ones first.
fn ranked(scores: &[f32]) -> Vec<(usize, usize, f32)> {
    let image = |(image, scores): (usize, &[f32])| {
        let mut order: Vec<usize> = (0..5).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        order.into_iter().map(|class| (image, class, scores[class])).collect::<Vec<_>>()
    };
    scores.chunks(5).enumerate().flat_map(image).collect()
}

#[test]
fn the_example_reads_files_and_refuses_what_is_no_image() {
    let Some(cc) = compiler("CC", "cc") else { return };
    let program = compile(&cc, &C, &crate_folder().join("examples/classify.c"), false);
    let example = |arguments: &[&Path], input: &[u8]| run(Command::new(&program).args(arguments), input);
    let model = model("mobilenet_13");
    let images = bytes(&golden("mobilenet_13.input"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("images.f32");
    fs::write(&file, &images).unwrap();
    assert_eq!(example(&[&model, &file], &[]).unwrap(), example(&[&model], &images).unwrap());
    assert_eq!(example(&[&model], &[]).unwrap(), "");
    let error = example(&[&model], &images[..images.len() - 4]).unwrap_err();
    assert!(error.contains("not complete"), "{error}");
    let error = example(&[Path::new("none.onnx")], &[]).unwrap_err();
    assert!(error.contains("none.onnx"), "{error}");
    let error = example(&[&model, Path::new("none.f32")], &[]).unwrap_err();
    assert!(error.contains("cannot be opened"), "{error}");
    // Other systems have no such names.
    if cfg!(target_os = "linux") {
        let bytes = folder.path().join(OsStr::from_bytes(b"not UTF-8 \xff.onnx"));
        fs::copy(&model, &bytes).unwrap();
        assert_eq!(example(&[&bytes], &images), example(&[&model], &images));
    }
}

#[test]
fn errors_threads_and_the_order_of_freeing_are_as_the_header_says() {
    let Some(cc) = compiler("CC", "cc") else { return };
    let source = crate_folder().join("tests/c/border.c");
    let flags = [&C[..], &["-D_POSIX_C_SOURCE=200809L"]].concat();
    for archive in [false, true] {
        let program = compile(&cc, &flags, &source, archive);
        assert_eq!(run(Command::new(program).arg(model("grouped_17")), &[]), Ok(String::new()));
    }
}

#[test]
fn the_header_and_the_example_are_cpp_too_and_so_is_the_manual() {
    let Some(cpp) = compiler("CXX", "c++") else { return };
    let example = fs::read_to_string(crate_folder().join("examples/classify.c")).unwrap();
    let manual = fs::read_to_string(crate_folder().join("../../docs/embedding.md")).unwrap();
    let part = manual.split("```cpp\n").nth(1).and_then(|text| text.split("```").next()).unwrap();
    for (name, text) in [("example.cpp", example.as_str()), ("manual.cpp", part)] {
        let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&source, text).unwrap();
        let program = compile(&cpp, &CPP, &source, false);
        let images = bytes(&golden("mobilenet_13.input"));
        let printed = run(Command::new(program).arg(model("mobilenet_13")), &images).unwrap();
        assert!(!printed.is_empty(), "{name}");
    }
}

#[test]
fn header_and_library_have_the_same_functions_statuses_and_precisions() {
    let read = |path: &str| fs::read_to_string(crate_folder().join(path)).unwrap();
    let found = |text: &str, inside: &str, name: &dyn Fn(&str) -> Option<String>| {
        let lines =
            text.lines().map(str::trim).filter(|line| !line.starts_with('*') && line.contains(inside));
        lines.filter_map(name).collect::<BTreeSet<String>>()
    };
    let function = |line: &str| Some(line.split_once('(')?.0.rsplit_once("sparse_engine_")?.1.to_owned());
    let header = read("include/sparse_engine.h");
    let functions = found(&header, ");", &function);
    assert_eq!(functions, found(&read("src/c_api.rs"), "extern \"C\" fn ", &function));
    assert_eq!(functions.len(), 11);

    let named = |line: &str| Some(line.strip_prefix("SPARSE_ENGINE_")?.trim_end_matches(',').to_owned());
    let constant =
        |line: &str| Some(line.split_once("const ")?.1.trim_end_matches(';').replace(": c_int", ""));
    let names = found(&header, " = ", &named);
    let library = read("src/c_api/failure.rs") + &read("src/c_api/arguments.rs");
    assert_eq!(names, found(&library, ": c_int = ", &constant));
    assert_eq!(names.len(), 6);
}
