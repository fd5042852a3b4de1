//! Files that PaddlePaddle and PyTorch wrote, read whole.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail the test")]

use std::env;
use std::fs;
use std::path::PathBuf;

use sparse_formats::import::{as_f32, import_bytes};
use sparse_formats::{Dtype, Error, Format, Imported, Tensors, import, read};

/// A golden file, from the folder that `GOLDEN_DIR` names if it does. Tests run in the folder of their crate.
fn golden(name: &str) -> PathBuf {
    env::var_os("GOLDEN_DIR").map_or_else(|| PathBuf::from("../../tests/golden"), PathBuf::from).join(name)
}

/// A file that `tests/torch/make.py` made.
fn made(name: &str) -> PathBuf {
    PathBuf::from("../../tests/torch").join(name)
}

#[track_caller]
fn imported(path: PathBuf, format: Format) -> Tensors {
    let Imported { format: found, tensors, .. } = import(&path).unwrap();
    assert_eq!(found, format, "{}", path.display());
    tensors
}

/// Checks that every tensor that was read is in the safetensors file, bit for bit, and gives how many there are.
#[track_caller]
fn same_as(tensors: &Tensors, name: &str) -> usize {
    let (expected, _) = read(golden(name)).unwrap();
    for (name, tensor) in tensors {
        assert!(expected.get(name) == Some(tensor), "{name} differs");
    }
    tensors.len()
}

#[test]
fn files_of_paddle_hold_the_tensors_that_paddle_says() {
    let variables = imported(golden("pd/vars_s0125"), Format::PaddleVariables);
    assert_eq!(same_as(&variables, "pd/vars_s0125.safetensors"), 137);
    let parameters = imported(golden("pd/static_mobilenet_s0125.pdparams"), Format::PaddleStatic);
    assert_eq!(same_as(&parameters, "pd/static_mobilenet_s0125.safetensors"), 137);
    let parameters = imported(golden("pd/dygraph_mobilenet_v1_s025.pdparams"), Format::PaddleDygraph);
    assert_eq!(same_as(&parameters, "pd/dygraph_mobilenet_v1_s025.safetensors"), 137);
    let state = imported(golden("pd/static_mobilenet_s0125.pdopt"), Format::PaddleStatic);
    assert!(state.keys().all(|name| !name.ends_with("_weights")), "an optimizer state has no weights");
}

#[test]
fn files_of_torch_are_unwrapped_and_their_views_followed() {
    let timm = imported(made("timm.pth"), Format::TorchZip);
    assert_eq!(timm.len(), 27 * 6 + 2);
    assert_eq!(timm["module.conv_stem.weight"].shape, [2, 3, 3, 3]);
    assert_eq!(timm["module.bn1.num_batches_tracked"].dtype, Dtype::I64);
    let str = imported(made("str.pt"), Format::TorchLegacy);
    assert_eq!((str.len(), str["fc.weight"].shape.as_slice()), (27 * 5 + 1, [10, 64, 1, 1].as_slice()));
    let halves = imported(made("sparseml.pth"), Format::TorchZip);
    assert!(halves.values().all(|tensor| tensor.dtype == Dtype::F16));
    assert!(as_f32(&halves["classifier.fc.bias"]).unwrap().iter().all(|bias| bias.abs() <= 0.5));
}

#[test]
fn protocols_and_orders_of_axes_give_the_same_arrays() {
    let clas = imported(made("clas.pdparams"), Format::PaddleStatic);
    let older = imported(made("clas_2020.pdparams"), Format::PaddleStatic);
    assert_eq!(clas["fc.weight"], older["out.weight"]);
    assert_eq!(clas["blocks.0.depthwise_conv.conv.weight"], older["conv2_1._depthwise_conv._conv.weight"]);
}

#[test]
fn the_first_axis_fastest_and_the_high_byte_first_are_turned_round() {
    let array = |dtype: &str, order: &str, fortran: &str| {
        format!(
            "(dVw\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nI3\ntcnumpy\ndtype\n\
             (S'{dtype}'\nI00\nI01\ntR(I3\nS'{order}'\nNNNI-1\nI-1\nI0\ntbI{fortran}\nS'012345{}'\ntbs.",
            if dtype == "u2" { "6789ab" } else { "" }
        )
    };
    let data = |text: String| import_bytes("w", text.as_bytes()).unwrap().tensors["w"].data.clone();
    assert_eq!(data(array("u1", "|", "00")), b"012345");
    assert_eq!(data(array("u1", "|", "01")), b"024135");
    assert_eq!(data(array("u2", ">", "00")), b"1032547698ba");
}

#[test]
fn a_folder_stands_for_the_one_file_of_weights_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let weights = golden("pd/static_mobilenet_s0125.pdparams");
    fs::write(folder.path().join("config.json"), "{\"a\": 1}").unwrap();
    assert!(matches!(import(folder.path()), Err(Error::NoWeights { .. })));
    fs::copy(&weights, folder.path().join("any.name")).unwrap();
    fs::copy(golden("pd/static_mobilenet_s0125.pdopt"), folder.path().join("a.pdopt")).unwrap();
    assert_eq!(import(folder.path()).unwrap().path, folder.path().join("any.name"));
    fs::copy(&weights, folder.path().join("other")).unwrap();
    let error = import(folder.path()).unwrap_err().to_string();
    assert!(error.contains("any.name") && error.contains("other"), "{error}");
}

#[test]
fn other_formats_are_named() {
    let zip = |names: &[&str]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for name in names {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    for (bytes, word) in [
        (zip(&["a/data.pkl", "a/constants.pkl"]), "TorchScript"),
        (zip(&["w.npy"]), ".npz"),
        (zip(&["readme"]), "data.pkl"),
        (fs::read(golden("pd/vars_s0125/conv1_weights")).unwrap(), "give the folder"),
        (b"\x1f\x8b\x08".to_vec(), "gzip"),
    ] {
        let error = import_bytes("w", &bytes).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(matches!(import("no/such/file"), Err(Error::Io { .. })));
}
