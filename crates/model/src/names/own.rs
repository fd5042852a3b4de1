//! Networks but MobileNetV1 by the names of their tensors: our own, torchvision's and timm's.
//!
//! (The programs that store a MobileNetV1 are many; they are [`Family`](super::Family)s.)

use super::recognise::{Recognised, Shapes, Source};
use super::search::{Found, Table};
use super::{Background, FAMILIES};
use crate::{Kind, NetworkConfig, Parameter, Result};
use std::collections::BTreeMap;

/// Our own family, and the one with PyTorch's habits, in the table.
const OURS: usize = 0;
const TORCH: usize = 5;

/// Who wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Ours,
    Torchvision,
    Timm,
}

/// The network in one of the tables, whatever stands before its names; `key` is that of its table, or the top.
///
/// # Errors
/// [`crate::Error::Network`] if a description is none.
pub(super) fn own(tables: &[Table<'_>], key: Option<&str>) -> Result<Option<Found>> {
    for (place, table) in tables.iter().enumerate() {
        if key.is_some_and(|key| key != table.key && !(key == "." && table.key.is_empty())) {
            continue;
        }
        // The deepest first: it has the names of those that are less deep.
        for kind in kinds().rev() {
            for program in [Program::Ours, Program::Torchvision, Program::Timm] {
                let Some(recognised) = recognise(kind, program, &table.tensors)? else { continue };
                let known = |name: &str| {
                    let sources = recognised.sources.iter().filter_map(|source| source.name.as_deref());
                    sources.chain(recognised.ignored.iter().map(String::as_str)).any(|known| known == name)
                };
                return Ok(Some(Found {
                    table: place,
                    key: table.key.to_owned(),
                    beside: table
                        .tensors
                        .keys()
                        .filter(|name| !known(name))
                        .map(|&name| name.to_owned())
                        .collect(),
                    recognised,
                    partly: Vec::new(),
                    masks: BTreeMap::new(),
                    stray_masks: Vec::new(),
                }));
            }
        }
    }
    Ok(None)
}

/// The networks that are told here.
fn kinds() -> impl DoubleEndedIterator<Item = Kind> {
    let is_v1 = |kind: &Kind| matches!(kind, Kind::MobileNet | Kind::MobileNetCifar);
    Kind::ALL.into_iter().filter(move |kind| !is_v1(kind))
}

/// A network of this kind, if all of its tensors are there.
fn recognise(kind: Kind, program: Program, shapes: &Shapes<'_>) -> Result<Option<Recognised>> {
    let full = NetworkConfig::new(kind, 1.0, 3, 1000);
    let parameters = full.graph()?.parameters;
    let Some(stem) = foreign(program, kind, kind.first()) else { return Ok(None) };
    let prefixes = shapes.keys().filter_map(|name| name.strip_suffix(stem.as_str()));
    let whole = |prefix: &str, name: &str| foreign(program, kind, name).map(|name| format!("{prefix}{name}"));
    let complete = |prefix: &&str| {
        parameters
            .iter()
            .all(|p| whole(prefix, &p.name).is_some_and(|name| shapes.contains_key(name.as_str())))
    };
    let Some(prefix) = prefixes.clone().find(complete) else { return Ok(None) };
    let side = |name: &str, axis: usize| shapes.get(whole(prefix, name)?.as_str())?.shape.get(axis).copied();
    let (Some(channels), Some(classes)) = (side(kind.first(), 1), side(kind.head()[1], 0)) else {
        return Ok(None);
    };
    // Widths are cut to whole numbers, so that the scale is not less than what any layer says; whether it gives all widths is seen below.
    let convolutions = parameters.iter().filter(|p| p.shape.len() == 4 && !p.name.starts_with("conv9"));
    let ratios = convolutions.filter_map(|p| Some(side(&p.name, 0)? as f64 / p.shape[0] as f64));
    let least = ratios.fold(0.0, f64::max);
    for scale in [least, least + 1e-9] {
        let network = NetworkConfig { channels, classes, scale, ..full };
        let Ok(graph) = network.graph() else { continue };
        let source = |parameter: Parameter| {
            let name = whole(prefix, &parameter.name)?;
            let shape = shapes.get(name.as_str()).filter(|facts| facts.refused.is_none())?.shape;
            // PyTorch has the weight of a linear layer the other way round.
            let turned = program != Program::Ours && parameter.shape.len() == 2;
            let axes: Vec<usize> = if turned { vec![1, 0] } else { (0..parameter.shape.len()).collect() };
            let fits = shape.len() == axes.len()
                && axes.iter().map(|&axis| shape[axis]).eq(parameter.shape.iter().copied());
            let Parameter { name: canonical, shape, .. } = parameter;
            fits.then_some(Source { canonical, shape, name: Some(name), mask: None, axes })
        };
        let sources: Option<Vec<Source>> = graph.parameters.into_iter().map(source).collect();
        let Some(sources) = sources else { continue };
        let family = &FAMILIES[if program == Program::Ours { OURS } else { TORCH }];
        let background = family.background == Background::In(classes);
        let counters = shapes.keys().filter(|name| family.ignored.iter().any(|end| name.ends_with(end)));
        let ignored = counters.map(|&name| name.to_owned()).collect();
        return Ok(Some(Recognised { family, network, background, sources, ignored }));
    }
    Ok(None)
}

/// What a program calls one of our tensors.
fn foreign(program: Program, kind: Kind, ours: &str) -> Option<String> {
    if program == Program::Ours {
        return Some(ours.to_owned());
    }
    let [head, bias] = kind.head();
    let is_resnet = kind != Kind::MobileNetV2;
    let linear = match program {
        Program::Torchvision if !is_resnet => "classifier.1",
        Program::Timm if !is_resnet => "classifier",
        _ => "fc",
    };
    if ours == head || ours == bias {
        return Some(format!("{linear}.{}", if ours == head { "weight" } else { "bias" }));
    }
    const NORM: [(&str, &str); 4] = [
        ("_bn_scale", "weight"),
        ("_bn_offset", "bias"),
        ("_bn_mean", "running_mean"),
        ("_bn_variance", "running_var"),
    ];
    let norm = NORM.iter().find_map(|(end, what)| Some((ours.strip_suffix(end)?, *what)));
    let (layer, what) = norm.or_else(|| Some((ours.strip_suffix("_weights")?, "weight")))?;
    let pair = match is_resnet {
        true => resnet(layer)?,
        false if program == Program::Timm => timm_mobilenet(layer)?,
        false => torch_mobilenet(layer)?,
    };
    let [conv, bn] = pair;
    Some(format!("{}.{what}", if norm.is_some() { bn } else { conv }))
}

/// Convolution and batch norm of a layer of a residual network, which torchvision and timm call alike.
fn resnet(layer: &str) -> Option<[String; 2]> {
    if layer == "conv1" {
        return Some(["conv1".to_owned(), "bn1".to_owned()]);
    }
    let (block, branch) = layer.strip_prefix("res")?.split_once("_branch")?;
    let mut letters = block.chars();
    let stage = letters.next()?.to_digit(10)?.checked_sub(1)?;
    let place = u32::from(letters.next()?).checked_sub(u32::from('a'))?;
    let block = format!("layer{stage}.{place}");
    if branch == "1" {
        return Some([format!("{block}.downsample.0"), format!("{block}.downsample.1")]);
    }
    let number = u32::from(branch.chars().nth(1)?).checked_sub(u32::from('a'))? + 1;
    Some([format!("{block}.conv{number}"), format!("{block}.bn{number}")])
}

/// Stage and place of a block of a MobileNetV2, both from 0, and its part.
fn mobilenet_block(layer: &str) -> Option<(usize, usize, &str)> {
    let (block, part) = layer.strip_prefix("conv")?.rsplit_once('_')?;
    let (stage, place) = block.split_once('_')?;
    Some((stage.parse::<usize>().ok()?.checked_sub(2)?, place.parse::<usize>().ok()?.checked_sub(1)?, part))
}

/// Blocks of each stage.
const STAGES: [usize; 7] = [1, 2, 3, 4, 3, 3, 1];

fn torch_mobilenet(layer: &str) -> Option<[String; 2]> {
    let pair = |conv: String, bn: String| Some([conv, bn]);
    match layer {
        "conv1_1" => return pair("features.0.0".to_owned(), "features.0.1".to_owned()),
        "conv9" => return pair("features.18.0".to_owned(), "features.18.1".to_owned()),
        _ => {}
    }
    let (stage, place, part) = mobilenet_block(layer)?;
    let block = format!("features.{}.conv", 1 + STAGES[..stage].iter().sum::<usize>() + place);
    // The first block has no expansion.
    let before = usize::from(stage > 0);
    match part {
        "expand" => pair(format!("{block}.0.0"), format!("{block}.0.1")),
        "dwise" => pair(format!("{block}.{before}.0"), format!("{block}.{before}.1")),
        _ => pair(format!("{block}.{}", before + 1), format!("{block}.{}", before + 2)),
    }
}

fn timm_mobilenet(layer: &str) -> Option<[String; 2]> {
    let pair = |conv: String, bn: String| Some([conv, bn]);
    match layer {
        "conv1_1" => return pair("conv_stem".to_owned(), "bn1".to_owned()),
        "conv9" => return pair("conv_head".to_owned(), "bn2".to_owned()),
        _ => {}
    }
    let (stage, place, part) = mobilenet_block(layer)?;
    let block = format!("blocks.{stage}.{place}");
    match (part, stage) {
        ("dwise", 0) => pair(format!("{block}.conv_dw"), format!("{block}.bn1")),
        (_, 0) => pair(format!("{block}.conv_pw"), format!("{block}.bn2")),
        ("expand", _) => pair(format!("{block}.conv_pw"), format!("{block}.bn1")),
        ("dwise", _) => pair(format!("{block}.conv_dw"), format!("{block}.bn2")),
        _ => pair(format!("{block}.conv_pwl"), format!("{block}.bn3")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Facts;

    #[test]
    fn every_network_is_told_from_its_names_at_any_width() {
        for kind in kinds() {
            for (program, prefix) in
                [(Program::Ours, ""), (Program::Torchvision, "module."), (Program::Timm, "")]
            {
                for scale in [0.125, 0.33, 0.5, 1.0, 1.4] {
                    let network = NetworkConfig::new(kind, scale, 3, 7);
                    let parameters = network.graph().unwrap().parameters;
                    let named = |p: &Parameter| {
                        let mut shape = p.shape.clone();
                        if program != Program::Ours && shape.len() == 2 {
                            shape.reverse();
                        }
                        (format!("{prefix}{}", foreign(program, kind, &p.name).unwrap()), shape)
                    };
                    let all: Vec<(String, Vec<usize>)> = parameters.iter().map(named).collect();
                    let facts = |shape| Facts { shape, ..Facts::default() };
                    let tensors: Shapes<'_> =
                        all.iter().map(|(name, shape)| (name.as_str(), facts(shape))).collect();
                    assert_eq!(tensors.len(), parameters.len(), "{kind:?} {program:?}");
                    let tables = [Table { key: "", tensors }];
                    let found = own(&tables, None).unwrap().unwrap();
                    let got = found.recognised.network.graph().unwrap();
                    assert!(got.parameters == parameters, "{kind:?} {scale}");
                    assert_eq!(found.recognised.family.is_canonical(), program == Program::Ours);
                    assert!(found.beside.is_empty());
                    assert!(own(&tables, Some("other")).unwrap().is_none());
                }
            }
        }
    }

    #[test]
    fn names_are_those_of_the_programs() {
        let name = |program, kind, ours: &str| foreign(program, kind, ours).unwrap();
        for (program, kind, ours, theirs) in [
            (
                Program::Torchvision,
                Kind::ResNet50,
                "res3a_branch1_bn_mean",
                "layer2.0.downsample.1.running_mean",
            ),
            (Program::Timm, Kind::ResNet50, "res5c_branch2c_weights", "layer4.2.conv3.weight"),
            (Program::Torchvision, Kind::MobileNetV2, "conv2_1_linear_bn_scale", "features.1.conv.2.weight"),
            (Program::Torchvision, Kind::MobileNetV2, "conv8_1_dwise_weights", "features.17.conv.1.0.weight"),
            (Program::Timm, Kind::MobileNetV2, "conv3_2_linear_weights", "blocks.1.1.conv_pwl.weight"),
            (Program::Timm, Kind::MobileNetV2, "fc10_offset", "classifier.bias"),
        ] {
            assert_eq!(name(program, kind, ours), theirs);
        }
    }
}
