//! One tensor whose bytes belong to somebody else: a file in memory, or a map of one.

use crate::{Dtype, Error, Result, Tensor};

/// A borrowed tensor: `data` are the elements of `dtype`, little-endian, in C order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorView<'a> {
    /// Element type.
    pub dtype: Dtype,
    /// Lengths of the axes, the slowest first; empty for a scalar.
    pub shape: &'a [usize],
    /// The elements as bytes.
    pub data: &'a [u8],
}

impl TensorView<'_> {
    /// The elements of a floating-point tensor in C order as f32; f16 and bf16 exactly, f64 rounded to the nearest.
    ///
    /// # Errors
    /// [`Error::WrongDtype`] if it holds no floating-point numbers, [`Error::InconsistentTensor`] if its bytes do not
    /// fit its shape.
    pub fn as_f32(&self) -> Result<Vec<f32>> {
        match self.dtype {
            Dtype::F64 => self.elements(Dtype::F64, |bytes| f64::from_le_bytes(bytes) as f32),
            Dtype::F16 => self.elements(Dtype::F16, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => self.elements(Dtype::BF16, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
            _ => self.elements(Dtype::F32, f32::from_le_bytes),
        }
    }

    /// A tensor with a copy of the bytes.
    pub fn to_tensor(&self) -> Tensor {
        Tensor { dtype: self.dtype, shape: self.shape.to_vec(), data: self.data.to_vec() }
    }

    /// The elements in C order, if they are of this dtype.
    ///
    /// # Errors
    /// [`Error::WrongDtype`], [`Error::InconsistentTensor`].
    pub(crate) fn elements<T, const N: usize>(
        &self,
        expected: Dtype,
        from_bytes: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        if self.dtype != expected {
            return Err(Error::WrongDtype { expected, got: self.dtype });
        }
        let bytes = Tensor::expected_bytes(self.dtype, self.shape);
        if bytes != self.data.len() as u128 {
            let (dtype, shape) = (self.dtype, self.shape.to_vec());
            return Err(Error::InconsistentTensor { dtype, shape, expected: bytes, got: self.data.len() });
        }
        let (elements, _) = self.data.as_chunks::<N>();
        Ok(elements.iter().map(|&element| from_bytes(element)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_gives_the_same_numbers() {
        let tensor = |dtype, data: &[u8]| Tensor { dtype, shape: vec![2], data: data.to_vec() };
        for tensor in [
            tensor(Dtype::F16, &[0x00, 0x3c, 0x00, 0xc1]),
            tensor(Dtype::BF16, &[0x80, 0x3f, 0x20, 0xc0]),
            Tensor::from_f32([2], &[1.0, -2.5]),
            Tensor::from_f64([2], &[1.0, -2.5]),
        ] {
            assert_eq!(tensor.view().as_f32().unwrap(), [1.0, -2.5], "{}", tensor.dtype);
            assert_eq!(tensor.view().to_tensor(), tensor);
        }
        let bytes = Tensor::from_u8([1], &[1]);
        assert!(matches!(bytes.view().as_f32(), Err(Error::WrongDtype { .. })));
        let short = Tensor { dtype: Dtype::F16, shape: vec![2], data: vec![0; 3] };
        assert!(matches!(short.view().as_f32(), Err(Error::InconsistentTensor { .. })));
    }
}
