//! PaddlePaddle's folder of one binary file per variable; the name of a file is the name of its variable.
//!
//! A file is: version (u32, 0), levels of detail (u64, each a u64 size and its bytes), version of the tensor (u32, 0),
//! a length (i32) and a protocol buffer `TensorDesc` of that length (1: data type, 2: dimensions), then the elements.
//! Source: `SerializeToStream` in PaddlePaddle's `lod_tensor.cc` and `tensor_util.cc`.

use std::path::Path;

use super::{bad, elements, folder};
use crate::{Dtype, Error, Result, Tensor, Tensors, read_regular};

/// Most dimensions a variable may have.
const MOST_DIMENSIONS: usize = 16;

/// Reads every variable of a folder.
///
/// # Errors
/// [`Error::BadWeights`] naming the file, [`Error::TooLarge`], [`Error::Io`].
pub(super) fn read_folder(folder: &Path) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    let mut total = 0_u64;
    for file in folder::files(folder)? {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = read_regular(&file, super::LARGEST_FILE)?;
        total = total.saturating_add(bytes.len() as u64);
        if total > super::LARGEST_FILE {
            let limit = super::LARGEST_FILE;
            return Err(Error::TooLarge { path: folder.to_owned(), what: "size of all files", limit });
        }
        let tensor = variable(&bytes).map_err(|reason| bad(folder, &name, reason))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// One variable from the bytes of its file.
fn variable(bytes: &[u8]) -> Result<Tensor, String> {
    let mut rest = Rest(bytes);
    version(rest.u32("version")?)?;
    for _ in 0..rest.u64("number of levels of detail")? {
        let size = rest.u64("size of a level of detail")?;
        rest.take(size, "a level of detail")?;
    }
    version(rest.u32("version of the tensor")?)?;
    let length = rest.u32("length of the description")?;
    let (dtype, shape) = description(rest.take(u64::from(length), "description")?)?;
    let expected = elements(&shape).and_then(|count| count.checked_mul(dtype.size()));
    let got = rest.0.len();
    if expected != Some(got) {
        let needs =
            expected.map_or_else(|| "more than any file".to_owned(), |bytes| format!("{bytes} bytes"));
        return Err(format!("{dtype} of shape {shape:?} needs {needs}, the file has {got} left: it was cut"));
    }
    Ok(Tensor { dtype, shape, data: rest.0.to_vec() })
}

fn version(version: u32) -> Result<(), String> {
    if version == 0 { Ok(()) } else { Err(format!("version {version}, expected 0: not a Paddle variable")) }
}

/// `TensorDesc`: field 1 is the data type, field 2 one dimension or a packed list of them.
fn description(bytes: &[u8]) -> Result<(Dtype, Vec<usize>), String> {
    let (mut rest, mut dtype, mut shape) = (Rest(bytes), None, Vec::new());
    while !rest.0.is_empty() {
        match rest.varint()? {
            0x08 => dtype = Some(data_type(rest.varint()?)?),
            0x10 => shape.push(dimension(rest.varint()?)?),
            0x12 => {
                let length = rest.varint()?;
                let mut packed = Rest(rest.take(length, "packed dimensions")?);
                while !packed.0.is_empty() {
                    shape.push(dimension(packed.varint()?)?);
                }
            }
            other => return Err(format!("its description has an unknown field {other:#x}")),
        }
        if shape.len() > MOST_DIMENSIONS {
            return Err(format!("it has more than {MOST_DIMENSIONS} dimensions"));
        }
    }
    Ok((dtype.ok_or("its description has no data type")?, shape))
}

fn dimension(value: u64) -> Result<usize, String> {
    i64::try_from(value)
        .ok()
        .and_then(|length| usize::try_from(length).ok())
        .ok_or_else(|| format!("a dimension is {}", value as i64))
}

/// Source: `VarType.Type` in PaddlePaddle's `framework.proto`.
fn data_type(code: u64) -> Result<Dtype, String> {
    Ok(match code {
        0 => Dtype::Bool,
        1 => Dtype::I16,
        2 => Dtype::I32,
        3 => Dtype::I64,
        4 => Dtype::F16,
        5 => Dtype::F32,
        6 => Dtype::F64,
        20 => Dtype::U8,
        21 => Dtype::I8,
        22 => Dtype::BF16,
        other => return Err(format!("its data type has the number {other}, which is no plain number type")),
    })
}

/// What is left of the file.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: u64, what: &str) -> Result<&'a [u8], String> {
        let cut = || format!("it ends in its {what}, of {length} bytes: it was cut");
        let at = usize::try_from(length).map_err(|_| cut())?;
        let (taken, rest) = self.0.split_at_checked(at).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let (taken, rest) =
            self.0.split_first_chunk().ok_or_else(|| format!("it ends in its {what}: it was cut"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of the protocol buffer, seven bits a byte.
    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array("description")?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number of its description has more than 64 bits".to_owned())
    }
}
