//! From the parts of a packed tensor back to its weights.

use std::path::{Path, PathBuf};

use super::Fault;
use super::matrix::Matrix;
use super::names::{BITMASK, COMPRESSED, SHAPE};
use crate::{Dtype, Error, Result, TensorView};

/// The parts of one tensor, of types and shapes that fit each other. How many bits are set is seen when it is unpacked.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    path: PathBuf,
    name: String,
    shape: Vec<usize>,
    matrix: Matrix,
    compressed: TensorView<'a>,
    bitmask: TensorView<'a>,
}

impl<'a> Parts<'a> {
    /// The parts of a tensor; `view` gives what is stored under a name.
    ///
    /// # Errors
    /// [`Error::BadPacked`] if one is missing, or of a type or shape that does not fit the others.
    pub(crate) fn of(path: &Path, name: &str, view: impl Fn(&str) -> Option<TensorView<'a>>) -> Result<Self> {
        let bad = |fault: Fault| Error::BadPacked {
            path: path.to_owned(),
            tensor: name.to_owned(),
            fault: fault.into(),
        };
        let part = |part| view(&format!("{name}{part}")).ok_or_else(|| bad(Fault::Missing { part }));
        let (compressed, bitmask) = (part(COMPRESSED)?, part(BITMASK)?);
        let (shape, matrix) = shape_of(part(SHAPE)?).map_err(bad)?;
        let rows = [matrix.rows, matrix.row_bytes()];
        check(BITMASK, bitmask, bitmask.dtype == Dtype::U8 && bitmask.shape == rows, || {
            format!("U8 {rows:?} for the shape {shape:?}")
        })
        .map_err(bad)?;
        let is_float = matches!(compressed.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
        check(COMPRESSED, compressed, is_float && compressed.shape.len() == 1, || {
            "F32, F16 or BF16 with one axis".to_owned()
        })
        .map_err(bad)?;
        Ok(Self { path: path.to_owned(), name: name.to_owned(), shape, matrix, compressed, bitmask })
    }

    /// The lengths of its axes.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What it takes as f32.
    pub(crate) fn unpacked_bytes(&self) -> usize {
        self.matrix.elements().saturating_mul(size_of::<f32>())
    }

    /// All weights in C order.
    ///
    /// # Errors
    /// [`Error::BadPacked`] if other bits are set than there are values.
    pub(crate) fn values(&self) -> Result<Vec<f32>> {
        count_bits(self.bitmask.data, self.matrix.columns, self.compressed.shape.iter().product(), 1)
            .map_err(|fault| Error::BadPacked {
                path: self.path.clone(),
                tensor: self.name.clone(),
                fault: fault.into(),
            })?;
        let data = self.compressed.data;
        Ok(match self.compressed.dtype {
            Dtype::F16 => self.spread(data, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => self.spread(data, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
            _ => self.spread(data, f32::from_le_bytes),
        })
    }

    /// The bits of each row; none if rows are empty.
    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.bitmask.data.chunks_exact(self.matrix.row_bytes().max(1))
    }

    /// Puts each value where its bit is, among zeros.
    fn spread<const N: usize>(&self, data: &[u8], from_bytes: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let mut weights = vec![0.0; self.matrix.elements()];
        let mut values = data.as_chunks::<N>().0.iter().map(|&bytes| from_bytes(bytes));
        let rows = weights.chunks_exact_mut(self.matrix.columns.max(1)).zip(self.rows());
        for (eight, &byte) in rows.flat_map(|(row, bytes)| row.chunks_mut(8).zip(bytes)) {
            let mut left = byte;
            while left != 0 {
                let weight = eight.get_mut(left.trailing_zeros() as usize);
                if let (Some(weight), Some(value)) = (weight, values.next()) {
                    *weight = value;
                }
                left &= left - 1;
            }
        }
        weights
    }
}

/// Checks that as many bits are set as there are groups of `size` values, and none behind the end of a row of so many bits.
pub(super) fn count_bits(bytes: &[u8], columns: usize, values: usize, size: usize) -> Result<(), Fault> {
    let beyond = if columns.is_multiple_of(8) { 0 } else { u8::MAX << (columns % 8) };
    let mut bits = 0;
    for (row, bytes) in bytes.chunks_exact(columns.div_ceil(8).max(1)).enumerate() {
        if bytes.last().is_some_and(|last| last & beyond != 0) {
            return Err(Fault::Padding { row, columns });
        }
        bits += bytes.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
    }
    if bits.checked_mul(size) == Some(values) { Ok(()) } else { Err(Fault::Count { bits, values }) }
}

pub(super) fn check(
    part: &'static str,
    view: TensorView<'_>,
    fits: bool,
    expected: impl Fn() -> String,
) -> Result<(), Fault> {
    if fits {
        return Ok(());
    }
    Err(Fault::Part { part, dtype: view.dtype, shape: view.shape.to_vec(), expected: expected() })
}

/// The shape that a `.shape` part holds, and its matrix.
pub(super) fn shape_of(part: TensorView<'_>) -> Result<(Vec<usize>, Matrix), Fault> {
    let fits = part.dtype == Dtype::I64 && part.shape.len() == 1;
    check(SHAPE, part, fits, || "I64 with one axis".to_owned())?;
    let lengths: Vec<i64> = part.data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect();
    let shape: Option<Vec<usize>> = lengths.iter().map(|&length| usize::try_from(length).ok()).collect();
    let matrix = shape.as_deref().and_then(Matrix::of);
    shape.zip(matrix).ok_or(Fault::Shape { shape: lengths })
}
