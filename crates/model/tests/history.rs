//! A training pass gives the same bits whatever was computed with it before: a run that goes on from a checkpoint starts
//! with passes that have seen nothing.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use candle_core::{DType, Device, Tensor, WithDType};
use sparse_model::{Masks, Model, NetworkConfig, Precision, TrainPass};
use std::collections::BTreeMap;

const CONFIG: NetworkConfig = NetworkConfig::mobilenet(0.125, 3, 5);
/// Steps of a run.
const STEPS: usize = 30;

/// A number in [0, 1) that looks random.
fn scattered(index: usize) -> f64 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) as f64 / 2f64.powi(64)
}

/// Kept fractions that wander through `crossing` in small moves, to and fro.
fn densities(crossing: f64) -> impl Iterator<Item = f64> {
    (0..STEPS).map(move |step| {
        let phase = step as f64 / STEPS as f64 * 5.0 * std::f64::consts::PI;
        crossing + 0.05 * phase.cos() + 0.01 * (scattered(step) - 0.5)
    })
}

/// A network whose pointwise weights are pruned anew at each step.
struct Network {
    model: Model,
    raw: BTreeMap<String, Tensor>,
    words: BTreeMap<String, Vec<u64>>,
}

impl Network {
    fn new(dtype: DType) -> Self {
        let model = Model::new(CONFIG, 1, dtype, &Device::Cpu).unwrap();
        let pointwise = model.variables().iter().filter(|(name, _)| name.ends_with("_sep_weights"));
        let raw = pointwise.map(|(name, weight)| (name.clone(), weight.as_tensor().copy().unwrap()));
        Self { raw: raw.collect(), words: BTreeMap::new(), model }
    }

    /// Keeps about `density` of each pointwise weight.
    fn prune(&mut self, density: f64) {
        for (number, (name, raw)) in self.raw.iter().enumerate() {
            let kept: Vec<bool> =
                (0..raw.elem_count()).map(|i| scattered(number << 20 | i) < density).collect();
            let mut words = vec![0u64; kept.len().div_ceil(64)];
            kept.iter()
                .enumerate()
                .filter(|(_, kept)| **kept)
                .for_each(|(i, _)| words[i / 64] |= 1 << (i % 64));
            let mask: Vec<f32> = kept.iter().map(|&kept| f32::from(u8::from(kept))).collect();
            let mask = Tensor::from_vec(mask, raw.shape(), &Device::Cpu).unwrap();
            let pruned = (raw * mask.to_dtype(raw.dtype()).unwrap()).unwrap();
            self.model.variables()[name].set(&pruned).unwrap();
            self.words.insert(name.clone(), words);
        }
    }

    /// The bits of the loss, of the gradients and of the running statistics, by name.
    fn step(&self, pass: &mut TrainPass, step: usize) -> BTreeMap<String, Vec<u64>> {
        let words = self.words.iter().map(|(name, words)| (name.as_str(), words.as_slice())).collect();
        pass.set_masks(&self.model, &Masks { words, masked_gradient: true });
        // The first batch is larger than all others, and the buffers still hold it.
        let (batch, height, width) = if step == 0 { (6, 40, 32) } else { (3, 20, 17 + step % 3) };
        let pixels: Vec<f64> =
            (0..batch * 3 * height * width).map(|i| 2.0 * scattered(step << 20 | i) - 1.0).collect();
        let images = Tensor::from_vec(pixels, (batch, 3, height, width), &Device::Cpu).unwrap();
        let images = images.to_dtype(self.model.variables()["fc7_weights"].dtype()).unwrap();
        let labels: Vec<u32> = (0..batch as u32).map(|image| (image * 3 + step as u32) % 5).collect();
        let loss = pass.forward(&self.model, &images, &labels, 0.1).unwrap().loss;
        let gradients = pass.backward(&self.model).unwrap();
        let running = self.model.variables().iter().filter(|(name, _)| name.contains("_bn_"));
        let running = running.map(|(name, variable)| (format!("{name} itself"), bits(variable.as_tensor())));
        let gradients = gradients.iter().map(|(name, gradient)| (name.clone(), bits(gradient)));
        gradients.chain(running).chain([("loss".to_owned(), vec![loss.to_bits()])]).collect()
    }
}

fn bits(tensor: &Tensor) -> Vec<u64> {
    fn of<T: WithDType>(tensor: &Tensor, bits: fn(T) -> u64) -> Vec<u64> {
        tensor.flatten_all().unwrap().to_vec1::<T>().unwrap().into_iter().map(bits).collect()
    }
    match tensor.dtype() {
        DType::F32 => of::<f32>(tensor, |value| value.to_bits().into()),
        _ => of::<f64>(tensor, f64::to_bits),
    }
}

#[test]
fn passes_remember_nothing_that_decides_bits() {
    for (dtype, precision) in
        [(DType::F32, Precision::Full), (DType::F64, Precision::Full), (DType::F32, Precision::Bf16)]
    {
        // The fixed densities of the weight's gradient and of all products with bf16, and where zeros begin to be left out.
        for crossing in [0.45, 0.25, 0.8] {
            let [mut through, mut anew] = [Network::new(dtype), Network::new(dtype)];
            let mut kept = TrainPass::new(&through.model, precision).unwrap();
            for (step, density) in densities(crossing).enumerate() {
                through.prune(density);
                anew.prune(density);
                let expected = through.step(&mut kept, step);
                let mut fresh = TrainPass::new(&anew.model, precision).unwrap();
                for (name, bits) in anew.step(&mut fresh, step) {
                    assert!(
                        bits == expected[&name],
                        "{name} at step {step}, density {density:.3} of {precision:?} {dtype:?}"
                    );
                }
            }
        }
    }
}
