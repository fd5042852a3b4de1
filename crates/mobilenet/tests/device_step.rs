//! Whole training steps on the emulated device against the CPU's: losses, gradients, weights and masks.

use candle_core::{DType, Device, Tensor};
use sparse_emulator::{Emulator, download};
use sparse_kernels::cuda::chunks::{Chunks, Member};
use sparse_kernels::cuda::select::Selector;
use sparse_kernels::cuda::sgd::Rule;
use sparse_mobilenet::device::{Batch, DeviceParameters, DevicePass};
use sparse_mobilenet::{
    Activation, Masks, MobileNet, MobileNetConfig, Mode, Padding, Precision, SoftTargets, Targets, TrainPass,
};
use sparse_ops::{GradientMask, Sgd, SgdConfig};
use sparse_sparsity::Mask;
use sparse_sparsity::select::prune_smallest;
use std::collections::BTreeMap;

const SIZE: [usize; 2] = [18, 17];
const STEPS: usize = 5;
const RATE: f64 = 0.05;
const RATIO: f64 = 0.6;

/// How both sides train.
#[derive(Clone, Copy, Debug)]
struct Case {
    precision: Precision,
    batch: usize,
    /// TensorFlow's padding and activation.
    tensorflow: bool,
    soft: bool,
    clip_norm: Option<f64>,
    /// Whether pointwise layers leave their zeros out on the device.
    sparse: bool,
    order: u64,
    tolerance: f64,
}

impl Case {
    fn config(&self) -> MobileNetConfig {
        let config = MobileNetConfig::new(0.125, 3, 5);
        if !self.tensorflow {
            return config;
        }
        MobileNetConfig { activation: Activation::Relu6, padding: Padding::Same, bn_epsilon: 1e-3, ..config }
    }

    fn images(&self, step: usize) -> Vec<f32> {
        let noise = |i: usize| ((i * 7919 + step * 104_729) % 2017) as f32 / 1008.5 - 1.0;
        (0..self.batch * 3 * SIZE[0] * SIZE[1]).map(noise).collect()
    }

    fn labels(&self, step: usize) -> Vec<u32> {
        (0..self.batch).map(|i| ((i * 3 + step) % 5) as u32).collect()
    }

    fn teacher(&self, step: usize) -> Vec<f32> {
        (0..self.batch * 5).map(|i| ((i * 31 + step * 17) % 23) as f32 / 5.0 - 2.0).collect()
    }
}

/// What is compared after each step.
struct Found {
    loss: f64,
    gradients: BTreeMap<String, Vec<f32>>,
    weights: BTreeMap<String, Vec<f32>>,
    masks: BTreeMap<String, Mask>,
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn is_pruned(name: &str) -> bool {
    name.ends_with("_weights")
}

/// Masks that prune exactly the ratio of all weights together, ties by name and index.
fn smallest(weights: &BTreeMap<String, Vec<f32>>) -> BTreeMap<String, Mask> {
    let pruned: Vec<(&String, &Vec<f32>)> = weights.iter().filter(|(name, _)| is_pruned(name)).collect();
    let joined: Vec<f32> = pruned.iter().flat_map(|(_, values)| values.iter().copied()).collect();
    let mask = prune_smallest(&joined, count(joined.len())).unwrap();
    let mut start = 0;
    let part = |(name, values): &(&String, &Vec<f32>)| {
        start += values.len();
        let first = start - values.len();
        ((*name).clone(), Mask::from_fn(values.len(), |i| mask.get(first + i)))
    };
    pruned.iter().map(part).collect()
}

fn count(total: usize) -> usize {
    (total as f64 * RATIO) as usize
}

fn on_the_host(case: Case) -> Vec<Found> {
    let model = MobileNet::new(case.config(), 7, DType::F32, &Device::Cpu).unwrap();
    let mut pass = TrainPass::new(&model, case.precision).unwrap();
    let sgd = SgdConfig { momentum: 0.9, l2_decay: 3e-5, clip_norm: case.clip_norm };
    let mut optimizer = Sgd::new(model.trainable().unwrap(), sgd).unwrap();
    let mut masks: BTreeMap<String, Mask> = BTreeMap::new();
    let mut found = Vec::new();
    for step in 0..STEPS {
        for (name, mask) in &masks {
            let variable = &model.variables()[name];
            let mut weights = values(variable.as_tensor());
            mask.apply(&mut weights);
            variable.set(&Tensor::from_vec(weights, variable.shape(), &Device::Cpu).unwrap()).unwrap();
        }
        let words = masks.iter().map(|(name, mask)| (name.as_str(), mask.words())).collect();
        pass.set_masks(&model, &Masks { words, masked_gradient: true });
        let shape = (case.batch, 3, SIZE[0], SIZE[1]);
        let images = Tensor::from_vec(case.images(step), shape, &Device::Cpu).unwrap();
        let logits = Tensor::from_vec(case.teacher(step), (case.batch, 5), &Device::Cpu).unwrap();
        let soft = SoftTargets { logits, temperature: 2.0, weight: 0.7 };
        let labels = case.labels(step);
        let targets = Targets { labels: &labels, label_smoothing: 0.1, soft: case.soft.then_some(&soft) };
        let loss = pass.forward_to(&model, &images, targets).unwrap().loss;
        let gradients = pass.backward(&model).unwrap();
        let mask_of =
            |name: &str| masks.get(name).map(|m| GradientMask { words: m.words(), hold_pruned: false });
        optimizer.step(&gradients, RATE, mask_of).unwrap();
        let weights =
            model.variables().iter().map(|(name, v)| (name.clone(), values(v.as_tensor()))).collect();
        let gradients = gradients.iter().map(|(name, gradient)| (name.clone(), values(gradient))).collect();
        masks = smallest(&weights);
        found.push(Found { loss, gradients, weights, masks: masks.clone() });
    }
    found
}

fn on_the_device(case: Case) -> Vec<Found> {
    let queue = Emulator::new(case.order);
    let model = MobileNet::new(case.config(), 7, DType::F32, &Device::Cpu).unwrap();
    let parameters = DeviceParameters::new(&queue, &model, is_pruned).unwrap();
    let mut pass = DevicePass::new(case.config(), case.precision).unwrap();
    let spans = parameters.spans().iter().filter(|(name, _)| is_pruned(name));
    let members: Vec<Member> = spans.map(|(_, &span)| Member { span, group: 0, masked: true }).collect();
    let total: usize = members.iter().map(|member| member.span.len).sum();
    let selector = Selector::new(&queue, Chunks::new(&queue, &members).unwrap()).unwrap();
    let mut found = Vec::new();
    for step in 0..STEPS {
        let reads = queue.reads();
        parameters.enforce(&queue).unwrap();
        let sparse = |_: &_| case.sparse && step > 0;
        pass.set_sparse(&queue, &parameters, sparse).unwrap();
        let (images, labels, teacher) = (case.images(step), case.labels(step), case.teacher(step));
        let soft = case.soft.then_some((teacher.as_slice(), 2.0, 0.7));
        let batch = Batch { images: &images, labels: &labels, size: SIZE, label_smoothing: 0.1, soft };
        pass.forward(&queue, &parameters, batch, Mode::Train).unwrap();
        pass.backward(&queue, &parameters, SIZE).unwrap();
        let rule =
            Rule { learning_rate: RATE, momentum: 0.9, l2_decay: 3e-5, masked: step > 0, hold_pruned: false };
        parameters.step(&queue, rule, case.clip_norm).unwrap();
        let slices = [parameters.weights(), parameters.words()];
        selector.select(&queue, slices, None, &[count(total)]).unwrap();
        assert_eq!(queue.reads(), reads, "a step copies nothing to the host");

        let loss = pass.results(&queue).unwrap().loss;
        let gradients = parameters.gradients(&queue, &model).unwrap();
        parameters.give(&queue, &model).unwrap();
        let weights: BTreeMap<String, Vec<f32>> =
            model.variables().iter().map(|(name, v)| (name.clone(), values(v.as_tensor()))).collect();
        let words: Vec<u64> = download(&queue, parameters.words()).unwrap();
        let mask = |(name, values): (&String, &Vec<f32>)| {
            let first = parameters.spans()[name].start;
            (
                name.clone(),
                Mask::from_fn(values.len(), |i| words[(first + i) / 64] >> ((first + i) % 64) & 1 == 1),
            )
        };
        let masks: BTreeMap<String, Mask> =
            weights.iter().filter(|(name, _)| is_pruned(name)).map(mask).collect();
        assert_eq!(masks, smallest(&weights), "the masks are the host's of the same weights, bit for bit");
        let gradients = gradients.iter().map(|(name, gradient)| (name.clone(), values(gradient))).collect();
        found.push(Found { loss, gradients, weights, masks });
    }
    found
}

/// Largest difference, as a share of the largest value.
fn error(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max) as f64 / f64::from(largest)
}

fn compare(case: Case) {
    if !sparse_emulator::AVAILABLE {
        eprintln!(
            "SKIPPED: no C++ compiler was found when this was built, so the CUDA kernels cannot be run on the CPU"
        );
        return;
    }
    let (device, host) = (on_the_device(case), on_the_host(case));
    for (step, (device, host)) in device.iter().zip(&host).enumerate() {
        let loss = (device.loss - host.loss).abs() / host.loss;
        assert!(loss <= case.tolerance, "{case:?} step {step}: loss {} for {}", device.loss, host.loss);
        for (name, expected) in &host.weights {
            let off = error(&device.weights[name], expected);
            assert!(off <= case.tolerance, "{case:?} step {step}: {name} is off by {off}");
        }
        if step == 0 {
            for (name, expected) in &host.gradients {
                let off = error(&device.gradients[name], expected);
                assert!(off <= 10.0 * case.tolerance, "{case:?}: the gradient of {name} is off by {off}");
            }
        }
        let (mut differ, mut total) = (0, 0);
        for (name, mask) in &host.masks {
            differ += (0..mask.len()).filter(|&i| mask.get(i) != device.masks[name].get(i)).count();
            total += mask.len();
        }
        // Weights at the cutoff that differ in their last digits.
        assert!(
            (differ as f64) <= 20.0 * case.tolerance * total as f64,
            "{case:?} step {step}: {differ} of {total}"
        );
    }
}

const PLAIN: Case = Case {
    precision: Precision::Full,
    batch: 4,
    tensorflow: false,
    soft: false,
    clip_norm: None,
    sparse: false,
    order: 0,
    tolerance: 1e-4,
};

#[test]
fn five_steps_are_the_cpus() {
    compare(PLAIN);
}

#[test]
fn five_steps_with_odd_batches_tensorflows_net_and_soft_targets() {
    compare(Case { batch: 3, tensorflow: true, soft: true, clip_norm: Some(1.0), order: 2, ..PLAIN });
}

#[test]
fn five_steps_that_leave_zeros_out() {
    compare(Case { sparse: true, order: 1, ..PLAIN });
}

#[test]
fn five_steps_in_bf16() {
    compare(Case { precision: Precision::Bf16, batch: 8, order: 7919, tolerance: 0.03, ..PLAIN });
}
