//! Section `data`: which images, where they lie and how they are normalised.

use std::{num::NonZero, path::PathBuf, thread};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    keys::SectionKeys,
    validate::{Problem, require},
};

/// The data sets there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataKind {
    /// MNIST or Fashion-MNIST: 28×28 grey images in IDX files, 10 classes.
    Mnist,
    /// CIFAR-10, binary version: 32×32 colour images, 10 classes.
    Cifar10,
    /// JPEG and PNG files in any of the layouts of [`DataFormat`], 1000 classes.
    Imagenet,
}

impl DataKind {
    /// All data sets.
    pub const ALL: [DataKind; 3] = [DataKind::Mnist, DataKind::Cifar10, DataKind::Imagenet];

    /// The name, as in `data.data`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DataKind::Mnist => "mnist",
            DataKind::Cifar10 => "cifar10",
            DataKind::Imagenet => "imagenet",
        }
    }

    /// Channels of an image: 1 or 3.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            DataKind::Mnist => 1,
            DataKind::Cifar10 | DataKind::Imagenet => 3,
        }
    }

    /// Classes the data set has by default.
    #[must_use]
    pub fn classes(self) -> usize {
        match self {
            DataKind::Mnist | DataKind::Cifar10 => 10,
            DataKind::Imagenet => 1000,
        }
    }

    /// Height and width of an image in pixels, unless `image_size` says otherwise.
    #[must_use]
    pub fn image_size(self) -> usize {
        match self {
            DataKind::Mnist => 28,
            DataKind::Cifar10 => 32,
            DataKind::Imagenet => 224,
        }
    }
}

/// How the encoded images of `imagenet` lie in their folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    /// The layout that the folder holds.
    Auto,
    /// `train_list.txt` and `val_list.txt`, lines `PATH LABEL`.
    List,
    /// `train/CLASS/` and `val/CLASS/`.
    Folders,
    /// `ILSVRC2012_img_train.tar` and `ILSVRC2012_img_val.tar`.
    Ilsvrc,
    /// WebDataset shards, `*.tar`.
    Webdataset,
    /// Shards as on the Hugging Face hub, `*.parquet`.
    Parquet,
}

/// What to do with images that cannot be read or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadImagePolicy {
    /// Stop at the first one.
    Error,
    /// Train on the next good image in its place, leave it out of tests, and list it in `bad_images.txt`.
    Skip,
}

/// The filters of a resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterpolationKind {
    /// A sinc of three lobes, as in PaddleSlim.
    #[default]
    Lanczos,
    /// A cubic, as in timm.
    Bicubic,
    /// A triangle, as in torchvision.
    Bilinear,
}

/// Where decoded training images are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CacheSetting {
    /// Not at all, or in `train.cache` in the folder of the data.
    On(bool),
    /// In a file.
    File(PathBuf),
}

impl Default for CacheSetting {
    fn default() -> Self {
        Self::On(false)
    }
}

/// Section `data`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// The data set.
    pub data: DataKind,
    /// Its folder; relative to the working directory.
    pub path: PathBuf,
    /// Subtracted from each pixel; one number, or one per channel. In 0..255 for MNIST and CIFAR-10, in 0..1 for
    /// ImageNet.
    #[serde(deserialize_with = "one_or_more")]
    pub mean: Vec<f64>,
    /// Divides each pixel after the subtraction; above 0, in the unit of `mean`.
    #[serde(deserialize_with = "one_or_more")]
    pub std: Vec<f64>,
    /// Height and width of the network's input in pixels; free for ImageNet only.
    pub image_size: usize,
    /// Short side, in pixels, to which an image is resized before its centre is cut out for a test; 0: not resized.
    /// `None`: `image_size` / 0.875. For ImageNet only, as are the settings down to `cache`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<usize>,
    /// Side of the crop, which is the network's input; `None`: `image_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<usize>,
    /// Filter of each resize.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interpolation: InterpolationKind,
    /// Random crops and flips while training.
    pub augment: bool,
    /// How the files lie in the folder. ImageNet only.
    pub format: DataFormat,
    /// The shards with training images, below the folder, with `*`, `?`, `{000..146}` and `{a,b}`; `None`: found by
    /// their names. ImageNet only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_files: Option<String>,
    /// The same for the test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_files: Option<String>,
    /// What to do with images that cannot be used.
    pub bad_images: BadImagePolicy,
    /// The share of the images of a split that may be bad before the run stops, a fraction in [0, 1].
    pub bad_images_limit: f64,
    /// Labels to keep, as the data set numbers them: images of other classes are left out, and label `classes[i]`
    /// becomes `i`. `None`: all, as they are. ImageNet only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<u32>>,
    /// Least share of the image's area that a training crop covers, above 0, at most 1.
    #[serde(default = "least_area", skip_serializing_if = "is_least_area")]
    pub crop_area: f64,
    /// Random brightness, contrast and saturation while training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub color_jitter: bool,
    /// Random turns by up to 10 degrees while training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rotate: bool,
    /// Strength, 1 to 10, of two random colour operations while training; 0: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rand_augment: u32,
    /// Whether and where training images are kept decoded, with a short side of 256 pixels.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cache: CacheSetting,
    /// Loader threads; `None`: as many as there are cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_workers: Option<usize>,
}

pub(super) const KEYS: SectionKeys = &[
    ("data", "\"mnist\", \"cifar10\" or \"imagenet\""),
    ("path", "a folder"),
    ("mean", "a list of finite numbers, one or one per channel, such as [127.5]"),
    ("std", "a list of numbers above 0, one or one per channel, such as [127.5]"),
    ("image_size", "a whole number of pixels, 16 or more"),
    ("resize", "a whole number of pixels, at least image_size, or 0 for none"),
    ("crop", "a whole number of pixels, 16 or more"),
    ("interpolation", "\"lanczos\", \"bicubic\" or \"bilinear\""),
    ("augment", "true or false"),
    ("format", "\"auto\", \"list\", \"folders\", \"ilsvrc\", \"webdataset\" or \"parquet\""),
    ("train_files", "a file name below data.path, such as train-{000..146}.tar or *train*.parquet"),
    ("val_files", "a file name below data.path, such as val-{00..06}.tar or *val*.parquet"),
    ("bad_images", "\"error\" or \"skip\""),
    ("bad_images_limit", "a fraction of the images, from 0 to 1"),
    ("classes", "a list of different labels, 0 or more each, such as [0, 217, 482]"),
    ("crop_area", "a fraction above 0, at most 1"),
    ("color_jitter", "true or false"),
    ("rotate", "true or false"),
    ("rand_augment", "a whole number from 0 (none) to 10"),
    ("cache", "true, false or a file"),
    ("num_workers", "a whole number, 0 or more"),
];

impl DataSection {
    /// The defaults for one data set.
    #[must_use]
    pub fn defaults(data: DataKind) -> Self {
        let (path, mean, std) = match data {
            DataKind::Mnist => ("data/mnist", vec![127.5], vec![127.5]),
            DataKind::Cifar10 => ("data/cifar-10-batches-bin", vec![127.5], vec![127.5]),
            DataKind::Imagenet => ("data/ILSVRC2012", vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
        };
        Self {
            data,
            path: path.into(),
            mean,
            std,
            image_size: data.image_size(),
            resize: None,
            crop: None,
            interpolation: InterpolationKind::Lanczos,
            augment: data == DataKind::Imagenet,
            format: DataFormat::Auto,
            train_files: None,
            val_files: None,
            bad_images: BadImagePolicy::Skip,
            bad_images_limit: 0.01,
            classes: None,
            crop_area: least_area(),
            color_jitter: false,
            rotate: false,
            rand_augment: 0,
            cache: CacheSetting::default(),
            num_workers: None,
        }
    }

    /// Loader threads to start, 1 or more.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        self.num_workers.map_or_else(core_count, |workers| workers.max(1))
    }

    /// Height and width of the network's input in pixels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.crop.unwrap_or(self.image_size)
    }

    /// The file of decoded training images, if they are kept.
    #[must_use]
    pub fn cache_file(&self) -> Option<PathBuf> {
        match &self.cache {
            CacheSetting::On(false) => None,
            CacheSetting::On(true) => Some(self.path.join("train.cache")),
            CacheSetting::File(file) => Some(file.clone()),
        }
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        let channels = self.data.channels();
        let fits = |list: &[f64]| list.len() == 1 || list.len() == channels;
        let per_channel =
            || format!("must have one number, or one per channel ({channels} for {})", self.data.name());
        require(!self.path.as_os_str().is_empty(), "data.path")?;
        require(self.mean.iter().all(|mean| mean.is_finite()), "data.mean")?;
        require(self.std.iter().all(|std| std.is_finite() && *std > 0.0), "data.std")?;
        if !fits(&self.mean) {
            return Err(Problem::new("data.mean", per_channel()));
        }
        if !fits(&self.std) {
            return Err(Problem::new("data.std", per_channel()));
        }
        require(self.image_size >= 16, "data.image_size")?;
        require((0.0..=1.0).contains(&self.bad_images_limit), "data.bad_images_limit")?;
        let named = |files: &Option<String>| files.as_ref().is_none_or(|files| !files.is_empty());
        require(named(&self.train_files), "data.train_files")?;
        require(named(&self.val_files), "data.val_files")?;
        self.check_imagenet_only()?;
        self.check_classes()?;
        let own_size = self.data.image_size();
        if self.data != DataKind::Imagenet && self.image_size != own_size {
            let rule = format!("{} images are {own_size} pixels: leave image_size out", self.data.name());
            return Err(Problem::new("data.image_size", rule));
        }
        self.check_transform()
    }

    /// The settings of how image files are seen.
    fn check_transform(&self) -> Result<(), Problem> {
        require(self.crop.is_none_or(|crop| crop >= 16), "data.crop")?;
        require(self.resize.is_none_or(|resize| resize == 0 || resize >= self.side()), "data.resize")?;
        require(self.crop_area > 0.0 && self.crop_area <= 1.0, "data.crop_area")?;
        require(self.rand_augment <= 10, "data.rand_augment")?;
        let own = |given, key| {
            let rule = format!("is for imagenet only, and the data are {}: leave it out", self.data.name());
            if given && self.data != DataKind::Imagenet { Err(Problem::new(key, rule)) } else { Ok(()) }
        };
        own(self.crop.is_some(), "data.crop")?;
        own(self.resize.is_some(), "data.resize")?;
        own(self.interpolation != InterpolationKind::default(), "data.interpolation")?;
        own(!is_least_area(&self.crop_area), "data.crop_area")?;
        own(self.color_jitter, "data.color_jitter")?;
        own(self.rotate, "data.rotate")?;
        own(self.rand_augment > 0, "data.rand_augment")?;
        own(self.cache != CacheSetting::default(), "data.cache")
    }

    /// MNIST and CIFAR-10 have one layout and all their classes.
    fn check_imagenet_only(&self) -> Result<(), Problem> {
        let given = [
            ("data.format", self.format != DataFormat::Auto),
            ("data.train_files", self.train_files.is_some()),
            ("data.val_files", self.val_files.is_some()),
            ("data.classes", self.classes.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((key, _)) if self.data != DataKind::Imagenet => {
                Err(Problem::new(key, format!("is for imagenet: leave it out for {}", self.data.name())))
            }
            _ => Ok(()),
        }
    }

    fn check_classes(&self) -> Result<(), Problem> {
        let Some(classes) = &self.classes else { return Ok(()) };
        require(!classes.is_empty() && all_differ(classes), "data.classes")
    }
}

/// The original's share.
fn least_area() -> f64 {
    0.08
}

fn is_least_area(area: &f64) -> bool {
    *area == least_area()
}

/// Whether no label comes twice.
fn all_differ(labels: &[u32]) -> bool {
    let different: std::collections::BTreeSet<&u32> = labels.iter().collect();
    different.len() == labels.len()
}

/// The number of cores this process may use.
pub(super) fn core_count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(f64),
        More(Vec<f64>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(number) => vec![number],
        OneOrMore::More(numbers) => numbers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(data: DataKind, change: impl Fn(&mut DataSection)) -> (String, String) {
        let mut section = DataSection::defaults(data);
        change(&mut section);
        let problem = section.check().unwrap_err();
        (problem.key.to_owned(), problem.rule)
    }

    #[test]
    fn the_defaults_of_every_data_set_pass() {
        for data in DataKind::ALL {
            assert!(DataSection::defaults(data).check().is_ok());
        }
    }

    #[test]
    fn normalisation_needs_one_number_or_one_per_channel() {
        let (key, text) = rule(DataKind::Mnist, |section| section.mean = vec![0.1; 3]);
        assert_eq!(
            (key.as_str(), text.as_str()),
            ("data.mean", "must have one number, or one per channel (1 for mnist)")
        );
        let (key, _) = rule(DataKind::Cifar10, |section| section.std = vec![0.1; 2]);
        assert_eq!(key, "data.std");
        let (key, _) = rule(DataKind::Imagenet, |section| section.mean = vec![]);
        assert_eq!(key, "data.mean");
        let mut section = DataSection::defaults(DataKind::Imagenet);
        section.mean = vec![0.5];
        assert!(section.check().is_ok());
    }

    #[test]
    fn mean_is_finite_and_std_above_zero() {
        assert_eq!(rule(DataKind::Mnist, |section| section.mean = vec![f64::NAN]).0, "data.mean");
        for std in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(rule(DataKind::Mnist, |section| section.std = vec![std]).0, "data.std");
        }
    }

    #[test]
    fn image_size_is_at_least_16_and_free_for_imagenet_only() {
        assert_eq!(rule(DataKind::Imagenet, |section| section.image_size = 15).0, "data.image_size");
        let (_, text) = rule(DataKind::Mnist, |section| section.image_size = 32);
        assert_eq!(text, "mnist images are 28 pixels: leave image_size out");
        let mut section = DataSection::defaults(DataKind::Imagenet);
        section.image_size = 16;
        assert!(section.check().is_ok());
    }

    #[test]
    fn kept_classes_differ_and_are_of_imagenet() {
        for classes in [vec![], vec![3, 1, 3]] {
            let chosen = Some(classes);
            let change = |section: &mut DataSection| section.classes = chosen.clone();
            assert_eq!(rule(DataKind::Imagenet, change).0, "data.classes");
        }
        let (_, text) = rule(DataKind::Mnist, |section| section.classes = Some(vec![1]));
        assert!(text.contains("leave it out for mnist"), "{text}");
        let mut section = DataSection::defaults(DataKind::Imagenet);
        section.classes = Some(vec![701, 0]);
        assert!(section.check().is_ok());
    }

    #[test]
    fn layouts_are_of_imagenet_and_the_share_of_bad_images_is_a_fraction() {
        assert_eq!(rule(DataKind::Mnist, |section| section.format = DataFormat::List).0, "data.format");
        let tars = || Some("*.tar".to_owned());
        assert_eq!(rule(DataKind::Cifar10, |section| section.val_files = tars()).0, "data.val_files");
        let (key, _) = rule(DataKind::Imagenet, |section| section.train_files = Some(String::new()));
        assert_eq!(key, "data.train_files");
        for limit in [-0.1, 1.5, f64::NAN] {
            let change = |section: &mut DataSection| section.bad_images_limit = limit;
            assert_eq!(rule(DataKind::Imagenet, change).0, "data.bad_images_limit");
        }
    }

    #[test]
    fn how_images_are_seen_is_checked_and_for_imagenet_only() {
        type Change = fn(&mut DataSection);
        let changes: [(Change, &str); 8] = [
            (|section| section.crop = Some(32), "data.crop"),
            (|section| section.resize = Some(32), "data.resize"),
            (|section| section.interpolation = InterpolationKind::Bicubic, "data.interpolation"),
            (|section| section.crop_area = 0.5, "data.crop_area"),
            (|section| section.color_jitter = true, "data.color_jitter"),
            (|section| section.rotate = true, "data.rotate"),
            (|section| section.rand_augment = 9, "data.rand_augment"),
            (|section| section.cache = CacheSetting::On(true), "data.cache"),
        ];
        for (change, expected) in changes {
            let (key, text) = rule(DataKind::Mnist, change);
            assert_eq!(key, expected);
            assert!(text.contains("imagenet only"), "{text}");
        }
        assert_eq!(rule(DataKind::Imagenet, |section| section.crop = Some(15)).0, "data.crop");
        assert_eq!(rule(DataKind::Imagenet, |section| section.crop_area = f64::NAN).0, "data.crop_area");
        assert_eq!(rule(DataKind::Imagenet, |section| section.resize = Some(223)).0, "data.resize");
        assert_eq!(rule(DataKind::Imagenet, |section| section.rand_augment = 11).0, "data.rand_augment");
        let mut section = DataSection::defaults(DataKind::Imagenet);
        (section.crop, section.resize, section.rotate) = (Some(192), Some(0), true);
        assert!(section.check().is_ok());
        assert_eq!(section.side(), 192);
        assert_eq!(section.cache_file(), None);
        section.cache = CacheSetting::On(true);
        assert_eq!(section.cache_file(), Some("data/ILSVRC2012/train.cache".into()));
        section.cache = CacheSetting::File("a".into());
        assert_eq!(section.cache_file(), Some("a".into()));
    }

    #[test]
    fn the_path_is_not_empty() {
        assert_eq!(rule(DataKind::Mnist, |section| section.path = PathBuf::new()).0, "data.path");
    }

    #[test]
    fn there_is_always_a_worker() {
        let mut section = DataSection::defaults(DataKind::Mnist);
        assert!(section.worker_count() >= 1);
        section.num_workers = Some(0);
        assert_eq!(section.worker_count(), 1);
        section.num_workers = Some(32);
        assert_eq!(section.worker_count(), 32);
    }
}
