//! What tells one set of images from another without reading the images.

use flate2::Crc;
use serde::{Deserialize, Serialize};

/// A short description of the images of a data set, to find out whether they are still the same.
///
/// It is a function of the images alone, in their order: not of the folder they lie in, of dates, or of threads. Images
/// that are added, removed, renamed, put in another order, given another label or another size change it. What is not
/// noticed is a file or archive member that was overwritten by one of the same length; images in memory (MNIST, CIFAR-10)
/// are compared by their pixels.
///
/// ```
/// use sparse_data::{Dataset, InMemory, Normalise};
///
/// let data = |tone| InMemory::new(vec![tone; 12], vec![0], [3, 2, 2], 1, &Normalise::default());
/// assert_eq!(data(5)?.fingerprint(), data(5)?.fingerprint());
/// assert_ne!(data(5)?.fingerprint(), data(6)?.fingerprint());
/// assert_eq!(data(5)?.fingerprint().images, 1);
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Number of images.
    pub images: usize,
    /// CRC-32 of their names and labels, in their order.
    pub names: u32,
    /// CRC-32 of their sizes, in their order; of their pixels where they are kept in memory.
    pub contents: u32,
}

impl Fingerprint {
    /// That of a data set of which only the number of images is known.
    pub fn of_count(images: usize) -> Self {
        Self { images, names: 0, contents: 0 }
    }

    /// What differs from another one, in words; none if they are equal.
    pub fn difference(&self, now: &Self) -> Option<String> {
        if self.images != now.images {
            return Some(format!("there were {} images and are {}", self.images, now.images));
        }
        match (self.names != now.names, self.contents != now.contents) {
            (false, false) => None,
            (true, false) => Some("the names, the order or the labels of the images changed".to_owned()),
            (false, true) => Some("the sizes or the contents of images changed".to_owned()),
            (true, true) => Some("the names and the sizes of images changed".to_owned()),
        }
    }
}

/// Adds up names and numbers.
#[derive(Debug, Default)]
pub(crate) struct Sum(Crc);

impl Sum {
    /// A text with its end, so that moving a letter from one to the next changes the sum.
    pub(crate) fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.update(text);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn labels(&mut self, labels: &[u32]) {
        for &label in labels {
            self.0.update(&label.to_le_bytes());
        }
    }

    pub(crate) fn value(&self) -> u32 {
        self.0.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_in_words() {
        let one = Fingerprint { images: 3, names: 1, contents: 2 };
        assert_eq!(one.difference(&one), None);
        let fewer = Fingerprint { images: 2, ..one };
        assert_eq!(one.difference(&fewer).unwrap(), "there were 3 images and are 2");
        let renamed = Fingerprint { names: 7, ..one };
        assert!(one.difference(&renamed).unwrap().contains("names"));
        let changed = Fingerprint { contents: 7, ..one };
        assert!(one.difference(&changed).unwrap().contains("contents"));
        assert!(one.difference(&Fingerprint { names: 0, contents: 0, ..one }).unwrap().contains("names and"));
    }

    #[test]
    fn letters_do_not_move_between_texts() {
        let sum = |texts: [&str; 2]| {
            let mut sum = Sum::default();
            texts.iter().for_each(|text| sum.text(text.as_bytes()));
            sum.value()
        };
        assert_ne!(sum(["ab", "c"]), sum(["a", "bc"]));
        assert_eq!(sum(["ab", "c"]), sum(["ab", "c"]));
    }
}
