//! One tensor in memory, as it lies in a file: dtype, shape and little-endian bytes in C order.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Result, TensorView};

/// Named tensors, in the order of their names.
pub type Tensors = BTreeMap<String, Tensor>;

/// The element types that files may hold. `F16` and `BF16` are carried as bytes; this crate does no arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each name is the format's own name of the type")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    F16,
    BF16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl Dtype {
    /// Every dtype, from the narrowest to the widest.
    pub const ALL: [Self; 13] = [
        Self::Bool,
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::F16,
        Self::BF16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// Size of one element in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The name in a safetensors header, such as `F32` or `BOOL`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::U16 => "U16",
            Self::I16 => "I16",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::U32 => "U32",
            Self::I32 => "I32",
            Self::F32 => "F32",
            Self::U64 => "U64",
            Self::I64 => "I64",
            Self::F64 => "F64",
        }
    }

    /// The dtype that a header calls `name`, if it is one of [`Dtype::ALL`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    pub(crate) fn list() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One tensor: `data` holds `shape.iter().product()` elements of `dtype`, little-endian, in C order.
///
/// The fields are public, so nothing stops a tensor from having the wrong number of bytes; [`crate::encode`] and the
/// `to_*` functions refuse one that has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: Dtype,
    /// Lengths of the axes, the slowest first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements as bytes.
    pub data: Vec<u8>,
}

impl Tensor {
    /// An `F32` tensor; `values` are in C order, as many as `shape` has elements.
    pub fn from_f32(shape: impl Into<Vec<usize>>, values: &[f32]) -> Self {
        Self::from_elements(Dtype::F32, shape.into(), values, f32::to_le_bytes)
    }

    /// An `F64` tensor; `values` are in C order, as many as `shape` has elements.
    pub fn from_f64(shape: impl Into<Vec<usize>>, values: &[f64]) -> Self {
        Self::from_elements(Dtype::F64, shape.into(), values, f64::to_le_bytes)
    }

    /// A `U8` tensor; `values` are in C order, as many as `shape` has elements.
    pub fn from_u8(shape: impl Into<Vec<usize>>, values: &[u8]) -> Self {
        Self { dtype: Dtype::U8, shape: shape.into(), data: values.to_vec() }
    }

    /// The elements of an `F32` tensor in C order.
    ///
    /// # Errors
    /// [`crate::Error::WrongDtype`] if it is not `F32`, [`crate::Error::InconsistentTensor`] if its bytes do not fit its shape.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        self.view().elements(Dtype::F32, f32::from_le_bytes)
    }

    /// The elements of an `F64` tensor in C order.
    ///
    /// # Errors
    /// [`crate::Error::WrongDtype`] if it is not `F64`, [`crate::Error::InconsistentTensor`] if its bytes do not fit its shape.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        self.view().elements(Dtype::F64, f64::from_le_bytes)
    }

    /// The elements of a `U8` tensor in C order.
    ///
    /// # Errors
    /// [`crate::Error::WrongDtype`] if it is not `U8`, [`crate::Error::InconsistentTensor`] if its bytes do not fit its shape.
    pub fn to_u8(&self) -> Result<Vec<u8>> {
        self.view().elements(Dtype::U8, u8::from_le_bytes)
    }

    /// The same tensor without its bytes copied.
    pub fn view(&self) -> TensorView<'_> {
        TensorView { dtype: self.dtype, shape: &self.shape, data: &self.data }
    }

    /// Bytes that `dtype` and `shape` need; a product too large for any file stays too large for any file.
    pub(crate) fn expected_bytes(dtype: Dtype, shape: &[usize]) -> u128 {
        shape.iter().fold(dtype.size() as u128, |bytes, &length| bytes.saturating_mul(length as u128))
    }

    fn from_elements<T: Copy, const N: usize>(
        dtype: Dtype,
        shape: Vec<usize>,
        values: &[T],
        to_bytes: fn(T) -> [u8; N],
    ) -> Self {
        let mut data = Vec::with_capacity(values.len() * N);
        for &value in values {
            data.extend_from_slice(&to_bytes(value));
        }
        Self { dtype, shape, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn elements_are_little_endian_and_come_back_bit_for_bit() {
        let values = [1.0_f32, -0.0, f32::MIN_POSITIVE / 4.0, f32::INFINITY];
        let tensor = Tensor::from_f32([2, 2], &values);
        assert_eq!(tensor.data[..4], [0x00, 0x00, 0x80, 0x3f]);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&tensor.to_f32().unwrap()), bits(&values));

        let tensor = Tensor::from_f64([1], &[1.0]);
        assert_eq!(tensor.data, [0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(tensor.to_f64().unwrap(), [1.0]);
        assert_eq!(Tensor::from_u8([3], &[1, 2, 255]).to_u8().unwrap(), [1, 2, 255]);
    }

    #[test]
    fn a_scalar_has_one_element_and_a_zero_axis_none() {
        assert_eq!(Tensor::from_f32([], &[3.0]).to_f32().unwrap(), [3.0]);
        assert!(Tensor::from_f32([4, 0], &[]).to_f32().unwrap().is_empty());
    }

    #[test]
    fn another_dtype_is_refused_with_both_names() {
        let error = Tensor::from_u8([1], &[0]).to_f32().unwrap_err();
        assert!(matches!(error, Error::WrongDtype { expected: Dtype::F32, got: Dtype::U8 }), "{error}");
    }

    #[test]
    fn too_few_values_for_the_shape_are_refused() {
        let error = Tensor::from_f32([2, 3], &[1.0; 5]).to_f32().unwrap_err();
        assert!(matches!(error, Error::InconsistentTensor { expected: 24, got: 20, .. }), "{error}");
        let huge = Tensor::from_f32([usize::MAX, usize::MAX, usize::MAX], &[1.0]);
        assert!(matches!(huge.to_f32(), Err(Error::InconsistentTensor { expected: u128::MAX, .. })));
    }

    #[test]
    fn every_dtype_is_found_by_its_name() {
        for dtype in Dtype::ALL {
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(Dtype::from_name("F8_E4M3"), None);
    }
}
