//! JPEG files of every kind against the pixels of Pillow: sampling × scans × codes × restarts × colours × sizes, and damaged
//! ones (`tests/golden/jpeg/matrix.py`).
#![allow(clippy::unwrap_used, clippy::panic)]

use flate2::read::GzDecoder;
use sparse_data::{ImageFault, Mode, Normalise, Transform, TransformConfig, View, decode_image};
use sparse_testing::Need;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A file of an archive, and what is expected of it.
struct Case {
    name: String,
    rule: String,
    /// Mode, width, height and CRC-32 of Pillow's pixels; none where it refuses the file.
    pillow: Option<(Mode, usize, usize, u32)>,
    bytes: Vec<u8>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/jpeg")
}

fn cases(archive: &Path) -> Vec<Case> {
    let mut files = HashMap::new();
    let mut tar = tar::Archive::new(GzDecoder::new(std::fs::File::open(archive).unwrap()));
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    let expected = String::from_utf8(files.remove("expected.tsv").unwrap()).unwrap();
    let cases = expected.lines().map(|line| {
        let [name, rule, mode, width, height, sum] = *line.split('\t').collect::<Vec<_>>() else {
            panic!("{line}")
        };
        let mode = match mode {
            "L" => Mode::Grey,
            "RGB" => Mode::Rgb,
            "CMYK" => Mode::Cmyk,
            "-" => {
                return Case {
                    name: name.into(),
                    rule: rule.into(),
                    pillow: None,
                    bytes: files[name].clone(),
                };
            }
            other => panic!("{other}"),
        };
        let pillow = (mode, width.parse().unwrap(), height.parse().unwrap(), sum.parse().unwrap());
        Case { name: name.into(), rule: rule.into(), pillow: Some(pillow), bytes: files[name].clone() }
    });
    cases.collect()
}

/// How a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Equal,
    Differs,
    /// Pillow refuses it.
    ReadAlone,
    RefusedAlone,
    RefusedByBoth,
}

fn outcome(case: &Case) -> (Outcome, Option<ImageFault>) {
    match (decode_image(&case.bytes), case.pillow) {
        (Ok(picture), Some(pillow)) => {
            let mut sum = flate2::Crc::new();
            sum.update(&picture.pixels);
            let equal = (picture.mode, picture.width, picture.height, sum.sum()) == pillow;
            (if equal { Outcome::Equal } else { Outcome::Differs }, None)
        }
        (Ok(_), None) => (Outcome::ReadAlone, None),
        (Err(fault), Some(_)) => (Outcome::RefusedAlone, Some(fault)),
        (Err(fault), None) => (Outcome::RefusedByBoth, Some(fault)),
    }
}

/// Checks each case by its rule; how many there were.
fn check(cases: &[Case]) -> usize {
    let mut wrong = Vec::new();
    for case in cases {
        let (outcome, fault) = outcome(case);
        let right = match (&*case.rule, outcome) {
            (_, Outcome::Equal) | ("unopened", _) => true,
            ("damaged", Outcome::RefusedAlone)
            | ("damage", Outcome::RefusedAlone | Outcome::RefusedByBoth) => true,
            ("refused", Outcome::RefusedByBoth) => true,
            ("ours", Outcome::RefusedAlone | Outcome::RefusedByBoth) => {
                matches!(fault, Some(ImageFault::Unsupported { .. }))
            }
            _ => false,
        };
        if !right {
            wrong.push(format!("{}: {outcome:?} {fault:?}", case.name));
        }
    }
    let count = wrong.len();
    wrong.truncate(40);
    assert!(count == 0, "{count} of {} files:\n{}", cases.len(), wrong.join("\n"));
    cases.len()
}

#[test]
fn every_kind_of_file_has_the_pixels_of_pillow_or_is_refused() {
    let cases = cases(&folder().join("matrix.tar.gz"));
    assert!(check(&cases) > 2000);
    let mut resynchronised = 0;
    for case in cases.iter().filter(|case| case.name.starts_with("lost") || case.name.starts_with("twice")) {
        resynchronised += usize::from(outcome(case).0 == Outcome::Equal);
    }
    assert!(resynchronised > 10, "{resynchronised}");
}

/// A crop that is decoded alone has the pixels of the whole.
#[test]
fn crops_of_every_kind_of_file_are_parts_of_the_whole() {
    let normalise = Normalise::new(vec![0.0], vec![1.0]).unwrap();
    let config = TransformConfig { resize_short: 0, normalise, ..TransformConfig::imagenet(3) };
    let transform = Transform::new(&config).unwrap();
    let (mut part, mut whole) = (vec![0.0; 27], vec![1.0; 27]);
    for (number, case) in
        cases(&folder().join("matrix.tar.gz")).iter().enumerate().filter(|(at, _)| at % 3 == 0)
    {
        let Ok(picture) = decode_image(&case.bytes) else { continue };
        for epoch in 0..4 {
            let view = View::Train { seed: 3, epoch };
            transform.write(&case.bytes, view, number, &mut part).unwrap();
            transform.write_picture(picture.clone(), view, number, &mut whole).unwrap();
            assert_eq!(part, whole, "{} {epoch}", case.name);
        }
    }
}

/// The same with an archive made before, `MATRIX`.
#[test]
fn another_archive_has_the_pixels_of_pillow() {
    let Some(archive) = std::env::var_os("MATRIX") else { return };
    let cases = cases(Path::new(&archive));
    count(&format!("{}", archive.display()), &cases);
    check(&cases);
}

fn count(what: &str, cases: &[Case]) {
    let mut counts = BTreeMap::new();
    for case in cases {
        *counts.entry(outcome(case).0).or_insert(0) += 1;
    }
    std::io::stderr().write_all(format!("{what}: {counts:?}\n").as_bytes()).unwrap();
}

/// The same with every combination and with random damage, made now. `SPARSE_PYTHON` names an interpreter with
/// Pillow 13, and `jpegtran` has to be installed; `DAMAGED` is how
/// many damaged files to make, `SEED` which.
#[test]
fn the_whole_matrix_where_python_is_at_hand() {
    let Some(python) = sparse_testing::python() else {
        return Need::Python.left_out("the whole matrix of JPEG files against Pillow 13");
    };
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("matrix.tar.gz");
    let number = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let damaged = ["damage".to_owned(), number("DAMAGED", "300"), number("SEED", "1")];
    let every = std::env::var_os("DAMAGED").is_none().then(|| vec!["all".to_owned()]);
    for arguments in every.into_iter().chain([damaged.to_vec()]) {
        let mut command = std::process::Command::new(&python);
        let done = command.arg(folder().join("matrix.py")).arg(&archive).args(&arguments).status();
        assert!(done.unwrap().success());
        let cases = cases(&archive);
        count(&format!("{arguments:?}"), &cases);
        check(&cases);
    }
}
