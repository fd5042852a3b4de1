//! What a config takes from the file of its weights: flag over `--set` over config file over the file over default.

use super::architecture::spelled;
use super::Pretrained;
use crate::config::{Activation, DataKind, Layers, Padding, TrainConfig};
use crate::error::{Error, Result};
use toml::{Table, Value};

impl Pretrained {
    /// Resolves a config in which the file says what `layers` leave open: width, outputs, activation, padding and ε.
    ///
    /// Warns where an explicit setting differs from the file.
    ///
    /// # Errors
    /// As [`Layers::resolve`], and [`Error::OtherWidth`] if another width is set.
    pub fn settle(&self, layers: &Layers) -> Result<TrainConfig> {
        let mut layers = layers.clone();
        let config = layers.beneath(&self.settings()).resolve()?;
        let scale = config.model.scale;
        if !self.has_widths_of(scale) {
            let path = self.path.clone();
            return Err(Error::OtherWidth { path, scale: self.network.scale, given: scale });
        }
        for difference in self.differences(&config) {
            tracing::warn!("{}", difference);
        }
        Ok(config)
    }

    /// The keys that the file decides.
    fn settings(&self) -> Table {
        let whole = |number: usize| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let model = Table::from_iter([
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
        differences
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
