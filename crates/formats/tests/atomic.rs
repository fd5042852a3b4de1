//! Atomic writes on a real file system, with the faults a disk can have.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use sparse_formats::Error;
use sparse_formats::atomic::{
    check_target, remove_stale_temps, remove_stale_temps_of, write_dir, write_file,
};
use sparse_testing::Need;

/// Names the folder in which the child of the full-disk test works.
const CHILD_FOLDER: &str = "SPARSE_FORMATS_FULL_DISK_FOLDER";

/// Every file below `folder` by its relative path; a folder ends in `/`.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(tree(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
            found.insert(format!("{name}/"), Vec::new());
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

fn expected_tree(entries: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    entries.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect()
}

#[test]
fn a_file_is_created_then_replaced_and_nothing_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    write_file(&path, b"old").unwrap();
    write_file(&path, b"newer").unwrap();
    assert_eq!(tree(folder.path()), expected_tree(&[("weights", b"newer")]));
}

#[test]
fn a_folder_of_files_appears_whole() {
    let folder = tempfile::tempdir().unwrap();
    write_dir(folder.path().join("step-1"), &[("a", b"1".as_slice()), ("b", b"")]).unwrap();
    assert_eq!(
        tree(folder.path()),
        expected_tree(&[("step-1/", b""), ("step-1/a", b"1"), ("step-1/b", b"")])
    );
}

#[test]
fn an_existing_target_is_never_replaced_by_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("file"), b"kept").unwrap();
    for name in ["empty", "file"] {
        let error = write_dir(folder.path().join(name), &[("a", b"1")]).unwrap_err();
        assert!(matches!(error, Error::TargetExists { .. }), "{error}");
    }
    assert_eq!(tree(folder.path()), expected_tree(&[("empty/", b""), ("file", b"kept")]));
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", "../x", "a/b", "/x", "a/"] {
        let error = write_dir(folder.path().join("new"), &[(name, b"1")]).unwrap_err();
        assert!(matches!(error, Error::BadFileName { .. }), "{name}: {error}");
    }
    for path in ["", "/", ".."] {
        assert!(matches!(write_file(path, b"1"), Err(Error::BadFileName { .. })), "{path}");
    }
    assert_eq!(tree(folder.path()), expected_tree(&[]));
}

#[test]
fn a_failing_second_file_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let error = write_dir(folder.path().join("new"), &[("same", b"1"), ("same", b"2")]).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("new/same")), "{error}");
    assert_eq!(tree(folder.path()), expected_tree(&[]));
}

#[test]
fn a_missing_parent_and_a_file_or_folder_in_the_way_are_typed_errors() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), b"kept").unwrap();
    write_dir(at("folder"), &[("inner", b"kept")]).unwrap();
    let before = tree(folder.path());

    let error = write_file(at("folder"), b"new").unwrap_err();
    assert!(matches!(error, Error::NoPlainTarget { what: "a folder", .. }), "{error}");
    for path in [at("missing/weights"), at("file/weights")] {
        let error = write_file(&path, b"new").unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    for path in [at("missing/step"), at("file/step")] {
        let error = write_dir(&path, &[("a", b"1")]).unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
    }
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn only_temporaries_are_stale() {
    let folder = tempfile::tempdir().unwrap();
    let kept =
        ["weights", "weights.tmp-1-2", ".hidden", ".x.tmp-", ".x.tmp-1", ".x.tmp-a-1", ".x.tmp-1-2.bak"];
    for name in kept.iter().chain(&[".weights.tmp-17-0"]) {
        fs::write(folder.path().join(name), b"").unwrap();
    }
    fs::create_dir(folder.path().join(".step.tmp-17-1")).unwrap();
    fs::write(folder.path().join(".step.tmp-17-1/a"), b"").unwrap();

    let removed = remove_stale_temps(folder.path()).unwrap();
    assert_eq!(removed, [".step.tmp-17-1", ".weights.tmp-17-0"].map(|name| folder.path().join(name)));
    assert_eq!(tree(folder.path()), expected_tree(&kept.map(|name| (name, b"".as_slice()))));
    assert_eq!(remove_stale_temps(folder.path().join("missing")).unwrap(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn writers_of_one_name_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::thread::scope(|scope| {
        for fill in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..10 {
                    write_file(path, &[fill; 5000]).unwrap();
                }
            });
        }
    });
    let written = fs::read(&path).unwrap();
    assert_eq!(written, [written[0]; 5000]);
    assert_eq!(tree(folder.path()).len(), 1);
}

/// The child process of this test may write no file beyond a few kilobytes, so its writes break off in the middle as
/// they do on a full disk.
#[test]
fn a_write_that_runs_out_of_space_leaves_the_old_state() {
    if let Some(folder) = env::var_os(CHILD_FOLDER) {
        return run_out_of_space(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let limited = "trap '' XFSZ && ulimit -f 8 && exec \"$0\" --exact \"$1\"";
    let child = Command::new("sh")
        .args(["-c", limited])
        .arg(env::current_exe().unwrap())
        .arg("a_write_that_runs_out_of_space_leaves_the_old_state")
        .env(CHILD_FOLDER, folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    match child {
        Err(_) => Need::Shell.left_out("a write that runs out of space"),
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            assert!(folder.path().join("ran").exists(), "the child ran no test: {output:?}");
        }
    }
}

fn run_out_of_space(folder: &Path) {
    let path = folder.join("weights");
    write_file(&path, b"old").unwrap();
    let too_large = vec![7; 1 << 20];
    let error = write_file(&path, &too_large).unwrap_err();
    assert!(matches!(&error, Error::Io { action: "write", path: named, .. } if *named == path), "{error}");
    let error =
        write_dir(folder.join("step"), &[("small", b"1".as_slice()), ("large", &too_large)]).unwrap_err();
    assert!(
        matches!(&error, Error::Io { action: "write", path, .. } if path.ends_with("step/large")),
        "{error}"
    );
    assert_eq!(tree(folder), expected_tree(&[("weights", b"old")]));
    write_file(folder.join("ran"), b"").unwrap();
}

#[test]
#[cfg(unix)]
fn a_link_stays_and_what_it_leads_to_is_written() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("far")).unwrap();
    fs::write(at("far/old"), b"old").unwrap();
    for (link, to) in
        [("to_old", "far/old"), ("to_new", "far/new"), ("again", "to_newer"), ("to_newer", "far/newer")]
    {
        symlink(to, at(link)).unwrap();
    }
    for (link, file) in [("to_old", "far/old"), ("to_new", "far/new"), ("again", "far/newer")] {
        write_file(at(link), b"now").unwrap();
        assert!(at(link).is_symlink(), "{link}");
        assert_eq!(fs::read(at(file)).unwrap(), b"now", "{link}");
    }
    assert!(at("to_newer").is_symlink());
    assert_eq!(fs::read_dir(at("far")).unwrap().count(), 3);
    symlink("b", at("a")).unwrap();
    symlink("a", at("b")).unwrap();
    assert!(matches!(write_file(at("a"), b""), Err(Error::Io { .. })));
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_refused_by_what_it_is_and_stays() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let refused = |name: &str, expected: &str| {
        let error = write_file(at(name), b"bytes").unwrap_err();
        assert!(matches!(error, Error::NoPlainTarget { what, .. } if what == expected), "{name}: {error}");
    };
    fs::create_dir(at("folder")).unwrap();
    refused("folder", "a folder");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink("socket", at("link")).unwrap();
    refused("socket", "a socket");
    refused("link", "a socket");
    if Command::new("mkfifo").arg(at("pipe")).status().is_ok_and(|status| status.success()) {
        refused("pipe", "a pipe");
        assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
    }
    // Making a device takes rights that a test may not have.
    if Command::new("mknod")
        .arg(at("null"))
        .args(["c", "1", "3"])
        .status()
        .is_ok_and(|status| status.success())
    {
        refused("null", "a device");
        assert!(fs::symlink_metadata(at("null")).unwrap().file_type().is_char_device());
    }
}

#[test]
fn a_target_is_tried_without_a_trace_and_only_its_own_temporaries_are_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), b"kept").unwrap();
    fs::create_dir(at("folder")).unwrap();
    let before = tree(folder.path());
    for name in ["file", "new"] {
        check_target(at(name)).unwrap();
    }
    assert!(matches!(check_target(at("folder")), Err(Error::NoPlainTarget { .. })));
    assert!(matches!(check_target(at("missing/new")), Err(Error::Io { .. })));
    assert_eq!(tree(folder.path()), before);
    let others = [".file2.tmp-1-0", ".file.tmp-x-0", ".a.file.tmp-1-0"];
    for name in others.into_iter().chain([".file.tmp-1-0", ".file.tmp-22-3"]) {
        fs::write(at(name), b"half").unwrap();
    }
    assert_eq!(remove_stale_temps_of(at("file")).unwrap(), [at(".file.tmp-1-0"), at(".file.tmp-22-3")]);
    assert!(others.iter().all(|name| at(name).exists()) && at("file").exists());
}
