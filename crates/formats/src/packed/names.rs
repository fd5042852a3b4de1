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
/// The parts of a packed tensor.
pub(crate) const PARTS: [&str; 3] = [COMPRESSED, BITMASK, SHAPE];

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// As it is, under its own name.
    Plain,
    /// In three parts.
    Packed,
}

/// The tensors that a packed file with these names has.
///
/// # Errors
/// [`Error::BadPacked`] if a part is missing, or a tensor is there packed and unpacked.
pub(crate) fn stored<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<&'a str, Stored>> {
    let mut tensors = BTreeMap::new();
    let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in names {
        match split(name) {
            Some((tensor, part)) => parts.entry(tensor).or_default().push(part),
            None => {
                tensors.insert(name, Stored::Plain);
            }
        }
    }
    for (tensor, found) in parts {
        let missing = PARTS.into_iter().find(|part| !found.contains(part));
        let twice = tensors.insert(tensor, Stored::Packed).map(|_| Fault::Twice);
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
        match stored(Path::new("x"), names.iter().copied()) {
            Err(Error::BadPacked { tensor, fault, .. }) if tensor == "w" => *fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn three_parts_are_one_tensor() {
        let names = ["b", "w.bitmask", "w.compressed", "w.shape"];
        let expected = BTreeMap::from([("b", Stored::Plain), ("w", Stored::Packed)]);
        assert_eq!(stored(Path::new("x"), names.into_iter()).unwrap(), expected);
    }

    #[test]
    fn a_missing_part_and_a_tensor_that_is_there_twice_are_named() {
        assert_eq!(fault(&["w.bitmask", "w.shape"]), Fault::Missing { part: COMPRESSED });
        assert_eq!(fault(&["w", "w.shape", "w.compressed"]), Fault::Missing { part: BITMASK });
        assert_eq!(fault(&["w", "w.shape", "w.compressed", "w.bitmask"]), Fault::Twice);
    }
}
