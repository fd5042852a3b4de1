//! WebDataset: tar files whose members belong together by name.

use super::tar_images::{self, Index, TarImages};
use super::tar_walk::{Member, walk};
use super::{Source, content, parallel, patterns, read};
use crate::dataset::Split;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Longest `.cls` and `.json` member that is read, in bytes.
const LABEL_LIMIT: u64 = 1 << 20;

/// Shards `*.tar` in which `KEY.jpg`, `.jpeg` or `.png` follows or precedes `KEY.cls`, the label in digits, or
/// `KEY.json` with a number `label`.
///
/// A key is a member's path up to the first dot of its name, and the members of a key stand together. Shards are taken
/// in the order of their sorted paths; other members are passed over. Memory: 16 bytes for each image.
#[derive(Debug)]
pub struct WebDataset {
    images: TarImages,
}

impl WebDataset {
    /// Indexes the shards of one split in `folder`: those that match `pattern`, else those whose name or folder says
    /// `train`, or `val`, `validation`, `valid` or `test`.
    ///
    /// # Errors
    ///
    /// When there are no shards or images, a shard is damaged or cut short, or an image has no label.
    pub fn open(folder: &Path, split: Split, pattern: Option<&str>) -> Result<Self> {
        let paths = patterns::shards(folder, split, pattern, "tar")?;
        let indexed = parallel::map(&paths, |path| index(path).map(|found| (path.clone(), found)))?;
        let mut images = TarImages::default();
        for (path, found) in indexed {
            let (file, _) = open_shard(&path)?;
            images.push(path, file, found);
        }
        if images.len() == 0 {
            return Err(Error::Empty { place: format!("the shards in {}", folder.display()) });
        }
        Ok(Self { images })
    }
}

fn open_shard(path: &Path) -> Result<(File, u64)> {
    tar_images::open(path, "shard of the data set")
}

/// The images of a shard.
fn index(path: &PathBuf) -> Result<Index> {
    let (file, len) = open_shard(path)?;
    let mut shard = Shard { file: &file, path, sample: Sample::default(), images: Index::default() };
    walk(&file, path, 0..len, |member| shard.add(&member))?;
    shard.finish_sample()?;
    Ok(shard.images)
}

/// A shard being indexed.
struct Shard<'a> {
    file: &'a File,
    path: &'a Path,
    sample: Sample,
    images: Index,
}

/// What is known of the members with one key.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<Range<u64>>,
    label: Option<u32>,
}

impl Shard<'_> {
    fn add(&mut self, member: &Member<'_>) -> Result<()> {
        let folder = member.name.rfind('/').map_or(0, |slash| slash + 1);
        let Some(dot) = member.name[folder..].find('.').filter(|&dot| dot > 0) else { return Ok(()) };
        let (key, extension) = (&member.name[..folder + dot], &member.name[folder + dot + 1..]);
        if key != self.sample.key {
            self.finish_sample()?;
            self.sample.key = key.to_owned();
        }
        match extension.to_ascii_lowercase().as_str() {
            "jpg" | "jpeg" | "png" => {
                self.sample.image.get_or_insert(member.offset..member.offset + member.len);
            }
            "cls" => self.sample.label = Some(self.class(member)?),
            "json" if self.sample.label.is_none() => self.sample.label = self.json_label(member)?,
            _ => {}
        }
        Ok(())
    }

    /// Ends the members of a key: an image with its label, or no image.
    fn finish_sample(&mut self) -> Result<()> {
        let Sample { key, image, label } = std::mem::take(&mut self.sample);
        let Some(image) = image else { return Ok(()) };
        let Some(label) = label else {
            let reason = format!(
                "image {key} has no label: a member {key}.cls, or {key}.json with `label`, has to stand beside it"
            );
            return Err(content(self.path, reason));
        };
        self.images.add(key.as_bytes(), image.start, image.end - image.start, label);
        Ok(())
    }

    fn class(&self, member: &Member<'_>) -> Result<u32> {
        let text = self.text(member)?;
        text.trim().parse().map_err(|_| {
            let text: String = text.chars().take(50).collect();
            content(self.path, format!("{} holds `{}`, which is no label", member.name, text.trim()))
        })
    }

    fn json_label(&self, member: &Member<'_>) -> Result<Option<u32>> {
        let text = self.text(member)?;
        let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        Ok(json.and_then(|json| u32::try_from(json.get("label")?.as_u64()?).ok()))
    }

    fn text(&self, member: &Member<'_>) -> Result<String> {
        if member.len > LABEL_LIMIT {
            let reason = format!("{} has {} bytes, too many for a label", member.name, member.len);
            return Err(content(self.path, reason));
        }
        let mut bytes = vec![0; member.len as usize];
        read::at(self.file, &mut bytes, member.offset)
            .map_err(|source| Error::Io { path: self.path.to_owned(), source })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Source for WebDataset {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.images.label(index)
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.images.read(index, bytes)
    }

    fn place(&self, index: usize) -> String {
        self.images.place(index)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.images.fingerprint()
    }
}
