//! What memory is needed for, held against what there is.

use super::available::{Available, available};
use crate::error::{Error, Result};

/// What memory goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Weights with all that has their size: gradients, momentum, sums at work.
    Weights,
    /// Activations of a batch.
    Activations,
    /// Batches that are loaded ahead.
    Loaded,
    /// Images that weights are chosen by.
    Images,
    /// A teacher with its activations.
    Teacher,
}

/// Bytes by part. An estimate: what is allocated depends on the order of things as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need(Vec<(Part, u64)>);

impl Need {
    pub(crate) fn add(&mut self, part: Part, bytes: u64) {
        self.0.push((part, bytes));
    }

    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Refuses what cannot fit by the tightest limit there is; `says` tells what a part is and which setting makes it
    /// smaller.
    ///
    /// # Errors
    /// [`Error::NotEnoughMemory`].
    pub(crate) fn check(&self, says: impl Fn(Part) -> String) -> Result<()> {
        self.check_against(available(), says)
    }

    fn check_against(&self, available: Option<Available>, says: impl Fn(Part) -> String) -> Result<()> {
        let Some(Available { bytes, limit }) = available else { return Ok(()) };
        let needed = self.bytes();
        // What a part takes may be less than estimated: nothing that fits is refused.
        if needed / 4 * 3 <= bytes {
            return Ok(());
        }
        // Of equals, as sums beyond all numbers are, the first.
        let Some(&(part, most)) = self.0.iter().rev().max_by_key(|(_, bytes)| *bytes) else { return Ok(()) };
        Err(Error::NotEnoughMemory {
            needed: readable(needed),
            available: readable(bytes),
            limit,
            most: readable(most),
            says: says(part),
        })
    }
}

/// Bytes in a unit that people read.
fn readable(bytes: u64) -> String {
    let units = ["MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut number, mut unit) = (bytes as f64 / 1_048_576.0, 0);
    while number >= 1024.0 && unit + 1 < units.len() {
        (number, unit) = (number / 1024.0, unit + 1);
    }
    if number < 10.0 {
        format!("{number:.1} {}", units[unit])
    } else {
        format!("{number:.0} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_refused_with_the_largest_part() {
        let mut need = Need::default();
        need.add(Part::Loaded, 10 << 20);
        need.add(Part::Weights, 90 << 20);
        let check = |mebibytes: u64| {
            let available = Available { bytes: mebibytes << 20, limit: "the machine" };
            need.check_against(Some(available), |part| format!("{part:?}"))
        };
        assert!(check(75).is_ok() && need.check_against(None, |_| String::new()).is_ok());
        let message = check(74).unwrap_err().to_string();
        for part in ["about 100 MiB", "the machine has 74 MiB", "90 MiB of it", "Weights"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn sums_beyond_all_numbers_stay_the_largest() {
        let mut need = Need::default();
        need.add(Part::Weights, u64::MAX);
        need.add(Part::Loaded, u64::MAX);
        assert_eq!(need.bytes(), u64::MAX);
        assert_eq!(readable(u64::MAX), "16 EiB");
        assert_eq!(readable(1536 << 20), "1.5 GiB");
    }
}
