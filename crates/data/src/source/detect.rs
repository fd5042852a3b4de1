//! Which layout a folder holds.

use super::names::{bytes_of, shown};
use super::patterns::{has_compressed, has_shards, split_folder};
use super::{SourceConfig, folders, ilsvrc, list};
use crate::dataset::Split;
use crate::{Error, Result};
use std::path::Path;

const SPLITS: [Split; 2] = [Split::Train, Split::Test];

/// The layouts in which encoded images may lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The one that the folder holds.
    #[default]
    Auto,
    /// `train_list.txt` and `val_list.txt`, lines `PATH LABEL` ([`List`](super::List)).
    List,
    /// `train/CLASS/` and `val/CLASS/` with image files ([`Folders`](super::Folders)).
    Folders,
    /// `ILSVRC2012_img_train.tar` and `ILSVRC2012_img_val.tar` ([`Ilsvrc`](super::Ilsvrc)).
    Ilsvrc,
    /// Shards `*.tar` of images and labels ([`WebDataset`](super::WebDataset)).
    Webdataset,
    /// Shards `*.parquet` with columns `image` and `label`, as on the Hugging Face hub.
    Parquet,
}

impl Format {
    /// The layouts, without [`Format::Auto`].
    pub const LAYOUTS: [Self; 5] = [Self::List, Self::Folders, Self::Ilsvrc, Self::Webdataset, Self::Parquet];

    /// What the layout looks like.
    fn looks(self) -> &'static str {
        match self {
            Self::Auto => "",
            Self::List => "train_list.txt and val_list.txt (list)",
            Self::Folders => "train/CLASS/*.jpg and val/CLASS/*.jpg (folders)",
            Self::Ilsvrc => "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar (ilsvrc)",
            Self::Webdataset => "*train*.tar and *val*.tar, or train/*.tar and val/*.tar (webdataset)",
            Self::Parquet => {
                "*train*.parquet and *val*.parquet, in data/ or not, or train/*.parquet and val/*.parquet (parquet)"
            }
        }
    }

    fn is_there(self, folder: &Path) -> bool {
        // A pipe of that name is refused when it is opened.
        let file = |name: &str| std::fs::metadata(folder.join(name)).is_ok_and(|found| !found.is_dir());
        SPLITS.into_iter().any(|split| match self {
            Self::Auto => false,
            Self::List => file(list::list_name(split)),
            Self::Folders => split_folder(folder, split).is_some_and(|path| folders::has_folders(&path)),
            Self::Ilsvrc => file(ilsvrc::tar_name(split)),
            Self::Webdataset => has_shards(folder, split, "tar"),
            Self::Parquet => has_shards(folder, split, "parquet"),
        })
    }
}

/// The layout that a config means for this folder, never [`Format::Auto`].
///
/// # Errors
///
/// [`Error::Missing`] when the folder is not there, [`Error::Layout`] when it holds no layout or several.
pub fn check_layout(folder: &Path, config: &SourceConfig) -> Result<Format> {
    if !folder.exists() {
        return Err(Error::Missing { what: "folder of the data set", path: folder.to_owned() });
    }
    if !folder.is_dir() {
        let reason =
            "it is no folder; `data.path` (`--set data.path=FOLDER`) names the folder that the data lie in";
        return Err(super::content(folder, reason));
    }
    resolve(folder, config)
}

/// The layout by name, by the names of the shards, or by what is there.
pub(super) fn resolve(folder: &Path, config: &SourceConfig) -> Result<Format> {
    if config.format != Format::Auto {
        return Ok(config.format);
    }
    if let Some(pattern) = config.train_files.as_ref().or(config.val_files.as_ref()) {
        let parquet = pattern.to_lowercase().ends_with(".parquet");
        return Ok(if parquet { Format::Parquet } else { Format::Webdataset });
    }
    let mut found: Vec<Format> =
        Format::LAYOUTS.into_iter().filter(|layout| layout.is_there(folder)).collect();
    if found.starts_with(&[Format::List, Format::Folders]) {
        // The files of a list usually lie in folders by class; the list says more.
        found.remove(1);
    }
    let names = |formats: &[Format]| formats.iter().map(|format| format.looks()).collect::<Vec<_>>();
    match found[..] {
        [format] => Ok(format),
        // Opening them tells that they have to be unpacked.
        [] if SPLITS.into_iter().any(|split| has_compressed(folder, split)) => Ok(Format::Webdataset),
        [] => Err(layout(folder, format!("holds no data set{}", held(folder)?), &names(&Format::LAYOUTS))),
        _ => Err(layout(folder, "holds more than one layout".to_owned(), &names(&found))),
    }
}

/// What a folder holds that is no data set.
fn held(folder: &Path) -> Result<String> {
    const FEW: usize = 5;
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = shown(&bytes_of(&entry.file_name()));
        match (name.starts_with('.'), entry.path().is_dir()) {
            (true, _) => {}
            (false, true) => folders.push(name),
            (false, false) => files.push(name),
        }
    }
    let few = |what: &str, names: &mut Vec<String>| {
        names.sort_unstable();
        let (count, more) = (names.len(), if names.len() > FEW { ", …" } else { "" });
        names.truncate(FEW);
        (count > 0).then(|| format!("{count} {what} ({}{more})", names.join(", ")))
    };
    let told: Vec<String> =
        [few("folders", &mut folders), few("files", &mut files)].into_iter().flatten().collect();
    Ok(if told.is_empty() { " and is empty".to_owned() } else { format!(" but {}", told.join(" and ")) })
}

fn layout(folder: &Path, found: String, looks: &[&str]) -> Error {
    Error::Layout { path: folder.to_owned(), found, looked_for: looks.join("; ") }
}
