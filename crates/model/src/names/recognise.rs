//! Which of the tensors of a dictionary makes each of our parameters, and which network they are.

use std::collections::{BTreeMap, BTreeSet};

use super::template::{Named, Role};
use super::{Background, Family};
use crate::{ConvKind, Error, NetworkConfig, Result, layers, parameters};

/// Features of a network of scale 1.
pub(super) const FEATURES: usize = 1024;
/// Largest width that is believed.
const WIDEST: usize = 16 * FEATURES;
/// What torch's pruning puts behind the name of a weight that it masks, and what it and PaddleSlim put behind that of the
/// mask.
pub(super) const UNMASKED: &str = "_orig";
pub(super) const MASK: &str = "_mask";
/// Parts of the names of weights that are made anew in each forward pass, and what to do about them.
const REMADE: [(&str, &str); 3] = [
    (
        ".parametrizations.",
        "weights under `parametrizations` are made anew in each pass: call \
         torch.nn.utils.parametrize.remove_parametrizations and save again",
    ),
    (
        ".weight_g",
        "weights are in two parts by weight_norm: call torch.nn.utils.remove_weight_norm and save again",
    ),
    (
        ".weight_u",
        "weights are scaled by spectral_norm: call torch.nn.utils.remove_spectral_norm and save again",
    ),
];

/// What is known of a tensor before it is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Lengths of its axes.
    pub shape: &'a [usize],
    /// The same for two tensors that are the same numbers of the file.
    pub identity: u64,
    /// Why it cannot be read, if it cannot.
    pub refused: Option<&'a str>,
}

/// The tensors of a dictionary by their names.
pub type Shapes<'a> = BTreeMap<&'a str, Facts<'a>>;

/// Where a parameter comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Our name of it.
    pub canonical: String,
    /// Its shape in our network.
    pub shape: Vec<usize>,
    /// The tensor in the file; `None` for a bias that the file leaves out, which is zero.
    pub name: Option<String>,
    /// The tensor in the file that it is to be multiplied with: zeros and ones of the same shape.
    pub mask: Option<String>,
    /// For each of our axes the one in the file, see [`super::arranged`].
    pub axes: Vec<usize>,
}

/// A dictionary whose names and shapes are those of a MobileNetV1.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// Whose names they are.
    pub family: &'static Family,
    /// The network: widths, channels and outputs by the shapes, the rest as the family has it.
    pub network: NetworkConfig,
    /// Whether the first output is a background class.
    pub background: bool,
    /// One per parameter.
    pub sources: Vec<Source>,
    /// Tensors that belong to training.
    pub ignored: Vec<String>,
}

/// Tells the network from the shapes of tensors under the names of a family.
///
/// # Errors
/// [`Error::ForeignTensors`] naming everything that is missing, left over, of another shape or not to be read.
pub(super) fn recognise(family: &'static Family, shapes: &Shapes<'_>) -> Result<Recognised> {
    let full = family.names(&layers(&NetworkConfig::mobilenet(1.0, 3, FEATURES))?);
    let last_norm =
        full.iter().rev().find(|named| named.role == Role::Norm).map_or("", |named| &named.foreign);
    let mut recognised = Recognised {
        family,
        network: network(family, last_norm, shapes),
        background: false,
        sources: Vec::new(),
        ignored: Vec::new(),
    };
    recognised.background = family.background == Background::In(recognised.network.classes);
    let names = family.names(&layers(&recognised.network)?);
    let (mut missing, mut misshaped) = (Vec::new(), Vec::new());
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let wanted: BTreeMap<String, Vec<usize>> =
        parameters(&recognised.network)?.into_iter().map(|p| (p.name, p.shape)).collect();
    for named in &names {
        let expected = wanted.get(&named.canonical).cloned().unwrap_or_default();
        match source(family, named, expected, shapes) {
            Found::Source(source) => recognised.sources.push(source),
            Found::Missing => missing.push(named.foreign.clone()),
            Found::OtherShape(text) => misshaped.push(text),
            Found::Refused { name, reason } => refused.entry(reason).or_default().push(name),
        }
    }
    let known = names.iter().map(|named| named.foreign.as_str());
    let used = recognised.sources.iter().flat_map(|source| [&source.name, &source.mask]).flatten();
    let known: BTreeSet<&str> = known.chain(used.map(String::as_str)).collect();
    let strangers = shapes.keys().filter(|name| !known.contains(*name)).map(|&name| name.to_owned());
    let (ignored, left_over): (Vec<String>, Vec<String>) =
        strangers.partition(|name| family.ignored.iter().any(|end| name.ends_with(end)));
    recognised.ignored = ignored;
    if missing.is_empty() && misshaped.is_empty() && left_over.is_empty() && refused.is_empty() {
        return Ok(recognised);
    }
    let advice = advice(&left_over);
    let faults = [("missing", missing), ("left over", left_over), ("of another shape", misshaped)];
    let faults = faults.into_iter().filter(|(_, names)| !names.is_empty());
    let faults = faults.map(|(fault, names)| format!("{fault}: {}", shortened(&names)));
    let refused =
        refused.iter().map(|(reason, names)| format!("not to be read: {}: {reason}", shortened(names)));
    let faults = faults.chain(refused);
    Err(Error::ForeignTensors {
        family: family.name,
        scale: recognised.network.scale,
        faults: faults.chain(advice.map(str::to_owned)).collect::<Vec<_>>().join("; "),
    })
}

/// What to do about weights that are in the file in another form.
fn advice(left_over: &[String]) -> Option<&'static str> {
    let stands = |mark: &str| left_over.iter().any(|name| name.contains(mark));
    REMADE.iter().find(|(mark, _)| stands(mark)).map(|(_, advice)| *advice)
}

/// The network that the shapes of stem and head suggest; what does not fit it is found afterwards.
fn network(family: &'static Family, last_norm: &str, shapes: &Shapes<'_>) -> NetworkConfig {
    let head = shape_of(shapes, family.head[0]).and_then(|shape| family.head_layout.axes(shape));
    let stem = shape_of(shapes, family.stem[0]).filter(|shape| shape.len() == 4);
    let channels = stem.map_or(3, |shape| shape[family.layout.axes(ConvKind::Spatial)[1]]);
    let [features, outputs] = head.map_or([FEATURES, 1000], |(sizes, _)| sizes);
    let length = |name: &str| match shape_of(shapes, name) {
        Some(&[length]) => Some(length),
        _ => None,
    };
    // The vectors leave no doubt about the order of axes.
    let classes = length(family.head[1]).unwrap_or(outputs);
    let features = length(last_norm).unwrap_or(features);
    // Each width divides 1024, so that `features / 1024` cuts every layer to the same whole number as the scale that
    // the network was made with.
    let scale = features.clamp(32, WIDEST) as f64 / FEATURES as f64;
    NetworkConfig {
        activation: family.activation,
        padding: family.padding,
        bn_epsilon: family.bn_epsilon,
        ..NetworkConfig::mobilenet(scale, channels.clamp(1, WIDEST), classes.max(1))
    }
}

/// The shape of a tensor, whether a mask belongs to it or not.
fn shape_of<'a>(shapes: &Shapes<'a>, name: &str) -> Option<&'a [usize]> {
    let unmasked = || shapes.get(format!("{name}{UNMASKED}").as_str());
    shapes.get(name).or_else(unmasked).map(|facts| facts.shape)
}

enum Found {
    Source(Source),
    Missing,
    OtherShape(String),
    Refused { name: String, reason: String },
}

fn source(family: &Family, named: &Named, expected: Vec<usize>, shapes: &Shapes<'_>) -> Found {
    let canonical = named.canonical.clone();
    let (unmasked, mask) = (format!("{}{UNMASKED}", named.foreign), format!("{}{MASK}", named.foreign));
    let has = |name: &str| shapes.contains_key(name);
    let mask = has(&mask).then_some(mask);
    let name = match &mask {
        Some(_) if !has(&named.foreign) && has(&unmasked) => unmasked,
        _ => named.foreign.clone(),
    };
    let Some(&Facts { shape, refused, .. }) = shapes.get(name.as_str()) else {
        if named.role == Role::HeadBias && family.bias_optional {
            let (name, mask) = (None, None);
            return Found::Source(Source { canonical, shape: expected, name, mask, axes: Vec::new() });
        }
        return Found::Missing;
    };
    if let Some(reason) = refused {
        return Found::Refused { name, reason: reason.to_owned() };
    }
    if let Some((mask, facts)) = mask.as_ref().and_then(|mask| Some((mask, shapes.get(mask.as_str())?)))
        && (facts.shape != shape || facts.refused.is_some())
    {
        return Found::OtherShape(format!("{mask} {:?}, the mask of {name} {shape:?}", facts.shape));
    }
    let axes = match named.role {
        Role::Convolution(kind) if shape.len() == 4 => Some(family.layout.axes(kind).to_vec()),
        Role::HeadWeight => family.head_layout.axes(shape).map(|(_, axes)| axes),
        Role::Norm | Role::HeadBias if shape.len() == 1 => Some(vec![0]),
        _ => None,
    };
    let fits = axes.as_ref().is_some_and(|axes| {
        let arranged = axes.iter().map(|&axis| shape[axis]);
        arranged.clone().take(expected.len()).eq(expected.iter().copied())
            && arranged.skip(expected.len()).all(|length| length == 1)
    });
    match axes {
        Some(axes) if fits => {
            Found::Source(Source { canonical, shape: expected, name: Some(name), mask, axes })
        }
        _ => Found::OtherShape(format!("{name} {shape:?}, which is to make {expected:?}")),
    }
}

/// Names for a message: the first few, and how many more.
pub(super) fn shortened(names: &[String]) -> String {
    const MOST: usize = 5;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("{name:.80}")).collect();
    match names.len().saturating_sub(MOST) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::FAMILIES;
    use super::super::tests::{recognise, shapes, tensors};
    use super::*;

    #[test]
    fn every_family_is_told_from_its_names_at_any_width() {
        for family in &FAMILIES {
            for scale in [0.0625, 0.1, 0.25, 0.33, 1.0, 1.25] {
                let network = NetworkConfig::mobilenet(scale, 1, 17);
                let recognised = recognise(&shapes(&tensors(family, &network))).unwrap();
                assert_eq!(recognised.family.name, family.name);
                let got = recognised.network;
                assert_eq!((got.channels, got.classes, got.activation), (1, 17, family.activation));
                assert_eq!(layers(&got).unwrap(), layers(&network).unwrap(), "{} {scale}", family.name);
                assert_eq!(recognised.sources.len(), 137);
            }
        }
    }

    #[test]
    fn a_background_class_is_told_from_the_number_of_outputs() {
        for (classes, background) in [(1001, true), (1000, false), (10, false)] {
            for family in &FAMILIES {
                let tensors = tensors(family, &NetworkConfig::mobilenet(0.0625, 3, classes));
                let expected = background && family.background != Background::Never;
                assert_eq!(recognise(&shapes(&tensors)).unwrap().background, expected, "{}", family.name);
            }
        }
    }

    #[test]
    fn all_faults_are_named_at_once_with_the_family() {
        let mut tensors = tensors(&FAMILIES[4], &NetworkConfig::mobilenet(0.25, 3, 10));
        tensors.remove("conv_stem.weight");
        tensors.insert("conv_head.weight".into(), vec![1, 2]);
        tensors.insert("blocks.3.5.bn2.running_var".into(), vec![7]);
        tensors.insert("bn1.num_batches_tracked".into(), vec![]);
        let error = recognise(&shapes(&tensors)).unwrap_err().to_string();
        for part in [
            "timm",
            "missing: conv_stem.weight",
            "left over: conv_head.weight;",
            "of another shape: blocks.3.5.bn2.running_var [7], which is to make [128]",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        tensors.retain(|name, _| name.starts_with("blocks.4"));
        let error = recognise(&shapes(&tensors)).unwrap_err().to_string();
        assert!(error.contains("and 112 more"), "{error}");
    }

    #[test]
    fn names_of_no_family_and_optimizer_states_are_told() {
        let other = BTreeMap::from([("layer1.0.conv1.weight".to_owned(), vec![1])]);
        let error = recognise(&shapes(&other)).unwrap_err().to_string();
        assert!(error.contains("layer1.0.conv1.weight") && error.contains("TF-slim"), "{error}");
        let state = BTreeMap::from([("conv1_weights_velocity_0".to_owned(), vec![1])]);
        let error = recognise(&shapes(&state)).unwrap_err().to_string();
        assert!(error.contains(".pdopt") && error.contains(".pdparams"), "{error}");
    }

    #[test]
    fn absurd_shapes_are_refused_without_a_panic() {
        let network = NetworkConfig::mobilenet(0.25, 3, 10);
        for family in &FAMILIES {
            for name in [family.stem[0], family.head[0], family.head[1]] {
                for shape in
                    [vec![], vec![0], vec![usize::MAX; 2], vec![usize::MAX; 4], vec![0; 4], vec![1; 7]]
                {
                    let mut tensors = tensors(family, &network);
                    tensors.insert(name.into(), shape);
                    assert!(matches!(recognise(&shapes(&tensors)), Err(Error::ForeignTensors { .. })));
                }
            }
        }
    }
}
