//! Constants of a file as numbers. Every length is checked against the data that are there before memory is taken.

use std::borrow::Cow;

use half::{bf16, f16};

use super::OnnxError;
use super::constant::{Constant, Numbers, count};
use super::element::{Element, label};
use super::external::Files;
use super::proto::{EXTERNAL, SparseTensorProto, TensorProto};

impl TensorProto {
    pub(super) fn label(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The type of its numbers.
    pub(super) fn element(&self) -> Result<Element, OnnxError> {
        let number = self.data_type.unwrap_or_default();
        let advice = "of element type";
        let wrong = || self.error(format!("it is {advice} {}, which is not read; convert it", label(number)));
        Element::of(number).ok_or_else(wrong)
    }

    /// Its shape, the product of which can be counted.
    pub(super) fn shape(&self) -> Result<Vec<usize>, OnnxError> {
        sides(&self.dims, self.label())
    }

    /// Whether its numbers lie in another file.
    pub(super) fn is_external(&self) -> bool {
        self.data_location == Some(EXTERNAL) || !self.external_data.is_empty()
    }

    /// Its numbers, widened or rounded to `f32` if they are real and no `f64`.
    pub(super) fn constant(&self, files: &mut Files) -> Result<Constant, OnnxError> {
        if self.segment.is_some() {
            return Err(
                self.error("it is a segment of a larger constant; save the model in one piece".to_owned())
            );
        }
        let (shape, element) = (self.shape()?, self.element()?);
        let needed = count(&shape).unwrap_or(usize::MAX);
        let raw = self.raw_data.as_deref().filter(|raw| !raw.is_empty());
        let listed = self.listed();
        let numbers = if self.is_external() {
            if raw.is_some() || listed > 0 {
                return Err(self
                    .error("it has numbers both here and in another file; save the model again".to_owned()));
            }
            self.unpack(element, needed, &Cow::Owned(files.read(self, needed, element)?))?
        } else {
            match (raw, listed) {
                (Some(_), 1..) => {
                    return Err(self.error("it stores its numbers twice; save the model again".to_owned()));
                }
                (Some(raw), 0) => self.unpack(element, needed, &Cow::Borrowed(raw))?,
                (None, _) => self.unlist(element, needed)?,
            }
        };
        Ok(Constant { shape, element, numbers })
    }

    /// How many numbers its lists have together.
    fn listed(&self) -> usize {
        let real = self.float_data.len() + self.double_data.len();
        real + self.int32_data.len() + self.int64_data.len() + self.uint64_data.len()
    }

    fn unpack(&self, element: Element, needed: usize, raw: &[u8]) -> Result<Numbers, OnnxError> {
        let size = element.bytes();
        if !raw.len().is_multiple_of(size) {
            return Err(self.error(format!("{} bytes are no whole numbers of {size} bytes", raw.len())));
        }
        self.check(raw.len() / size, needed)?;
        fn each<T, const SIZE: usize>(raw: &[u8], number: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
            raw.as_chunks::<SIZE>().0.iter().map(|&bytes| number(bytes)).collect()
        }
        let whole = |numbers: Vec<i64>| Numbers::Whole(numbers);
        Ok(match element {
            Element::F32 => Numbers::Single(each(raw, f32::from_le_bytes)),
            Element::F64 => Numbers::Double(each(raw, f64::from_le_bytes)),
            Element::F16 => Numbers::Single(each(raw, |bytes| f16::from_le_bytes(bytes).to_f32())),
            Element::Bf16 => Numbers::Single(each(raw, |bytes| bf16::from_le_bytes(bytes).to_f32())),
            Element::Bool => whole(each(raw, |[byte]: [u8; 1]| i64::from(byte != 0))),
            Element::Int { bits: 8, signed: true } => {
                whole(each(raw, |bytes| i8::from_le_bytes(bytes).into()))
            }
            Element::Int { bits: 8, .. } => whole(each(raw, |bytes| u8::from_le_bytes(bytes).into())),
            Element::Int { bits: 16, signed: true } => {
                whole(each(raw, |bytes| i16::from_le_bytes(bytes).into()))
            }
            Element::Int { bits: 16, .. } => whole(each(raw, |bytes| u16::from_le_bytes(bytes).into())),
            Element::Int { bits: 32, signed: true } => {
                whole(each(raw, |bytes| i32::from_le_bytes(bytes).into()))
            }
            Element::Int { bits: 32, .. } => whole(each(raw, |bytes| u32::from_le_bytes(bytes).into())),
            Element::Int { signed: true, .. } => whole(each(raw, i64::from_le_bytes)),
            Element::Int { .. } => self.large(each(raw, u64::from_le_bytes).into_iter())?,
        })
    }

    /// Numbers from the list that belongs to their type.
    fn unlist(&self, element: Element, needed: usize) -> Result<Numbers, OnnxError> {
        let in_list = match element {
            Element::F32 => self.float_data.len(),
            Element::F64 => self.double_data.len(),
            Element::Int { bits: 64, signed: true } => self.int64_data.len(),
            Element::Int { bits: 32 | 64, signed: false } => self.uint64_data.len(),
            _ => self.int32_data.len(),
        };
        self.check(in_list, needed)?;
        Ok(match element {
            Element::F32 => Numbers::Single(self.float_data.clone()),
            Element::F64 => Numbers::Double(self.double_data.clone()),
            Element::F16 => {
                Numbers::Single(self.halves()?.map(|bits| f16::from_bits(bits).to_f32()).collect())
            }
            Element::Bf16 => {
                Numbers::Single(self.halves()?.map(|bits| bf16::from_bits(bits).to_f32()).collect())
            }
            Element::Int { bits: 64, signed: true } => Numbers::Whole(self.int64_data.clone()),
            Element::Int { bits: 32 | 64, signed: false } => self.large(self.uint64_data.iter().copied())?,
            Element::Bool | Element::Int { .. } => {
                let numbers: Vec<i64> = self.int32_data.iter().map(|&number| number.into()).collect();
                match numbers.iter().find(|&&number| !element.holds(number)) {
                    Some(number) => return Err(self.out_of_range(number)),
                    None => Numbers::Whole(numbers),
                }
            }
        })
    }

    /// The bits of numbers of two bytes, which are listed as integers of four.
    fn halves(&self) -> Result<impl Iterator<Item = u16> + '_, OnnxError> {
        match self.int32_data.iter().find(|&&bits| u16::try_from(bits).is_err()) {
            Some(bits) => Err(self.out_of_range(bits)),
            None => Ok(self.int32_data.iter().map(|&bits| bits as u16)),
        }
    }

    fn large(&self, numbers: impl Iterator<Item = u64>) -> Result<Numbers, OnnxError> {
        let number = |number: u64| i64::try_from(number).map_err(|_| self.out_of_range(number));
        numbers.map(number).collect::<Result<_, _>>().map(Numbers::Whole)
    }

    fn out_of_range(&self, number: impl std::fmt::Display) -> OnnxError {
        self.error(format!("{number} is out of the range of its type; save the model again"))
    }

    fn check(&self, got: usize, expected: usize) -> Result<(), OnnxError> {
        if got == expected {
            return Ok(());
        }
        Err(self.error(format!("{got} numbers for the shape {:?}, which needs {expected}", self.dims)))
    }

    pub(super) fn error(&self, reason: String) -> OnnxError {
        error(self.label(), reason)
    }
}

impl SparseTensorProto {
    pub(super) fn label(&self) -> &str {
        self.values.as_ref().map_or("", TensorProto::label)
    }

    /// The shape with the zeros, the product of which can be counted.
    pub(super) fn shape(&self) -> Result<Vec<usize>, OnnxError> {
        sides(&self.dims, self.label())
    }

    /// All numbers, with the zeros. The caller has checked that the product of the shape is not too much.
    pub(super) fn constant(&self, files: &mut Files) -> Result<Constant, OnnxError> {
        let shape = self.shape()?;
        let (Some(values), Some(indices)) = (&self.values, &self.indices) else {
            return Err(error(self.label(), "a sparse constant needs values and indices".to_owned()));
        };
        let real = values.constant(files)?.into_reals();
        let numbers = real.ok_or_else(|| error(self.label(), "its values are no real numbers".to_owned()))?;
        let Numbers::Whole(places) = indices.constant(files)?.numbers else { return Err(self.bad_indices()) };
        let width = match indices.dims[..] {
            [_] => 1,
            [_, width] if width == shape.len() as i64 && width > 0 => shape.len(),
            _ => return Err(self.bad_indices()),
        };
        if Some(places.len()) != numbers.len().checked_mul(width) || values.dims.len() != 1 {
            return Err(self.bad_indices());
        }
        let mut dense = vec![0.0; count(&shape).unwrap_or_default()];
        for (place, number) in places.chunks_exact(width).zip(numbers) {
            let place =
                if indices.dims.len() == 1 { usize::try_from(place[0]).ok() } else { flat(place, &shape) };
            let slot = place.and_then(|place| dense.get_mut(place)).ok_or_else(|| self.bad_indices())?;
            *slot = number;
        }
        Ok(Constant::reals(shape, dense))
    }

    fn bad_indices(&self) -> OnnxError {
        let indices = self.indices.as_ref().map_or(&[][..], |indices| &indices.dims);
        let reason = format!("indices of shape {indices:?} do not fit into the shape {:?}", self.dims);
        error(self.label(), reason)
    }
}

/// The place in C order of these coordinates.
fn flat(coordinates: &[i64], shape: &[usize]) -> Option<usize> {
    coordinates.iter().zip(shape).try_fold(0, |place, (&coordinate, &side)| {
        let coordinate = usize::try_from(coordinate).ok().filter(|&coordinate| coordinate < side)?;
        Some(place * side + coordinate)
    })
}

fn sides(dims: &[i64], tensor: &str) -> Result<Vec<usize>, OnnxError> {
    let side = |&side: &i64| usize::try_from(side).ok();
    let shape: Option<Vec<usize>> = dims.iter().map(side).collect();
    let shape = shape.ok_or_else(|| error(tensor, format!("the shape {dims:?} is negative")))?;
    // A side of zero must not hide that the others are too large for places to be counted.
    let others: Vec<usize> = shape.iter().map(|&side| side.max(1)).collect();
    match count(&others) {
        Some(0..=MOST) => Ok(shape),
        _ => Err(error(tensor, format!("the shape {shape:?} is too large"))),
    }
}

/// Most numbers of a shape, so that places can be counted with a sign.
const MOST: usize = isize::MAX as usize / 16;

fn error(tensor: &str, reason: String) -> OnnxError {
    OnnxError::Constant { tensor: tensor.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{BFLOAT16, DOUBLE, FLOAT, FLOAT16, INT64};

    fn raw(data_type: i32, dims: &[i64], bytes: Vec<u8>) -> TensorProto {
        let (dims, raw_data) = (dims.to_vec(), Some(bytes));
        TensorProto { dims, data_type: Some(data_type), raw_data, ..TensorProto::default() }
    }

    fn integers(dims: &[i64], numbers: &[i64]) -> TensorProto {
        raw(INT64, dims, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    fn floats(numbers: &[f32]) -> TensorProto {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        raw(FLOAT, &[numbers.len() as i64], bytes)
    }

    fn read(tensor: &TensorProto) -> Result<Constant, OnnxError> {
        tensor.constant(&mut Files::default())
    }

    #[test]
    fn every_type_of_real_number_is_widened() {
        let numbers = [1.5_f32, -0.25];
        let halves = numbers.map(|x| f16::from_f32(x).to_le_bytes()).concat();
        let brains = numbers.map(|x| bf16::from_f32(x).to_le_bytes()).concat();
        let doubles = numbers.map(|x| f64::from(x).to_le_bytes()).concat();
        for tensor in [
            floats(&numbers),
            raw(FLOAT16, &[2], halves),
            raw(BFLOAT16, &[2], brains),
            raw(DOUBLE, &[2], doubles),
        ] {
            assert_eq!(read(&tensor).unwrap().into_reals().unwrap(), numbers);
        }
        // An empty `raw_data` is what programs write that write every field.
        let empty = |data_type| raw(data_type, &[1], vec![]);
        let bits = i32::from(f16::from_f32(1.5).to_bits());
        let half = TensorProto { int32_data: vec![bits], ..empty(FLOAT16) };
        let double = TensorProto { double_data: vec![1.5], ..empty(DOUBLE) };
        let single = TensorProto { float_data: vec![1.5], ..empty(FLOAT) };
        for tensor in [half, double, single] {
            assert_eq!(read(&tensor).unwrap().into_reals().unwrap(), [1.5]);
        }
    }

    #[test]
    fn every_type_of_integer_is_widened_and_none_wraps() {
        for (data_type, bytes, expected) in [
            (2, vec![255], 255),
            (3, vec![255], -1),
            (4, vec![255, 255], 65535),
            (5, vec![255, 255], -1),
            (6, vec![249, 255, 255, 255], -7),
            (9, vec![3], 1),
            (12, vec![255; 4], i64::from(u32::MAX)),
            (13, vec![1, 0, 0, 0, 0, 0, 0, 0], 1),
        ] {
            assert_eq!(read(&raw(data_type, &[], bytes)).unwrap().numbers, Numbers::Whole(vec![expected]));
        }
        assert!(read(&raw(13, &[], vec![255; 8])).unwrap_err().to_string().contains("range"));
        let listed = |number| TensorProto { int32_data: vec![number], ..raw(3, &[], vec![]) };
        assert_eq!(read(&listed(-7)).unwrap().numbers, Numbers::Whole(vec![-7]));
        assert!(read(&listed(128)).is_err());
    }

    #[test]
    fn lengths_types_and_places_are_checked() {
        for (dims, bytes) in [(&[3][..], 8), (&[-1], 4), (&[2], 7), (&[i64::MAX, i64::MAX, 0], 0), (&[], 8)] {
            let error = read(&raw(FLOAT, dims, vec![0; bytes])).unwrap_err();
            assert!(matches!(error, OnnxError::Constant { .. }), "{dims:?}");
        }
        assert!(read(&raw(8, &[1], vec![0])).unwrap_err().to_string().contains("STRING"));
        let twice = TensorProto { float_data: vec![1.0], ..floats(&[1.0]) };
        assert!(read(&twice).unwrap_err().to_string().contains("twice"));
        let segment = TensorProto { segment: Some(vec![]), ..floats(&[1.0]) };
        assert!(read(&segment).unwrap_err().to_string().contains("segment"));
    }

    #[test]
    fn sparse_constants_have_places_or_coordinates() {
        let sparse = |indices| SparseTensorProto {
            values: Some(floats(&[5.0, 7.0])),
            indices: Some(indices),
            dims: vec![2, 3],
        };
        let read = |tensor: SparseTensorProto| tensor.constant(&mut Files::default());
        let dense = Constant::reals(vec![2, 3], vec![0.0, 5.0, 0.0, 0.0, 0.0, 7.0]);
        assert_eq!(read(sparse(integers(&[2], &[1, 5]))).unwrap(), dense);
        assert_eq!(read(sparse(integers(&[2, 2], &[0, 1, 1, 2]))).unwrap(), dense);
        for (dims, indices) in [
            (&[2][..], &[1, 6][..]),
            (&[2], &[-1, 5]),
            (&[3], &[1, 2, 3]),
            (&[2, 2], &[0, 1, 1, 3]),
            (&[2, 3], &[0; 6]),
            (&[2, 1, 1], &[0; 2]),
        ] {
            assert!(read(sparse(integers(dims, indices))).is_err(), "{dims:?} {indices:?}");
        }
    }
}
