//! Weights as other programs write them: named tensors, whatever the format.
//!
//! [`import_with`] tells the format by what a file holds, never by its name, and shows which dictionaries of tensors are
//! there, so that who knows the names can choose; [`import()`] is for files with one. Nothing from a file is run: pickles go
//! through a machine of our own that knows plain containers, numpy arrays and torch tensors, and keeps every other class as
//! its name and what it was given. A tensor that such a class or an unknown function makes is refused by its name, if it
//! is wanted. No size in a file is believed before it is compared with the bytes that are there, and all tensors together
//! take at most [`EXPANSION`] times the size of the file; those of a packed file ([`crate::packed`]) at most
//! [`LARGEST_FILE`], and 32 times the size of their bitmasks.

mod choice;
mod dictionaries;
mod folder;
mod modules;
mod numpy;
mod paddle_pickle;
mod paddle_variables;
mod pickle;
mod torch;
mod torch_legacy;
mod torch_zip;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::file::decode_after;
use crate::header::Header;
use crate::sniff::{self, Content};
use crate::{Error, Result, Tensor, Tensors, read_regular};
pub use choice::{Choice, Contents, Dictionary, Entry};

use crate::file::LARGEST_FILE;

/// How many times the size of its file the tensors of a file may take; more than 1 only where tensors share storage.
pub const EXPANSION: usize = 4;
/// What the tensors of a small file may take anyway, in bytes.
const SMALL: usize = 1 << 20;

/// The formats that [`import()`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Safetensors.
    Safetensors,
    /// Safetensors with packed tensors ([`crate::packed`]).
    Packed,
    /// Safetensors with tensors of 8 bits ([`crate::packed::write_int8`]).
    Int8,
    /// A folder of PaddlePaddle, one binary file per variable (`MobileNetV1_pretrained`).
    PaddleVariables,
    /// `.pdparams` of a static graph: a pickled dictionary of arrays.
    PaddleStatic,
    /// `.pdparams` of a dynamic graph: the same with the map `StructuredToParameterName@@`.
    PaddleDygraph,
    /// `torch.save`, the zip archive of PyTorch 1.6 and later.
    TorchZip,
    /// `torch.save` before PyTorch 1.6: pickles one after the other, then the storages.
    TorchLegacy,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Packed => "safetensors, packed",
            Self::Int8 => "safetensors, 8 bits",
            Self::PaddleVariables => "Paddle, one file per variable",
            Self::PaddleStatic => "Paddle .pdparams, static graph",
            Self::PaddleDygraph => "Paddle .pdparams, dygraph",
            Self::TorchZip => "PyTorch, zip archive",
            Self::TorchLegacy => "PyTorch, before 1.6",
        })
    }
}

/// What [`import()`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The file or the folder of variables that was read.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The tensors, in the element types and layouts of the file.
    pub tensors: Tensors,
    /// The metadata text of a safetensors file under [`crate::METADATA_KEY`].
    pub metadata: Option<String>,
}

/// The elements of a floating-point tensor in C order as f32; f16 and bf16 exactly, f64 rounded to the nearest.
///
/// # Errors
/// [`Error::WrongDtype`] if it holds no floating-point numbers, [`Error::InconsistentTensor`] if its bytes do not fit its
/// shape.
pub fn as_f32(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.view().as_f32()
}

/// Reads a file of weights, a folder of Paddle variables, or a folder with one file of weights in it: all tensors of the
/// only dictionary that has some.
///
/// # Errors
/// As [`import_with`], [`Error::SeveralDictionaries`] and [`Error::NoDictionary`].
pub fn import(path: impl AsRef<Path>) -> Result<Imported> {
    import_with(path, |contents| contents.only())
}

/// Reads the tensors that `choose` chooses of a file of weights, a folder of Paddle variables, or a folder with one file of
/// weights in it.
///
/// Memory: the file once as bytes, and its tensors, at most [`EXPANSION`] times its size (more only for packed files).
///
/// # Errors
/// What `choose` reports, [`Error::UnknownContent`] if the format is not one of [`Format`] (it is named where it is known),
/// [`Error::SeveralWeights`] or [`Error::NoWeights`] for a folder, [`Error::ForbiddenClass`], [`Error::BadPickle`],
/// [`Error::BadWeights`], [`Error::TooLarge`], [`Error::NoPlainFile`], [`Error::Io`], and the errors of [`crate::decode`].
pub fn import_with<E: From<Error>>(
    path: impl AsRef<Path>,
    choose: impl FnOnce(&Contents<'_>) -> Result<Choice, E>,
) -> Result<Imported, E> {
    let path = path.as_ref();
    let Some(file) = folder::weights_in(path)? else {
        let tensors = paddle_variables::read_folder(path)?;
        return of_tensors(path, Format::PaddleVariables, tensors, None, choose);
    };
    let bytes = read_regular(&file, LARGEST_FILE)?;
    import_bytes_with(&file, &bytes, choose)
}

/// Reads the bytes of one file of weights; `path` only names it in errors.
///
/// # Errors
/// As [`import()`].
pub fn import_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Imported> {
    import_bytes_with(path.as_ref(), bytes, |contents| contents.only())
}

/// As [`import_with`], of the bytes of one file.
///
/// # Errors
/// As [`import_with`].
pub fn import_bytes_with<E: From<Error>>(
    path: &Path,
    bytes: &[u8],
    choose: impl FnOnce(&Contents<'_>) -> Result<Choice, E>,
) -> Result<Imported, E> {
    let (format, tensors) = match sniff::content(bytes) {
        Content::Safetensors => {
            let header = Header::parse(path, bytes)?;
            let (tensors, metadata) = decode_after(path, &header, bytes)?;
            let format = match header.is_packed() {
                true if header.is_int8() => Format::Int8,
                true => Format::Packed,
                false => Format::Safetensors,
            };
            return of_tensors(path, format, tensors, metadata, choose);
        }
        Content::Zip => (Format::TorchZip, torch_zip::read(path, bytes, choose)?),
        Content::TorchLegacy => (Format::TorchLegacy, torch_legacy::read(path, bytes, choose)?),
        Content::Pickle => paddle_pickle::read(path, bytes, choose)?,
        Content::PaddleVariable => {
            let what = "one variable of PaddlePaddle without a name, or several in one file; give the folder of one file \
                        per variable, or a .pdparams file";
            return Err(Error::UnknownContent { path: path.to_owned(), what }.into());
        }
        Content::Other(what) => return Err(Error::UnknownContent { path: path.to_owned(), what }.into()),
    };
    Ok(Imported { path: path.to_owned(), format, tensors, metadata: None })
}

/// What is chosen of tensors that were read already.
fn of_tensors<E: From<Error>>(
    path: &Path,
    format: Format,
    mut tensors: Tensors,
    metadata: Option<String>,
    choose: impl FnOnce(&Contents<'_>) -> Result<Choice, E>,
) -> Result<Imported, E> {
    let Choice { names, .. } = choose(&Contents::of(path, format, &tensors))?;
    tensors.retain(|name, _| names.contains(name));
    Ok(Imported { path: path.to_owned(), format, tensors, metadata })
}

/// Room for tensors, so that a small file cannot ask for much memory.
struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    /// The room that a file of so many bytes has.
    fn of_file(bytes: usize) -> Self {
        let limit = bytes.saturating_mul(EXPANSION).saturating_add(SMALL);
        Self { left: limit, limit }
    }

    /// Takes `bytes` of it.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is less.
    fn take(&mut self, path: &Path, bytes: usize) -> Result<()> {
        let too_large =
            || Error::TooLarge { path: path.to_owned(), what: "tensors in total", limit: self.limit as u64 };
        self.left = self.left.checked_sub(bytes).ok_or_else(too_large)?;
        Ok(())
    }
}

/// An error about one tensor, or about the file if `tensor` is empty.
fn bad(path: &Path, tensor: &str, reason: impl Into<String>) -> Error {
    Error::BadWeights { path: path.to_owned(), tensor: tensor.to_owned(), reason: reason.into() }
}

/// Elements of a shape; `None` if there are too many for any file.
fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length))
}
