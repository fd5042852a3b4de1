//! From the templates of a family to the names of its tensors.

use super::Family;
use crate::{ConvKind, ConvLayer, Kind};

/// Blocks per resolution.
const SECTIONS: [usize; 5] = [1, 2, 2, 6, 2];

/// What a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Convolution(ConvKind),
    Norm,
    HeadWeight,
    HeadBias,
}

/// A tensor by our name and by the family's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) canonical: String,
    pub(super) foreign: String,
    pub(super) role: Role,
}

impl Family {
    /// The names of every tensor of the network with these layers.
    pub(super) fn names(&self, layers: &[ConvLayer]) -> Vec<Named> {
        let mut names = Vec::with_capacity(5 * layers.len() + 2);
        for (index, layer) in layers.iter().enumerate() {
            let templates = match layer.kind {
                ConvKind::Spatial => self.stem,
                ConvKind::Depthwise => self.depthwise,
                ConvKind::Pointwise => self.pointwise,
            };
            let [weight, norm] = templates.map(|template| filled(template, index, &layer.name));
            names.push(Named {
                canonical: layer.weight.clone(),
                foreign: weight,
                role: Role::Convolution(layer.kind),
            });
            for (ours, theirs) in ["scale", "offset", "mean", "variance"].into_iter().zip(self.norm) {
                let canonical = format!("{}_bn_{ours}", layer.name);
                names.push(Named { canonical, foreign: format!("{norm}{theirs}"), role: Role::Norm });
            }
        }
        let [weight, bias] = self.head.map(str::to_owned);
        let ours = Kind::MobileNet.head().map(str::to_owned);
        let [head_weight, head_bias] = ours;
        names.push(Named { canonical: head_weight, foreign: weight, role: Role::HeadWeight });
        names.push(Named { canonical: head_bias, foreign: bias, role: Role::HeadBias });
        names
    }
}

/// A template with the numbers of the layer at `index`, 0 being the stem.
fn filled(template: &str, index: usize, layer: &str) -> String {
    let name = layer.rsplit_once('_').map_or(layer, |(block, _)| block);
    let layer = index.saturating_sub(1);
    let block = layer / 2;
    let (mut section, mut place) = (0, block);
    while SECTIONS.get(section).is_some_and(|&count| place >= count) {
        place -= SECTIONS[section];
        section += 1;
    }
    let mut text = template.replace("{name}", name);
    let numbers = [
        ("{block}", block + 1),
        ("{block0}", block),
        ("{section}", section),
        ("{place}", place),
        ("{layer}", layer),
    ];
    for (mark, number) in numbers {
        text = text.replace(mark, &number.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::FAMILIES;
    use super::*;
    use crate::{NetworkConfig, layers, parameters};
    use std::collections::BTreeSet;

    #[test]
    fn every_family_names_every_parameter_once() {
        let config = NetworkConfig::mobilenet(0.25, 3, 10);
        let canonical: BTreeSet<String> = parameters(&config).unwrap().into_iter().map(|p| p.name).collect();
        for family in &FAMILIES {
            let names = family.names(&layers(&config).unwrap());
            assert_eq!(names.iter().map(|named| named.canonical.clone()).collect::<BTreeSet<_>>(), canonical);
            let foreign: BTreeSet<&str> = names.iter().map(|named| named.foreign.as_str()).collect();
            assert_eq!(foreign.len(), 137, "{}", family.name);
            assert!(foreign.iter().all(|name| !name.contains('{')), "{}", family.name);
        }
        let own = FAMILIES[0].names(&layers(&config).unwrap());
        assert!(own.iter().all(|named| named.canonical == named.foreign));
    }

    #[test]
    fn blocks_are_numbered_as_each_family_does() {
        // The depthwise convolution of the tenth block, conv5_4.
        assert_eq!(
            filled("{name} {block} {block0} {section}.{place} {layer}", 19, "conv5_4_dw"),
            "conv5_4 10 9 3.4 18"
        );
        assert_eq!(filled("{section}.{place}", 26, "conv6_sep"), "4.1");
    }
}
