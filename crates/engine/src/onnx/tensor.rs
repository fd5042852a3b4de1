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
