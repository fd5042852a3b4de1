//! How other programs call the tensors of our networks, and how they lay them out.
//!
//! [`FAMILIES`] is a table with a line per program. [`search()`] finds the dictionary whose tensors have such names, whatever
//! stands before them, reads width, channels and classes from the shapes, and says for each of our parameters which tensor
//! it comes from and in which order of axes.

mod families;
mod layout;
mod own;
mod recognise;
mod search;
mod template;

pub use families::{Background, FAMILIES, Family, Input};
pub use layout::arranged;
pub use recognise::{Facts, Recognised, Shapes, Source};
pub use search::{Found, Table, search};

/// What the tests of the modules share.
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::layout::HeadLayout;
    use super::template::{Named, Role};
    use super::{Facts, Family, Recognised, Shapes, Table, search};
    use crate::{NetworkConfig, Result, layers, parameters};

    /// The tensors of a network under the names and in the layouts of a family.
    pub(super) fn tensors(family: &Family, network: &NetworkConfig) -> BTreeMap<String, Vec<usize>> {
        let shapes: BTreeMap<String, Vec<usize>> =
            parameters(network).unwrap().into_iter().map(|p| (p.name, p.shape)).collect();
        let place = |named: Named| {
            let ours = &shapes[&named.canonical];
            let mut theirs = ours.clone();
            if let Role::Convolution(kind) = named.role {
                for (axis, &place) in family.layout.axes(kind).iter().enumerate() {
                    theirs[place] = ours[axis];
                }
            }
            if named.role == Role::HeadWeight {
                theirs = match family.head_layout {
                    HeadLayout::InOut => ours.clone(),
                    HeadLayout::OutIn => vec![ours[1], ours[0]],
                };
            }
            (named.foreign, theirs)
        };
        family.names(&layers(network).unwrap()).into_iter().map(place).collect()
    }

    pub(super) fn shapes(tensors: &BTreeMap<String, Vec<usize>>) -> Shapes<'_> {
        let numbered = tensors.iter().zip(0..);
        numbered
            .map(|((name, shape), identity)| (name.as_str(), Facts { shape, identity, refused: None }))
            .collect()
    }

    /// The only dictionary there is.
    pub(super) fn recognise(shapes: &Shapes<'_>) -> Result<Recognised> {
        search(&[Table { key: "", tensors: shapes.clone() }], None).map(|found| found.recognised)
    }
}
