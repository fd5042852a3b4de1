//! What a file of weights says about the images and the classes of its network.

use super::{INPUT, InputHint, LABELS, Pretrained};
use crate::config::{DataKind, DataSection, InterpolationKind, TrainConfig};
use crate::image_input::ImageInput;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sparse_engine::input_side;

/// Settings of the data that say how an image is seen and what its class means.
const KEYS: [&str; 7] = ["mean", "std", "image_size", "resize", "crop", "interpolation", "classes"];

/// What is known about the images and the classes of a network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InputFacts {
    /// How image files become input.
    pub(crate) input: ImageInput,
    /// Whether the file says how they are normalised; else it is as such images usually are.
    pub(crate) known: bool,
    /// The label of each class, of those that the data set has, if it is some of them.
    pub(crate) labels: Option<Vec<u32>>,
    /// The data set, or that whose images have as many channels.
    pub(crate) data: DataKind,
}

impl InputFacts {
    /// What images of so many channels usually are.
    pub(crate) fn usual(channels: usize, size: usize) -> Self {
        let data = if channels == 1 { DataKind::Mnist } else { DataKind::Imagenet };
        let input = ImageInput::of(&DataSection::defaults(data)).resized(size);
        Self { input, known: false, labels: None, data }
    }

    /// By the properties of an ONNX file of ours for images of height and width `side`, else as is usual.
    pub(crate) fn of_onnx(metadata: &Value, channels: usize, side: usize) -> Self {
        let usual = Self::usual(channels, side);
        match property::<ImageInput>(metadata, INPUT) {
            Some(input) => {
                Self { input: input.resized(side), known: true, labels: property(metadata, LABELS), ..usual }
            }
            None => usual,
        }
    }
}

/// A property that an ONNX file of ours holds as JSON.
fn property<T: DeserializeOwned>(metadata: &Value, key: &str) -> Option<T> {
    serde_json::from_str(metadata.get(key)?.as_str()?).ok()
}

impl InputFacts {
    /// By the metadata of weights: the recipe of the run, else what is known of the program that wrote the file, else as is usual.
    pub(crate) fn of_weights(metadata: &Value, channels: usize) -> Self {
        let recipe = metadata.get("recipe").and_then(Value::as_object);
        let hint = metadata.get("input").cloned().and_then(|input| serde_json::from_value(input).ok());
        Self::of(recipe, hint.as_ref(), channels, input_side(metadata, channels))
    }

    fn of(
        recipe: Option<&Map<String, Value>>,
        hint: Option<&InputHint>,
        channels: usize,
        side: usize,
    ) -> Self {
        if let Some(data) = recipe.and_then(|recipe| data_section(recipe, channels)) {
            let input = ImageInput::of(&data);
            return Self { input, known: true, labels: data.classes, data: data.data };
        }
        let usual = Self::usual(channels, side);
        let Some(hint) = hint else { return usual };
        let (Some(mean), Some(std)) = (fitting(&hint.mean, channels), fitting(&hint.std, channels)) else {
            return usual;
        };
        let named = hint.interpolation.clone().map(Value::String).map(serde_json::from_value);
        let interpolation = named.and_then(Result::ok).unwrap_or(InterpolationKind::default());
        Self { input: ImageInput { mean, std, interpolation, ..usual.input }, known: true, ..usual }
    }
}

impl Pretrained {
    /// By the recipe of the run, else by what is known of the program that wrote the file, else as is usual.
    pub(crate) fn input_facts(&self) -> InputFacts {
        let recipe = self.metadata.recipe();
        InputFacts::of(recipe, self.input.as_ref(), self.network.channels, self.input_side())
    }

    /// Height and width of its images, in pixels: those of the recipe, else what images of its channels usually have.
    pub fn input_side(&self) -> usize {
        input_side(&self.metadata.value(), self.network.channels)
    }
}

/// The section `data` that a recipe holds, if the images have so many channels and it makes sense.
fn data_section(recipe: &Map<String, Value>, channels: usize) -> Option<DataSection> {
    let data: DataKind = serde_json::from_value(recipe.get("data.data")?.clone()).ok()?;
    let defaults = TrainConfig::defaults(data);
    let Ok(Value::Object(mut section)) = serde_json::to_value(&defaults.data) else { return None };
    for key in KEYS {
        if let Some(value) = recipe.get(&format!("data.{key}")) {
            section.insert(key.to_owned(), value.clone());
        }
    }
    let section: DataSection = serde_json::from_value(Value::Object(section)).ok()?;
    let valid = TrainConfig { data: section.clone(), ..defaults }.validate().is_ok();
    (valid && data.channels() == channels).then_some(section)
}

/// Numbers for so many channels, if these can be used for them.
fn fitting(numbers: &[f64], channels: usize) -> Option<Vec<f64>> {
    let same = numbers.iter().all(|number| numbers.first() == Some(number));
    match numbers {
        [] => None,
        [first, ..] if same => Some(vec![*first]),
        _ if numbers.len() == channels => Some(numbers.to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::settle::tests::pretrained;
    use super::*;
    use sparse_model::NetworkConfig;

    fn facts(channels: usize, metadata: &str) -> InputFacts {
        pretrained(&NetworkConfig::mobilenet(0.1, channels, 3), metadata).input_facts()
    }

    #[test]
    fn the_recipe_decides_then_the_hint_then_what_is_usual() {
        let hint = r#""input":{"mean":[0.5,0.5,0.5],"std":[0.25,0.25,0.25],"interpolation":"bicubic"}"#;
        let recipe = r#""recipe":{"data.data":"imagenet","data.mean":[0.1],"data.std":[0.2],"data.resize":0,
            "data.image_size":96,"data.classes":[7,2,5],"data.interpolation":"bilinear","train.lr":1}"#;
        let by_recipe = facts(3, &format!("{{{hint},{recipe}}}"));
        assert_eq!((by_recipe.known, by_recipe.labels), (true, Some(vec![7, 2, 5])));
        let input = by_recipe.input;
        assert_eq!((input.mean, input.std, input.size, input.resize), (vec![0.1], vec![0.2], 96, 0));
        assert_eq!(input.interpolation, InterpolationKind::Bilinear);
        let by_hint = facts(3, &format!("{{{hint}}}"));
        assert_eq!((by_hint.known, by_hint.input.mean, by_hint.input.std), (true, vec![0.5], vec![0.25]));
        assert_eq!((by_hint.input.size, by_hint.input.resize), (224, 256));
        assert_eq!(by_hint.input.interpolation, InterpolationKind::Bicubic);
        assert_eq!(facts(3, "{}"), InputFacts::usual(3, 224));
    }

    #[test]
    fn the_size_is_that_of_the_engine_also_where_a_crop_is_set() {
        let recipe = r#"{"recipe":{"data.data":"imagenet","data.image_size":128,"data.crop":96}}"#;
        let file = pretrained(&NetworkConfig::mobilenet(0.1, 3, 3), recipe);
        assert_eq!((file.input_side(), file.input_facts().input.size), (96, 96));
        assert_eq!(facts(1, "{}").input.size, 28);
    }

    #[test]
    fn a_recipe_that_does_not_fit_the_network_is_not_used() {
        for recipe in [
            r#"{"recipe":{"data.data":"mnist"}}"#,
            r#"{"recipe":{"data.data":"coco"}}"#,
            r#"{"recipe":{"data.data":"imagenet","data.std":[0]}}"#,
            r#"{"recipe":{"data.data":"imagenet","data.mean":"x"}}"#,
            r#"{"recipe":7}"#,
        ] {
            assert_eq!(facts(3, recipe), InputFacts::usual(3, 224), "{recipe}");
        }
    }
}
