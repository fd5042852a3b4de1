//! Training passes: the steps of a plan on the CPU, with buffers that are kept from step to step.
//!
//! Candle's autograd over [`Model::forward`] gives the same gradients. It also starts every gradient from zeros and
//! adds, normalises in passes of its own and allocates every activation anew; a plan needs none of that.

mod across;
mod backward;
mod buffer;
mod features;
mod norm;
mod pass;
mod paths;
mod times;
mod values;

use crate::{BN_MOMENTUM, Error, Model, Result};
use candle_core::{DType, Tensor};
use half::bf16;
use pass::Pass;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use across::{Across, AddUp};
pub use features::{FeatureTargets, check_features};
pub use paths::{LayerPaths, Masks};
pub use times::{LayerTimes, Times};

/// Takes the gradient to a variable of this name.
pub type Ready<'a> = dyn FnMut(String, Tensor) -> Result<()> + 'a;

/// How activations are stored between layers; weights, sums and optimizer state stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As the model's variables.
    #[default]
    Full,
    /// Rounded to bf16; for models of f32.
    Bf16,
}

/// What a forward pass found.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Class scores, `[N, classes]`.
    pub logits: Tensor,
}

/// A teacher's scores of a batch, to learn from beside the labels.
///
/// Source: Hinton et al. 2015, arXiv:1503.02531.
#[derive(Clone, Debug)]
pub struct SoftTargets {
    /// `[N, classes]`, of the model's element type.
    pub logits: Tensor,
    /// What both sides' scores are divided by before the softmax, above 0.
    pub temperature: f64,
    /// Share of the soft targets in the loss, a fraction in [0, 1]; the rest is that of the labels.
    pub weight: f64,
}

/// What a batch is to be learned as.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// One class per image.
    pub labels: &'a [u32],
    /// ε of label smoothing, fraction; 0 = off.
    pub label_smoothing: f64,
    /// A teacher's scores.
    pub soft: Option<&'a SoftTargets>,
    /// A teacher's features.
    pub features: Option<FeatureTargets<'a>>,
}

/// Forward and backward passes of one model, one after the other.
pub struct TrainPass(Storage);

enum Storage {
    F32(Pass<f32>),
    F64(Pass<f64>),
    Bf16(Pass<bf16>),
}

/// Evaluates `$body` with `$pass` bound to the passes, whatever it stores.
macro_rules! each {
    ($passes:expr, $pass:ident => $body:expr) => {
        match $passes {
            Storage::F32($pass) => $body,
            Storage::F64($pass) => $body,
            Storage::Bf16($pass) => $body,
        }
    };
}

impl TrainPass {
    /// Passes for models like `model`.
    ///
    /// # Errors
    /// [`Error::Precision`] if a model of this element type cannot be trained so.
    pub fn new(model: &Model, precision: Precision) -> Result<Self> {
        let plan = Arc::clone(model.plan());
        match (model.dtype(), precision) {
            (DType::F32, Precision::Full) => Ok(Self(Storage::F32(Pass::new(plan)))),
            (DType::F64, Precision::Full) => Ok(Self(Storage::F64(Pass::new(plan)))),
            (DType::F32, Precision::Bf16) => Ok(Self(Storage::Bf16(Pass::new(plan)))),
            (dtype, precision) => Err(Error::Precision { dtype, precision }),
        }
    }

    /// The same passes, whose [`TrainPass::scores`] keep every value, to be features that a student learns from.
    #[must_use]
    pub fn keeping_features(mut self) -> Self {
        each!(&mut self.0, pass => pass.values.keeps = true);
        self
    }

    /// Tells which weights are zero, so that zeros can be left out. Call it when masks have changed; without it every
    /// layer is dense. What is built from a mask is kept as long as the mask stays the same.
    ///
    /// # Panics
    /// If a mask has too few words for its weight: a fault of the caller.
    pub fn set_masks(&mut self, model: &Model, masks: &Masks<'_>) {
        each!(&mut self.0, pass => pass.set_masks(model, masks));
    }

    /// Forward: loss and scores of a batch; running statistics are updated.
    ///
    /// Shapes: `images: [N, C, H, W]` with height and width from that of the smallest images of the network on, `labels: [N]`. `label_smoothing` is a fraction, 0 = off.
    ///
    /// # Errors
    /// [`Error::Images`], [`Error::Label`] or [`Error::Labels`] if the batch does not fit, [`Error::Memory`] if there is no room
    /// for its activations, or candle's.
    pub fn forward(
        &mut self,
        model: &Model,
        images: &Tensor,
        labels: &[u32],
        label_smoothing: f64,
    ) -> Result<Loss> {
        let targets = Targets { labels, label_smoothing, soft: None, features: None };
        self.forward_to(model, images, targets, BN_MOMENTUM, &mut Across::alone())
    }

    /// As [`TrainPass::forward`], for any targets, for a `momentum` of the running statistics (the share of the old ones that is kept, a
    /// fraction), and for a rank's part of a batch; the loss is that of the part. With soft ones of weight w and temperature T the loss is
    /// `(1 − w)·cross-entropy + w·T²·KL(teacher ‖ model)`, both sides softened by T. With features of weight u the mean over the compared
    /// blocks of `u·‖s − t‖² / ‖t‖²` is added, each over this part of the batch.
    ///
    /// # Errors
    /// As [`TrainPass::forward`]; [`Error::Teacher`] if the teacher's scores do not fit, [`Error::Features`] or
    /// [`Error::FeaturesOfOtherPrecision`] if its features do not.
    pub fn forward_to(
        &mut self,
        model: &Model,
        images: &Tensor,
        targets: Targets<'_>,
        momentum: f64,
        across: &mut Across<'_>,
    ) -> Result<Loss> {
        model.shapes(images)?;
        let batch = images.dims()[0];
        model.check_labels(batch, targets.labels)?;
        if let Some(soft) = targets.soft
            && soft.logits.dims() != [batch, model.classes()]
        {
            let expected = [batch, model.classes()];
            return Err(Error::Teacher { got: soft.logits.dims().to_vec(), expected });
        }
        let teaching = self.features_of(targets.features)?;
        match &mut self.0 {
            Storage::F32(pass) => pass.forward(model, images, targets, teaching.f32(), (momentum, across)),
            Storage::F64(pass) => pass.forward(model, images, targets, teaching.f64(), (momentum, across)),
            Storage::Bf16(pass) => pass.forward(model, images, targets, teaching.f32(), (momentum, across)),
        }
    }

    /// Class scores with running statistics, as [`Model::forward`] in [`crate::Mode::Eval`] gives them; nothing is updated,
    /// and there is no way back.
    ///
    /// Shapes: `images: [N, C, H, W]` with height and width from that of the smallest images of the network on; result `[N, classes]`.
    ///
    /// # Errors
    /// [`Error::Images`] if the images do not fit, [`Error::Memory`], or candle's.
    pub fn scores(&mut self, model: &Model, images: &Tensor) -> Result<Tensor> {
        each!(&mut self.0, pass => pass.scores(model, images))
    }

    /// Backward: the gradient of the last forward's loss to every trainable variable, by name.
    ///
    /// # Errors
    /// [`Error::NoForward`] without a forward pass before it, [`Error::Memory`], or candle's.
    pub fn backward(&mut self, model: &Model) -> Result<BTreeMap<String, Tensor>> {
        let mut gradients = BTreeMap::new();
        self.backward_to(model, None, &mut Across::alone(), &mut |name, gradient| {
            gradients.insert(name, gradient);
            Ok(())
        })?;
        Ok(gradients)
    }

    /// As [`TrainPass::backward`], for what [`TrainPass::forward_to`] saw with the same `features` and `across`: each gradient is handed to
    /// `ready` as soon as it is known, from the head to the stem. What a rank finds is its part of the gradient to the mean
    /// loss of the whole batch; the sum over ranks is the gradient.
    ///
    /// # Errors
    /// As [`TrainPass::backward`], and what `ready` reports.
    pub fn backward_to(
        &mut self,
        model: &Model,
        features: Option<FeatureTargets<'_>>,
        across: &mut Across<'_>,
        ready: &mut Ready<'_>,
    ) -> Result<()> {
        let teaching = self.features_of(features)?;
        let (short, long) = (teaching.f32().map(|(pass, _)| pass), teaching.f64().map(|(pass, _)| pass));
        match &mut self.0 {
            Storage::F32(pass) => pass.backward(model, short, across, ready),
            Storage::F64(pass) => pass.backward(model, long, across, ready),
            Storage::Bf16(pass) => pass.backward(model, short, across, ready),
        }
    }

    /// Time spent in each layer since the last call.
    pub fn take_times(&mut self) -> Times {
        each!(&mut self.0, pass => std::mem::take(&mut pass.times))
    }

    /// How each pointwise layer is computed, in the order of the layers.
    pub fn paths(&self, model: &Model) -> Vec<LayerPaths> {
        each!(&self.0, pass => pass.paths(model))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Kind, Mode, NetworkConfig, Padding};
    use candle_core::Device;
    use sparse_ops::cross_entropy;

    const CONFIG: NetworkConfig = NetworkConfig::mobilenet(0.125, 3, 5);

    fn values(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    /// Largest difference, as a share of the largest value; of values that are rounding alone, as those of an offset that the next batch norm
    /// takes away again, as a share of what others are.
    fn error(got: &Tensor, expected: &Tensor) -> f64 {
        let (got, expected) = (values(got), values(expected));
        let largest = expected.iter().fold(1e-4f64, |largest, value| largest.max(value.abs()));
        got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
    }

    #[test]
    fn loss_and_gradients_equal_those_of_candles_autograd() {
        let tensorflow = NetworkConfig {
            activation: Activation::Relu6,
            padding: Padding::Same,
            bn_epsilon: 1e-3,
            ..CONFIG
        };
        for config in [CONFIG, tensorflow] {
            gradients_equal_those_of_candle(config);
        }
        for kind in [Kind::MobileNetV2, Kind::ResNet18, Kind::ResNet50] {
            for padding in [Padding::Symmetric, Padding::Same] {
                gradients_equal_those_of_candle(NetworkConfig {
                    padding,
                    ..NetworkConfig::new(kind, 0.125, 3, 5)
                });
            }
        }
    }

    fn gradients_equal_those_of_candle(config: NetworkConfig) {
        let labels = [0, 4, 2, 2];
        let model = Model::new(config, 1, DType::F64, &Device::Cpu).unwrap();
        // Values beyond the 6 of ReLU6, so that both its ends are met.
        for (name, variable) in model.variables() {
            if name.ends_with("_scale") {
                // Those that begin with zero let nothing through.
                variable.set(&variable.affine(3.0, 1.0).unwrap()).unwrap();
            }
        }
        let mut pass = TrainPass::new(&model, Precision::Full).unwrap();
        // The second batch is of another size, and the buffers hold the first.
        for (batch, height, width) in [(4, 40, 33), (2, 32, 65)] {
            let images = images(batch, height, width);
            let labels = &labels[..batch];
            let logits = model.forward(&images, Mode::TRAIN).unwrap();
            let loss = cross_entropy(&logits, labels, 0.1).unwrap();
            let expected = loss.backward().unwrap();
            let found = pass.forward(&model, &images, labels, 0.1).unwrap();
            let loss = loss.to_scalar::<f64>().unwrap();
            assert!((found.loss - loss).abs() < 1e-11 * loss, "{} and {loss}", found.loss);
            let gradients = pass.backward(&model).unwrap();
            let trainable = model.trainable();
            assert!(gradients.keys().eq(trainable.keys()));
            for (name, variable) in trainable {
                let error = error(&gradients[&name], expected.get(variable.as_tensor()).unwrap());
                // Batch norm takes away most of a gradient to the layer before it, and leaves its rounding.
                assert!(error < 1e-7, "{name}: {error}");
            }
        }
    }

    #[test]
    fn soft_targets_have_the_loss_and_the_gradients_of_candles_autograd() {
        let (labels, temperature, weight) = ([3, 1, 0], 3.0, 0.6);
        let model = Model::new(CONFIG, 1, DType::F64, &Device::Cpu).unwrap();
        let mut pass = TrainPass::new(&model, Precision::Full).unwrap();
        let images = Tensor::randn(0f64, 1.0, (3, 3, 20, 17), &Device::Cpu).unwrap();
        let teacher = Tensor::randn(0f64, 2.0, (3, 5), &Device::Cpu).unwrap();
        let logits = model.forward(&images, Mode::TRAIN).unwrap();
        let softened =
            |scores: &Tensor| candle_nn::ops::log_softmax(&(scores / temperature).unwrap(), 1).unwrap();
        let (log_student, log_teacher) = (softened(&logits), softened(&teacher));
        let terms = (log_teacher.exp().unwrap() * (&log_teacher - &log_student).unwrap()).unwrap();
        let divergence = (terms.sum_all().unwrap() * (temperature * temperature / 3.0 * weight)).unwrap();
        let hard = (cross_entropy(&logits, &labels, 0.1).unwrap() * (1.0 - weight)).unwrap();
        let loss = (divergence + hard).unwrap();
        let expected = loss.backward().unwrap();
        let soft = SoftTargets { logits: teacher, temperature, weight };
        let targets = Targets { labels: &labels, label_smoothing: 0.1, soft: Some(&soft), features: None };
        let found = pass.forward_to(&model, &images, targets, BN_MOMENTUM, &mut Across::alone()).unwrap();
        let exact = loss.to_scalar::<f64>().unwrap();
        let off = (found.loss - exact).abs() / exact.abs();
        assert!(off < 1e-11, "{} for {exact}: off by {off:e}", found.loss);
        for (name, gradient) in pass.backward(&model).unwrap() {
            let error = error(&gradient, expected.get(model.variables()[&name].as_tensor()).unwrap());
            assert!(error < 1e-9, "{name}: {error}");
        }
        let logits = soft.logits.narrow(1, 0, 4).unwrap();
        let narrow = SoftTargets { logits, ..soft };
        let targets = Targets { soft: Some(&narrow), ..targets };
        assert!(matches!(
            pass.forward_to(&model, &images, targets, BN_MOMENTUM, &mut Across::alone()),
            Err(Error::Teacher { .. })
        ));
    }

    #[test]
    fn scores_are_those_of_the_running_statistics_and_change_nothing() {
        let model = Model::new(CONFIG, 1, DType::F64, &Device::Cpu).unwrap();
        let mut pass = TrainPass::new(&model, Precision::Full).unwrap();
        let (images, labels) = batch(4, 20, DType::F64);
        pass.forward(&model, &images, &labels, 0.0).unwrap();
        let before: Vec<_> = model.variables().values().map(|v| values(v.as_tensor())).collect();
        let scores = pass.scores(&model, &images).unwrap();
        assert!(error(&scores, &model.forward(&images, Mode::Eval).unwrap()) < 1e-12);
        assert!(model.variables().values().map(|v| values(v.as_tensor())).eq(before));
        assert!(matches!(pass.backward(&model), Err(Error::NoForward)));
    }

    fn images(count: usize, height: usize, width: usize) -> Tensor {
        let len = count * 3 * height * width;
        let pixels: Vec<f64> = (0..len).map(|i| (i * 7919 % 2017) as f64 / 1008.5 - 1.0).collect();
        Tensor::from_vec(pixels, (count, 3, height, width), &Device::Cpu).unwrap()
    }

    /// Images of `side` pixels square, and their labels.
    fn batch(count: usize, side: usize, dtype: DType) -> (Tensor, Vec<u32>) {
        let images = images(count, side, side);
        (images.to_dtype(dtype).unwrap(), (0..count as u32).map(|image| image * 3 % 5).collect())
    }

    /// Makes three of four pointwise weights zero, and gives their masks.
    fn prune(model: &Model) -> BTreeMap<String, Vec<u64>> {
        let mut masks = BTreeMap::new();
        for (name, variable) in model.variables().iter().filter(|(name, _)| name.ends_with("_sep_weights")) {
            let mut weight = values(variable.as_tensor());
            let mut words = vec![0u64; weight.len().div_ceil(64)];
            for (i, weight) in weight.iter_mut().enumerate() {
                if (i * 7 + i / 9) % 4 == 0 {
                    words[i / 64] |= 1 << (i % 64);
                } else {
                    *weight = 0.0;
                }
            }
            let pruned = Tensor::from_vec(weight, variable.shape(), &Device::Cpu).unwrap();
            variable.set(&pruned.to_dtype(variable.dtype()).unwrap()).unwrap();
            masks.insert(name.clone(), words);
        }
        masks
    }

    fn masks(words: &BTreeMap<String, Vec<u64>>) -> Masks<'_> {
        let words = words.iter().map(|(name, words)| (name.as_str(), words.as_slice())).collect();
        Masks { words, masked_gradient: true }
    }

    #[test]
    fn leaving_zeros_out_gives_the_loss_and_the_gradients_of_kept_weights() {
        let model = Model::new(CONFIG, 1, DType::F64, &Device::Cpu).unwrap();
        let words = prune(&model);
        let (images, labels) = batch(4, 20, DType::F64);
        let run = |masked: bool| {
            let mut pass = TrainPass::new(&model, Precision::Full).unwrap();
            if masked {
                pass.set_masks(&model, &masks(&words));
                let paths = pass.paths(&model);
                assert!(
                    paths.iter().all(|path| path.choice.weight_gradient && path.sparsity > 0.6),
                    "{paths:?}"
                );
            }
            let loss = pass.forward(&model, &images, &labels, 0.0).unwrap().loss;
            (loss, pass.backward(&model).unwrap())
        };
        let (dense, sparse) = (run(false), run(true));
        // The running mean, which sums are taken around, has moved between the two.
        assert!((dense.0 - sparse.0).abs() < 1e-9);
        for (name, expected) in dense.1 {
            let mut kept = values(&expected);
            if let Some(words) = words.get(&name) {
                let pruned = kept.iter_mut().enumerate().filter(|(i, _)| words[i / 64] >> (i % 64) & 1 == 0);
                pruned.for_each(|(_, gradient)| *gradient = 0.0);
            }
            let kept = Tensor::from_vec(kept, expected.shape(), &Device::Cpu).unwrap();
            let error = error(&sparse.1[&name], &kept);
            assert!(error < 1e-8, "{name}: {error}");
        }
    }

    #[test]
    fn activations_in_bf16_give_nearly_the_same_loss_and_head_gradient() {
        let model = Model::new(CONFIG, 1, DType::F32, &Device::Cpu).unwrap();
        let words = prune(&model);
        // Enough pixels in the last layers for batch norm not to blow up what is rounded.
        let (images, labels) = batch(16, 64, DType::F32);
        let run = |precision: Precision, masked: bool| {
            let mut pass = TrainPass::new(&model, precision).unwrap();
            if masked {
                pass.set_masks(&model, &masks(&words));
            }
            let loss = pass.forward(&model, &images, &labels, 0.0).unwrap().loss;
            (loss, pass.backward(&model).unwrap())
        };
        let full = run(Precision::Full, false);
        for masked in [false, true] {
            let short = run(Precision::Bf16, masked);
            assert_ne!(full.0, short.0);
            assert!((full.0 - short.0).abs() < 0.05, "{} {}", full.0, short.0);
            let error = error(&short.1["fc7_offset"], &full.1["fc7_offset"]);
            assert!(error < 0.05, "{error}");
            assert!(short.1.values().all(|gradient| values(gradient).iter().all(|value| value.is_finite())));
        }
    }

    #[test]
    fn a_batch_that_does_not_fit_is_refused() {
        let model = Model::new(CONFIG, 1, DType::F32, &Device::Cpu).unwrap();
        let mut pass = TrainPass::new(&model, Precision::Full).unwrap();
        let images = Tensor::zeros((2, 3, 16, 16), DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(pass.backward(&model), Err(Error::NoForward)));
        let mut message =
            |labels: &[u32]| pass.forward(&model, &images, labels, 0.0).unwrap_err().to_string();
        assert!(message(&[0, 5]).starts_with("label 5 with 5 classes"));
        assert!(message(&[0]).starts_with("1 labels for 2 images"));
        let double = Model::new(CONFIG, 1, DType::F64, &Device::Cpu).unwrap();
        assert!(TrainPass::new(&double, Precision::Bf16).is_err());
    }
}
