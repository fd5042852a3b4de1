//! The labels of the validation images, from whichever file is there.

use super::devkit::CLASS_OF_ID;
use crate::source::names::shown;
use crate::source::{content, list};
use crate::{Error, Result, files};
use flate2::read::GzDecoder;
use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

const LIST: &str = "val_list.txt";
const SYNSETS: &str = "imagenet_2012_validation_synset_labels.txt";
const SOLUTION: &str = "LOC_val_solution.csv";
const GROUND_TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
const KIT: &str = "ILSVRC2012_devkit_t12.tar.gz";
/// Where such files lie below the folder of the data set.
const PLACES: [&str; 3] = ["", "data", "ILSVRC2012_devkit_t12/data"];
/// No file of labels has more bytes; the largest has 10 MB.
const LIMIT: u64 = 1 << 26;

/// The label of each validation image.
#[derive(Debug)]
pub(super) struct Truth {
    path: PathBuf,
    labels: Labels,
    classes: Vec<String>,
}

#[derive(Debug)]
enum Labels {
    /// By the number in the image's name, from 1.
    ByNumber(Vec<u32>),
    /// By the image's name without its extension.
    ByName(HashMap<String, u32>),
}

impl Truth {
    /// Reads the first file of labels found in or below `folder`; `known` are the classes of the training images.
    ///
    /// # Errors
    ///
    /// When there is none, or it does not fit those classes.
    pub(super) fn find(folder: &Path, known: Option<Vec<String>>) -> Result<Self> {
        let there =
            |name: &str| PLACES.iter().map(|place| folder.join(place).join(name)).find(|path| path.is_file());
        if let Some(path) = there(LIST) {
            return Self::from_list(path, known);
        }
        if let Some(path) = there(SYNSETS) {
            return Self::from_synsets(path, known);
        }
        if let Some(path) = there(SOLUTION) {
            return Self::from_solution(path, known);
        }
        if let Some(path) = there(GROUND_TRUTH) {
            let text = files::read(&path, "ground truth", LIMIT)?;
            return Self::from_ground_truth(path, &text, known);
        }
        if let Some(path) = there(KIT) {
            let text = ground_truth_in_kit(&path)?;
            return Self::from_ground_truth(path, &text, known);
        }
        let reason = format!(
            "no labels of the validation images are there: put one of {SYNSETS}, {SOLUTION}, {GROUND_TRUTH}, {KIT} \
             or {LIST} beside the tar file"
        );
        Err(content(folder, reason))
    }

    /// The label of an image by its name without folders.
    pub(super) fn label(&self, name: &str) -> Option<u32> {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        match &self.labels {
            Labels::ByName(labels) => labels.get(stem).copied(),
            Labels::ByNumber(labels) => {
                let digits = stem.rsplit(|letter: char| !letter.is_ascii_digit()).next()?;
                labels.get(digits.parse::<usize>().ok()?.checked_sub(1)?).copied()
            }
        }
    }

    /// The file the labels come from.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the classes, if they are known.
    pub(super) fn into_classes(self) -> Vec<String> {
        self.classes
    }

    fn from_list(path: PathBuf, known: Option<Vec<String>>) -> Result<Self> {
        let mut labels = HashMap::new();
        list::for_each_line(&path, "list of validation images", |list::Line { name, label, .. }| {
            let name = shown(name);
            let name = name.rsplit(['/', '\\']).next().unwrap_or(&name);
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            labels.insert(stem.to_owned(), label);
        })?;
        Ok(Self { path, labels: Labels::ByName(labels), classes: known.unwrap_or_default() })
    }

    fn from_synsets(path: PathBuf, known: Option<Vec<String>>) -> Result<Self> {
        let text = files::read(&path, "wnids of the validation images", LIMIT)?;
        let text = String::from_utf8_lossy(list::text_of(&path, &text)?);
        let wnids: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let classes = known.unwrap_or_else(|| distinct(wnids.iter().copied()));
        let labels = wnids.iter().map(|wnid| number_of(&classes, wnid, &path)).collect::<Result<_>>()?;
        Ok(Self { path, labels: Labels::ByNumber(labels), classes })
    }

    fn from_solution(path: PathBuf, known: Option<Vec<String>>) -> Result<Self> {
        let text = files::read(&path, "solution of the validation images", LIMIT)?;
        let text = String::from_utf8_lossy(list::text_of(&path, &text)?);
        let row = |line: &'_ str| -> Option<(String, String)> {
            let (name, boxes) = line.split_once(',')?;
            Some((name.trim().to_owned(), boxes.split_whitespace().next()?.to_owned()))
        };
        let rows: Vec<(String, String)> =
            text.lines().filter_map(row).filter(|(name, _)| name != "ImageId").collect();
        let classes = known.unwrap_or_else(|| distinct(rows.iter().map(|(_, wnid)| wnid.as_str())));
        let label = |(name, wnid): (String, String)| Ok((name, number_of(&classes, &wnid, &path)?));
        let labels = rows.into_iter().map(label).collect::<Result<_>>()?;
        Ok(Self { path, labels: Labels::ByName(labels), classes })
    }

    fn from_ground_truth(path: PathBuf, text: &[u8], known: Option<Vec<String>>) -> Result<Self> {
        if let Some(classes) = &known
            && classes.len() != CLASS_OF_ID.len()
        {
            let reason = format!(
                "its numbers mean the 1000 classes of ILSVRC2012, but the training images have {}; give the wnids of \
                 the validation images in {SYNSETS}",
                classes.len()
            );
            return Err(content(&path, reason));
        }
        let text = String::from_utf8_lossy(list::text_of(&path, text)?);
        let mut labels = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let id = line.parse::<usize>().ok().and_then(|id| CLASS_OF_ID.get(id.checked_sub(1)?));
            let Some(&class) = id else {
                let line: String = line.chars().take(50).collect();
                let reason = format!("line {}: `{line}` is not a number from 1 to 1000", labels.len() + 1);
                return Err(content(&path, reason));
            };
            labels.push(u32::from(class));
        }
        Ok(Self { path, labels: Labels::ByNumber(labels), classes: known.unwrap_or_default() })
    }
}

fn distinct<'a>(wnids: impl Iterator<Item = &'a str>) -> Vec<String> {
    wnids.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The number of a wnid among sorted classes.
fn number_of(classes: &[String], wnid: &str, path: &Path) -> Result<u32> {
    classes.binary_search_by(|class| class.as_str().cmp(wnid)).map(|number| number as u32).map_err(|_| {
        let wnid: String = wnid.chars().take(50).collect();
        content(path, format!("{wnid} is no class of the training images; take both from the same download"))
    })
}

/// The ground truth out of the development kit as downloaded.
fn ground_truth_in_kit(path: &Path) -> Result<Vec<u8>> {
    let damaged = |source| Error::Damaged { path: path.to_owned(), source };
    let (file, _) = files::open(path, "development kit")?;
    // The kit has 3 MB unpacked; the limit holds for all that is unpacked on the way.
    let mut kit = tar::Archive::new(GzDecoder::new(file).take(LIMIT));
    for entry in kit.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        if entry.path_bytes().ends_with(GROUND_TRUTH.as_bytes()) {
            let mut text = Vec::new();
            entry.take(LIMIT).read_to_end(&mut text).map_err(damaged)?;
            return Ok(text);
        }
    }
    Err(content(
        path,
        format!("it holds no {GROUND_TRUTH}; fetch the development kit of tasks 1 and 2 again"),
    ))
}
