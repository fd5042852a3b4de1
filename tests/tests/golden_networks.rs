//! Networks against PyTorch: five steps of small ones (`golden/networks/make.py` made the losses), and the scores of torchvision's and
//! timm's files (`golden/networks/scores.py`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use sparse_model::{Kind, Mode, Model, NetworkConfig, Precision, TrainPass};
use sparse_ops::{Sgd, SgdConfig};
use sparse_trainer::{Head, Pretrained};
use std::collections::HashMap;

/// The same numbers in [-1, 1] as those of the script.
fn numbers(count: usize, seed: usize) -> Vec<f64> {
    let number = |at: usize| {
        let at = (at + seed * 1_000_003) * 2_654_435_761 % (1 << 31);
        let at = (at ^ (at >> 15)) * 2_246_822_519 % (1 << 31);
        (at ^ (at >> 13)) as f64 / f64::from(1 << 30) - 1.0
    };
    (0..count).map(number).collect()
}

fn golden() -> Value {
    read("losses.json")
}

fn read(name: &str) -> Value {
    let folder =
        std::env::var("GOLDEN_DIR").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/golden").into());
    let path = std::path::Path::new(&folder).join("networks").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The network with the values of the script; a tensor's seed is its place in the order in which PyTorch uses them.
fn model(golden: &Value, kind: Kind, dtype: DType) -> Model {
    let number = |key: &str| golden[key].as_f64().unwrap();
    let config = NetworkConfig::new(kind, number("scale"), 3, number("classes") as usize);
    let model = Model::new(config, 0, dtype, &Device::Cpu).unwrap();
    let order = golden["networks"][kind.name()]["order"].as_array().unwrap();
    assert_eq!(order.len(), model.trainable().len(), "{kind:?}");
    for (seed, name) in order.iter().enumerate() {
        let name = name.as_str().unwrap();
        let variable = &model.variables()[name];
        let values = numbers(variable.elem_count(), seed);
        let fan_in: usize = match variable.dims() {
            [_, rest @ ..] if rest.len() == 3 => rest.iter().product(),
            dims => dims[0],
        };
        let bound = (6.0 / fan_in as f64).sqrt();
        let value = |v: f64| match name.rsplit('_').next() {
            Some("weights") => v * bound,
            Some("scale") => 1.0 + v / 4.0,
            _ => v / 4.0,
        };
        let values: Vec<f64> = values.into_iter().map(value).collect();
        let tensor = Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap();
        variable.set(&tensor.to_dtype(dtype).unwrap()).unwrap();
    }
    model
}

fn losses(golden: &Value, kind: Kind, dtype: DType, steps: usize) -> Vec<f64> {
    let number = |key: &str| golden[key].as_f64().unwrap();
    let [batch, side, classes] = ["batch", "side", "classes"].map(|key| number(key) as usize);
    let model = model(golden, kind, dtype);
    let config = SgdConfig { momentum: number("momentum"), l2_decay: number("decay"), clip_norm: None };
    let mut optimizer = Sgd::new(model.trainable(), config).unwrap();
    let mut pass = TrainPass::new(&model, Precision::Full).unwrap();
    let step = |step: usize| {
        let pixels = numbers(batch * 3 * side * side, 1000 + step);
        let images = Tensor::from_vec(pixels, (batch, 3, side, side), &Device::Cpu).unwrap();
        let labels: Vec<u32> = (0..batch).map(|image| ((3 * image + step) % classes) as u32).collect();
        let loss = pass.forward(&model, &images.to_dtype(dtype).unwrap(), &labels, 0.0).unwrap().loss;
        let gradients = pass.backward(&model).unwrap();
        optimizer.step(&gradients, number("lr"), |_| None).unwrap();
        loss
    };
    (0..steps).map(step).collect()
}

#[test]
fn five_steps_have_pytorchs_losses() {
    let golden = golden();
    for kind in [Kind::MobileNetV2, Kind::ResNet18, Kind::ResNet34, Kind::ResNet50] {
        let expected = |key: &str| -> Vec<f64> {
            serde_json::from_value(golden["networks"][kind.name()][key].clone()).unwrap()
        };
        // PyTorch's own f32 is as far from its f64.
        let rounding = (expected("f32")[0] / expected("f64")[0] - 1.0).abs();
        for (key, dtype, tolerance) in [("f64", DType::F64, 1e-8), ("f32", DType::F32, 1e-5 + 2.0 * rounding)]
        {
            let expected = expected(key);
            let found = losses(&golden, kind, dtype, expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= tolerance * expected,
                    "{kind:?} {key}: {found} {expected}"
                );
            }
        }
    }
}

/// A tensor of the script `scores.py`: its values follow from its name, its shape and its place.
fn by_formula(name: &str, shape: &[usize], seed: usize) -> Tensor {
    let values = numbers(shape.iter().product(), seed);
    let fan_in: usize = shape.iter().skip(1).product();
    let value = |v: f64| match shape.len() {
        2.. => v * (6.0 / fan_in as f64).sqrt(),
        _ if name.ends_with("running_var") || name.ends_with("weight") => 1.0 + v / 4.0,
        _ => v / 4.0,
    };
    let values: Vec<f32> = values.into_iter().map(|v| value(v) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

#[test]
fn files_of_torchvision_and_timm_give_torchs_scores() {
    let golden = read("scores.json");
    let [classes, images, side] =
        ["classes", "images", "side"].map(|key| golden[key].as_u64().unwrap() as usize);
    for (program, network) in golden["networks"].as_object().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights.safetensors");
        let tensors: Vec<(String, Vec<usize>)> = serde_json::from_value(network["tensors"].clone()).unwrap();
        let named = tensors.iter().enumerate();
        let named: HashMap<&str, Tensor> =
            named.map(|(seed, (name, shape))| (name.as_str(), by_formula(name, shape, seed))).collect();
        candle_core::safetensors::save(&named, &file).unwrap();
        let pretrained = Pretrained::read(file.as_path()).unwrap();
        let config = NetworkConfig { classes, ..pretrained.network };
        let model = Model::new(config, 1, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(pretrained.load(&model, None).unwrap(), Head::Same, "{program}");
        let pixels = numbers(images * 3 * side * side, tensors.len()).into_iter().map(|v| v as f32).collect();
        let x = Tensor::from_vec(pixels, (images, 3, side, side), &Device::Cpu).unwrap();
        let scores = model.forward(&x, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let expected: Vec<f32> = serde_json::from_value(network["scores"].clone()).unwrap();
        let largest = expected.iter().fold(0.0_f32, |most, score| most.max(score.abs()));
        let off = scores.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
        assert!(off < 1e-4, "{program}: {off:e}");
    }
}
