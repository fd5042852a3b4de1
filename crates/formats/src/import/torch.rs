//! Tensors of torch: views of storages, with an offset and strides.

use std::collections::BTreeMap;
use std::path::Path;

use super::pickle::{Id, Pickle, Storage, StridedTensor, Value};
use super::{Budget, Result, bad, elements, numpy};
use crate::{Dtype, Tensor, Tensors};

/// A view of a storage, in elements.
pub(super) struct View<'a> {
    pub(super) offset: usize,
    pub(super) shape: &'a [usize],
    pub(super) strides: &'a [usize],
}

/// All storages that a pickle names.
pub(super) fn all_storages<'p>(pickle: &'p Pickle<'_>) -> impl Iterator<Item = &'p Storage> {
    pickle.values.iter().filter_map(|value| match value {
        Value::Storage(storage) => Some(&**storage),
        _ => None,
    })
}

/// How numbers lie in the storages of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// Copies the tensors of a pickle out of their storages; `storage` gives the bytes of one.
///
/// # Errors
/// What `storage` reports, [`crate::Error::BadWeights`] naming the tensor, [`crate::Error::TooLarge`].
pub(super) fn tensors<'s>(
    path: &Path,
    pickle: &Pickle<'_>,
    named: &BTreeMap<String, Id>,
    (file_bytes, order): (usize, ByteOrder),
    mut storage: impl FnMut(&Storage) -> Result<&'s [u8]>,
) -> Result<Tensors> {
    let mut budget = Budget::of_file(file_bytes);
    let mut tensors = numpy::tensors(path, pickle, named, &mut budget)?;
    for (name, &id) in named {
        let Value::Tensor(tensor) = pickle.get(id) else { continue };
        let size = tensor.dtype.size();
        let needed = elements(&tensor.shape).and_then(|count| count.checked_mul(size));
        let needed =
            needed.ok_or_else(|| bad(path, name, format!("its shape {:?} is too large", tensor.shape)))?;
        budget.take(path, needed)?;
        let data =
            copied(tensor, storage(&tensor.storage)?, order).map_err(|reason| bad(path, name, reason))?;
        tensors.insert(name.clone(), Tensor { dtype: tensor.dtype, shape: tensor.shape.clone(), data });
    }
    Ok(tensors)
}

/// The elements of one tensor, little-endian.
fn copied(tensor: &StridedTensor, storage: &[u8], order: ByteOrder) -> Result<Vec<u8>, String> {
    let size = tensor.dtype.size();
    let storage = match tensor.storage.part {
        None => storage,
        Some([first, elements]) => part(storage, tensor.storage.size, first, elements)?,
    };
    let view = View { offset: tensor.offset, shape: &tensor.shape, strides: &tensor.strides };
    let mut data = gather(storage, size, &view)?;
    if order == ByteOrder::Big {
        data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    if tensor.negated {
        negate(tensor.dtype, &mut data)?;
    }
    Ok(data)
}

/// Some elements of a storage.
fn part(storage: &[u8], size: usize, first: usize, elements: usize) -> Result<&[u8], String> {
    let bytes =
        first.checked_add(elements).and_then(|end| Some(first.checked_mul(size)?..end.checked_mul(size)?));
    bytes.and_then(|bytes| storage.get(bytes)).ok_or_else(|| {
        let have = storage.len() / size.max(1);
        format!("it is the part from {first} on with {elements} elements of a storage of {have}")
    })
}

/// Changes the sign of numbers: the highest bit of what is stored last.
fn negate(dtype: Dtype, data: &mut [u8]) -> Result<(), String> {
    if !matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64) {
        return Err(format!("its numbers are {dtype} and marked as stored with the other sign"));
    }
    for number in data.chunks_exact_mut(dtype.size()) {
        if let Some(last) = number.last_mut() {
            *last ^= 0x80;
        }
    }
    Ok(())
}

/// The elements of a view in C order, `size` bytes each. The caller has made sure that there is room for them.
///
/// # Errors
/// If the view reaches beyond the storage.
pub(super) fn gather(storage: &[u8], size: usize, view: &View<'_>) -> Result<Vec<u8>, String> {
    let View { offset, shape, strides } = *view;
    if shape.contains(&0) {
        return Ok(Vec::new());
    }
    let reach = |end: usize, (&length, &stride): (&usize, &usize)| {
        (length - 1).checked_mul(stride).and_then(|distance| end.checked_add(distance))
    };
    let last = shape.iter().zip(strides).try_fold(offset, reach);
    let end = last.and_then(|last| last.checked_add(1)).and_then(|end| end.checked_mul(size));
    if end.is_none_or(|end| end > storage.len()) {
        let have = storage.len() / size.max(1);
        return Err(format!(
            "shape {shape:?} with strides {strides:?} at {offset} reaches beyond its storage of {have}"
        ));
    }
    let mut data = Vec::with_capacity(elements(shape).unwrap_or(0) * size);
    let (mut place, mut start) = (vec![0; shape.len()], offset);
    loop {
        data.extend_from_slice(storage.get(start * size..(start + 1) * size).unwrap_or_default());
        let Some(axis) = (0..shape.len()).rev().find(|&axis| place[axis] + 1 < shape[axis]) else {
            return Ok(data);
        };
        // Like the digits of a counter: those behind the one that moves go back to zero.
        for later in axis + 1..shape.len() {
            start -= place[later] * strides[later];
            place[later] = 0;
        }
        place[axis] += 1;
        start += strides[axis];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_offsets_and_repeats_are_followed() {
        let storage: Vec<u8> = (0..12).collect();
        let get = |offset, shape: &[usize], strides: &[usize]| {
            gather(&storage, 1, &View { offset, shape, strides })
        };
        assert_eq!(get(0, &[3, 4], &[4, 1]).unwrap(), storage);
        assert_eq!(get(1, &[2, 3], &[1, 4]).unwrap(), [1, 5, 9, 2, 6, 10]);
        assert_eq!(get(11, &[3], &[0]).unwrap(), [11, 11, 11]);
        assert_eq!(get(11, &[], &[]).unwrap(), [11]);
        assert!(get(9, &[4, 0], &[100, 100]).unwrap().is_empty());
        for (offset, shape, strides) in [
            (0, [4, 4], [4, 1]),
            (1, [3, 4], [4, 1]),
            (0, [2, 1], [usize::MAX, 1]),
            (usize::MAX, [1, 1], [1, 1]),
        ] {
            assert!(get(offset, &shape, &strides).unwrap_err().contains("beyond"), "{offset} {shape:?}");
        }
        let wide = gather(&storage, 4, &View { offset: 1, shape: &[2], strides: &[1] }).unwrap();
        assert_eq!(wide, storage[4..12]);
    }
}
