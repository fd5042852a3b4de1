//! What a config takes from the file of its weights: flag over `--set` over config file over the file over default.

use super::architecture::spelled;
use super::{Pretrained, WeightsAt};
use crate::config::{Activation, DataKind, Layers, Padding, TrainConfig};
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use toml::{Table, Value};

impl Pretrained {
    /// Resolves a config in which the file says what `layers` leave open: width, outputs, activation, padding and ε.
    ///
    /// Warns where an explicit setting differs from the file, and as [`Self::warn`].
    ///
    /// # Errors
    /// As [`Layers::resolve`], [`Error::OtherNetwork`] if another network is set, and [`Error::OtherWidth`] if another width is.
    pub fn settle(&self, layers: &Layers) -> Result<TrainConfig> {
        let mut layers = layers.clone();
        let config = layers.beneath(&self.settings()).resolve()?;
        let given = config.model.model.name();
        let made = self.network_as(config.model.model.into()).kind.name();
        if made != given {
            return Err(Error::OtherNetwork { path: self.path.clone(), made, given });
        }
        let scale = config.model.scale;
        if !self.has_widths_of(scale) {
            let path = self.path.clone();
            return Err(Error::OtherWidth { path, scale: self.network.scale, given: scale });
        }
        self.warn();
        for difference in self.differences(&config) {
            tracing::warn!("{}", difference);
        }
        Ok(config)
    }

    /// As [`Self::settle`] with the weights that the first rank names, on every rank; the others need no file. `None` if it names
    /// none.
    ///
    /// # Errors
    /// As [`Self::read`] and [`Self::settle`], and if a rank is gone.
    pub fn settle_shared(
        weights: Option<WeightsAt<'_>>,
        layers: &Layers,
        ranks: &Ranks,
    ) -> Result<Option<TrainConfig>> {
        let mut settled = None;
        let settings = ranks.of_first(|| {
            let Some(weights) = weights else { return Ok(None) };
            let file = Self::read(weights)?;
            settled = Some(file.settle(layers)?);
            Ok(Some(file.settings()))
        })?;
        if ranks.place().is_first() {
            return Ok(settled);
        }
        let beneath = |settings| layers.clone().beneath(&settings).resolve();
        Ok(settings.map(beneath).transpose()?)
    }

    /// The keys that the file decides.
    fn settings(&self) -> Table {
        let whole = |number: usize| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let model = Table::from_iter([
            ("model".to_owned(), Value::String(self.network.kind.name().to_owned())),
            ("scale".to_owned(), Value::Float(self.network.scale)),
            ("num_classes".to_owned(), whole(self.classes())),
            ("activation".to_owned(), Value::String(spelled(Activation::from(self.network.activation)))),
            ("padding".to_owned(), Value::String(spelled(Padding::from(self.network.padding)))),
            ("bn_epsilon".to_owned(), Value::Float(self.network.bn_epsilon)),
        ]);
        Table::from_iter([("model".to_owned(), Value::Table(model))])
    }

    /// Where the config differs from what the file was made with.
    fn differences(&self, config: &TrainConfig) -> Vec<String> {
        let model = &config.model;
        let (activation, padding) =
            (Activation::from(self.network.activation), Padding::from(self.network.padding));
        let pairs = [
            ("activation", spelled(activation), spelled(model.activation)),
            ("padding", spelled(padding), spelled(model.padding)),
            ("bn_epsilon", spelled(self.network.bn_epsilon), spelled(model.bn_epsilon)),
        ];
        let mut differences: Vec<String> = pairs
            .into_iter()
            .filter(|(_, made, set)| made != set)
            .map(|(key, made, set)| {
                let path = self.path.display();
                format!("{path} was made with model.{key} = {made}; going on with {set}, as it is set")
            })
            .collect();
        differences.extend(self.other_input(config));
        differences.extend(self.spare_outputs(config));
        differences
    }

    /// A hint if the data set has its own classes and the head of the file was taken over for others.
    fn spare_outputs(&self, config: &TrainConfig) -> Option<String> {
        let (outputs, classes) = (config.model.num_classes, config.data.data.classes());
        let taken_over =
            config.data.data != DataKind::Imagenet && outputs == self.classes() && outputs > classes;
        taken_over.then(|| {
            format!(
                "the head of {} has {outputs} outputs and {} has {classes} classes; --num_classes {classes} starts a new \
                 head",
                self.path.display(),
                config.data.data.name()
            )
        })
    }

    /// A hint if images are normalised in another way than the weights are used to.
    fn other_input(&self, config: &TrainConfig) -> Option<String> {
        let input = self.input.as_ref().filter(|_| config.data.data == DataKind::Imagenet)?;
        let same = |ours: &[f64], theirs: &[f64]| {
            (0..3).all(|channel| match (per_channel(ours, channel), per_channel(theirs, channel)) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-3,
                _ => false,
            })
        };
        let (mean, std) = (&config.data.mean, &config.data.std);
        (!same(mean, &input.mean) || !same(std, &input.std)).then(|| {
            format!(
                "{} takes images with mean {:?} and std {:?}; the config has {mean:?} and {std:?} (--set data.mean={:?} \
                 --set data.std={:?} follows the file)",
                self.path.display(),
                input.mean,
                input.std,
                input.mean,
                input.std,
            )
        })
    }
}

/// One number stands for every channel.
fn per_channel(numbers: &[f64], channel: usize) -> Option<f64> {
    if numbers.len() == 1 { numbers.first().copied() } else { numbers.get(channel).copied() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Architecture;
    use sparse_model::{Kind, NetworkConfig, parameters};
    use std::path::Path;

    /// A file with our names for this network, and metadata.
    pub(in crate::pretrained) fn pretrained(network: &NetworkConfig, metadata: &str) -> Pretrained {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let tensor = |shape: Vec<usize>| {
            let count = shape.iter().product();
            sparse_formats::Tensor::from_f32(shape, &vec![0.0; count])
        };
        let tensors = parameters(network).unwrap().into_iter().map(|p| (p.name, tensor(p.shape))).collect();
        sparse_formats::write(&path, &tensors, Some(metadata)).unwrap();
        Pretrained::read(&path).unwrap()
    }

    fn layers(text: &str) -> Layers {
        let mut layers = Layers::new();
        layers.text(Path::new("x.toml"), text).unwrap();
        layers
    }

    const FULL: &str = r#"{"architecture":{"scale":0.1,"activation":"relu6","padding":"same","bn_epsilon":0.002},
        "input":{"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}}"#;

    #[test]
    fn the_file_says_what_is_left_open_and_yields_to_every_setting() {
        let file = pretrained(&NetworkConfig::mobilenet(0.1, 3, 20), FULL);
        let config = file.settle(&layers("[data]\ndata = \"imagenet\"")).unwrap();
        let model = &config.model;
        assert_eq!((model.scale, model.num_classes, model.bn_epsilon), (0.1, 20, 0.002));
        assert_eq!((model.activation, model.padding), (Activation::Relu6, Padding::Same));
        let given = "[model]\nactivation = \"relu\"\nnum_classes = 7\npadding = \"same\"\n[data]\ndata = \"imagenet\"";
        let config = file.settle(&layers(given)).unwrap();
        assert_eq!((config.model.activation, config.model.num_classes), (Activation::Relu, 7));
        let differences = file.differences(&config);
        assert_eq!(differences.len(), 2, "{differences:?}");
        assert!(differences[0].contains("model.activation = relu6; going on with relu"), "{differences:?}");
        assert!(differences[1].contains("--set data.mean=[0.5, 0.5, 0.5]"), "{differences:?}");
        let kept = "[data]\ndata = \"imagenet\"\nclasses = [3, 1]\nmean = 0.5\nstd = 0.5";
        let config = file.settle(&layers(kept)).unwrap();
        assert_eq!(config.model.num_classes, 2);
        assert!(file.differences(&config).is_empty());
    }

    #[test]
    fn the_widths_count_and_not_the_digits_of_the_scale() {
        let file = pretrained(&NetworkConfig::mobilenet(0.1, 1, 10), "{}");
        assert_eq!(file.network.scale, 102.0 / 1024.0);
        assert_eq!(file.settle(&layers("[model]\nscale = 0.1")).unwrap().model.scale, 0.1);
        let error = file.settle(&layers("[model]\nscale = 0.2")).unwrap_err();
        assert!(matches!(error, Error::OtherWidth { given: 0.2, .. }), "{error}");
    }

    #[test]
    fn which_of_two_networks_with_the_same_parameters_the_file_says_or_else_the_config() {
        let network = NetworkConfig::new(Kind::MobileNetCifar, 0.25, 3, 10);
        let cifar = layers("[model]\nmodel = \"MobileNetCifar\"");
        let unsaid = pretrained(&network, "{}");
        assert_eq!(unsaid.settle(&cifar).unwrap().model.model, Architecture::MobileNetCifar);
        assert_eq!(unsaid.settle(&layers("")).unwrap().model.model, Architecture::MobileNet);
        let metadata = unsaid.metadata.text(&network, None).unwrap();
        let said = pretrained(&network, &metadata);
        assert_eq!(said.network.kind, Kind::MobileNetCifar);
        assert_eq!(said.settle(&layers("")).unwrap().model.model, Architecture::MobileNetCifar);
        let error = said.settle(&layers("[model]\nmodel = \"MobileNet\"")).unwrap_err();
        assert!(matches!(error, Error::OtherNetwork { made: "MobileNetCifar", .. }), "{error}");
    }

    #[test]
    fn metadata_that_makes_no_sense_is_not_used() {
        let network = NetworkConfig::mobilenet(0.25, 1, 10);
        for metadata in [
            "[1]",
            r#"{"architecture":7}"#,
            r#"{"architecture":{"scale":1.0,"bn_epsilon":-1}}"#,
            r#"{"architecture":{"activation":"tanh"},"input":{"mean":"x"}}"#,
        ] {
            let file = pretrained(&network, metadata);
            assert_eq!((file.network, file.input), (network, None), "{metadata}");
        }
    }

    #[test]
    fn more_outputs_than_the_data_set_has_classes_are_pointed_out() {
        let file = pretrained(&NetworkConfig::mobilenet(0.25, 1, 1000), "{}");
        let config = file.settle(&layers("")).unwrap();
        assert_eq!(config.model.num_classes, 1000);
        assert!(file.differences(&config)[0].contains("--num_classes 10 starts a new head"));
        let config = file.settle(&layers("[model]\nnum_classes = 10")).unwrap();
        assert!(file.differences(&config).is_empty());
    }
}
