//! Weights of any known program as this one has them, ready to be written to another file.

use super::{Pretrained, WeightsAt};
use crate::error::{Error, Result};
use crate::run_folder::RunFolder;
use sparse_formats::Tensors;
use std::path::Path;

/// What a file of ours is made of.
pub(crate) struct Ours {
    /// What was read, without its background class.
    pub(crate) pretrained: Pretrained,
    /// Whether it had a background class.
    pub(crate) background_dropped: bool,
    /// Our names and layouts, f32.
    pub(crate) tensors: Tensors,
    /// The metadata that was there, with the network and the input.
    pub(crate) metadata: String,
}

impl Ours {
    /// Reads weights that are to be written to `to`, if anywhere.
    ///
    /// # Errors
    /// As [`Pretrained::read`], [`Error::OntoInput`] if `to` is what is read, and [`Error::RunInUse`] if it is a file of a
    /// run that another process works on.
    pub(crate) fn read<'p>(from: WeightsAt<'_>, to: impl Into<Option<&'p Path>>) -> Result<Self> {
        let to = to.into();
        to.map_or(Ok(()), RunFolder::refuse_file_in_use)?;
        let mut pretrained = Pretrained::read(from)?;
        to.map_or(Ok(()), |to| refuse_input(&pretrained.path, to))?;
        pretrained.warn();
        let background_dropped = pretrained.background;
        pretrained.drop_background();
        let tensors = pretrained.to_tensors();
        let metadata = pretrained
            .metadata
            .text(&pretrained.network, pretrained.input.as_ref())
            .map_err(|source| Error::Json { source })?;
        Ok(Self { pretrained, background_dropped, tensors, metadata })
    }
}

/// Refuses to write onto the file, or into the folder of variables, that was read.
pub(crate) fn refuse_input(from: &Path, to: &Path) -> Result<()> {
    let Ok(from) = from.canonicalize() else { return Ok(()) };
    let folder =
        to.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    let folder = folder.and_then(|folder| folder.canonicalize().ok());
    let onto_input = to.canonicalize().is_ok_and(|to| to == from);
    if onto_input || folder.is_some_and(|folder| folder == from) {
        return Err(Error::OntoInput { path: to.to_owned() });
    }
    Ok(())
}
