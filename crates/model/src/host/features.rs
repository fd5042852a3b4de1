//! Feature distillation: the outputs of the blocks of a student and of its teacher, compared block by block.
//!
//! With `L` blocks compared the loss is `w/L · Σ ‖s − t‖² / ‖t‖²`, where `s` and `t` are what the next block reads: the outputs of the
//! pointwise convolution, normalised and rectified, of all images that this rank has of the batch. Both networks see the same images; the
//! teacher normalises by its running statistics. The gradient enters where the next layer left that of the labels, behind the ReLU.
//!
//! Source: Frantar & Alistarh 2022, arXiv:2201.13096, section 3.3 (Global AdaPrune); Romero et al. 2015, arXiv:1412.6550.

use super::pass::Pass;
use super::{Storage, TrainPass};
use crate::{Error, NetworkConfig, Result};
use sparse_kernels::features;
use sparse_network::{Plan, Shape};
use sparse_ops::Element;
use sparse_vectors::vector::Stored;

/// The first block that is compared, from 1: what the first three put out is large, and pruning changes it little.
const FIRST_BLOCK: usize = 4;

/// A teacher's features of a batch, to learn from: those of the last [`TrainPass::scores`] of `teacher`.
#[derive(Clone, Copy)]
pub struct FeatureTargets<'a> {
    /// The passes of the teacher, in full precision.
    pub teacher: &'a TrainPass,
    /// w, the weight of their loss, above 0.
    pub weight: f64,
}

impl std::fmt::Debug for FeatureTargets<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeatureTargets").field("weight", &self.weight).finish_non_exhaustive()
    }
}

/// Checks that the blocks of two networks put out as many channels, so that their features can be compared.
///
/// # Errors
/// [`Error::Features`] naming the first block that differs; [`Error::Network`] for settings that describe no network.
pub fn check_features(student: &NetworkConfig, teacher: &NetworkConfig) -> Result<()> {
    let blocks = |config: &NetworkConfig| -> Result<Vec<(String, usize)>> {
        let plan = Plan::new(config.graph()?)?;
        // Any size will do for the channels.
        let shapes = plan.graph.shapes([config.kind.least_size(); 2])?;
        let of = |&value: &usize| (plan.name(value).to_owned(), shapes[plan.values[value].node].channels());
        Ok(plan.blocks().iter().map(of).collect())
    };
    let (student, teacher) = (blocks(student)?, blocks(teacher)?);
    for (place, (layer, channels)) in student.iter().enumerate() {
        let of_teacher = teacher.get(place).map_or(0, |(_, channels)| *channels);
        if *channels != of_teacher {
            return Err(Error::Features { layer: layer.clone(), teacher: of_teacher, student: *channels });
        }
    }
    Ok(())
}

/// The values of both networks that are compared, block by block.
fn compared(student: &Plan, teacher: &Plan) -> Vec<[usize; 2]> {
    let blocks = student.blocks().into_iter().zip(teacher.blocks());
    blocks.map(|(student, teacher)| [student, teacher]).skip(FIRST_BLOCK - 1).collect()
}

impl TrainPass {
    /// The passes of a teacher for a student of this type.
    pub(super) fn features_of<'a>(&self, targets: Option<FeatureTargets<'a>>) -> Result<Teaching<'a>> {
        let Some(FeatureTargets { teacher, weight }) = targets else { return Ok(Teaching::None) };
        match (&self.0, &teacher.0) {
            (Storage::F32(_) | Storage::Bf16(_), Storage::F32(pass)) => Ok(Teaching::F32(pass, weight)),
            (Storage::F64(_), Storage::F64(pass)) => Ok(Teaching::F64(pass, weight)),
            _ => Err(Error::FeaturesOfOtherPrecision),
        }
    }
}

/// The passes of a teacher, by what it stores, and the weight of its features.
#[derive(Clone, Copy)]
pub(super) enum Teaching<'a> {
    None,
    F32(&'a Pass<f32>, f64),
    F64(&'a Pass<f64>, f64),
}

impl<'a> Teaching<'a> {
    pub(super) fn f32(self) -> Option<(&'a Pass<f32>, f64)> {
        if let Self::F32(pass, weight) = self { Some((pass, weight)) } else { None }
    }

    pub(super) fn f64(self) -> Option<(&'a Pass<f64>, f64)> {
        if let Self::F64(pass, weight) = self { Some((pass, weight)) } else { None }
    }
}

impl<E: Stored<Real: Element>> Pass<E> {
    /// The loss of the features of this rank's part of the batch, whose `share` it is; notes what the way back needs.
    pub(super) fn compare(&mut self, teaching: Option<(&Pass<E::Real>, f64)>, share: f64) -> Result<f64> {
        self.feature_scales.clear();
        let Some((teacher, weight)) = teaching else { return Ok(0.0) };
        self.feature_scales.resize(self.values.plan.values.len(), (0.0, 0));
        let compared = compared(&self.values.plan, &teacher.values.plan);
        let weight = weight / compared.len() as f64;
        let mut loss = 0.0;
        for [of_student, of_teacher] in compared {
            let (student, teacher) = (self.values.kept(of_student), teacher.values.kept(of_teacher));
            let shapes = (self.values.shapes[of_student], teacher_shape(teaching, of_teacher));
            if Some(shapes.0) != shapes.1 || student.values().len() != teacher.values().len() {
                let layer = self.values.plan.name(of_student).to_owned();
                let [student, teacher] =
                    [Some(shapes.0), shapes.1].map(|shape| shape.map_or(0, Shape::channels));
                return Err(Error::Features { layer, teacher, student });
            }
            let pixels = student.values().len() / shapes.0.channels();
            let [error, norm] = features::errors(student, teacher, pixels);
            // A teacher that says nothing has nothing to teach. What is not a number goes on, and ends the run.
            if norm != 0.0 {
                loss += weight * error / norm;
                self.feature_scales[of_student] = (2.0 * weight * share / norm, of_teacher);
            }
        }
        Ok(loss)
    }

    /// Adds the gradient of the features of a value to its gated one.
    pub(super) fn add_feature_gradient(
        &mut self,
        teacher: Option<&Pass<E::Real>>,
        value: usize,
    ) -> Result<()> {
        let (scale, of_teacher) = self.feature_scales.get(value).copied().unwrap_or_default();
        if scale == 0.0 {
            return Ok(());
        }
        let Some(teacher) = teacher else { return Err(Error::NoForward) };
        let channels = self.values.shapes[value].channels();
        let Some((x, gradient, sums)) = self.values.kept_and_gradient(value) else { return Ok(()) };
        let pixels = gradient.len() / channels;
        features::add_gradient(x, teacher.values.kept(of_teacher), scale, gradient, sums, pixels);
        Ok(())
    }
}

/// Shape of a teacher's value, if it has seen images.
fn teacher_shape<E: Stored<Real: Element>>(teaching: Option<(&Pass<E>, f64)>, value: usize) -> Option<Shape> {
    teaching.and_then(|(teacher, _)| teacher.values.shapes.get(value).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Across, Activation, Model, Precision, Targets};
    use candle_core::{DType, Device, Tensor};
    use sparse_kernels::activation::Input;
    use std::collections::BTreeMap;

    const CONFIG: NetworkConfig = NetworkConfig::mobilenet(0.125, 3, 5);
    const LABELS: [u32; 3] = [3, 1, 0];

    fn network(seed: u64, dtype: DType) -> Model {
        Model::new(CONFIG, seed, dtype, &Device::Cpu).unwrap()
    }

    fn images(dtype: DType) -> Tensor {
        let pixels: Vec<f64> =
            (0..3 * 3 * 40 * 33).map(|i| (i * 7919 % 2017) as f64 / 1008.5 - 1.0).collect();
        Tensor::from_vec(pixels, (3, 3, 40, 33), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }

    /// The passes of a teacher that has seen the images; its running statistics are theirs.
    fn teacher(dtype: DType) -> TrainPass {
        let model = network(7, dtype);
        let mut pass = TrainPass::new(&model, Precision::Full).unwrap().keeping_features();
        for _ in 0..20 {
            pass.forward(&model, &images(dtype), &LABELS, 0.0).unwrap();
        }
        pass.scores(&model, &images(dtype)).unwrap();
        pass
    }

    struct Student {
        model: Model,
        pass: TrainPass,
        images: Tensor,
    }

    impl Student {
        fn new(dtype: DType, precision: Precision) -> Self {
            let model = network(1, dtype);
            let pass = TrainPass::new(&model, precision).unwrap();
            Self { pass, model, images: images(dtype) }
        }

        fn loss(&mut self, features: Option<FeatureTargets<'_>>) -> f64 {
            let targets = Targets { labels: &LABELS, label_smoothing: 0.1, soft: None, features };
            self.pass
                .forward_to(&self.model, &self.images, targets, crate::BN_MOMENTUM, &mut Across::alone())
                .unwrap()
                .loss
        }

        fn gradients(&mut self, features: Option<FeatureTargets<'_>>) -> BTreeMap<String, Vec<f64>> {
            let mut gradients = BTreeMap::new();
            let mut ready = |name: String, gradient: Tensor| {
                let gradient = gradient.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
                gradients.insert(name, gradient);
                Ok(())
            };
            self.pass.backward_to(&self.model, features, &mut Across::alone(), &mut ready).unwrap();
            gradients
        }

        /// Moves one weight.
        fn shift(&self, name: &str, at: usize, by: f64) {
            let variable = &self.model.variables()[name];
            let mut values: Vec<f64> = variable.flatten_all().unwrap().to_vec1().unwrap();
            values[at] += by;
            variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap()).unwrap();
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let teacher = teacher(DType::F64);
        let mut student = Student::new(DType::F64, Precision::Full);
        let features = Some(FeatureTargets { teacher: &teacher, weight: 1.5 });
        let plain = student.loss(None);
        let labels = student.gradients(None);
        assert!(student.loss(features) > plain + 0.1);
        let gradients = student.gradients(features);
        let (mut taught, step) = (0, 1e-6);
        for (name, gradient) in &gradients {
            let largest = gradient.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            for at in [0, gradient.len() / 3, gradient.len() - 1] {
                let mut shifted = |by: f64| {
                    student.shift(name, at, by);
                    let loss = student.loss(features);
                    student.shift(name, at, -by);
                    loss
                };
                let numeric = (shifted(step) - shifted(-step)) / (2.0 * step);
                let error = (gradient[at] - numeric).abs() / largest.max(1e-3);
                assert!(error < 1e-4, "{name} {at}: {} and {numeric}", gradient[at]);
                taught += usize::from((gradient[at] - labels[name][at]).abs() > 1e-9);
            }
        }
        assert!(taught > gradients.len(), "the features reach {taught} of the weights looked at");
    }

    #[test]
    fn the_loss_is_that_of_its_definition_and_none_from_oneself() {
        let mut student = Student::new(DType::F64, Precision::Full);
        let plain = student.loss(None);
        let teacher = teacher(DType::F64);
        let of = |weight: f64| Some(FeatureTargets { teacher: &teacher, weight });
        let (once, twice) = (student.loss(of(1.0)) - plain, student.loss(of(2.0)) - plain);
        assert!((twice - 2.0 * once).abs() < 1e-12 * twice, "{once} {twice}");
        let (Storage::F64(s), Storage::F64(t)) = (&student.pass.0, &teacher.0) else { unreachable!() };
        let z = |pass: &Pass<f64>, value: usize| -> Vec<f64> {
            let Input::Normalised(raw, norm) = pass.values.kept(value) else { unreachable!() };
            let pixels = raw.len() / norm.mean.len();
            let z = |(i, y): (usize, &f64)| {
                let c = i / pixels;
                ((y - norm.mean[c]) * norm.gain[c] + norm.offset[c]).max(0.0)
            };
            raw.iter().enumerate().map(z).collect()
        };
        let compared = compared(student.model.plan(), student.model.plan());
        let compared: Vec<usize> = compared.into_iter().map(|[value, _]| value).collect();
        assert_eq!(compared, [9, 11, 13, 15, 17, 19, 21, 23, 25, 27]);
        let relative = compared.iter().map(|&index| {
            let (s, t) = (z(s, index), z(t, index));
            let error: f64 = s.iter().zip(&t).map(|(s, t)| (s - t).powi(2)).sum();
            error / t.iter().map(|t| t * t).sum::<f64>()
        });
        let expected = relative.sum::<f64>() / 10.0;
        assert!((once - expected).abs() < 1e-11 * expected, "{once} {expected}");
        // What a network says itself it says without an error, whatever lies in the statistics.
        let own =
            std::mem::replace(&mut student.pass, TrainPass::new(&student.model, Precision::Full).unwrap());
        let same = student.loss(Some(FeatureTargets { teacher: &own, weight: 3.0 }));
        assert!((same - plain).abs() < 1e-12, "{same} {plain}");
    }

    #[test]
    fn bf16_learns_from_a_teacher_in_f32_and_other_mixtures_are_refused() {
        let of_f32 = teacher(DType::F32);
        let features = Some(FeatureTargets { teacher: &of_f32, weight: 1.0 });
        let mut full = Student::new(DType::F32, Precision::Full);
        let mut short = Student::new(DType::F32, Precision::Bf16);
        let (exact, rounded) = (full.loss(features), short.loss(features));
        assert!(exact != rounded && (exact - rounded).abs() < 0.1 * exact, "{exact} {rounded}");
        assert!(short.gradients(features).values().flatten().all(|value| value.is_finite()));
        let model = network(1, DType::F64);
        let mut pass = TrainPass::new(&model, Precision::Full).unwrap();
        let targets = Targets { labels: &LABELS, label_smoothing: 0.0, soft: None, features };
        let found =
            pass.forward_to(&model, &images(DType::F64), targets, crate::BN_MOMENTUM, &mut Across::alone());
        assert!(matches!(found, Err(Error::FeaturesOfOtherPrecision)));
    }

    #[test]
    fn blocks_of_other_widths_are_refused_with_both() {
        let wide = NetworkConfig { activation: Activation::Relu6, scale: 0.25, ..CONFIG };
        let message = check_features(&CONFIG, &wide).unwrap_err().to_string();
        assert!(
            message.contains("conv2_1_sep") && message.contains("16 channels") && message.contains("8"),
            "{message}"
        );
        assert!(check_features(&wide, &NetworkConfig { activation: Activation::Relu, ..wide }).is_ok());
        let model = Model::new(wide, 1, DType::F64, &Device::Cpu).unwrap();
        let mut pass = TrainPass::new(&model, Precision::Full).unwrap();
        pass.scores(&model, &images(DType::F64)).unwrap();
        let features = Some(FeatureTargets { teacher: &pass, weight: 1.0 });
        let mut student = Student::new(DType::F64, Precision::Full);
        let targets = Targets { labels: &LABELS, label_smoothing: 0.0, soft: None, features };
        let found = student.pass.forward_to(
            &student.model,
            &student.images,
            targets,
            crate::BN_MOMENTUM,
            &mut Across::alone(),
        );
        assert!(matches!(found, Err(Error::Features { teacher: 64, student: 32, .. })), "{found:?}");
        // A forward pass with features has no way back without them.
        let own = teacher(DType::F64);
        student.loss(Some(FeatureTargets { teacher: &own, weight: 1.0 }));
        assert!(matches!(student.pass.backward(&student.model), Err(Error::NoForward)));
    }
}
