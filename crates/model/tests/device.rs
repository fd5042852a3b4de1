//! Whole training steps on the emulated device against the CPU's: losses, gradients, weights and masks.
//!
//! Both round, so both are held against the CPU's steps in f64: the device may be off by a few times what the CPU is.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic, and says why it does nothing"
)]

use candle_core::{DType, Device, Tensor};
use sparse_cuda::Memory;
use sparse_cuda::chunks::{Chunks, Member};
use sparse_cuda::select::Selector;
use sparse_cuda::sgd::Rule;
use sparse_emulator::{download, queue, reads, upload};
use sparse_model::device::{DeviceParameters, DevicePass, DeviceSoftTargets, DeviceTargets, Feed};
use sparse_model::{
    Across, Activation, Kind, Masks, Mode, Model, NetworkConfig, Padding, Precision, SoftTargets, Targets,
    TrainPass,
};
use sparse_ops::{GradientMask, Sgd, SgdConfig};
use sparse_sparsity::Mask;
use sparse_sparsity::select::prune_smallest;
use sparse_testing::Need;
use std::collections::BTreeMap;

const RATE: f64 = 0.005;
const RATIO: f64 = 0.6;

/// How both sides train.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Kind,
    /// Width multiplier.
    scale: f64,
    /// Height and width of the images.
    size: [usize; 2],
    steps: usize,
    /// Whether the branches of a residual network count from the first step on: their last scale is 1 and not 0. So small a network is then
    /// chaotic, and rounding grows a hundredfold from step to step.
    open: bool,
    precision: Precision,
    batch: usize,
    /// TensorFlow's padding and activation.
    tensorflow: bool,
    soft: bool,
    clip_norm: Option<f64>,
    /// Whether layers leave their zeros out on the device.
    sparse: bool,
    order: u64,
    /// Of the images. Where a value before a ReLU lies within rounding of zero, the gradient jumps, and both sides may be right: with these
    /// seeds none does in f32.
    seed: usize,
    /// How many times the CPU's error is allowed.
    times: f64,
    /// And beside it, as a share of the values: that of the first step, where nothing has added up yet.
    slack: f64,
}

impl Case {
    fn config(&self) -> NetworkConfig {
        let config = NetworkConfig::new(self.kind, self.scale, 3, 5);
        if !self.tensorflow {
            return config;
        }
        NetworkConfig { activation: Activation::Relu6, padding: Padding::Same, bn_epsilon: 1e-3, ..config }
    }

    fn images(&self, step: usize) -> Vec<f32> {
        let noise = |i: usize| ((i * 7919 + (self.seed * 5 + step) * 104_729) % 2017) as f32 / 1008.5 - 1.0;
        (0..self.batch * 3 * self.size[0] * self.size[1]).map(noise).collect()
    }

    fn labels(&self, step: usize) -> Vec<u32> {
        (0..self.batch).map(|i| ((i * 3 + step) % 5) as u32).collect()
    }

    fn teacher(&self, step: usize) -> Vec<f32> {
        (0..self.batch * 5).map(|i| ((i * 31 + step * 17) % 23) as f32 / 5.0 - 2.0).collect()
    }
}

/// The network of a case.
fn network(case: Case, dtype: DType) -> Model {
    let model = Model::new(case.config(), 7, dtype, &Device::Cpu).unwrap();
    if !case.open {
        return model;
    }
    for (_, scale) in model.variables().iter().filter(|(name, _)| name.ends_with("_scale")) {
        if values(scale.as_tensor()).iter().all(|&scale| scale == 0.0) {
            scale.set(&scale.ones_like().unwrap()).unwrap();
        }
    }
    model
}

/// Numbers by the name of their variable.
type Values = BTreeMap<String, Vec<f64>>;

/// What is compared after each step.
struct Found {
    loss: f64,
    gradients: Values,
    weights: Values,
    masks: BTreeMap<String, Mask>,
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

fn is_pruned(name: &str) -> bool {
    name.ends_with("_weights")
}

/// Masks that prune exactly the ratio of all weights together, ties by name and index.
fn smallest(weights: &Values) -> BTreeMap<String, Mask> {
    let pruned: Vec<(&String, &Vec<f64>)> = weights.iter().filter(|(name, _)| is_pruned(name)).collect();
    let joined: Vec<f64> = pruned.iter().flat_map(|(_, values)| values.iter().copied()).collect();
    let mask = prune_smallest(&joined, count(joined.len())).unwrap();
    let mut start = 0;
    let part = |(name, values): &(&String, &Vec<f64>)| {
        start += values.len();
        let first = start - values.len();
        ((*name).clone(), Mask::from_fn(values.len(), |i| mask.get(first + i)))
    };
    pruned.iter().map(part).collect()
}

fn count(total: usize) -> usize {
    (total as f64 * RATIO) as usize
}

/// In f32, or exactly as far as f64 goes.
fn on_the_host(case: Case, dtype: DType) -> Vec<Found> {
    let model = network(case, dtype);
    let precision = if dtype == DType::F64 { Precision::Full } else { case.precision };
    let mut pass = TrainPass::new(&model, precision).unwrap();
    let sgd = SgdConfig { momentum: 0.9, l2_decay: 3e-5, clip_norm: case.clip_norm };
    let mut optimizer = Sgd::new(model.trainable(), sgd).unwrap();
    let mut masks: BTreeMap<String, Mask> = BTreeMap::new();
    let mut found = Vec::new();
    for step in 0..case.steps {
        for (name, mask) in &masks {
            let variable = &model.variables()[name];
            let mut weights = values(variable.as_tensor());
            mask.apply(&mut weights);
            let weights = Tensor::from_vec(weights, variable.shape(), &Device::Cpu).unwrap();
            variable.set(&weights.to_dtype(dtype).unwrap()).unwrap();
        }
        let words = masks.iter().map(|(name, mask)| (name.as_str(), mask.words())).collect();
        pass.set_masks(&model, &Masks { words, masked_gradient: true });
        let shape = (case.batch, 3, case.size[0], case.size[1]);
        let images =
            Tensor::from_vec(case.images(step), shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let logits = Tensor::from_vec(case.teacher(step), (case.batch, 5), &Device::Cpu).unwrap();
        let logits = logits.to_dtype(dtype).unwrap();
        let soft = SoftTargets { logits, temperature: 2.0, weight: 0.7 };
        let labels = case.labels(step);
        let soft_targets = case.soft.then_some(&soft);
        let targets = Targets { labels: &labels, label_smoothing: 0.1, soft: soft_targets, features: None };
        let loss = pass
            .forward_to(&model, &images, targets, sparse_model::BN_MOMENTUM, &mut Across::alone())
            .unwrap()
            .loss;
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
    let queue = queue(case.order);
    let model = network(case, DType::F32);
    let parameters = DeviceParameters::new(&queue, &model, is_pruned).unwrap();
    let mut pass = DevicePass::new(&model, case.precision);
    let spans = parameters.spans().iter().filter(|(name, _)| is_pruned(name));
    let members: Vec<Member> = spans.map(|(_, &span)| Member { span, group: 0, masked: true }).collect();
    let total: usize = members.iter().map(|member| member.span.len).sum();
    let selector = Selector::new(&queue, Chunks::new(&queue, &members).unwrap()).unwrap();
    let (mut feed, mut found) = (Feed::default(), Vec::new());
    for step in 0..case.steps {
        let before = reads(&queue);
        parameters.enforce(&queue).unwrap();
        let sparse = |_: &_| case.sparse && step > 0;
        pass.set_sparse(&queue, &parameters, sparse, true).unwrap();
        let (images, labels, teacher) = (case.images(step), case.labels(step), case.teacher(step));
        let logits = upload(&queue, &teacher).unwrap();
        let soft = DeviceSoftTargets { logits: logits.slice(), temperature: 2.0, weight: 0.7 };
        let targets = DeviceTargets { label_smoothing: 0.1, soft: case.soft.then_some(soft) };
        feed.put(&queue, &images, &labels, case.size).unwrap();
        pass.forward(&queue, &parameters, feed.batch(), targets, Mode::TRAIN, None).unwrap();
        pass.backward(&queue, &parameters, None).unwrap();
        let rule =
            Rule { learning_rate: RATE, momentum: 0.9, l2_decay: 3e-5, masked: step > 0, hold_pruned: false };
        parameters.step(&queue, rule, case.clip_norm).unwrap();
        let slices = [parameters.weights(), parameters.words()];
        selector.select(&queue, slices, None, &[count(total)]).unwrap();
        assert_eq!(reads(&queue), before, "a step copies nothing to the host");

        let loss = pass.results(&queue).unwrap().loss;
        let gradients = parameters.gradients(&queue, &model).unwrap();
        parameters.give(&queue, &model).unwrap();
        let weights: Values =
            model.variables().iter().map(|(name, v)| (name.clone(), values(v.as_tensor()))).collect();
        let words: Vec<u64> = download(&queue, parameters.words()).unwrap();
        let mask = |(name, values): (&String, &Vec<f64>)| {
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

/// Euclidean length of a difference.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// Panics if the device is further from the exact values than the case allows.
fn check(case: Case, what: &str, step: usize, [device, host, exact]: [&[f64]; 3]) {
    let (off, cpu) = (distance(device, exact), distance(host, exact));
    let length = distance(exact, &vec![0.0; exact.len()]);
    let allowed = case.times * cpu + case.slack * length.max(1e-3);
    assert!(
        off <= allowed,
        "{case:?}, step {step}: {what} is off by {off:e}, the CPU by {cpu:e}, of {length}"
    );
}

/// The steps of the device, of the CPU, and the exact ones; none without a compiler.
fn steps(case: Case) -> Vec<[Found; 3]> {
    if !sparse_emulator::AVAILABLE {
        Need::CppCompiler.left_out("the CUDA kernels on the CPU");
        return Vec::new();
    }
    let (host, exact) = (on_the_host(case, DType::F32), on_the_host(case, DType::F64));
    let steps = on_the_device(case).into_iter().zip(host).zip(exact);
    steps.map(|((device, host), exact)| [device, host, exact]).collect()
}

/// How many masks differ, and of how many.
fn masks_that_differ([a, b]: [&Found; 2]) -> (usize, usize) {
    let (mut differ, mut total) = (0, 0);
    for (name, mask) in &a.masks {
        differ += (0..mask.len()).filter(|&i| mask.get(i) != b.masks[name].get(i)).count();
        total += mask.len();
    }
    (differ, total)
}

fn compare(case: Case) {
    let steps = steps(case);
    for (step, found) in steps.iter().enumerate() {
        let [device, host, exact] = found;
        check(case, "the loss", step, [&[device.loss], &[host.loss], &[exact.loss]]);
        let before = step.checked_sub(1).map(|before| &steps[before]);
        for name in exact.gradients.keys() {
            // Gradients of pruned weights are not used, and where zeros are left out not computed.
            let kept = |i: usize| {
                before.into_iter().flatten().all(|found| found.masks.get(name).is_none_or(|mask| mask.get(i)))
            };
            let values = found.each_ref().map(|found| {
                let values = found.gradients[name].iter().enumerate();
                values.filter(|(i, _)| kept(*i)).map(|(_, &value)| value).collect::<Vec<f64>>()
            });
            check(case, &format!("the gradient of {name}"), step, values.each_ref().map(Vec::as_slice));
        }
        for name in exact.weights.keys() {
            check(case, name, step, found.each_ref().map(|found| found.weights[name].as_slice()));
        }
        // Weights at the cutoff, whose last digits decide.
        let (differ, total) = masks_that_differ([device, host]);
        assert!(differ <= total / 1000, "{case:?}, step {step}: {differ} of {total} masks differ");
    }
}

/// Rounding to eight bits moves the gradients of so small a net by as much as they are long, on both sides: what must agree is where the steps
/// lead.
fn compare_coarsely(case: Case) {
    for (step, found) in steps(case).iter().enumerate() {
        let [device, host, exact] = found;
        let off = (device.loss - exact.loss).abs() / exact.loss;
        assert!(off < 0.15, "{case:?}, step {step}: loss {} for {}", device.loss, exact.loss);
        let all =
            found.each_ref().map(|found| found.weights.values().flatten().copied().collect::<Vec<f64>>());
        check(case, "all weights together", step, all.each_ref().map(Vec::as_slice));
        let ((differ, total), (host, _)) =
            (masks_that_differ([device, exact]), masks_that_differ([host, exact]));
        assert!(differ <= 2 * host + total / 500, "{case:?}, step {step}: {differ} of {total} masks differ");
    }
}

const PLAIN: Case = Case {
    kind: Kind::MobileNet,
    scale: 0.0625,
    size: [37, 34],
    steps: 5,
    open: false,
    precision: Precision::Full,
    batch: 8,
    tensorflow: false,
    soft: false,
    clip_norm: None,
    sparse: false,
    order: 0,
    seed: 10,
    times: 4.0,
    slack: 1e-4,
};

#[test]
fn five_steps_are_the_cpus() {
    compare(PLAIN);
}

#[test]
fn five_steps_with_odd_batches_tensorflows_net_and_soft_targets() {
    compare(Case { batch: 5, tensorflow: true, soft: true, clip_norm: Some(1.0), order: 2, ..PLAIN });
}

#[test]
fn five_steps_that_leave_zeros_out() {
    compare(Case { sparse: true, order: 1, ..PLAIN });
}

#[test]
fn five_steps_in_bf16() {
    compare_coarsely(Case { precision: Precision::Bf16, order: 7919, times: 2.0, slack: 0.0, ..PLAIN });
}

/// Residual networks and MobileNetV2: small, so that the emulator is through in seconds.
const OTHERS: Case = Case { scale: 0.125, size: [32, 27], steps: 3, ..PLAIN };

#[test]
fn steps_of_resnet18_are_the_cpus() {
    compare(Case { kind: Kind::ResNet18, ..OTHERS });
}

#[test]
fn steps_of_resnet18_that_leave_zeros_out_with_odd_batches() {
    compare(Case { kind: Kind::ResNet18, batch: 5, sparse: true, order: 2, ..OTHERS });
}

#[test]
fn a_step_of_residual_networks_whose_branches_are_open_is_the_cpus() {
    for (kind, batch, order) in [(Kind::ResNet18, 8, 1), (Kind::ResNet18, 5, 7919), (Kind::ResNet50, 8, 1)] {
        compare(Case { kind, batch, order, steps: 1, open: true, ..OTHERS });
    }
}

#[test]
fn steps_of_resnet50_are_the_cpus() {
    compare(Case { kind: Kind::ResNet50, steps: 2, ..OTHERS });
}

#[test]
fn steps_of_mobilenet_v2_are_the_cpus() {
    compare(Case { kind: Kind::MobileNetV2, tensorflow: true, ..OTHERS });
}

#[test]
fn steps_of_mobilenet_v2_that_leave_zeros_out_with_soft_targets() {
    compare(Case { kind: Kind::MobileNetV2, batch: 6, soft: true, sparse: true, order: 1, ..OTHERS });
}

#[test]
fn steps_of_resnet18_in_bf16() {
    let precision = Precision::Bf16;
    compare_coarsely(Case { kind: Kind::ResNet18, precision, times: 2.0, slack: 0.0, ..OTHERS });
}

/// In evaluation values share memory, which a step of training must not find in the way.
#[test]
fn scores_by_running_statistics_are_the_cpus_between_steps() {
    if !sparse_emulator::AVAILABLE {
        Need::CppCompiler.left_out("the CUDA kernels on the CPU");
        return;
    }
    for kind in [Kind::MobileNetV2, Kind::ResNet18, Kind::ResNet50] {
        let case = Case { kind, open: true, ..OTHERS };
        let queue = queue(2);
        let model = network(case, DType::F32);
        let parameters = DeviceParameters::new(&queue, &model, is_pruned).unwrap();
        let (mut pass, mut feed) = (DevicePass::new(&model, Precision::Full), Feed::default());
        assert!(pass.backward(&queue, &parameters, None).is_err(), "nothing to go back from");
        feed.put(&queue, &case.images(0), &case.labels(0), case.size).unwrap();
        for mode in [Mode::TRAIN, Mode::Eval, Mode::TRAIN, Mode::Eval] {
            let targets = DeviceTargets::default();
            pass.forward(&queue, &parameters, feed.batch(), targets, mode, None).unwrap();
            if mode == Mode::Eval {
                assert!(pass.backward(&queue, &parameters, None).is_err(), "nothing was kept");
            } else {
                pass.backward(&queue, &parameters, None).unwrap();
            }
        }
        parameters.give(&queue, &model).unwrap();
        let shape = (case.batch, 3, case.size[0], case.size[1]);
        let images = Tensor::from_vec(case.images(0), shape, &Device::Cpu).unwrap();
        let expected = values(&model.forward(&images, Mode::Eval).unwrap());
        let found: Vec<f64> = pass.scores(&queue).unwrap().into_iter().map(f64::from).collect();
        let off = distance(&found, &expected) / distance(&expected, &vec![0.0; expected.len()]);
        assert!(off < 1e-4, "{kind:?}: scores are off by {off}");
    }
}
