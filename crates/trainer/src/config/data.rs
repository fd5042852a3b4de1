//! Section `data`: which images, where they lie and how they are normalised.

use std::{ops::Bound, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use sparse_data::Jitter;

use super::{
    Key, Values, When,
    declare::{choices, settings},
    threads::core_count,
    validate::{Problem, require},
};

choices! {
    /// The data sets there are.
    pub enum DataKind {
        /// MNIST or Fashion-MNIST: 28×28 grey images in IDX files, 10 classes.
        Mnist = "mnist",
        /// CIFAR-10, binary version: 32×32 colour images, 10 classes.
        Cifar10 = "cifar10",
        /// CIFAR-100, binary version: 32×32 colour images, 100 classes in 20 groups.
        Cifar100 = "cifar100",
        /// JPEG and PNG files in any of the layouts of [`DataFormat`], 1000 classes.
        Imagenet = "imagenet",
    }
}

impl DataKind {
    /// All data sets.
    pub const ALL: [DataKind; 4] =
        [DataKind::Mnist, DataKind::Cifar10, DataKind::Cifar100, DataKind::Imagenet];

    /// Channels of an image: 1 or 3.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            DataKind::Mnist => 1,
            DataKind::Cifar10 | DataKind::Cifar100 | DataKind::Imagenet => 3,
        }
    }

    /// Classes the data set has by default.
    #[must_use]
    pub fn classes(self) -> usize {
        match self {
            DataKind::Mnist | DataKind::Cifar10 => 10,
            DataKind::Cifar100 => 100,
            DataKind::Imagenet => 1000,
        }
    }

    /// Height and width of an image in pixels, unless `image_size` says otherwise.
    #[must_use]
    pub fn image_size(self) -> usize {
        match self {
            DataKind::Mnist => 28,
            DataKind::Cifar10 | DataKind::Cifar100 => 32,
            DataKind::Imagenet => 224,
        }
    }
}

choices! {
    /// How the encoded images of `imagenet` lie in their folder.
    pub enum DataFormat {
        /// The layout that the folder holds.
        Auto = "auto",
        /// `train_list.txt` and `val_list.txt`, lines `PATH LABEL`.
        List = "list",
        /// `train/CLASS/` and `val/CLASS/`.
        Folders = "folders",
        /// `ILSVRC2012_img_train.tar` and `ILSVRC2012_img_val.tar`.
        Ilsvrc = "ilsvrc",
        /// WebDataset shards, `*.tar`.
        Webdataset = "webdataset",
        /// Shards as on the Hugging Face hub, `*.parquet`.
        Parquet = "parquet",
    }
}

choices! {
    /// What to do with images that cannot be read or decoded.
    pub enum BadImagePolicy {
        /// Stop at the first one.
        Error = "error",
        /// Train on the next good image in its place, leave it out of tests, and list it in `bad_images.txt`.
        Skip = "skip",
    }
}

choices! {
    /// The filters of a resize.
    #[derive(Default)]
    pub enum InterpolationKind {
        /// A sinc of three lobes, as in PaddleSlim.
        #[default]
        Lanczos = "lanczos",
        /// A cubic, as in timm.
        Bicubic = "bicubic",
        /// A triangle, as in torchvision.
        Bilinear = "bilinear",
    }
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

const IMAGENET: &[When] = &[When::IMAGENET];
/// The groups of CIFAR-100's classes.
pub(super) const GROUPS: usize = 20;
/// Part of a random view of an encoded image.
const fn random(values: Values) -> Key {
    Key::of(values).strictly(IMAGENET).only(&[When::AUGMENTS]).added_later()
}
/// Part of a random view of a small colour image, by so much or up to so many.
const fn jitter(values: Values) -> Key {
    Key::of(values).strictly(&[When::CIFAR]).only(&[When::AUGMENTS]).added_later()
}
/// A pattern of files in shards.
const fn shards(words: &'static str) -> Key {
    Key::text(words).strictly(IMAGENET).only(&[When::SHARDS]).free().default_words("found by their names")
}
/// One number for all channels, or one for each.
const fn per_channel(of: &'static Values) -> Key {
    Key::of(Values::List { of, least: 1, most: 3, or_one: true }).in_tests()
}
const LABEL: Values = Values::Whole { from: 0, to: u32::MAX as i64 };

settings! {
    /// Section `data`.
    pub struct DataSection: "data", with the defaults for data => {
        /// Data set.
        data: DataKind = data,
            Key::of(DataKind::VALUES).flag("DATA").in_tests().must_agree().default_words("mnist");
        /// Its folder, relative to the working directory.
        path: PathBuf = folder(data).into(),
            Key::text("a folder").in_tests().free();
        /// Subtracted from each pixel; one number, or one per channel.
        ///
        /// In 0..255 for MNIST and CIFAR-10, in 0..1 for CIFAR-100 and ImageNet, as PaddleSlim counts them.
        #[serde(deserialize_with = "one_or_more")]
        mean: Vec<f64> = normalisation(data).0,
            per_channel(&Values::FINITE)
                .words("a list of finite numbers, one or one per channel, such as [127.5]");
        /// Divides each pixel after the subtraction, in the unit of `mean`.
        #[serde(deserialize_with = "one_or_more")]
        std: Vec<f64> = normalisation(data).1,
            per_channel(&Values::ABOVE_ZERO)
                .words("a list of numbers above 0, one or one per channel, such as [127.5]");
        /// Height and width of the network's input; free for ImageNet only.
        image_size: usize = data.image_size(),
            Key::whole(16, "pixels").in_tests();
        /// Short side to which an image is resized before its centre is cut out for a test; 0: not resized.
        resize: Option<usize> = None,
            Key::whole(0, "pixels").words("a whole number of pixels, at least image_size, or 0 for none").in_tests()
                .strictly(IMAGENET).default_words("image_size / 0.875");
        /// Side of the crop, which is the network's input.
        crop: Option<usize> = None,
            Key::whole(16, "pixels").in_tests().strictly(IMAGENET).default_words("image_size");
        /// Filter of each resize.
        interpolation: InterpolationKind = InterpolationKind::Lanczos,
            Key::of(InterpolationKind::VALUES).in_tests().strictly(IMAGENET).added_later();
        /// Random crops and flips while training.
        augment: bool = matches!(data, DataKind::Cifar100 | DataKind::Imagenet),
            Key::truth();
        /// Random contrast while training, by up to this share more or less; 0: none.
        contrast: f64 = by_demo(data, Jitter::CIFAR100.contrast),
            jitter(Values::SHARE);
        /// Random brightness while training, by up to this share more or less; 0: none.
        brightness: f64 = by_demo(data, Jitter::CIFAR100.brightness),
            jitter(Values::SHARE);
        /// Degrees by which an image is turned at most while training, to either side; 0: not turned.
        rotation: f64 = by_demo(data, Jitter::CIFAR100.rotation),
            jitter(Values::Number { from: Bound::Included(0.0), to: Bound::Included(180.0) }).words("degrees, from 0 to 180");
        /// Labels are those of the 20 groups of classes.
        coarse_labels: bool = false,
            Key::truth().in_tests().must_agree().strictly(&[When::CIFAR100]).added_later();
        /// How the files lie in the folder.
        format: DataFormat = DataFormat::Auto,
            Key::of(DataFormat::VALUES).in_tests().free().strictly(IMAGENET);
        /// The shards with training images, below the folder, with `*`, `?`, `{000..146}` and `{a,b}`.
        train_files: Option<String> = None,
            shards("a file name below data.path, such as train-{000..146}.tar or *train*.parquet");
        /// The shards with test images, likewise.
        val_files: Option<String> = None,
            shards("a file name below data.path, such as val-{00..06}.tar or *val*.parquet").in_tests();
        /// What to do with images that cannot be used.
        bad_images: BadImagePolicy = BadImagePolicy::Skip,
            Key::of(BadImagePolicy::VALUES).in_tests().only(IMAGENET);
        /// The share of the images of a split that may be bad before the run stops.
        bad_images_limit: f64 = 0.01,
            Key::of(Values::SHARE).words("a fraction of the images, from 0 to 1").in_tests()
                .only(&[When::IMAGENET, When::SKIPS_BAD]);
        /// Labels to keep, as the data set numbers them; images of other classes are left out.
        ///
        /// Label `classes[i]` becomes `i`.
        classes: Option<Vec<u32>> = None,
            Key::of(Values::List { of: &LABEL, least: 1, most: usize::MAX, or_one: false }).in_tests().must_agree()
                .words("a list of different labels, 0 or more each, such as [0, 217, 482]").strictly(IMAGENET)
                .default_words("all, as they are");
        /// Least share of the image's area that a training crop covers.
        crop_area: f64 = 0.08,
            random(Values::Number { from: Bound::Excluded(0.0), to: Bound::Included(1.0) });
        /// Random brightness, contrast and saturation while training.
        color_jitter: bool = false,
            random(Values::Truth);
        /// Random turns by up to 10 degrees while training.
        rotate: bool = false,
            random(Values::Truth);
        /// Strength of two random colour operations while training; 0: none.
        rand_augment: u32 = 0,
            random(Values::Whole { from: 0, to: 10 }).words("a whole number from 0 (none) to 10");
        /// Whether and where training images are kept decoded, with a short side of 256 pixels.
        cache: CacheSetting = CacheSetting::default(),
            Key::of(Values::TruthOrText).words("true, false or a file").strictly(IMAGENET).added_later();
        /// Loader threads.
        num_workers: Option<usize> = None,
            Key::of(Values::Whole { from: 0, to: 1024 }).flag("N").in_tests().free().default_words("cores");
    }
}

/// Where a data set lies by default.
fn folder(data: DataKind) -> &'static str {
    match data {
        DataKind::Mnist => "data/mnist",
        DataKind::Cifar10 => "data/cifar-10-batches-bin",
        DataKind::Cifar100 => "data/cifar-100-binary",
        DataKind::Imagenet => "data/ILSVRC2012",
    }
}

/// The mean and the deviation by default.
fn normalisation(data: DataKind) -> (Vec<f64>, Vec<f64>) {
    match data {
        DataKind::Mnist | DataKind::Cifar10 => (vec![127.5], vec![127.5]),
        DataKind::Cifar100 => (vec![0.5071, 0.4865, 0.4409], vec![0.1942, 0.1918, 0.1958]),
        DataKind::Imagenet => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
    }
}

/// What PaddleSlim's demo does to the images of CIFAR-100, and to no others.
fn by_demo(data: DataKind, strength: f64) -> f64 {
    if data == DataKind::Cifar100 { strength } else { 0.0 }
}

impl DataSection {
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

    /// Changes of small images while training.
    #[must_use]
    pub fn jitter(&self) -> Jitter {
        Jitter { contrast: self.contrast, brightness: self.brightness, rotation: self.rotation }
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

    /// The settings against each other.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let channels = self.data.channels();
        for (list, key) in [(&self.mean, "data.mean"), (&self.std, "data.std")] {
            if list.len() != 1 && list.len() != channels {
                let name = self.data.name();
                let rule = format!("must have one number, or one per channel ({channels} for {name})");
                return Err(Problem::new(key, rule));
            }
        }
        let own_size = self.data.image_size();
        if self.data != DataKind::Imagenet && self.image_size != own_size {
            let rule = format!("{} images are {own_size} pixels: leave image_size out", self.data.name());
            return Err(Problem::new("data.image_size", rule));
        }
        require(self.resize.is_none_or(|resize| resize == 0 || resize >= self.side()), "data.resize")?;
        require(self.classes.as_deref().is_none_or(all_differ), "data.classes")
    }
}

/// Whether no label comes twice.
fn all_differ(labels: &[u32]) -> bool {
    let different: std::collections::BTreeSet<&u32> = labels.iter().collect();
    different.len() == labels.len()
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
    use crate::config::validate::tests::problem;

    /// The key at fault and the rule it breaks, empty if it is none.
    fn rule(data: DataKind, change: impl Fn(&mut DataSection)) -> (String, String) {
        problem(data, |config| change(&mut config.data))
    }

    fn fits(change: impl Fn(&mut DataSection)) -> bool {
        rule(DataKind::Imagenet, change).0.is_empty()
    }

    #[test]
    fn the_defaults_of_every_data_set_pass() {
        for data in DataKind::ALL {
            assert_eq!(rule(data, |_| ()).0, "");
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
        assert!(fits(|section| section.mean = vec![0.5]));
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
        assert!(fits(|section| section.image_size = 16));
    }

    #[test]
    fn kept_classes_differ_and_are_of_imagenet() {
        for classes in [vec![], vec![3, 1, 3]] {
            let chosen = Some(classes);
            let change = |section: &mut DataSection| section.classes = chosen.clone();
            assert_eq!(rule(DataKind::Imagenet, change).0, "data.classes");
        }
        let (_, text) = rule(DataKind::Mnist, |section| section.classes = Some(vec![1]));
        assert!(text.contains("leave it out"), "{text}");
        assert!(fits(|section| section.classes = Some(vec![701, 0])));
    }

    #[test]
    fn colours_and_turns_are_of_cifar_and_by_default_those_of_the_demo() {
        for data in DataKind::ALL {
            let section = DataSection::defaults(data);
            let expected = if data == DataKind::Cifar100 { Jitter::CIFAR100 } else { Jitter::default() };
            assert_eq!(section.jitter(), expected, "{data:?}");
        }
        type Change = fn(&mut DataSection);
        let changes: [(Change, &str); 3] = [
            (|section| section.contrast = 0.2, "data.contrast"),
            (|section| section.brightness = 0.2, "data.brightness"),
            (|section| section.rotation = 5.0, "data.rotation"),
        ];
        for (change, expected) in changes {
            assert_eq!(rule(DataKind::Cifar10, change).0, "");
            assert_eq!(rule(DataKind::Mnist, change).0, expected);
            assert_eq!(rule(DataKind::Imagenet, change).0, expected);
        }
        for degrees in [-1.0, 181.0, f64::NAN] {
            assert_eq!(rule(DataKind::Cifar100, |section| section.rotation = degrees).0, "data.rotation");
        }
        assert_eq!(rule(DataKind::Cifar100, |section| section.coarse_labels = true).0, "");
        let (key, _) = rule(DataKind::Cifar10, |section| section.coarse_labels = true);
        assert_eq!(key, "data.coarse_labels");
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
            assert!(text.contains("only with data.data = \"imagenet\" (now \"mnist\")"), "{text}");
        }
        assert_eq!(rule(DataKind::Imagenet, |section| section.crop = Some(15)).0, "data.crop");
        assert_eq!(rule(DataKind::Imagenet, |section| section.crop_area = f64::NAN).0, "data.crop_area");
        assert_eq!(rule(DataKind::Imagenet, |section| section.resize = Some(223)).0, "data.resize");
        assert_eq!(rule(DataKind::Imagenet, |section| section.rand_augment = 11).0, "data.rand_augment");
        let view = |section: &mut DataSection| {
            (section.crop, section.resize, section.rotate) = (Some(192), Some(0), true);
        };
        assert!(fits(view));
        let mut section = DataSection::defaults(DataKind::Imagenet);
        view(&mut section);
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
