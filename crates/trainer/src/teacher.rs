//! The dense network a run learns from beside the labels.

use crate::config::{Activation, Padding, TrainConfig};
use crate::error::{Error, Result};
use crate::on_device::DeviceTeacher;
use crate::plan::TrainPlan;
use crate::pretrained::{Head, Pretrained, WeightsAt};
use crate::ranks::Ranks;
use crate::weights::{checksum, share, to_tensors};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use sparse_model::{
    FeatureTargets, Kind, Model, NetworkConfig, Precision, SoftTargets, TrainPass, check_features,
};

/// A network whose scores are soft targets.
///
/// Source: Hinton et al. 2015, arXiv:1503.02531.
pub struct Teacher {
    model: Model,
    pass: TrainPass,
    temperature: f64,
    weight: f64,
    /// Weight of the loss of the features, 0 without.
    features: f64,
    checksum: u32,
}

impl Teacher {
    /// The teacher of a plan; `None` if there is none to learn from.
    ///
    /// # Errors
    /// [`Error::NoTeacher`] if none is named; if its weights are missing, its head has other classes, or its blocks are to be compared
    /// and have other channels.
    pub(crate) fn of_plan(plan: &TrainPlan) -> Result<Option<Self>> {
        let Some(weights) = teacher_weights(&plan.config)? else { return Ok(None) };
        let pretrained = Pretrained::read(weights)?;
        pretrained.warn();
        // Its width, activation and padding are its own.
        let (channels, classes) = (plan.data.image_shape[0], plan.config.model.num_classes);
        let kind = plan.config.model.model.into();
        let network = NetworkConfig { channels, classes, ..pretrained.network_as(kind) };
        if plan.config.train.distill_features > 0.0 {
            check_features(&plan.config.model.network(channels), &network)?;
        }
        let model = Model::new(network, 0, DType::F32, &Device::Cpu)?;
        let path = pretrained.path.clone();
        let head = pretrained.load(&model, plan.config.data.classes.as_deref())?;
        if let Head::New { classes, of } = head {
            return Err(Error::OtherHead { path, classes: of, num_classes: classes });
        }
        let train = &plan.config.train;
        let what = match (train.distill_weight > 0.0, train.distill_features > 0.0) {
            (_, false) => "scores",
            (true, true) => "scores and features",
            (false, true) => "features",
        };
        tracing::info!("learning from the {what} of {}, {head}", path.display());
        Self::new(model, plan).map(Some)
    }

    /// On every rank but the first, the teacher that the first has as `mine`; the others read no file.
    ///
    /// # Errors
    /// If a rank is gone.
    pub(crate) fn of_first(plan: &TrainPlan, mine: Option<&Self>, ranks: &Ranks) -> Result<Option<Self>> {
        let facts = ranks.of_first(|| Ok(mine.map(|teacher| Facts::of(&teacher.model.config()))))?;
        let Some(facts) = facts else { return Ok(None) };
        if let Some(teacher) = mine {
            return share(&teacher.model, ranks).map(|()| None);
        }
        let model = Model::new(facts.network(plan), 0, DType::F32, &Device::Cpu)?;
        share(&model, ranks)?;
        Self::new(model, plan).map(Some)
    }

    fn new(model: Model, plan: &TrainPlan) -> Result<Self> {
        let checksum = checksum(&to_tensors(model.variables())?);
        let train = &plan.config.train;
        Ok(Self {
            pass: match train.distill_features > 0.0 {
                true => TrainPass::new(&model, Precision::Full)?.keeping_features(),
                false => TrainPass::new(&model, Precision::Full)?,
            },
            model,
            temperature: train.distill_temperature,
            weight: train.distill_weight,
            features: train.distill_features,
            checksum,
        })
    }

    /// CRC-32 of its names and weights.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// What of it goes to a device.
    pub(crate) fn for_device(&self) -> DeviceTeacher<'_> {
        DeviceTeacher { model: &self.model, temperature: self.temperature, weight: self.weight }
    }

    /// The outputs of its blocks for the batch of the last [`Teacher::targets`], if they are to be learned from.
    pub fn features(&self) -> Option<FeatureTargets<'_>> {
        (self.features > 0.0).then_some(FeatureTargets { teacher: &self.pass, weight: self.features })
    }

    /// What it says of a batch, with its running statistics.
    ///
    /// Shapes: `images: [N, C, H, W]`.
    ///
    /// # Errors
    /// If the images do not fit or there is no room for its activations.
    pub fn targets(&mut self, images: &Tensor) -> Result<SoftTargets> {
        let logits = self.pass.scores(&self.model, images)?;
        Ok(SoftTargets { logits, temperature: self.temperature, weight: self.weight })
    }
}

/// What of the network of a teacher is its own.
#[derive(Serialize, Deserialize)]
struct Facts {
    kind: String,
    scale: f64,
    activation: Activation,
    padding: Padding,
    bn_epsilon: f64,
}

impl Facts {
    fn of(network: &NetworkConfig) -> Self {
        let (activation, padding) = (network.activation.into(), network.padding.into());
        let kind = network.kind.name().to_owned();
        Self { kind, scale: network.scale, activation, padding, bn_epsilon: network.bn_epsilon }
    }

    fn network(self, plan: &TrainPlan) -> NetworkConfig {
        let (channels, classes) = (plan.data.image_shape[0], plan.config.model.num_classes);
        NetworkConfig {
            activation: self.activation.into(),
            padding: self.padding.into(),
            bn_epsilon: self.bn_epsilon,
            ..NetworkConfig::new(Kind::named(&self.kind).unwrap_or_default(), self.scale, channels, classes)
        }
    }
}

/// Where the weights of the teacher lie; `None` if there is to be none.
///
/// # Errors
/// [`Error::NoTeacher`] if one is wanted and none is named.
pub(crate) fn teacher_weights(config: &TrainConfig) -> Result<Option<WeightsAt<'_>>> {
    let train = &config.train;
    let named = train.teacher.as_ref().map(WeightsAt::from).or_else(|| WeightsAt::start(config));
    match (train.distill, named) {
        (false, _) => Ok(None),
        (true, Some(weights)) => Ok(Some(weights.under(train.teacher_key.as_deref().or(weights.key)))),
        (true, None) => Err(Error::NoTeacher),
    }
}
