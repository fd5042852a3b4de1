//! Packed files: of a pruned tensor, a bit for each weight and the numbers that are left.
//!
//! A packed file is a safetensors file with the metadata key [`KEY`]. Instead of a tensor `w` it holds `w.compressed`, the
//! numbers that are not zero, `w.bitmask`, where they are, and `w.shape`. A tensor for which that would not be smaller is
//! there as it was. `docs/packed.md` has the layout byte by byte.
//!
//! [`write()`] makes such a file. To read one needs nothing from here: [`crate::read`], [`crate::decode`] and
//! [`crate::import()`] give the tensors unpacked, and [`crate::MappedFile`] unpacks one at a time.
//!
//! [`write_int8`] makes a file of 8 bits: of such a tensor `w` it holds `w.multiples`, whole multiples of a scale for each row, `w.scales` and
//! `w.shape`, and where zeros are left out `w.bitmask`, or `w.blockmask` with a bit for four neighbours. Read, these are the products, in f32.
//!
//! Zero is the number with all bits zero. So -0.0 and NaN are kept, and with [`Values::F32`] every tensor comes back bit
//! for bit.
//!
//! Invariant: before a tensor is unpacked, its shape is compared with the bits, and the bits with the numbers, that are
//! really there; an unpacked tensor takes at most 32 times the bytes of its bitmask, or 128 times those of its block mask.

mod fault;
mod int8;
mod matrix;
mod names;
mod pack;
mod parts;
mod report;

pub use fault::Fault;
pub(crate) use int8::Int8Parts;
pub use int8::{Multiples, encode_int8, write_int8};
pub(crate) use names::{Layout, PARTS, Stored, stored};
pub use pack::pack;
pub(crate) use parts::Parts;
pub use report::Report;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::file::LARGEST_FILE;
use crate::file::encode_with_keys;
use crate::{Dtype, Error, Result, Tensor, TensorView, Tensors, atomic};

/// The metadata key that marks a packed file; its value is [`VERSION`] or [`VERSION_INT8`].
pub const KEY: &str = "sparse_train_packed";
/// The layout of floating-point numbers.
pub const VERSION: &str = "1";
/// The layout that also has tensors of 8 bits.
pub const VERSION_INT8: &str = "2";

/// How the numbers of packed tensors are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Values {
    /// As they are.
    #[default]
    F32,
    /// Rounded to 11 bits, up to 65504.
    F16,
    /// Rounded to 8 bits, over the range of f32.
    Bf16,
}

impl Values {
    /// The type of the stored numbers.
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }
}

impl fmt::Display for Values {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// Writes a packed file atomically. `metadata` is a JSON text, stored as [`crate::write()`] does.
///
/// # Errors
/// The errors of [`encode()`] and of [`atomic::write_file`].
pub fn write(
    path: impl AsRef<Path>,
    tensors: &Tensors,
    metadata: Option<&str>,
    values: Values,
) -> Result<Report> {
    let path = path.as_ref();
    let (bytes, report) = encode(path, tensors, metadata, values)?;
    atomic::write_file(path, &bytes)?;
    Ok(report)
}

/// The bytes of a packed file, and how large it is; the same input always gives the same bytes.
///
/// `path` only names the file in errors.
///
/// # Errors
/// The errors of [`pack`] and [`crate::encode`].
pub fn encode(
    path: impl AsRef<Path>,
    tensors: &Tensors,
    metadata: Option<&str>,
    values: Values,
) -> Result<(Vec<u8>, Report)> {
    let path = path.as_ref();
    let (packed, mut report) = pack(path, tensors, values)?;
    let bytes = encode_with_keys(path, &packed, metadata, &[(KEY, VERSION)])?;
    report.file_bytes = bytes.len() as u64;
    report.dense_file_bytes = crate::encode(path, tensors, metadata)?.len() as u64;
    Ok((bytes, report))
}

/// The tensors that [`pack`] was given: the inverse for [`Values::F32`], else with rounded numbers, in f32.
///
/// `path` only names the file in errors.
///
/// # Errors
/// [`Error::BadPacked`] if parts are missing or do not fit each other, [`Error::TooLarge`] if the tensors would take more
/// than [`LARGEST_FILE`] together.
pub fn unpack(path: impl AsRef<Path>, packed: &Tensors) -> Result<Tensors> {
    let path = path.as_ref();
    let stored = stored(path, Layout::Floats, packed.keys().map(String::as_str))?;
    read(path, &stored, |name| packed.get(name).map(Tensor::view))
}

/// The tensors of a file, those that are packed unpacked. `view` gives what is stored under a name.
///
/// # Errors
/// As [`unpack`].
pub(crate) fn read<'a>(
    path: &Path,
    stored: &BTreeMap<&str, Stored>,
    view: impl Fn(&str) -> Option<TensorView<'a>>,
) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    let mut room = LARGEST_FILE as usize;
    let mut take = |bytes: usize| {
        let what = "unpacked tensors in total";
        let too_large = || Error::TooLarge { path: path.to_owned(), what, limit: LARGEST_FILE };
        room = room.checked_sub(bytes).ok_or_else(too_large)?;
        Ok(())
    };
    for (&name, kind) in stored {
        let tensor = match kind {
            Stored::Plain => view(name).map(|plain| plain.to_tensor()),
            Stored::Packed => {
                let parts = Parts::of(path, name, &view)?;
                take(parts.unpacked_bytes())?;
                Some(Tensor::from_f32(parts.shape(), &parts.values()?))
            }
            Stored::Int8 => {
                let parts = Int8Parts::of(path, name, &view)?;
                take(parts.unpacked_bytes())?;
                Some(Tensor::from_f32(parts.shape(), &parts.values()?))
            }
        };
        tensors.extend(tensor.map(|tensor| (name.to_owned(), tensor)));
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/packed.md` shows these bytes.
    #[test]
    fn the_layout_is_what_the_documentation_says() {
        let mut weights = [0.0_f32; 400];
        (weights[0], weights[9], weights[100], weights[399]) = (1.0, -2.0, -0.0, 0.5);
        let tensors = Tensors::from([
            ("bias".to_owned(), Tensor::from_f32([2], &[0.0, 3.0])),
            ("w".to_owned(), Tensor::from_f32([4, 100, 1, 1], &weights)),
        ]);
        let (bytes, report) = encode("x", &tensors, Some("{}"), Values::F32).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(
            std::str::from_utf8(&bytes[8..8 + length]).unwrap().trim_end(),
            concat!(
                r#"{"__metadata__":{"sparse_train":"{}","sparse_train_packed":"1"},"#,
                r#""w.shape":{"dtype":"I64","shape":[4],"data_offsets":[0,32]},"#,
                r#""bias":{"dtype":"F32","shape":[2],"data_offsets":[32,40]},"#,
                r#""w.compressed":{"dtype":"F32","shape":[4],"data_offsets":[40,56]},"#,
                r#""w.bitmask":{"dtype":"U8","shape":[4,13],"data_offsets":[56,108]}}"#
            )
        );
        let data = &bytes[8 + length..];
        assert_eq!(data[..32], [4_u64, 100, 1, 1].map(u64::to_le_bytes).concat());
        assert_eq!(data[40..56], [1.0_f32, -2.0, -0.0, 0.5].map(f32::to_le_bytes).concat());
        let mut bitmask = [[0_u8; 13]; 4];
        (bitmask[0][..2]).copy_from_slice(&[0b0000_0001, 0b0000_0010]);
        (bitmask[1][0], bitmask[3][12]) = (1, 0b0000_1000);
        assert_eq!(data[56..], bitmask.concat());
        assert_eq!((report.packed_tensors, report.tensors, report.values, report.weights), (1, 2, 4, 400));
        assert_eq!((report.packed_bytes, report.packed_dense_bytes), (100, 1600));
        assert_eq!(report.file_bytes, bytes.len() as u64);
    }
}
