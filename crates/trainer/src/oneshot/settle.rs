//! What the file of a network says where a config leaves it open.

use super::file;
use crate::config::{DataKind, DataSection, Layers, TrainConfig};
use crate::datasets::white;
use crate::error::Result;
use crate::pretrained::WeightsAt;
use toml::{Table, Value};

/// Images have no fewer pixels on a side (`data.image_size`).
const LEAST_SIDE: usize = 16;

/// A config in which the file of the network says what `layers` leave open: its outputs, and how images become its input.
///
/// # Errors
/// What reading the network reports, and what [`Layers::resolve`] does.
pub fn settled(layers: &Layers, from: WeightsAt<'_>) -> Result<TrainConfig> {
    layers.resolve()?;
    let (facts, outputs, channels) = file::facts(from)?;
    let input = facts.input;
    let numbers = |values: &[f64]| {
        Value::Array(values.iter().map(|value| Value::Float(value * white(facts.data))).collect())
    };
    let mut data = Table::new();
    // What the file says of photos is of no use for digits that were asked for, and the other way round.
    let name = Table::from_iter([("data".to_owned(), Value::String(facts.data.name().to_owned()))]);
    let kind = Table::from_iter([("data".to_owned(), Value::Table(name.clone()))]);
    let own = layers.clone().beneath(&kind).resolve()?.data;
    if own.data == facts.data {
        data.extend(name);
        data.insert("mean".to_owned(), numbers(&input.mean));
        data.insert("std".to_owned(), numbers(&input.std));
        if facts.data == DataKind::Imagenet && channels == 3 {
            // Smaller ones are refused later, for what they are; a size of one's own has a resize of its own.
            if input.size >= LEAST_SIDE && own.side() == DataSection::defaults(own.data).side() {
                data.insert("image_size".to_owned(), whole(input.size));
                data.insert("resize".to_owned(), whole(input.resize));
            }
            let interpolation = Value::try_from(input.interpolation).ok();
            data.extend(interpolation.map(|value| ("interpolation".to_owned(), value)));
        }
    }
    let model = Table::from_iter([("num_classes".to_owned(), whole(outputs))]);
    let known = Table::from_iter([
        ("data".to_owned(), Value::Table(data)),
        ("model".to_owned(), Value::Table(model)),
    ]);
    Ok(layers.clone().beneath(&known).resolve()?)
}

fn whole(number: usize) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
