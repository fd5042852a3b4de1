//! Which names of a packed file are parts of a tensor, and of which.

use std::collections::BTreeMap;
use std::path::Path;

use super::Fault;
use crate::{Error, Result};

/// Ends the name of the numbers that are not zero.
pub(super) const COMPRESSED: &str = ".compressed";
/// Ends the name of the bits.
pub(super) const BITMASK: &str = ".bitmask";
/// Ends the name of the lengths of the axes.
pub(super) const SHAPE: &str = ".shape";
/// Ends the name of the multiples of scales.
pub(super) const MULTIPLES: &str = ".multiples";
/// Ends the name of the scales.
pub(super) const SCALES: &str = ".scales";
/// Ends the name of the bits of blocks.
pub(super) const BLOCKMASK: &str = ".blockmask";
/// The parts of packed tensors.
pub(crate) const PARTS: [&str; 6] = [COMPRESSED, BITMASK, SHAPE, MULTIPLES, SCALES, BLOCKMASK];
/// The parts of a packed tensor of floating-point numbers.
pub(super) const PARTS_OF_FLOATS: [&str; 3] = [COMPRESSED, BITMASK, SHAPE];
/// The parts that every tensor of 8 bits has.
const PARTS_OF_INT8: [&str; 3] = [MULTIPLES, SCALES, SHAPE];

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// As it is, under its own name.
    Plain,
    /// In three parts.
    Packed,
    /// As multiples of scales.
    Int8,
}

/// Which parts a file may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Of floating-point numbers.
    Floats,
    /// Those, and of 8 bits.
    Int8,
}

/// The tensors that a packed file with these names has.
///
/// # Errors
/// [`Error::BadPacked`] if a part is missing, or a tensor is there packed and unpacked.
pub(crate) fn stored<'a>(
    path: &Path,
    layout: Layout,
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<&'a str, Stored>> {
    let mut tensors = BTreeMap::new();
    let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in names {
        match split(name).filter(|(_, part)| layout == Layout::Int8 || PARTS_OF_FLOATS.contains(part)) {
            Some((tensor, part)) => parts.entry(tensor).or_default().push(part),
            None => {
                tensors.insert(name, Stored::Plain);
            }
        }
    }
    for (tensor, found) in parts {
        let is_int8 = found.iter().any(|part| [MULTIPLES, SCALES, BLOCKMASK].contains(part));
        let (stored, wanted) = match is_int8 {
            true => (Stored::Int8, PARTS_OF_INT8),
            false => (Stored::Packed, PARTS_OF_FLOATS),
        };
        let missing = wanted.into_iter().find(|part| !found.contains(part));
        let both = is_int8 && found.contains(&COMPRESSED);
        let twice = (tensors.insert(tensor, stored).is_some() || both).then_some(Fault::Twice);
        if let Some(fault) = missing.map(|part| Fault::Missing { part }).or(twice) {
            return Err(Error::BadPacked {
                path: path.to_owned(),
                tensor: tensor.to_owned(),
                fault: fault.into(),
            });
        }
    }
    Ok(tensors)
}

/// The tensor that a name is a part of, and which part.
pub(super) fn split(name: &str) -> Option<(&str, &'static str)> {
    PARTS.into_iter().find_map(|part| Some((name.strip_suffix(part)?, part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(names: &[&str]) -> Fault {
        match stored(Path::new("x"), Layout::Int8, names.iter().copied()) {
            Err(Error::BadPacked { tensor, fault, .. }) if tensor == "w" => *fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn three_parts_are_one_tensor() {
        let names = ["b", "w.bitmask", "w.compressed", "w.shape"];
        let expected = BTreeMap::from([("b", Stored::Plain), ("w", Stored::Packed)]);
        for layout in [Layout::Floats, Layout::Int8] {
            assert_eq!(stored(Path::new("x"), layout, names.into_iter()).unwrap(), expected);
        }
        let names = ["w.multiples", "w.scales", "w.shape"];
        let stored = |layout| stored(Path::new("x"), layout, names.into_iter());
        assert_eq!(stored(Layout::Int8).unwrap(), BTreeMap::from([("w", Stored::Int8)]));
        // Without the parts of 8 bits these are tensors of their own.
        assert!(stored(Layout::Floats).is_err());
    }

    #[test]
    fn a_missing_part_and_a_tensor_that_is_there_twice_are_named() {
        assert_eq!(fault(&["w.bitmask", "w.shape"]), Fault::Missing { part: COMPRESSED });
        assert_eq!(fault(&["w.multiples", "w.shape"]), Fault::Missing { part: SCALES });
        let both = ["w.multiples", "w.shape", "w.scales", "w.compressed", "w.bitmask"];
        assert_eq!(fault(&both), Fault::Twice);
        assert_eq!(fault(&["w", "w.shape", "w.compressed"]), Fault::Missing { part: BITMASK });
        assert_eq!(fault(&["w", "w.shape", "w.compressed", "w.bitmask"]), Fault::Twice);
    }
}
