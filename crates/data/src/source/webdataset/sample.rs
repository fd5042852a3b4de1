//! The members of one key, and which of them are an image with its label.

use super::super::extension;
use super::super::names::shown;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// A label, or why it is none.
pub(super) type Label = Result<u32, String>;

/// The members of one key, as the `webdataset` package groups them: those next to each other whose paths agree up to the
/// first dot of the file name.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) key: Vec<u8>,
    names: HashSet<Vec<u8>>,
    images: Vec<(Name, Image)>,
    labels: Vec<(Name, Label)>,
    /// Images that cannot be used, and why.
    unusable: Vec<(Name, String)>,
}

/// The name of a member.
#[derive(Debug)]
struct Name {
    whole: Vec<u8>,
    /// What stands between the key and the last extension: `05` in `22.05.jpg`, nothing in `22.jpg`.
    middle: Vec<u8>,
}

#[derive(Debug)]
struct Image {
    data: Range<u64>,
    /// Of several images with the same middle the one of lowest rank counts.
    rank: u8,
}

/// What came of a sample.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Name, bytes and label of each image.
    pub(super) pairs: Vec<(Vec<u8>, Range<u64>, u32)>,
    /// Members that should be an image with a label and are not, and why.
    pub(super) strays: Vec<(Vec<u8>, String)>,
    /// Further images of a sample that has its image, such as masks.
    pub(super) extras: Vec<Vec<u8>>,
}

impl Sample {
    pub(super) fn new(key: Vec<u8>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Notes the name of a member; false if it was there already, so that another sample begins.
    pub(super) fn note(&mut self, name: &[u8]) -> bool {
        self.names.insert(name.to_ascii_lowercase())
    }

    pub(super) fn add_image(&mut self, name: Vec<u8>, rank: u8, data: Range<u64>) {
        self.images.push((self.name(name), Image { data, rank }));
    }

    /// Adds a label; one in digits goes before one in a `.json` of the same name.
    pub(super) fn add_label(&mut self, name: Vec<u8>, value: Label) {
        self.labels.push((self.name(name), value));
    }

    pub(super) fn add_unusable(&mut self, name: Vec<u8>, reason: String) {
        self.unusable.push((self.name(name), reason));
    }

    fn name(&self, whole: Vec<u8>) -> Name {
        let end = whole.len().saturating_sub(extension::of(&whole).len() + 1);
        let middle = whole.get(self.key.len() + 1..end).unwrap_or_default().to_vec();
        Name { whole, middle }
    }

    /// Ends the sample. An image belongs to the label of the same name but for the extension. A single image and a single
    /// label without such a partner belong together, whatever stands between key and extension.
    pub(super) fn finish(self) -> Outcome {
        let Self { key, images, labels, unusable, .. } = self;
        let mut outcome = Outcome::default();
        let (mut labels, order) = by_middle(labels);
        let mut alone = Vec::new();
        for (name, image) in best(images, &mut outcome.extras) {
            match labels.remove(&name.middle) {
                Some((of, label)) => outcome.pair(name.whole, image.data, (of.whole, label)),
                None => alone.push((name, image)),
            }
        }
        for (name, _) in &unusable {
            labels.remove(&name.middle);
        }
        let mut left: Vec<(Name, Label)> = order.iter().filter_map(|middle| labels.remove(middle)).collect();
        if outcome.is_untouched() && unusable.is_empty() && alone.len() == 1 && left.len() == 1 {
            alone.drain(..).zip(left.drain(..)).for_each(|((name, image), (of, label))| {
                outcome.pair(name.whole, image.data, (of.whole, label));
            });
        }
        if outcome.is_untouched() && unusable.is_empty() && alone.len() > 1 && left.len() == 1 {
            left.clear();
            let reason =
                format!("sample {0} has several images, none of them {0}.jpg, and one label", shown(&key));
            outcome.strays.extend(alone.drain(..).map(|(name, _)| (name.whole, reason.clone())));
        }
        outcome.rest(alone, left, unusable, key.len());
        outcome
    }
}

impl Outcome {
    fn is_untouched(&self) -> bool {
        self.pairs.is_empty() && self.strays.is_empty()
    }

    fn pair(&mut self, name: Vec<u8>, data: Range<u64>, (of, label): (Vec<u8>, Label)) {
        match label {
            Ok(label) => self.pairs.push((name, data, label)),
            Err(reason) => self.strays.push((name, format!("its label {} {reason}", shown(&of)))),
        }
    }

    /// Sorts what has no partner: beside an image named by the key alone, further images are no loss.
    fn rest(
        &mut self,
        alone: Vec<(Name, Image)>,
        left: Vec<(Name, Label)>,
        unusable: Vec<(Name, String)>,
        key: usize,
    ) {
        let is_plain = |name: &[u8]| !name.get(key + 1..).unwrap_or_default().contains(&b'.');
        let complete = self.pairs.iter().any(|(name, ..)| is_plain(name));
        for (name, _) in alone {
            let stem = shown(&name.whole[..name.whole.len() - extension::of(&name.whole).len()]);
            let reason = format!(
                "it has no label: {stem}cls, or {stem}json with a number `label`, has to stand beside it in the archive \
                 (`tar --sort=name` puts them so)"
            );
            if complete { self.extras.push(name.whole) } else { self.strays.push((name.whole, reason)) }
        }
        for (name, reason) in unusable {
            if complete { self.extras.push(name.whole) } else { self.strays.push((name.whole, reason)) }
        }
        let reason = "it is a label without an image of the same name beside it in the archive";
        self.strays.extend(left.into_iter().map(|(name, _)| (name.whole, reason.to_owned())));
    }
}

type LabelsByMiddle = HashMap<Vec<u8>, (Name, Label)>;

/// One label for each middle, and the middles in order.
fn by_middle(labels: Vec<(Name, Label)>) -> (LabelsByMiddle, Vec<Vec<u8>>) {
    let mut order = Vec::new();
    let mut found = LabelsByMiddle::new();
    let is_class = |name: &Name| extension::of(&name.whole).eq_ignore_ascii_case(b"cls");
    for (name, label) in labels {
        match found.get(&name.middle) {
            Some((known, _)) if is_class(known) || !is_class(&name) => {}
            known => {
                if known.is_none() {
                    order.push(name.middle.clone());
                }
                found.insert(name.middle.clone(), (name, label));
            }
        }
    }
    (found, order)
}

/// The image of lowest rank for each middle, in order; the others are extras.
fn best(images: Vec<(Name, Image)>, extras: &mut Vec<Vec<u8>>) -> Vec<(Name, Image)> {
    let mut lowest: HashMap<Vec<u8>, (u8, usize)> = HashMap::new();
    for (position, (name, image)) in images.iter().enumerate() {
        let candidate = (image.rank, position);
        let known = lowest.entry(name.middle.clone()).or_insert(candidate);
        *known = candidate.min(*known);
    }
    let (mut kept, mut position) = (Vec::new(), 0);
    for (name, image) in images {
        match lowest.get(&name.middle) == Some(&(image.rank, position)) {
            true => kept.push((name, image)),
            false => extras.push(name.whole),
        }
        position += 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of members with the key `k`; images are numbered by their place, labels are 7.
    fn finish(names: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let mut sample = Sample::new(b"k".to_vec());
        for (place, name) in (0..).zip(names) {
            match extension::kind(extension::of(name.as_bytes())) {
                extension::Extension::Image(rank) => {
                    sample.add_image(name.as_bytes().to_vec(), rank, place..place + 1)
                }
                extension::Extension::Unread => {
                    sample.add_unusable(name.as_bytes().to_vec(), "unread".to_owned())
                }
                extension::Extension::Other => sample.add_label(name.as_bytes().to_vec(), Ok(7)),
            }
        }
        let Outcome { pairs, strays, extras } = sample.finish();
        let mut images = Vec::new();
        for (name, data, label) in pairs {
            assert_eq!((label, names[data.start as usize].as_bytes()), (7, name.as_slice()));
            images.push(shown(&name));
        }
        (
            images,
            strays.iter().map(|(name, _)| shown(name)).collect(),
            extras.iter().map(|name| shown(name)).collect(),
        )
    }

    #[track_caller]
    fn gives(names: &[&str], pairs: &[&str], strays: &[&str], extras: &[&str]) {
        let found = finish(names);
        assert_eq!((found.0, found.1, found.2), (text(pairs), text(strays), text(extras)), "{names:?}");
    }

    fn text(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn images_and_labels_of_the_same_name_belong_together() {
        gives(&["k.cls", "k.png"], &["k.png"], &[], &[]);
        gives(&["k.05.jpg", "k.05.cls", "k.06.cls", "k.06.jpg"], &["k.05.jpg", "k.06.jpg"], &[], &[]);
        gives(&["k.jpg", "k.cls", "k.05.jpg", "k.05.json"], &["k.jpg", "k.05.jpg"], &[], &[]);
        gives(
            &["k.05.jpg", "k.05.cls", "k.06.jpg", "k.07.cls"],
            &["k.05.jpg"],
            &["k.06.jpg", "k.07.cls"],
            &[],
        );
    }

    #[test]
    fn one_image_and_one_label_belong_together_whatever_they_are_called() {
        gives(&["k.image.jpg", "k.cls"], &["k.image.jpg"], &[], &[]);
        gives(&["k.jpg", "k.target.cls"], &["k.jpg"], &[], &[]);
        gives(&["k.left.jpg", "k.right.jpg", "k.cls"], &[], &["k.left.jpg", "k.right.jpg"], &[]);
    }

    #[test]
    fn further_images_of_a_sample_are_extras() {
        gives(&["k.seg.png", "k.jpg", "k.cls"], &["k.jpg"], &[], &["k.seg.png"]);
        gives(&["k.png", "k.jpg", "k.cls"], &["k.jpg"], &[], &["k.png"]);
        gives(&["k.jpg", "k.cls", "k.mask.webp"], &["k.jpg"], &[], &["k.mask.webp"]);
    }

    #[test]
    fn what_has_no_partner_is_a_stray() {
        gives(&["k.jpg"], &[], &["k.jpg"], &[]);
        gives(&["k.cls"], &[], &["k.cls"], &[]);
        gives(&["k.webp", "k.cls"], &[], &["k.webp"], &[]);
        gives(&["k.05.webp", "k.05.cls", "k.06.cls"], &[], &["k.05.webp", "k.06.cls"], &[]);
    }

    #[test]
    fn a_label_in_digits_goes_before_one_in_json() {
        let mut sample = Sample::new(b"k".to_vec());
        sample.add_label(b"k.json".to_vec(), Ok(1));
        sample.add_image(b"k.jpg".to_vec(), 0, 0..1);
        sample.add_label(b"k.cls".to_vec(), Ok(2));
        sample.add_label(b"k.JSON".to_vec(), Ok(3));
        assert_eq!(sample.finish().pairs, [(b"k.jpg".to_vec(), 0..1, 2)]);
        let mut sample = Sample::new(b"k".to_vec());
        sample.add_image(b"k.jpg".to_vec(), 0, 0..1);
        sample.add_label(b"k.cls".to_vec(), Err("holds `cat`".to_owned()));
        let reason = "its label k.cls holds `cat`".to_owned();
        assert_eq!(sample.finish().strays, [(b"k.jpg".to_vec(), reason)]);
    }
}
