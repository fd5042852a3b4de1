//! Some classes of a source.

use super::{Source, Strays};
use crate::fingerprint::{Fingerprint, Sum};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::io;

/// The images of a source whose label is kept, renumbered: label `classes[i]` becomes `i`.
///
/// The order is that of the source. Memory: 4 bytes for each image that is kept.
pub struct Selected {
    source: Box<dyn Source>,
    kept: Vec<u32>,
    new_label: BTreeMap<u32, u32>,
    class_names: Vec<String>,
}

impl Selected {
    /// Keeps the images of these classes.
    ///
    /// # Errors
    ///
    /// When a class is given twice or has no image, or the source has more than 2^32 images.
    pub fn new(source: Box<dyn Source>, classes: &[u32]) -> Result<Self> {
        let fault = |reason| Error::Setting { setting: "data.classes", reason };
        let new_label: BTreeMap<u32, u32> = classes.iter().copied().zip(0..).collect();
        if new_label.len() != classes.len() {
            return Err(fault(format!("{classes:?} names a label twice; give each once")));
        }
        let len = u32::try_from(source.len()).map_err(|_| fault("there are too many images".to_owned()))?;
        let mut images = vec![0usize; classes.len()];
        let mut kept = Vec::new();
        for index in 0..len {
            if let Some(&label) = new_label.get(&source.label(index as usize)) {
                images[label as usize] += 1;
                kept.push(index);
            }
        }
        if let Some(empty) = images.iter().position(|&images| images == 0) {
            let label = classes[empty];
            return Err(fault(format!("no image has label {label}; give labels of the data set")));
        }
        let names = source.class_names();
        let class_names = classes.iter().filter_map(|&label| names.get(label as usize).cloned()).collect();
        Ok(Self { source, kept, new_label, class_names })
    }

    fn at(&self, index: usize) -> usize {
        self.kept[index] as usize
    }
}

impl Source for Selected {
    fn len(&self) -> usize {
        self.kept.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.new_label[&self.source.label(self.at(index))]
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.source.read(self.at(index), bytes)
    }

    fn place(&self, index: usize) -> String {
        self.source.place(self.at(index))
    }

    fn label_place(&self, index: usize) -> String {
        self.source.label_place(self.at(index))
    }

    /// That of the whole source with the labels that are kept: a change of other images counts as one, too.
    fn fingerprint(&self) -> Fingerprint {
        let Fingerprint { names, contents, .. } = self.source.fingerprint();
        let mut sum = Sum::default();
        sum.labels(&[names]);
        self.new_label.iter().for_each(|(&old, &new)| sum.labels(&[old, new]));
        Fingerprint { images: self.len(), names: sum.value(), contents }
    }

    fn strays(&self) -> &Strays {
        self.source.strays()
    }

    fn remarks(&self) -> &[String] {
        self.source.remarks()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}
