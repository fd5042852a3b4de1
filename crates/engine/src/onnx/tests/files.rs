//! Models as files: constants beside them, and files that are none.

use super::*;
use std::fs;
use std::path::Path;

/// A model whose factor `c` lies in another file.
fn external(entries: &[(&str, &str)]) -> Vec<u8> {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    let external_data = entries.iter().map(entry).collect();
    let c = TensorProto {
        float_data: vec![],
        external_data,
        data_location: Some(EXTERNAL),
        ..reals("c", &[2, 1, 1], &[])
    };
    model(13, vec![node("y = Mul x c", vec![])], vec![c]).encode_to_vec()
}

fn read_in(folder: &Path, entries: &[(&str, &str)]) -> Result<Graph, OnnxError> {
    let path = folder.join("model.onnx");
    fs::write(&path, external(entries)).unwrap();
    read_file(&path, &ReadOptions::default())
}

#[track_caller]
fn reason(result: Result<Graph, OnnxError>) -> String {
    match result.unwrap_err() {
        OnnxError::External { tensor, reason, .. } if tensor == "c" => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn constants_are_read_from_a_file_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = [9.0_f32, 3.0, 5.0, 9.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    fs::write(folder.path().join("w.data"), &bytes).unwrap();
    fs::create_dir(folder.path().join("deep")).unwrap();
    fs::write(folder.path().join("deep/w.data"), &bytes[4..12]).unwrap();
    let place = [("location", "w.data"), ("offset", "4"), ("length", "8"), ("checksum", "not looked at")];
    for entries in [
        &place[..],
        &[("location", "deep/w.data")],
        &[("location", "w.data"), ("offset", "4")],
        &[("location", "./w.data"), ("offset", "4"), ("length", "8")],
    ] {
        let graph = read_in(folder.path(), entries).unwrap();
        assert_eq!(graph.nodes[1].op, affine([3.0, 5.0], [0.0; 2]), "{entries:?}");
    }
    assert!(reason(read(&external(&place))).contains("given as bytes"));
}

#[test]
fn places_that_the_file_does_not_have_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.data"), [0; 16]).unwrap();
    let at = |offset, length| {
        reason(read_in(folder.path(), &[("location", "w.data"), ("offset", offset), ("length", length)]))
    };
    assert!(at("17", "8").contains("begins at byte 17 of a file of 16 bytes"));
    assert!(at("12", "8").contains("claims bytes 12"));
    assert!(at("0", "18446744073709551615").contains("claims"));
    assert!(at("0", "12").contains("12 bytes for the shape [2, 1, 1], which needs 8"));
    assert!(at("-1", "8").contains("its offset is `-1`") && at("0", "").contains("its length"));
    fs::write(folder.path().join("short.data"), [0; 4]).unwrap();
    assert!(reason(read_in(folder.path(), &[("location", "short.data")])).contains("4 bytes for"));
    assert!(reason(read_in(folder.path(), &[("location", "none")])).contains("beside the model"));
    assert!(reason(read_in(folder.path(), &[("offset", "0")])).contains("name of the file is missing"));
    let twice = [("location", "w.data"), ("location", "w.data")];
    assert!(reason(read_in(folder.path(), &twice)).contains("given twice"));
}

#[test]
fn constants_may_share_a_place_but_not_overlap_without_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.data"), [0; 16]).unwrap();
    let constant = |number: usize, offset: usize| {
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        let place = vec![
            entry("location", "w.data".to_owned()),
            entry("offset", offset.to_string()),
            entry("length", "8".to_owned()),
        ];
        let c = reals(&format!("c{number}"), &[2, 1, 1], &[]);
        TensorProto { external_data: place, data_location: Some(EXTERNAL), ..c }
    };
    let read = |offsets: &[usize]| {
        let nodes = (0..offsets.len()).map(|n| {
            let input = if n == 0 { "x".to_owned() } else { format!("y{}", n - 1) };
            node(&format!("y{n} = Add {input} c{n}"), vec![])
        });
        let constants = offsets.iter().enumerate().map(|(n, &offset)| constant(n, offset)).collect();
        let path = folder.path().join("model.onnx");
        fs::write(&path, model(13, nodes.collect(), constants).encode_to_vec()).unwrap();
        read_file(&path, &ReadOptions::default())
    };
    assert!(read(&[0, 0, 0, 8, 8]).is_ok());
    assert!(read(&[0, 4, 8]).unwrap_err().to_string().contains("overlap"));
}

#[cfg(unix)]
#[test]
fn no_file_outside_of_the_folder_is_opened() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("w.data"), [0; 8]).unwrap();
    let folder = outside.path().join("model");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("w.data"), [0; 8]).unwrap();
    symlink("../w.data", folder.join("out")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink("w.data", folder.join("in")).unwrap();
    let absolute = outside.path().join("w.data");
    let at = |location: &str| read_in(&folder, &[("location", location)]);
    for location in ["../w.data", "sub/../../w.data", "sub/../w.data", absolute.to_str().unwrap()] {
        assert!(reason(at(location)).contains("must lie in the folder"), "{location}");
    }
    for location in ["out", "up/w.data"] {
        assert!(reason(at(location)).contains("link out of the folder"), "{location}");
    }
    assert!(reason(at("sub")).contains("no regular file"));
    assert!(at("in").is_ok());
    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(reason(at("pipe")).contains("no regular file"));
    let error = read_file(&pipe, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, OnnxError::Io { .. }), "{error}");
}

#[test]
fn files_of_other_formats_are_told_apart() {
    for (bytes, part) in [
        (&b"PK\x03\x04archive/data.pkl"[..], "zip archive, as PyTorch"),
        (b"\x80\x02}q\x00", "pickle"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":{}}", "safetensors"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"<!DOCTYPE html>", "page of text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"", "empty"),
        (b"\x08\x07", "no graph"),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error, OnnxError::NotOnnx { .. }) && error.to_string().contains(part), "{error}");
    }
    let whole = model(13, vec![node("y = Relu x", vec![])], vec![]).encode_to_vec();
    assert!(read(&whole[..whole.len() - 3]).unwrap_err().to_string().contains("copy or export it again"));
}
