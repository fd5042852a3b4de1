//! Constants of a file as numbers. Every length is checked against the data that are there before memory is taken.

use half::{bf16, f16};

use super::OnnxError;
use super::proto::{
    BFLOAT16, DOUBLE, EXTERNAL, FLOAT, FLOAT16, INT32, INT64, SparseTensorProto, TensorProto,
};

/// Real numbers, in C order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl TensorProto {
    pub(super) fn label(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// How many numbers the shape asks for.
    pub(super) fn count(&self) -> Result<usize, OnnxError> {
        count(&sides(&self.dims, self.label())?, self.label())
    }

    /// The numbers as `f32`, widened or rounded if stored otherwise.
    pub(super) fn floats(&self) -> Result<Constant, OnnxError> {
        self.refuse_external()?;
        let shape = sides(&self.dims, self.label())?;
        let raw = self.raw_data.as_deref();
        let halves = || self.int32_data.iter().map(|&bits| bits as u16);
        let count = count(&shape, self.label())?;
        let values = match (self.data_type.unwrap_or_default(), raw) {
            (FLOAT, Some(raw)) => self.unpack(raw, count, f32::from_le_bytes)?,
            (FLOAT, None) => self.checked(self.float_data.len(), count, || self.float_data.clone())?,
            (DOUBLE, Some(raw)) => self.unpack(raw, count, |bytes| f64::from_le_bytes(bytes) as f32)?,
            (DOUBLE, None) => {
                let narrowed = || self.double_data.iter().map(|&x| x as f32).collect();
                self.checked(self.double_data.len(), count, narrowed)?
            }
            (FLOAT16, Some(raw)) => self.unpack(raw, count, |bytes| f16::from_le_bytes(bytes).to_f32())?,
            (FLOAT16, None) => self.checked(self.int32_data.len(), count, || {
                halves().map(|bits| f16::from_bits(bits).to_f32()).collect()
            })?,
            (BFLOAT16, Some(raw)) => self.unpack(raw, count, |bytes| bf16::from_le_bytes(bytes).to_f32())?,
            (BFLOAT16, None) => self.checked(self.int32_data.len(), count, || {
                halves().map(|bits| bf16::from_bits(bits).to_f32()).collect()
            })?,
            (other, _) => return Err(self.error(wrong_type(other, "f32, f64, f16 or bf16"))),
        };
        Ok(Constant { shape, values })
    }

    /// The numbers as integers.
    pub(super) fn integers(&self) -> Result<Vec<i64>, OnnxError> {
        self.refuse_external()?;
        let count = self.count()?;
        match (self.data_type.unwrap_or_default(), self.raw_data.as_deref()) {
            (INT64, Some(raw)) => self.unpack(raw, count, i64::from_le_bytes),
            (INT64, None) => self.checked(self.int64_data.len(), count, || self.int64_data.clone()),
            (INT32, Some(raw)) => self.unpack(raw, count, |bytes| i32::from_le_bytes(bytes).into()),
            (INT32, None) => self.checked(self.int32_data.len(), count, || {
                self.int32_data.iter().map(|&number| number.into()).collect()
            }),
            (other, _) => Err(self.error(wrong_type(other, "i64 or i32"))),
        }
    }

    /// Whether these are integers that [`TensorProto::integers`] reads.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.data_type, Some(INT32 | INT64))
    }

    fn unpack<T, const SIZE: usize>(
        &self,
        raw: &[u8],
        count: usize,
        number: impl Fn([u8; SIZE]) -> T,
    ) -> Result<Vec<T>, OnnxError> {
        let (chunks, rest) = raw.as_chunks::<SIZE>();
        if !rest.is_empty() {
            return Err(self.error(format!("{} bytes are no whole numbers of {SIZE} bytes", raw.len())));
        }
        self.checked(chunks.len(), count, || chunks.iter().map(|&bytes| number(bytes)).collect())
    }

    fn checked<T>(
        &self,
        got: usize,
        expected: usize,
        numbers: impl FnOnce() -> Vec<T>,
    ) -> Result<Vec<T>, OnnxError> {
        if got == expected {
            return Ok(numbers());
        }
        Err(self.error(format!("{got} numbers for the shape {:?}, which needs {expected}", self.dims)))
    }

    fn refuse_external(&self) -> Result<(), OnnxError> {
        if self.data_location != Some(EXTERNAL) && self.external_data.is_empty() {
            return Ok(());
        }
        let location = self.external_data.iter().find(|entry| entry.key.as_deref() == Some("location"));
        let location = location.and_then(|entry| entry.value.clone()).unwrap_or_default();
        Err(OnnxError::External { tensor: self.label().to_owned(), location })
    }

    fn error(&self, reason: String) -> OnnxError {
        error(self.label(), reason)
    }
}

impl SparseTensorProto {
    pub(super) fn label(&self) -> &str {
        self.values.as_ref().map_or("", TensorProto::label)
    }

    /// How many numbers the shape asks for, zeros included.
    pub(super) fn count(&self) -> Result<usize, OnnxError> {
        count(&sides(&self.dims, self.label())?, self.label())
    }

    /// All numbers, with the zeros. The caller has checked that [`SparseTensorProto::count`] is not too much.
    pub(super) fn floats(&self) -> Result<Constant, OnnxError> {
        let shape = sides(&self.dims, self.label())?;
        let (Some(values), Some(indices)) = (&self.values, &self.indices) else {
            return Err(error(self.label(), "a sparse constant needs values and indices".to_owned()));
        };
        let (numbers, places) = (values.floats()?.values, indices.integers()?);
        let width = match indices.dims[..] {
            [_] => 1,
            [_, width] if width == shape.len() as i64 && width > 0 => shape.len(),
            _ => return Err(self.bad_indices()),
        };
        if places.len() != numbers.len() * width {
            return Err(self.bad_indices());
        }
        let mut dense = vec![0.0; count(&shape, self.label())?];
        for (place, number) in places.chunks_exact(width).zip(numbers) {
            let place =
                if indices.dims.len() == 1 { usize::try_from(place[0]).ok() } else { flat(place, &shape) };
            let slot = place.and_then(|place| dense.get_mut(place)).ok_or_else(|| self.bad_indices())?;
            *slot = number;
        }
        Ok(Constant { shape, values: dense })
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
    dims.iter()
        .map(|&side| {
            usize::try_from(side).map_err(|_| error(tensor, format!("the shape {dims:?} is negative")))
        })
        .collect()
}

fn count(shape: &[usize], tensor: &str) -> Result<usize, OnnxError> {
    let count = shape.iter().try_fold(1, |product: usize, &side| product.checked_mul(side));
    count.ok_or_else(|| error(tensor, format!("the shape {shape:?} is too large")))
}

fn wrong_type(got: i32, expected: &str) -> String {
    format!("element type {got} of ONNX, expected {expected}; convert it")
}

fn error(tensor: &str, reason: String) -> OnnxError {
    OnnxError::Constant { tensor: tensor.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::StringStringEntryProto;

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
            assert_eq!(tensor.floats().unwrap().values, numbers);
        }
        let empty = |data_type| TensorProto { raw_data: None, ..raw(data_type, &[1], vec![]) };
        let bits = i32::from(f16::from_f32(1.5).to_bits());
        let half = TensorProto { int32_data: vec![bits], ..empty(FLOAT16) };
        let double = TensorProto { double_data: vec![1.5], ..empty(DOUBLE) };
        let single = TensorProto { float_data: vec![1.5], ..empty(FLOAT) };
        assert!([half, double, single].iter().all(|tensor| tensor.floats().unwrap().values == [1.5]));
        let short = TensorProto { int32_data: vec![-7], ..empty(INT32) };
        assert_eq!(short.integers().unwrap(), [-7]);
    }

    #[test]
    fn lengths_types_and_places_are_checked() {
        for (dims, bytes) in [(&[3][..], 8), (&[-1], 4), (&[2], 7), (&[i64::MAX, i64::MAX], 8), (&[], 8)] {
            let error = raw(FLOAT, dims, vec![0; bytes]).floats().unwrap_err();
            assert!(matches!(error, OnnxError::Constant { .. }), "{dims:?}");
        }
        assert!(raw(3, &[1], vec![0]).floats().unwrap_err().to_string().contains("element type 3"));
        let entry = StringStringEntryProto { key: Some("location".into()), value: Some("w.bin".into()) };
        let external = TensorProto {
            name: Some("w".into()),
            external_data: vec![entry],
            data_location: Some(EXTERNAL),
            ..floats(&[])
        };
        let error = external.floats().unwrap_err();
        assert!(
            matches!(error, OnnxError::External { tensor, location } if tensor == "w" && location == "w.bin")
        );
    }

    #[test]
    fn sparse_constants_have_places_or_coordinates() {
        let sparse = |indices| SparseTensorProto {
            values: Some(floats(&[5.0, 7.0])),
            indices: Some(indices),
            dims: vec![2, 3],
        };
        let dense = Constant { shape: vec![2, 3], values: vec![0.0, 5.0, 0.0, 0.0, 0.0, 7.0] };
        assert_eq!(sparse(integers(&[2], &[1, 5])).floats().unwrap(), dense);
        assert_eq!(sparse(integers(&[2, 2], &[0, 1, 1, 2])).floats().unwrap(), dense);
        for (dims, indices) in [
            (&[2][..], &[1, 6][..]),
            (&[2], &[-1, 5]),
            (&[3], &[1, 2, 3]),
            (&[2, 2], &[0, 1, 1, 3]),
            (&[2, 3], &[0; 6]),
            (&[2, 1, 1], &[0; 2]),
        ] {
            assert!(sparse(integers(dims, indices)).floats().is_err(), "{dims:?} {indices:?}");
        }
    }
}
