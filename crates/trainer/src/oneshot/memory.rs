//! What the pruning of a layer takes, and what is left for activations.

use super::layers::Layer;
use super::seen::most_places;
use super::{OneshotConfig, OneshotError};
use crate::error::Result;
use sparse_oneshot::Places;

/// The program itself, the network several times, and what the engine works in.
const BASE: usize = 400 << 20;
const MB: usize = 1 << 20;

/// Bytes that activations may take.
///
/// # Errors
/// [`OneshotError::Memory`] naming the layer, or the images, that do not fit.
pub(super) fn for_activations(
    config: &OneshotConfig,
    layers: &[Layer],
    per_image: usize,
    images: usize,
) -> Result<usize> {
    let mega = |bytes: usize| bytes.div_ceil(MB);
    let too_small = |what: String, needed: usize, left: usize| OneshotError::Memory {
        what,
        needed: mega(needed),
        left: left / MB,
        total: mega(config.memory),
    };
    let left = config.memory.saturating_sub(BASE);
    let mut rest = left;
    for layer in layers {
        let needed = of_layer(layer, images);
        if needed > left {
            return Err(too_small(format!("the covariances of {}", layer.name), needed, left).into());
        }
        rest = rest.min(left - needed);
    }
    // A batch is there twice as it moves on.
    let needed = (images + 2 * super::images::BATCH) * per_image * size_of::<f32>();
    if needed > rest {
        return Err(too_small(format!("{images} images"), needed, rest).into());
    }
    Ok(rest)
}

/// Sums, their covariances, the decompositions, the unfolded windows and the picked places of a layer.
fn of_layer(layer: &Layer, images: usize) -> usize {
    let squares = 8 * layer.inputs * layer.inputs;
    let weights = 10 * layer.outputs * layer.inputs;
    let places = if layer.bounds.is_some() {
        layer.groups
            * Places::bytes(most_places(layer).min(images * layer.pixels), [layer.outputs, layer.inputs])
    } else {
        0
    };
    // Of both networks, as they are unfolded and as they are summed.
    let unfolded = 2 * layer.inputs * layer.pixels * (size_of::<f32>() + size_of::<f64>());
    (layer.groups * 2 * layer.inputs * layer.inputs + squares + weights) * size_of::<f64>()
        + places
        + unfolded
}

/// A number of bytes such as `4GB`, `500 MB` or `1.5GiB`.
///
/// # Errors
/// In words, if it is none.
pub fn bytes(text: &str) -> std::result::Result<usize, String> {
    let text = text.trim();
    let end = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..end].trim(), text[end..].to_ascii_lowercase());
    let factor = match unit.as_str() {
        "kb" | "k" | "kib" => 1_u64 << 10,
        "mb" | "m" | "mib" => 1 << 20,
        "gb" | "g" | "gib" => 1 << 30,
        "tb" | "t" | "tib" => 1 << 40,
        _ => return Err(format!("{text:?} is no memory such as 4GB or 800MB")),
    };
    match number.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok((number * factor as f64) as usize),
        _ => Err(format!("{text:?} is no memory such as 4GB or 800MB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_number_with_its_unit() {
        assert_eq!(bytes("4GB"), Ok(4 << 30));
        assert_eq!(bytes(" 1.5 gib "), Ok(3 << 29));
        assert_eq!(bytes("800M"), Ok(800 << 20));
        for wrong in ["4", "", "GB", "-1GB", "0MB", "4GBB", "infGB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
