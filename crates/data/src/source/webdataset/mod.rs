//! WebDataset: tar files whose members belong together by name.

mod label;
mod sample;

use super::extension::{self, Extension};
use super::names::shown;
use super::strays::{Others, Strays, instead};
use super::tar_images::{self, Index, TarImages};
use super::tar_links;
use super::tar_walk::{Ending, Kind, Member, walk};
use super::{Source, parallel, patterns};
use crate::dataset::Split;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result};
use sample::{Outcome, Sample};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

/// Shards `*.tar` of images `KEY.jpg`, `.jpeg`, `.jfif` or `.png` with `KEY.cls`, the label in digits, or `KEY.json` with a
/// number `label`.
///
/// Members that stand together and whose paths agree up to the first dot of the file name are a sample, as in the
/// `webdataset` package. In it an image belongs to the label of the same name but for the extension, so that `22.05.jpg`
/// and `22.06.jpg` with their `.cls` are two images; a single image and a single label belong together under any name, as
/// `7.image.jpg` and `7.cls` do. Links to members of the same archive are followed. Images without labels, labels without
/// images and images of other formats are [`Strays`]; names with a dot in front and what macOS adds are passed over, as are
/// other members. Shards are taken in the order of their sorted paths. Memory: 16 bytes for each image.
#[derive(Debug)]
pub struct WebDataset {
    images: TarImages,
    strays: Strays,
    remarks: Vec<String>,
}

impl WebDataset {
    /// Indexes the shards of one split in `folder`: those that match `pattern`, else those whose name or folder says
    /// `train`, or `val`, `validation`, `valid` or `test`.
    ///
    /// # Errors
    ///
    /// When there are no shards or images, or a shard is damaged, cut short or compressed.
    pub fn open(folder: &Path, split: Split, pattern: Option<&str>) -> Result<Self> {
        let paths = patterns::shards(folder, split, pattern, "tar")?;
        let indexed = parallel::map(&paths, |path| Shard::index(path).map(|found| (path.clone(), found)))?;
        let mut all = Self { images: TarImages::default(), strays: Strays::NONE, remarks: Vec::new() };
        let (mut others, mut extras, mut example) = (Others::default(), 0, None);
        for (path, found) in indexed {
            let (file, _) = open_shard(&path)?;
            all.images.push(path, file, found.images);
            all.strays.append(found.strays);
            all.remarks.extend(found.remarks);
            others.append(found.others);
            extras += found.extras;
            example = example.or(found.example);
        }
        if let Some(example) = example {
            all.remarks.push(format!(
                "{extras} images stand in samples that have an image already, and are passed over, such as {example}"
            ));
        }
        if all.images.len() == 0 {
            let place = format!("the set of shards in {}", folder.display());
            return Err(Error::Empty { place, instead: instead(&others, &all.strays) });
        }
        Ok(all)
    }
}

fn open_shard(path: &Path) -> Result<(File, u64)> {
    tar_images::open(path, "shard of the data set")
}

/// A shard being indexed.
struct Shard<'a> {
    file: &'a File,
    path: &'a Path,
    sample: Sample,
    /// Where its links lead, in their order; none where that is not known yet.
    links: Option<std::vec::IntoIter<Option<Range<u64>>>>,
    /// Whether a link was seen whose target is not known.
    unknown_links: bool,
    found: Found,
}

/// What was found in a shard.
#[derive(Default)]
struct Found {
    images: Index,
    strays: Strays,
    others: Others,
    remarks: Vec<String>,
    /// Number of images beside the one of their sample, and the first.
    extras: usize,
    example: Option<String>,
}

impl<'a> Shard<'a> {
    /// Walks over a shard, and once more where it has links.
    fn index(path: &Path) -> Result<Found> {
        let (file, len) = open_shard(path)?;
        let first = Shard::walk(&file, path, len, None)?;
        if !first.unknown_links {
            return Ok(first.found);
        }
        let links = tar_links::resolve(&file, path, 0..len)?;
        Ok(Shard::walk(&file, path, len, Some(links.into_iter()))?.found)
    }

    fn walk(
        file: &'a File,
        path: &'a Path,
        len: u64,
        links: Option<std::vec::IntoIter<Option<Range<u64>>>>,
    ) -> Result<Self> {
        let (sample, found) = (Sample::default(), Found::default());
        let mut shard = Self { file, path, sample, links, unknown_links: false, found };
        let Ending { remarks, .. } = walk(file, path, 0..len, |member| shard.add(member))?;
        shard.finish_sample(Vec::new());
        shard.found.remarks = remarks;
        Ok(shard)
    }

    fn add(&mut self, Member { name, kind }: Member) -> Result<()> {
        let target = self.target(kind);
        if extension::is_junk(&name) {
            return Ok(());
        }
        let folder = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let dot = name[folder..].iter().position(|&byte| byte == b'.').filter(|&dot| dot > 0);
        let Some(dot) = dot else {
            self.found.others.add(b"");
            return Ok(());
        };
        let key = &name[..folder + dot];
        if key != self.sample.key || !self.sample.note(&name) {
            self.finish_sample(key.to_vec());
            self.sample.note(&name);
        }
        self.add_to_sample(name, target)
    }

    fn add_to_sample(
        &mut self,
        name: Vec<u8>,
        target: std::result::Result<Range<u64>, String>,
    ) -> Result<()> {
        let extension = extension::of(&name).to_ascii_lowercase();
        match (extension::kind(&extension), target) {
            (Extension::Image(rank), Ok(data)) => self.sample.add_image(name, rank, data),
            (Extension::Unread, Ok(_)) => {
                let reason = format!("it is a .{} image, and only JPEG and PNG are read", shown(&extension));
                self.sample.add_unusable(name, reason);
                self.found.others.add(&extension);
            }
            (Extension::Image(_) | Extension::Unread, Err(reason)) => self.sample.add_unusable(name, reason),
            (Extension::Other, target) => {
                let is_class = extension == b"cls";
                let label = match target {
                    Ok(data) if is_class => Some(label::class(self.file, self.path, data)?),
                    Ok(data) if extension == b"json" => label::json(self.file, self.path, data)?,
                    Err(reason) if is_class => Some(Err(format!("cannot be read: {reason}"))),
                    _ => None,
                };
                match label {
                    Some(label) => self.sample.add_label(name, label),
                    None => self.found.others.add(&extension),
                }
            }
        }
        Ok(())
    }

    /// Where the bytes of a member lie, or why it has none.
    fn target(&mut self, kind: Kind) -> std::result::Result<Range<u64>, String> {
        let (link, what) = match kind {
            Kind::File(data) => return Ok(data),
            Kind::Other(what) => return Err(format!("it is {what}")),
            Kind::HardLink(link) => (link, "a hard link"),
            Kind::SymbolicLink(link) => (link, "a symbolic link"),
        };
        let Some(links) = &mut self.links else {
            self.unknown_links = true;
            return Err(String::new());
        };
        let target = links.next().flatten();
        target.ok_or_else(|| format!("it is {what} to {}, which is no file in this archive", shown(&link)))
    }

    /// Ends the members of a key; those of another begin.
    fn finish_sample(&mut self, key: Vec<u8>) {
        let Outcome { pairs, strays, extras } =
            std::mem::replace(&mut self.sample, Sample::new(key)).finish();
        for (name, data, label) in pairs {
            self.found.images.add(&name, data.start, data.end - data.start, label);
        }
        let place = |name: &[u8]| format!("{}: {}", self.path.display(), shown(name));
        for (name, reason) in strays {
            self.found.strays.add(|| place(&name), reason);
        }
        self.found.extras += extras.len();
        if self.found.example.is_none() {
            self.found.example = extras.first().map(|name| place(name));
        }
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

    fn strays(&self) -> &Strays {
        &self.strays
    }

    fn remarks(&self) -> &[String] {
        &self.remarks
    }
}
