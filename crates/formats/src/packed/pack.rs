//! From tensors to the parts of packed ones.

use std::path::Path;

use super::matrix::Matrix;
use super::names::{BITMASK, COMPRESSED, PARTS_OF_FLOATS, SHAPE, split};
use super::{Report, Values};
use crate::file::check;
use crate::{Dtype, Error, Result, Tensor, Tensors};

/// What three entries of a header take more than one, without the name of the tensor.
const ENTRIES: usize = 200;

/// Packs what gets smaller by it: tensors of f32 with two axes or more. The others, such as those of batch norm, stay as
/// they are, whatever `values` is.
///
/// The sizes of files in the report are left at 0. `path` only names the file in errors.
///
/// # Errors
/// [`Error::PartName`] for a tensor whose name ends like that of a part, [`Error::ValueTooLarge`] if a number is beyond
/// the range of `values`, and [`Error::ReservedName`] and [`Error::WrongTensorLength`] as [`crate::encode`].
pub fn pack(path: impl AsRef<Path>, tensors: &Tensors, values: Values) -> Result<(Tensors, Report)> {
    let path = path.as_ref();
    let mut report = Report { tensors: tensors.len(), ..Report::default() };
    let mut packed = Tensors::new();
    for (name, tensor) in tensors {
        check(path, name, tensor)?;
        if split(name).is_some_and(|(_, part)| PARTS_OF_FLOATS.contains(&part)) {
            return Err(Error::PartName { path: path.to_owned(), tensor: name.clone() });
        }
        match matrix_to_pack(name, tensor, values) {
            None => {
                packed.insert(name.clone(), tensor.clone());
            }
            Some(matrix) => {
                let compressed = compressed(tensor, values, &mut report)
                    .map_err(|value| too_large(path, name, value, values))?;
                let parts = [
                    (COMPRESSED, compressed),
                    (BITMASK, bitmask(tensor, matrix)),
                    (SHAPE, lengths(&tensor.shape)),
                ];
                report.packed_tensors += 1;
                report.weights += matrix.elements();
                report.packed_dense_bytes += tensor.data.len() as u64;
                report.packed_bytes += parts.iter().map(|(_, part)| part.data.len() as u64).sum::<u64>();
                packed.extend(parts.map(|(part, tensor)| (format!("{name}{part}"), tensor)));
            }
        }
    }
    Ok((packed, report))
}

/// The matrix that a tensor is seen as, if the file gets smaller when it is packed.
fn matrix_to_pack(name: &str, tensor: &Tensor, values: Values) -> Option<Matrix> {
    if tensor.dtype != Dtype::F32 || tensor.shape.len() < 2 {
        return None;
    }
    let matrix = Matrix::of(&tensor.shape)?;
    let stored = elements(tensor).filter(|element| is_stored(*element)).count();
    let parts = stored * values.dtype().size()
        + matrix.rows * matrix.row_bytes()
        + size_of::<i64>() * tensor.shape.len();
    (parts + ENTRIES + 2 * name.len() < tensor.data.len()).then_some(matrix)
}

/// The elements of an f32 tensor as they lie in memory.
fn elements(tensor: &Tensor) -> impl Iterator<Item = [u8; 4]> {
    tensor.data.as_chunks().0.iter().copied()
}

/// Whether an element is not the zero whose bits are all zero.
fn is_stored(element: [u8; 4]) -> bool {
    element != [0; 4]
}

/// The stored numbers in the order of the tensor.
///
/// # Errors
/// The first number that is too large for `values`.
fn compressed(tensor: &Tensor, values: Values, report: &mut Report) -> Result<Tensor, f32> {
    let dtype = values.dtype();
    let mut data = Vec::new();
    let mut count = 0;
    for element in elements(tensor).filter(|element| is_stored(*element)) {
        let value = f32::from_le_bytes(element);
        let rounded = match values {
            Values::F32 => {
                data.extend_from_slice(&element);
                value
            }
            Values::F16 => {
                let rounded = half::f16::from_f32(value);
                data.extend_from_slice(&rounded.to_le_bytes());
                rounded.to_f32()
            }
            Values::Bf16 => {
                let rounded = half::bf16::from_f32(value);
                data.extend_from_slice(&rounded.to_le_bytes());
                rounded.to_f32()
            }
        };
        if value.is_finite() && rounded.is_infinite() {
            return Err(value);
        }
        note_rounding(value, rounded, report);
        count += 1;
    }
    report.values += count;
    Ok(Tensor { dtype, shape: vec![count], data })
}

fn note_rounding(value: f32, rounded: f32, report: &mut Report) {
    if value.is_finite() && value != 0.0 && rounded != value {
        let error = (f64::from(rounded) - f64::from(value)).abs() / f64::from(value).abs();
        report.rounding_error = report.rounding_error.max(error);
        report.rounded_to_zero += usize::from(rounded == 0.0);
    }
}

fn too_large(path: &Path, tensor: &str, value: f32, values: Values) -> Error {
    let instead = if values == Values::F16 && half::bf16::from_f32(value).is_finite() {
        Values::Bf16
    } else {
        Values::F32
    };
    let (path, tensor) = (path.to_owned(), tensor.to_owned());
    Error::ValueTooLarge { path, tensor, value, dtype: values.dtype(), instead }
}

/// A bit for each element, the lowest bit of a byte first, each row in whole bytes.
fn bitmask(tensor: &Tensor, matrix: Matrix) -> Tensor {
    let row_bytes = matrix.row_bytes();
    let mut bits = vec![0_u8; matrix.rows * row_bytes];
    for (index, element) in elements(tensor).enumerate() {
        let (row, column) = (index / matrix.columns, index % matrix.columns);
        bits[row * row_bytes + column / 8] |= u8::from(is_stored(element)) << (column % 8);
    }
    Tensor::from_u8([matrix.rows, row_bytes], &bits)
}

/// The lengths of the axes as a tensor.
fn lengths(shape: &[usize]) -> Tensor {
    let data = shape.iter().flat_map(|&length| (length as i64).to_le_bytes()).collect();
    Tensor { dtype: Dtype::I64, shape: vec![shape.len()], data }
}
