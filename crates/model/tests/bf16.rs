//! Gradients of the whole network with activations stored as bf16, against those in f64.
//!
//! In a fresh MobileNetV1 that comparison says nothing: ReLUs near zero open and shut with the last bit, and after 27 layers the
//! gradients have little in common. So the network here is one that hands rounding on as it is. Its batch norms hold nearly all
//! values far above zero, where ReLU does nothing, and its weights add up to zero in each row, so that the raw outputs that are
//! rounded have no mean that would make their last bit longer.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail")]

use candle_core::{DType, Device, Tensor};
use sparse_model::{ConvKind, Masks, Model, NetworkConfig, Precision, TrainPass, layers};
use std::collections::BTreeMap;

const CONFIG: NetworkConfig = NetworkConfig::mobilenet(0.25, 3, 7);
/// Batch norm's offset, in standard deviations of what it normalises.
const OFFSET: f64 = 4.0;
/// Unit roundoff of bf16, which keeps 8 bits of each number.
const ROUNDOFF: f64 = 1.0 / 256.0;
/// Convolutions.
const LAYERS: usize = 27;

/// Largest error of a gradient, as a share of its length: an output and a gradient of each layer are rounded when they are
/// stored, each time by a [`ROUNDOFF`] of a number that is up to [`OFFSET`] times as large as what it tells, and one rounding
/// knows nothing of another.
fn bound() -> f64 {
    OFFSET * ROUNDOFF * (2.0 * LAYERS as f64).sqrt()
}

/// A number in [0, 1) that looks random.
fn scattered(index: usize) -> f64 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ mixed >> 32).wrapping_mul(0x94D0_49BB_1331_11EB) as f64 / 2f64.powi(64)
}

type Values = BTreeMap<String, Vec<f64>>;

/// The values of the network, all of them numbers of f32, and the words of its masks; where they are `pruned`, one of four
/// pointwise weights is kept.
fn network(pruned: bool) -> (Values, BTreeMap<String, Vec<u64>>) {
    let model = Model::new(CONFIG, 1, DType::F32, &Device::Cpu).unwrap();
    let numbers =
        |name: &String| -> Vec<f32> { model.variables()[name].flatten_all().unwrap().to_vec1().unwrap() };
    let mut values: Values = model
        .variables()
        .keys()
        .map(|name| (name.clone(), numbers(name).into_iter().map(f64::from).collect()))
        .collect();
    let mut masks = BTreeMap::new();
    for (number, layer) in layers(&CONFIG).unwrap().into_iter().enumerate() {
        let random = |i: usize| scattered(number << 20 | i) - 0.5;
        let named = |suffix: &str| format!("{}_{suffix}", layer.name);
        let offsets = values.get_mut(&named("bn_offset")).unwrap();
        offsets.iter_mut().enumerate().for_each(|(i, offset)| *offset = OFFSET + 0.2 * random(i));
        let scales = values.get_mut(&named("bn_scale")).unwrap();
        scales.iter_mut().enumerate().for_each(|(i, scale)| *scale = 1.0 + 0.2 * random(i));
        let weight = values.get_mut(&named("weights")).unwrap();
        let row = weight.len() / layer.outputs;
        let mut words = vec![0u64; weight.len().div_ceil(64)];
        for (output, weight) in weight.chunks_mut(row).enumerate() {
            let is_kept =
                |i: usize| layer.kind != ConvKind::Pointwise || !pruned || (i + output).is_multiple_of(4);
            let count = (0..row).filter(|&i| is_kept(i)).count() as f64;
            if layer.kind == ConvKind::Depthwise {
                weight
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, w)| *w = f64::from(u8::from(i == 4)) + 0.2 * random(i + output * row));
            }
            let mean = (0..row).filter(|&i| is_kept(i)).map(|i| weight[i]).sum::<f64>() / count.max(1.0);
            for (i, weight) in weight.iter_mut().enumerate() {
                *weight = if is_kept(i) { *weight - mean } else { 0.0 };
                let at = output * row + i;
                words[at / 64] |= u64::from(is_kept(i)) << (at % 64);
            }
        }
        if layer.kind == ConvKind::Pointwise {
            masks.insert(named("weights"), words);
        }
    }
    values.values_mut().flatten().for_each(|value| *value = f64::from(*value as f32));
    (values, masks)
}

/// The gradients of a network by name.
fn gradients(values: &Values, masks: &BTreeMap<String, Vec<u64>>, precision: Precision) -> Values {
    const BATCH: usize = 8;
    const SIZE: usize = 64;
    let dtype = if precision == Precision::Bf16 { DType::F32 } else { DType::F64 };
    let model = Model::new(CONFIG, 1, dtype, &Device::Cpu).unwrap();
    let tensor = |values: Vec<f64>, shape: &[usize]| {
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    };
    for (name, variable) in model.variables() {
        variable.set(&tensor(values[name].clone(), variable.dims())).unwrap();
    }
    let mut pass = TrainPass::new(&model, precision).unwrap();
    let words = masks.iter().map(|(name, words)| (name.as_str(), words.as_slice())).collect();
    pass.set_masks(&model, &Masks { words, masked_gradient: true });
    let pixels: Vec<f64> =
        (0..BATCH * 3 * SIZE * SIZE).map(|i| f64::from(2.0 * scattered(i) as f32 - 1.0)).collect();
    let images = tensor(pixels, &[BATCH, 3, SIZE, SIZE]);
    let labels: Vec<u32> = (0..BATCH as u32).map(|image| image * 3 % 7).collect();
    pass.forward(&model, &images, &labels, 0.1).unwrap();
    let gradients = pass.backward(&model).unwrap();
    let wide =
        |tensor: Tensor| tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
    let mut gradients: Values = gradients.into_iter().map(|(name, tensor)| (name, wide(tensor))).collect();
    for (name, words) in masks {
        let gradient = gradients.get_mut(name).unwrap();
        gradient
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| words[i / 64] >> (i % 64) & 1 == 0)
            .for_each(|(_, g)| *g = 0.0);
    }
    gradients
}

fn length<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The largest error of any gradient, and whose it is. Most of the gradient to a batch norm's scale and offset is taken away by the
/// next batch norm, so these are measured by the longest of their kind.
fn error(exact: &Values, short: &Values) -> (f64, String) {
    let is_norm = |name: &str| name.contains("_bn_");
    let norms = exact.iter().filter(|(name, _)| is_norm(name)).map(|(_, values)| length(values));
    let longest = norms.fold(0.0, f64::max);
    let error = |(name, exact): (&String, &Vec<f64>)| {
        let difference: Vec<f64> = exact.iter().zip(&short[name]).map(|(a, b)| a - b).collect();
        (length(&difference) / if is_norm(name) { longest } else { length(exact) }, name.clone())
    };
    exact.iter().map(error).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

#[test]
fn gradients_in_bf16_are_those_in_f64_up_to_their_rounding() {
    for pruned in [false, true] {
        let (values, masks) = network(pruned);
        let exact = gradients(&values, &masks, Precision::Full);
        let (found, name) = error(&exact, &gradients(&values, &masks, Precision::Bf16));
        println!("pruned {pruned}: at most {found:.4} ({name}) of {:.4}", bound());
        assert!(found < bound() && found > ROUNDOFF / 2.0, "{name}, pruned {pruned}: {found}");
        // A fault in any layer would be seen: every weight of it is off by a fifth, up or down.
        for (number, layer) in layers(&CONFIG).unwrap().into_iter().enumerate() {
            let mut faulty = values.clone();
            let weight = faulty.get_mut(&format!("{}_weights", layer.name)).unwrap();
            let up = |i: usize| scattered(number << 20 | i | 1 << 40) < 0.5;
            weight.iter_mut().enumerate().for_each(|(i, weight)| *weight *= if up(i) { 1.2 } else { 0.8 });
            let (found, name) = error(&exact, &gradients(&faulty, &masks, Precision::Bf16));
            assert!(found > bound(), "{} off, pruned {pruned}: {name} is off by {found} only", layer.name);
        }
    }
}
