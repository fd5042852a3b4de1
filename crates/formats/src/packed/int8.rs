//! Tensors of 8 bits: whole multiples of a scale for each row, without the zeros if that is smaller.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::matrix::Matrix;
use super::names::{BITMASK, BLOCKMASK, MULTIPLES, SCALES, SHAPE, split};
use super::parts::{check, count_bits, shape_of};
use super::{Fault, KEY, VERSION_INT8, Values, pack};
use crate::file::{check as check_tensor, encode_with_keys};
use crate::{Dtype, Error, Result, Tensor, TensorView, Tensors, atomic};

/// Neighbours of a row that are stored together or not at all, if they are stored by blocks.
pub(super) const BLOCK: usize = 4;

/// A tensor whose rows, along its first axis, are whole multiples of a scale each.
#[derive(Clone, Debug, PartialEq)]
pub struct Multiples {
    /// The lengths of its axes.
    pub shape: Vec<usize>,
    /// In C order.
    pub multiples: Vec<i8>,
    /// For each row.
    pub scales: Vec<f32>,
}

/// Writes a file of 8 bits atomically; the other tensors are packed as [`super::write()`] does, or there as they are. The file's bytes.
///
/// # Errors
/// The errors of [`encode_int8`] and of [`atomic::write_file`].
pub fn write_int8(
    path: impl AsRef<Path>,
    tensors: &Tensors,
    multiples: &BTreeMap<String, Multiples>,
    metadata: Option<&str>,
) -> Result<u64> {
    let bytes = encode_int8(path.as_ref(), tensors, multiples, metadata)?;
    atomic::write_file(path.as_ref(), &bytes)?;
    Ok(bytes.len() as u64)
}

/// The bytes of a file of 8 bits; the same input always gives the same bytes. `path` only names the file in errors.
///
/// # Errors
/// The errors of [`super::encode()`]; [`Error::BadPacked`] of a tensor whose numbers are not as many as its shape says, or of a scale that is none.
pub fn encode_int8(
    path: impl AsRef<Path>,
    tensors: &Tensors,
    multiples: &BTreeMap<String, Multiples>,
    metadata: Option<&str>,
) -> Result<Vec<u8>> {
    let path = path.as_ref();
    if let Some(name) = tensors.keys().chain(multiples.keys()).find(|name| split(name).is_some()) {
        return Err(Error::PartName { path: path.to_owned(), tensor: name.clone() });
    }
    let (mut packed, _) = pack(path, tensors, Values::F32)?;
    for (name, tensor) in multiples {
        let bad = |fault: Fault| bad(path, name, fault);
        if tensors.contains_key(name) {
            return Err(bad(Fault::Twice));
        }
        let parts = tensor.parts().map_err(bad)?;
        packed.extend(parts.into_iter().map(|(part, tensor)| (format!("{name}{part}"), tensor)));
    }
    for (name, tensor) in &packed {
        check_tensor(path, name, tensor)?;
    }
    encode_with_keys(path, &packed, metadata, &[(KEY, VERSION_INT8)])
}

fn bad(path: &Path, tensor: &str, fault: Fault) -> Error {
    Error::BadPacked { path: path.to_owned(), tensor: tensor.to_owned(), fault: fault.into() }
}

impl Multiples {
    /// What the smallest form of it is made of.
    fn parts(&self) -> Result<Vec<(&'static str, Tensor)>, Fault> {
        let lengths: Vec<i64> = self.shape.iter().map(|&length| length as i64).collect();
        let matrix = Matrix::of(&self.shape).ok_or(Fault::Shape { shape: lengths.clone() })?;
        if matrix.elements() != self.multiples.len() {
            return Err(Fault::Elements { elements: matrix.elements(), values: self.multiples.len() });
        }
        check_scales(&self.scales, matrix.rows)?;
        let rows = || self.multiples.chunks_exact(matrix.columns.max(1));
        let by_bits =
            matrix.rows * matrix.row_bytes() + self.multiples.iter().filter(|&&value| value != 0).count();
        let is_kept = |block: &&[i8]| block.iter().any(|&value| value != 0);
        let kept = rows().flat_map(|row| row.chunks(BLOCK)).filter(is_kept).count();
        let by_blocks = matrix.rows * matrix.block_bytes() + BLOCK * kept;
        let (values, mask): (Vec<i8>, _) = if by_bits.min(by_blocks) >= self.multiples.len() {
            (self.multiples.clone(), None)
        } else if by_blocks < by_bits {
            let padded =
                |block: &[i8]| (0..BLOCK).map(|at| block.get(at).copied().unwrap_or(0)).collect::<Vec<i8>>();
            let blocks = rows().flat_map(|row| row.chunks(BLOCK)).filter(is_kept).flat_map(padded);
            let mask = bits(rows().map(|row| row.chunks(BLOCK).map(|block| is_kept(&block)).collect()));
            (blocks.collect(), Some((BLOCKMASK, [matrix.rows, matrix.block_bytes()], mask)))
        } else {
            let mask = bits(rows().map(|row| row.iter().map(|&value| value != 0).collect()));
            let values = self.multiples.iter().copied().filter(|&value| value != 0).collect();
            (values, Some((BITMASK, [matrix.rows, matrix.row_bytes()], mask)))
        };
        let data = lengths.iter().flat_map(|length| length.to_le_bytes()).collect();
        let stored = values.iter().map(|value| value.cast_unsigned()).collect();
        let mut parts = vec![
            (SHAPE, Tensor { dtype: Dtype::I64, shape: vec![lengths.len()], data }),
            (SCALES, Tensor::from_f32([matrix.rows], &self.scales)),
            (MULTIPLES, Tensor { dtype: Dtype::I8, shape: vec![values.len()], data: stored }),
        ];
        parts.extend(mask.map(|(part, shape, bytes)| (part, Tensor::from_u8(shape, &bytes))));
        Ok(parts)
    }
}

/// A bit for each, the lowest of a byte first, each row in whole bytes.
fn bits(rows: impl Iterator<Item = Vec<bool>>) -> Vec<u8> {
    let byte =
        |eight: &[bool]| eight.iter().enumerate().fold(0, |byte, (at, &bit)| byte | u8::from(bit) << at);
    rows.flat_map(|row| row.chunks(8).map(byte).collect::<Vec<u8>>()).collect()
}

fn check_scales(scales: &[f32], rows: usize) -> Result<(), Fault> {
    if scales.len() != rows {
        return Err(Fault::Elements { elements: rows, values: scales.len() });
    }
    match scales.iter().position(|scale| !(scale.is_finite() && *scale > 0.0)) {
        Some(row) => Err(Fault::Scale { row }),
        None => Ok(()),
    }
}

/// Which multiples are stored.
#[derive(Debug)]
enum Mask<'a> {
    All,
    Bits(TensorView<'a>),
    Blocks(TensorView<'a>),
}

/// The parts of one tensor of 8 bits, of types and shapes that fit each other. How many bits are set is seen when it is unpacked.
#[derive(Debug)]
pub(crate) struct Int8Parts<'a> {
    path: PathBuf,
    name: String,
    shape: Vec<usize>,
    matrix: Matrix,
    multiples: TensorView<'a>,
    scales: Vec<f32>,
    mask: Mask<'a>,
}

impl<'a> Int8Parts<'a> {
    /// The parts of a tensor; `view` gives what is stored under a name.
    ///
    /// # Errors
    /// [`Error::BadPacked`] if one is missing, or of a type or shape that does not fit the others.
    pub(crate) fn of(path: &Path, name: &str, view: impl Fn(&str) -> Option<TensorView<'a>>) -> Result<Self> {
        Self::read(path, name, &view).map_err(|fault| bad(path, name, fault))
    }

    fn read(path: &Path, name: &str, view: &impl Fn(&str) -> Option<TensorView<'a>>) -> Result<Self, Fault> {
        let part = |part| view(&format!("{name}{part}")).ok_or(Fault::Missing { part });
        let (shape, matrix) = shape_of(part(SHAPE)?)?;
        let (multiples, scales) = (part(MULTIPLES)?, part(SCALES)?);
        let fits = multiples.dtype == Dtype::I8 && multiples.shape.len() == 1;
        check(MULTIPLES, multiples, fits, || "I8 with one axis".to_owned())?;
        let fits = scales.dtype == Dtype::F32 && scales.shape == [matrix.rows];
        check(SCALES, scales, fits, || format!("F32 [{}] for the shape {shape:?}", matrix.rows))?;
        let scales: Vec<f32> =
            scales.data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        check_scales(&scales, matrix.rows)?;
        let mask = match (view(&format!("{name}{BITMASK}")), view(&format!("{name}{BLOCKMASK}"))) {
            (Some(_), Some(_)) => return Err(Fault::Twice),
            (Some(bits), None) => {
                mask_of(BITMASK, bits, [matrix.rows, matrix.row_bytes()])?;
                Mask::Bits(bits)
            }
            (None, Some(bits)) => {
                mask_of(BLOCKMASK, bits, [matrix.rows, matrix.block_bytes()])?;
                Mask::Blocks(bits)
            }
            (None, None) => {
                let values = multiples.data.len();
                if values != matrix.elements() {
                    return Err(Fault::Elements { elements: matrix.elements(), values });
                }
                Mask::All
            }
        };
        let (path, name) = (path.to_owned(), name.to_owned());
        Ok(Self { path, name, shape, matrix, multiples, scales, mask })
    }

    /// The lengths of its axes.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What it takes as f32.
    pub(crate) fn unpacked_bytes(&self) -> usize {
        self.matrix.elements().saturating_mul(size_of::<f32>())
    }

    /// The scale of each row.
    pub(crate) fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// All weights in C order, each multiple times its scale.
    ///
    /// # Errors
    /// [`Error::BadPacked`] if other bits are set than there are values.
    pub(crate) fn values(&self) -> Result<Vec<f32>> {
        let multiples = self.multiples().map_err(|fault| bad(&self.path, &self.name, fault))?;
        let rows = multiples.chunks_exact(self.matrix.columns.max(1)).zip(&self.scales);
        Ok(rows.flat_map(|(row, scale)| row.iter().map(move |&value| f32::from(value) * scale)).collect())
    }

    /// All multiples in C order.
    fn multiples(&self) -> Result<Vec<i8>, Fault> {
        let Matrix { columns, .. } = self.matrix;
        let stored = self.multiples.data.iter().map(|byte| byte.cast_signed());
        let (bits, size) = match &self.mask {
            Mask::All => return Ok(stored.collect()),
            Mask::Bits(bits) => (bits.data, 1),
            Mask::Blocks(bits) => (bits.data, BLOCK),
        };
        let units = columns.div_ceil(size);
        count_bits(bits, units, self.multiples.data.len(), size)?;
        let mut all = vec![0; self.matrix.elements()];
        let mut stored = stored;
        let rows = all.chunks_exact_mut(columns.max(1)).zip(bits.chunks_exact(units.div_ceil(8).max(1)));
        for (row, bits) in rows {
            for (at, unit) in row.chunks_mut(size).enumerate() {
                if bits[at / 8] >> (at % 8) & 1 == 0 {
                    continue;
                }
                for place in 0..size {
                    let value = stored.next().unwrap_or_default();
                    if let Some(to) = unit.get_mut(place) {
                        *to = value;
                    }
                }
            }
        }
        Ok(all)
    }
}

fn mask_of(part: &'static str, view: TensorView<'_>, shape: [usize; 2]) -> Result<(), Fault> {
    let fits = view.dtype == Dtype::U8 && view.shape == shape;
    check(part, view, fits, || format!("U8 {shape:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    fn of(shape: &[usize], multiples: Vec<i8>) -> Multiples {
        let scales = (0..shape[0]).map(|row| 0.25 * (row + 1) as f32).collect();
        Multiples { shape: shape.to_vec(), multiples, scales }
    }

    fn bytes_of(tensor: &Multiples) -> usize {
        tensor.parts().unwrap().iter().map(|(_, part)| part.data.len()).sum()
    }

    /// Rows of multiples of which about `share` are kept, in blocks of `block`.
    fn some([rows, columns]: [usize; 2], share: f64, block: usize) -> Multiples {
        let value = |at: usize| {
            let unit = (at / block) as u64;
            let chance = unit.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            if (chance as f64) < share * f64::from(u32::MAX) { (at % 250) as i8 | 1 } else { 0 }
        };
        of(&[rows, columns, 1, 1], (0..rows * columns).map(value).collect())
    }

    #[test]
    fn every_form_comes_back() {
        // Two whole blocks and the ragged one at the end of the first row.
        let ends = [0, 1, 2, 3, 20, 25, 26, 27, 28];
        for (tensor, mask) in [
            (some([16, 64], 1.0, 1), None),
            (some([16, 64], 0.25, 1), Some(BITMASK)),
            (some([16, 64], 0.25, 4), Some(BLOCKMASK)),
            // Rows that are no whole blocks or bytes.
            (some([7, 21], 0.2, 1), Some(BITMASK)),
            (
                of(&[3, 21], (0..63).map(|at| if ends.contains(&at) { at - 64 } else { 0 }).collect()),
                Some(BLOCKMASK),
            ),
            (of(&[3, 5], vec![0; 15]), Some(BITMASK)),
        ] {
            let parts = tensor.parts().unwrap();
            let found = parts.iter().map(|(part, _)| *part).find(|part| [BITMASK, BLOCKMASK].contains(part));
            assert_eq!(found, mask, "{:?}", tensor.shape);
            let tensors = BTreeMap::from([("w".to_owned(), tensor.clone())]);
            let bytes = encode_int8("x", &Tensors::new(), &tensors, Some("{}")).unwrap();
            let (read, metadata) = decode("x", &bytes).unwrap();
            assert_eq!((metadata.as_deref(), read.len()), (Some("{}"), 1));
            let columns = tensor.multiples.len() / tensor.scales.len();
            let expected = (0..tensor.multiples.len())
                .map(|at| f32::from(tensor.multiples[at]) * tensor.scales[at / columns])
                .collect::<Vec<f32>>();
            assert_eq!((read["w"].shape.clone(), read["w"].to_f32().unwrap()), (tensor.shape, expected));
        }
    }

    /// The sizes of `docs/packed.md`.
    #[test]
    fn three_quarters_of_zeros_leave_a_tenth_and_in_blocks_less() {
        let share = |tensor: &Multiples| bytes_of(tensor) as f64 / (4 * tensor.multiples.len()) as f64;
        let (dense, bits, blocks) =
            (some([512, 512], 1.0, 1), some([512, 512], 0.25, 1), some([512, 512], 0.25, 4));
        assert!(share(&dense) < 0.253, "{}", share(&dense));
        assert!((0.09..0.10).contains(&share(&bits)), "{}", share(&bits));
        assert!((0.07..0.075).contains(&share(&blocks)), "{}", share(&blocks));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let encoded = |name: &str, tensor: Multiples| {
            encode_int8("x", &Tensors::new(), &BTreeMap::from([(name.to_owned(), tensor)]), None)
        };
        let fault = |tensor: Multiples| match encoded("w", tensor) {
            Err(Error::BadPacked { fault, .. }) => *fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(of(&[2, 3], vec![1; 5])), Fault::Elements { elements: 6, values: 5 });
        let scales = |scales: &[f32]| Multiples { scales: scales.to_vec(), ..of(&[2, 1], vec![1; 2]) };
        assert_eq!(fault(scales(&[1.0])), Fault::Elements { elements: 2, values: 1 });
        for odd in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(fault(scales(&[1.0, odd])), Fault::Scale { row: 1 });
        }
        assert!(matches!(encoded("w.scales", of(&[1, 1], vec![1])), Err(Error::PartName { .. })));
        let plain = Tensors::from([("w".to_owned(), Tensor::from_f32([1], &[1.0]))]);
        let twice = BTreeMap::from([("w".to_owned(), of(&[1, 1], vec![1]))]);
        assert!(encode_int8("x", &plain, &twice, None).is_err());
    }
}
