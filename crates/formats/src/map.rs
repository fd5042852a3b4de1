//! A safetensors file mapped into memory: tensors are read from the page cache, and nothing is copied before it is asked for.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::file::METADATA_KEY;
use crate::header::Header;
use crate::packed::{Int8Parts, Parts, Stored};
use crate::{Error, Result, TensorView, open_regular};

/// An open safetensors file, packed ([`crate::packed`]) or not, whose header has been checked.
///
/// Do not change the file while it is open. What this program writes is moved into place as a whole, so that a file that
/// is replaced stays as it was for who has it open. A file that another program shortens ends the process by a signal.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    map: Mmap,
    header: Header,
    names: Vec<(String, Stored)>,
}

impl MappedFile {
    /// Maps a file and checks its header: every offset, and of packed tensors the types and shapes of their parts.
    ///
    /// # Errors
    /// The errors of [`open_regular`] and of [`crate::decode`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |action| move |source| Error::Io { path: path.to_owned(), action, source };
        let map = map(&open_regular(path)?).map_err(io("map"))?;
        let header = Header::parse(path, &map)?;
        let stored = header.stored(path)?;
        for (name, stored) in &stored {
            match stored {
                Stored::Plain => (),
                Stored::Packed => drop(Parts::of(path, name, |part| header.view(&map, part))?),
                Stored::Int8 => drop(Int8Parts::of(path, name, |part| header.view(&map, part))?),
            }
        }
        let names = stored.into_iter().map(|(name, stored)| (name.to_owned(), stored)).collect();
        Ok(Self { path: path.to_owned(), map, header, names })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is marked as packed.
    pub fn is_packed(&self) -> bool {
        self.header.is_packed()
    }

    /// Whether the file is marked as one of 8 bits ([`crate::packed::write_int8`]).
    pub fn is_int8(&self) -> bool {
        self.header.is_int8()
    }

    /// The metadata text under [`METADATA_KEY`].
    pub fn metadata(&self) -> Option<&str> {
        self.header.key(METADATA_KEY)
    }

    /// The names of the tensors in order, packed ones under their own.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// Shape and values, in C order, of one of [`Self::names`]: unpacked, f16 and bf16 widened, f64 rounded.
    ///
    /// # Errors
    /// [`Error::NoTensor`], [`Error::WrongDtype`] if it holds no floating-point numbers, and [`Error::BadPacked`] if
    /// other bits are set than there are values.
    pub fn values(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        match self.stored(name) {
            Some(Stored::Packed) => {
                let parts = Parts::of(&self.path, name, |part| self.header.view(&self.map, part))?;
                Ok((parts.shape().to_vec(), parts.values()?))
            }
            Some(Stored::Int8) => {
                let parts = self.int8(name)?;
                Ok((parts.shape().to_vec(), parts.values()?))
            }
            Some(Stored::Plain) => {
                let view = self.tensor(name)?;
                Ok((view.shape.to_vec(), view.as_f32()?))
            }
            None => Err(self.no_tensor(name, self.names())),
        }
    }

    /// The scale of each row of one of [`Self::names`], if it is of 8 bits.
    ///
    /// # Errors
    /// [`Error::BadPacked`] if its parts do not fit each other any more.
    pub fn scales(&self, name: &str) -> Result<Option<Vec<f32>>> {
        match self.stored(name) {
            Some(Stored::Int8) => Ok(Some(self.int8(name)?.scales().to_vec())),
            _ => Ok(None),
        }
    }

    fn int8(&self, name: &str) -> Result<Int8Parts<'_>> {
        Int8Parts::of(&self.path, name, |part| self.header.view(&self.map, part))
    }

    fn stored(&self, name: &str) -> Option<Stored> {
        let place = self.names.binary_search_by(|(here, _)| here.as_str().cmp(name)).ok()?;
        self.names.get(place).map(|(_, stored)| *stored)
    }

    /// The names of the tensors as they are stored, parts of packed ones among them, in order.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.header.names()
    }

    /// One of [`Self::tensors`], its bytes borrowed from the map.
    ///
    /// # Errors
    /// [`Error::NoTensor`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        self.header.view(&self.map, name).ok_or_else(|| self.no_tensor(name, self.tensors()))
    }

    fn no_tensor<'a>(&self, tensor: &str, names: impl Iterator<Item = &'a str>) -> Error {
        let names: Vec<&str> = names.take(8).collect();
        Error::NoTensor { path: self.path.clone(), tensor: tensor.to_owned(), names: names.join(", ") }
    }
}

#[allow(unsafe_code, reason = "a file can be mapped in no other way")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: nothing is written through the map, and every pattern of bits is a byte. The bytes are checked when
    // they are used, and with checked indices, so that a file that changes gives other numbers or an error. One that is
    // shortened raises a signal, which ends the process; who opens a file is told so.
    unsafe { Mmap::map(file) }
}
