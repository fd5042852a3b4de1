//! The numpy arrays of a pickle as tensors.

use std::collections::BTreeMap;
use std::path::Path;

use super::pickle::{Array, Id, Pickle, Value, c_strides};
use super::torch::{self, View};
use super::{Budget, Result, bad, elements};
use crate::{Tensor, Tensors};

/// Copies arrays out of a pickle, in C order and little-endian.
///
/// # Errors
/// [`crate::Error::BadWeights`] naming the array, [`crate::Error::TooLarge`].
pub(super) fn tensors(
    path: &Path,
    pickle: &Pickle<'_>,
    named: &BTreeMap<String, Id>,
    budget: &mut Budget,
) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    for (name, &id) in named {
        let Value::Array(Some(array)) = pickle.get(id) else { continue };
        let Value::Bytes(bytes) = pickle.get(array.data) else {
            return Err(bad(path, name, "it has no bytes"));
        };
        tensors.insert(name.clone(), tensor(path, name, array, bytes, budget)?);
    }
    Ok(tensors)
}

fn tensor(path: &Path, name: &str, array: &Array, bytes: &[u8], budget: &mut Budget) -> Result<Tensor> {
    let Array { element, shape, strides, .. } = array;
    let needed = elements(shape).and_then(|count| count.checked_mul(element.dtype.size()));
    if needed != Some(bytes.len()) {
        let reason =
            format!("it has {} bytes, which is not {} of shape {shape:?}", bytes.len(), element.dtype);
        return Err(bad(path, name, reason));
    }
    budget.take(path, bytes.len())?;
    let mut data = if *strides == c_strides(shape) {
        bytes.to_vec()
    } else {
        torch::gather(bytes, element.dtype.size(), &View { offset: 0, shape, strides })
            .map_err(|reason| bad(path, name, reason))?
    };
    if element.big_endian {
        data.chunks_exact_mut(element.dtype.size()).for_each(<[u8]>::reverse);
    }
    Ok(Tensor { dtype: element.dtype, shape: shape.clone(), data })
}
