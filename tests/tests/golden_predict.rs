//! Real photos: the engine and the files it reads say what the trained model says of them, dense and pruned.
//!
//! Needs `SHARED_DATA`, as `golden_pretrained.rs`: a folder with `mobilenet_v1_1.0_224_tf` and `imagenette`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail and may say that it skips")]

use candle_core::{DType, Device, Tensor};
use sparse_engine::{Engine, Options, Products, Session};
use sparse_model::{Mode, Model};
use sparse_testing::Need;
use sparse_trainer::config::{DataKind, TrainConfig};
use sparse_trainer::data::Split;
use sparse_trainer::{
    Guess, OnnxOptions, PredictOptions, Predictor, Pretrained, View, convert, export_onnx, open_split,
};
use std::path::{Path, PathBuf};

/// Largest `max|a − b| / max|b|` over a batch of photos.
const TOLERANCE: f64 = 1e-5;
/// Photos at a time.
const BATCH: usize = 50;

/// The weights as ours, with so many of each pointwise layer's weights set to zero, the smallest first.
fn write_weights(shared: &Path, to: &Path, pruned: f64) {
    convert(&shared.join("mobilenet_v1_1.0_224_tf/mobilenet_v1_1.0_224.safetensors"), to).unwrap();
    let (mut tensors, metadata) = sparse_formats::read(to).unwrap();
    for tensor in tensors.values_mut().filter(|tensor| matches!(tensor.shape[..], [_, _, 1, 1])) {
        let mut values = tensor.to_f32().unwrap();
        let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        sizes.sort_by(f32::total_cmp);
        let cut = sizes[(sizes.len() as f64 * pruned) as usize];
        values.iter_mut().filter(|value| value.abs() < cut).for_each(|value| *value = 0.0);
        *tensor = sparse_formats::Tensor::from_f32(tensor.shape.clone(), &values);
    }
    sparse_formats::write(to, &tensors, metadata.as_deref()).unwrap();
}

/// What `--phase test` looks at.
fn photos(shared: &Path) -> (std::sync::Arc<dyn sparse_trainer::Dataset>, Vec<PathBuf>) {
    let mut config = TrainConfig::defaults(DataKind::Imagenet);
    config.data.path = shared.join("imagenette");
    (config.data.mean, config.data.std, config.data.resize) = (vec![0.5], vec![0.5], Some(0));
    let list = std::fs::read_to_string(config.data.path.join("val_list.txt")).unwrap();
    let file = |line: &str| config.data.path.join(line.rsplit_once(' ').unwrap().0);
    (open_split(&config, Split::Test).unwrap(), list.lines().map(file).collect())
}

fn best(scores: &[f32]) -> usize {
    (0..scores.len()).reduce(|a, b| if scores[b] > scores[a] { b } else { a }).unwrap()
}

/// The greatest relative difference between scores of the engine and the model, and the model's first class of each.
fn compare(dataset: &dyn sparse_trainer::Dataset, model: &Model, session: &mut Session) -> (f64, Vec<usize>) {
    let pixels: usize = dataset.image_shape().iter().product();
    let (mut greatest, mut first) = (0.0_f64, Vec::new());
    let (mut images, mut got) = (vec![0.0; BATCH * pixels], vec![0.0; BATCH * 1000]);
    for start in (0..dataset.len()).step_by(BATCH) {
        let count = BATCH.min(dataset.len() - start);
        for (place, image) in images.chunks_mut(pixels).take(count).enumerate() {
            dataset.read(start + place, View::Eval, image).unwrap();
        }
        let (images, got) = (&images[..count * pixels], &mut got[..count * 1000]);
        session.run(images, got).unwrap();
        let x = Tensor::from_slice(images, (count, 3, 224, 224), &Device::Cpu).unwrap();
        let expected: Vec<f32> =
            model.forward(&x, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let largest = expected.iter().map(|b| f64::from(b.abs())).fold(0.0, f64::max);
        let difference = got.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs()));
        greatest = greatest.max(difference.fold(0.0, f64::max) / largest);
        first.extend(expected.chunks(1000).map(best));
    }
    (greatest, first)
}

fn first_guesses(weights: &Path, files: &[PathBuf]) -> Vec<Guess> {
    let options = PredictOptions { top: 1, resize: Some(0), ..PredictOptions::default() };
    let found = Predictor::open(weights, options).unwrap().predict(files).unwrap();
    assert!(found.unusable.is_empty(), "{:?}", found.unusable);
    found.images.into_iter().map(|mut image| image.top.remove(0)).collect()
}

#[test]
fn photos_are_seen_as_the_model_sees_them() {
    let Some(shared) = sparse_testing::shared_data() else {
        return Need::SharedData.left_out("photos through the engine");
    };
    let (dataset, files) = photos(&shared);
    assert_eq!(dataset.len(), files.len());
    let folder = tempfile::tempdir().unwrap();
    for pruned in [0.0, 0.5] {
        let weights = folder.path().join(format!("{pruned}.safetensors"));
        let onnx = weights.with_extension("onnx");
        write_weights(&shared, &weights, pruned);
        let pretrained = Pretrained::read(&weights).unwrap();
        let graph = pretrained.graph([224; 2]).unwrap();
        let model = Model::new(pretrained.network, 1, DType::F32, &Device::Cpu).unwrap();
        pretrained.load(&model, None).unwrap();
        let products = if pruned > 0.0 { Products::Sparse } else { Products::Dense };
        let engine = Engine::new(graph, Options { products, ..Options::default() }).unwrap();
        let (difference, expected) = compare(&*dataset, &model, &mut engine.session().unwrap());

        let guesses = first_guesses(&weights, &files);
        let same = guesses.iter().zip(&expected).filter(|(guess, class)| guess.class == **class).count();
        export_onnx(&weights, &onnx, OnnxOptions::default()).unwrap();
        eprintln!(
            "pruned {pruned}: {same} of {} photos have the same first class, scores differ by {difference:.1e}",
            files.len()
        );
        assert_eq!(same, files.len());
        assert!(difference <= TOLERANCE, "{difference:e}");
        assert_eq!(first_guesses(&onnx, &files), guesses);
    }
}
