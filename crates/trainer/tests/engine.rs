//! The engine against the model that is trained: the same network, from weights and from an ONNX file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use candle_core::{DType, Device, Tensor};
use sparse_engine::onnx::metadata;
use sparse_engine::{Engine, Options, Products};
use sparse_formats::Tensors;
use sparse_model::{Activation, Mode, Model, NetworkConfig, Padding};
use sparse_trainer::data::sample_rng;
use sparse_trainer::{Head, OnnxOptions, Pretrained, export_onnx};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Largest `max|a − b| / max|b|` over a batch.
const TOLERANCE: f64 = 1e-5;

/// A network with random statistics and a few zeros, as a model and as a file.
struct Case {
    folder: TempDir,
    model: Model,
}

impl Case {
    fn new(config: NetworkConfig) -> Self {
        let model = Model::new(config, 3, DType::F32, &Device::Cpu).unwrap();
        let mut rng = sample_rng(5, 0, 0);
        for (name, variable) in model.variables() {
            let around = |low: f64, high: f64, rng: &mut _| uniform(variable.dims(), low, high, rng);
            let values = match name.rsplit('_').next().unwrap() {
                "scale" | "variance" => around(0.5, 1.5, &mut rng),
                "mean" | "offset" => around(-0.5, 0.5, &mut rng),
                _ => {
                    let zeroed = variable.as_tensor().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    let keep = |value: f32| if rng.below(3) == 0 { value } else { 0.0 };
                    let values: Vec<f32> = zeroed.into_iter().map(keep).collect();
                    Tensor::from_vec(values, variable.dims(), &Device::Cpu).unwrap()
                }
            };
            variable.set(&values).unwrap();
        }
        let case = Self { folder: tempfile::tempdir().unwrap(), model };
        case.write();
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self) {
        let config = self.model.config();
        let tensor = |(name, variable): (&String, &candle_core::Var)| {
            let values: Vec<f32> = variable.as_tensor().flatten_all().unwrap().to_vec1().unwrap();
            (name.clone(), sparse_formats::Tensor::from_f32(variable.dims(), &values))
        };
        let tensors: Tensors = self.model.variables().iter().map(tensor).collect();
        let architecture = serde_json::to_value(sparse_network::Architecture::of(&config)).unwrap();
        let metadata = serde_json::json!({ "architecture": architecture }).to_string();
        sparse_formats::write(self.path("w.safetensors"), &tensors, Some(&metadata)).unwrap();
    }

    fn export(&self, size: usize, sparse_initializer: bool) -> PathBuf {
        let to = self.path("w.onnx");
        export_onnx(&self.path("w.safetensors"), &to, OnnxOptions { size: Some(size), sparse_initializer })
            .unwrap();
        to
    }
}

fn uniform(shape: &[usize], low: f64, high: f64, rng: &mut sparse_trainer::data::SampleRng) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.uniform(low, high) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn network(activation: Activation, padding: Padding, channels: usize) -> NetworkConfig {
    NetworkConfig { activation, padding, bn_epsilon: 1e-3, ..NetworkConfig::mobilenet(0.25, channels, 7) }
}

/// The scores of an engine.
fn scores(engine: &Engine, images: &[f32]) -> Vec<f32> {
    let count = images.len() / engine.input_shape().iter().product::<usize>();
    let mut scores = vec![0.0; count * engine.outputs()];
    engine.session().unwrap().run(images, &mut scores).unwrap();
    scores
}

fn options(products: Products) -> Options {
    Options { threads: 2, products, ..Options::default() }
}

fn from_weights(path: &Path, size: [usize; 2], products: Products) -> Engine {
    Engine::new(Pretrained::read(path).unwrap().graph(size).unwrap(), options(products)).unwrap()
}

fn difference(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let greatest = expected.iter().map(|b| f64::from(b.abs())).fold(0.0, f64::max);
    assert!(greatest > 0.0, "all scores are zero");
    got.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max) / greatest
}

#[test]
fn the_engine_computes_what_the_model_computes() {
    for (activation, padding, channels, size) in [
        (Activation::Relu, Padding::Symmetric, 3, [32, 32]),
        (Activation::Relu6, Padding::Same, 3, [33, 47]),
        (Activation::Relu, Padding::Same, 1, [28, 28]),
        (Activation::Relu6, Padding::Symmetric, 3, [37, 16]),
        (Activation::Relu6, Padding::Same, 3, [64, 50]),
    ] {
        let case = Case::new(network(activation, padding, channels));
        let shape = [3, channels, size[0], size[1]];
        let images = uniform(&shape, -2.0, 2.0, &mut sample_rng(9, 0, 0));
        let expected: Vec<f32> =
            case.model.forward(&images, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let images: Vec<f32> = images.flatten_all().unwrap().to_vec1().unwrap();
        for products in [Products::Dense, Products::Sparse] {
            let engine = from_weights(&case.path("w.safetensors"), size, products);
            let difference = difference(&scores(&engine, &images), &expected);
            assert!(difference <= TOLERANCE, "{activation:?} {padding:?} {size:?}: {difference:e}");
        }
    }
}

#[test]
fn an_exported_file_gives_the_bits_of_the_weights() {
    for (activation, padding, sparse_initializer) in [
        (Activation::Relu, Padding::Symmetric, false),
        (Activation::Relu6, Padding::Same, false),
        (Activation::Relu6, Padding::Symmetric, true),
    ] {
        let case = Case::new(network(activation, padding, 3));
        let file = case.export(33, sparse_initializer);
        let images = uniform(&[2, 3, 33, 33], -2.0, 2.0, &mut sample_rng(9, 0, 0));
        let images: Vec<f32> = images.flatten_all().unwrap().to_vec1().unwrap();
        let expected =
            scores(&from_weights(&case.path("w.safetensors"), [33; 2], Products::Measured), &images);
        let engine = Engine::load(&file, options(Products::Sparse)).unwrap();
        assert_eq!(engine.input_shape(), [3, 33, 33]);
        assert_eq!(scores(&engine, &images), expected, "{activation:?} {padding:?}");
        // Batch norm is gone, and what the file says of itself is there.
        assert_eq!(sparse_engine::onnx::read_file(&file, &Default::default()).unwrap().nodes.len(), 58);
        let properties = metadata(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(properties["input"], r#"{"size":33}"#);
        assert!(properties["architecture"].contains(r#""bn_epsilon":0.001"#));
        let sparsity: f64 = properties["sparsity"].parse().unwrap();
        assert!((sparsity - 2.0 / 3.0).abs() < 0.01, "{sparsity}");
    }
}

/// A file under TF-slim's names whose head has 1001 outputs, the first for no class.
fn write_with_background(path: &Path) {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/torch/slim.safetensors");
    let mut tensors = sparse_formats::read(made).unwrap().0;
    for part in ["weights", "biases"] {
        let tensor = tensors.get_mut(&format!("MobilenetV1/Logits/Conv2d_1c_1x1/{part}")).unwrap();
        let (mut shape, values) = (tensor.shape.clone(), tensor.to_f32().unwrap());
        let classes = shape.pop().unwrap();
        let row = |row: &[f32]| (0..1001).map(|class| row[class % classes] + 1e-3 * class as f32).collect();
        let values: Vec<f32> = values.chunks(classes).flat_map::<Vec<f32>, _>(row).collect();
        shape.push(1001);
        *tensor = sparse_formats::Tensor::from_f32(shape, &values);
    }
    sparse_formats::write(path, &tensors, None).unwrap();
}

#[test]
fn a_background_class_is_left_out_and_the_programs_input_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (file, to) = (folder.path().join("slim.safetensors"), folder.path().join("slim.onnx"));
    write_with_background(&file);
    let pretrained = Pretrained::read(&file).unwrap();
    assert!(pretrained.background);
    let exported = export_onnx(&file, &to, OnnxOptions::default()).unwrap();
    assert_eq!((exported.classes, exported.input_shape), (1000, [3, 224, 224]));
    let properties = metadata(&std::fs::read(&to).unwrap()).unwrap();
    let input = r#"{"interpolation":"bilinear","mean":[0.5],"resize":256,"size":224,"std":[0.5]}"#;
    assert_eq!(properties["input"], input);
    assert!(properties["architecture"].contains(r#""classes":1000"#));

    let config = NetworkConfig { classes: 1000, ..pretrained.network };
    let model = Model::new(config, 1, DType::F32, &Device::Cpu).unwrap();
    assert_eq!(pretrained.load(&model, None).unwrap(), Head::WithoutBackground);
    let images = uniform(&[2, 3, 32, 32], -1.0, 1.0, &mut sample_rng(9, 0, 0));
    let expected: Vec<f32> =
        model.forward(&images, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let engine = from_weights(&file, [32; 2], Products::Dense);
    let images: Vec<f32> = images.flatten_all().unwrap().to_vec1().unwrap();
    assert!(difference(&scores(&engine, &images), &expected) <= TOLERANCE);
}
