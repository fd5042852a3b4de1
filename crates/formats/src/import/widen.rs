//! Numbers of any width as f32.

use crate::{Dtype, Error, Result, Tensor};

/// The elements of a floating-point tensor in C order as f32; f16 and bf16 exactly, f64 rounded to the nearest.
///
/// # Errors
/// [`Error::WrongDtype`] if it holds no floating-point numbers, [`Error::InconsistentTensor`] if its bytes do not fit its
/// shape.
pub fn as_f32(tensor: &Tensor) -> Result<Vec<f32>> {
    match tensor.dtype {
        Dtype::F64 => Ok(tensor.to_f64()?.into_iter().map(|value| value as f32).collect()),
        Dtype::F16 => halves(tensor, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => halves(tensor, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
        _ => tensor.to_f32(),
    }
}

fn halves(tensor: &Tensor, widen: fn([u8; 2]) -> f32) -> Result<Vec<f32>> {
    let expected = Tensor::expected_bytes(tensor.dtype, &tensor.shape);
    if expected != tensor.data.len() as u128 {
        let (dtype, shape, got) = (tensor.dtype, tensor.shape.clone(), tensor.data.len());
        return Err(Error::InconsistentTensor { dtype, shape, expected, got });
    }
    let (elements, _) = tensor.data.as_chunks::<2>();
    Ok(elements.iter().map(|&element| widen(element)).collect())
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
            assert_eq!(as_f32(&tensor).unwrap(), [1.0, -2.5], "{}", tensor.dtype);
        }
        assert!(matches!(as_f32(&Tensor::from_u8([1], &[1])), Err(Error::WrongDtype { .. })));
        let short = Tensor { dtype: Dtype::F16, shape: vec![2], data: vec![0; 3] };
        assert!(matches!(as_f32(&short), Err(Error::InconsistentTensor { .. })));
    }
}
