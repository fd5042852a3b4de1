//! What is known before an image is: constants, and the small integers that shapes are computed with.

use std::rc::Rc;

use super::OnnxError;
use super::call::Call;
use super::dense::transposed;
use super::proto::{BFLOAT16, DOUBLE, FLOAT, FLOAT16};
use super::reshape::{images, place, sizes};
use super::scope::{Scope, Size, Sizes, Value};
use super::tensor::Constant;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// Most integers in a list that shapes are computed with.
const MOST_SIZES: usize = 8;

impl<'a> Value<'a> {
    /// The value as integers of a shape; none if it is something else.
    pub(super) fn sizes(&self) -> Result<Option<Sizes>, OnnxError> {
        match self {
            Value::Sizes(sizes) => Ok(Some(sizes.clone())),
            Value::Tensor(tensor) if tensor.is_integer() => {
                if tensor.dims.len() > 1 || tensor.count()? > MOST_SIZES {
                    return Ok(None);
                }
                let sizes = tensor.integers()?.into_iter().map(Size::Known).collect();
                Ok(Some(Sizes { sizes, is_scalar: tensor.dims.is_empty() }))
            }
            _ => Ok(None),
        }
    }
}

impl<'a> Scope<'a> {
    /// The shape of a constant of real numbers; none if it is something else.
    pub(super) fn floats_shape(&self, value: &Value<'a>) -> Result<Option<Vec<usize>>, OnnxError> {
        let dims = match value {
            Value::Tensor(tensor) if !tensor.is_integer() => &tensor.dims,
            Value::Sparse(tensor) => &tensor.dims,
            Value::Constant(constant) => return Ok(Some(constant.shape.clone())),
            _ => return Ok(None),
        };
        Ok(dims.iter().map(|&side| usize::try_from(side).ok()).collect())
    }
}

/// `Identity(x)`, `Dropout(x)` for inference.
pub(super) fn identity<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    scope.input(call, 0)
}

/// `Cast(x)` from real to real numbers, or of integers that shapes are computed with.
pub(super) fn cast<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let value = scope.input(call, 0)?;
    let to_real = matches!(call.int("to", 0)?, target if [FLOAT, FLOAT16, DOUBLE, BFLOAT16].map(i64::from).contains(&target));
    match value.sizes()? {
        Some(sizes) if !to_real => Ok(Value::Sizes(sizes)),
        None if to_real => Ok(value),
        _ => Err(call.error("casts only between real numbers, or between integers of a shape")),
    }
}

/// `Constant`.
pub(super) fn constant<'a>(_scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let list = |sizes: &[i64], is_scalar| {
        let sizes = sizes.iter().take(MOST_SIZES + 1).map(|&size| Size::Known(size)).collect();
        bounded(call, Sizes { sizes, is_scalar })
    };
    let floats = |shape: Vec<usize>, values| Ok(Value::Constant(Rc::new(Constant { shape, values })));
    for attribute in &call.node.attribute {
        match (attribute.name.as_deref().unwrap_or_default(), &attribute.t, &attribute.sparse_tensor) {
            ("value", Some(tensor), _) => return Ok(Value::Tensor(tensor)),
            ("sparse_value", _, Some(tensor)) => return Ok(Value::Sparse(tensor)),
            ("value_int", ..) => return list(&[attribute.i.unwrap_or_default()], true),
            ("value_ints", ..) => return list(&attribute.ints, false),
            ("value_float", ..) => return floats(vec![], vec![attribute.f.unwrap_or_default()]),
            ("value_floats", ..) => return floats(vec![attribute.floats.len()], attribute.floats.clone()),
            _ => {}
        }
    }
    Err(call.error("holds no numbers"))
}

/// `Transpose(matrix)` of a constant.
pub(super) fn transpose<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    if matches!(scope.input(call, 0)?, Value::Node(_)) {
        return Ok(scope.unsupported(call));
    }
    let matrix = scope.constant(call, 0)?;
    match (&matrix.shape[..], call.counts("perm", [1, 0])?) {
        (_, [0, 1]) => Ok(Value::Constant(Rc::new(matrix))),
        (&[rows, columns], [1, 0]) => {
            let values = transposed(&matrix.values, rows, columns);
            Ok(Value::Constant(Rc::new(Constant { shape: vec![columns, rows], values })))
        }
        _ => Err(call.error(format!("a constant of shape {:?}, expected a matrix", matrix.shape))),
    }
}

/// `Shape(x)`.
pub(super) fn shape<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    let sizes = images(scope.shape(x));
    let rank = sizes.len();
    let (start, end) = (call.int("start", 0)?, call.int("end", i64::MAX)?);
    let range = clamp(start, rank)..clamp(end, rank);
    let sizes = sizes.get(range).unwrap_or_default().to_vec();
    Ok(Value::Sizes(Sizes { sizes, is_scalar: false }))
}

/// `Gather(sizes, index)`.
pub(super) fn gather<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let (Some(from), Some(indices)) = (sizes(scope, call, 0)?, sizes(scope, call, 1)?) else {
        return Ok(scope.unsupported(call));
    };
    let pick = |index: &Size| match *index {
        Size::Known(index) => place(index, from.sizes.len()).map(|index| from.sizes[index]),
        Size::Batch => None,
    };
    let picked: Option<Vec<Size>> = indices.sizes.iter().map(pick).collect();
    let sizes = picked.ok_or_else(|| call.error("an index is out of range"))?;
    Ok(Value::Sizes(Sizes { sizes, is_scalar: indices.is_scalar }))
}

/// `Concat(sizes, …)`.
pub(super) fn concat<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let mut all = Vec::new();
    for index in 0..call.node.input.len() {
        let Some(sizes) = sizes(scope, call, index)? else { return Ok(scope.unsupported(call)) };
        all.extend(sizes.sizes);
    }
    bounded(call, Sizes { sizes: all, is_scalar: false })
}

/// `Slice(sizes, starts, ends)`, in steps of one.
pub(super) fn slice<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let Some(from) = sizes(scope, call, 0)? else { return Ok(scope.unsupported(call)) };
    let start = slice_number(scope, call, "starts", 1)?.ok_or_else(|| call.error("starts is missing"))?;
    let end = slice_number(scope, call, "ends", 2)?.ok_or_else(|| call.error("ends is missing"))?;
    let axis = slice_number(scope, call, "axes", 3)?.unwrap_or(0);
    let step = slice_number(scope, call, "steps", 4)?.unwrap_or(1);
    if axis != 0 || step != 1 {
        return Err(call.error("sizes are cut along axis 0 in steps of one only"));
    }
    let rank = from.sizes.len();
    let sizes = from.sizes.get(clamp(start, rank)..clamp(end, rank)).unwrap_or_default().to_vec();
    Ok(Value::Sizes(Sizes { sizes, is_scalar: false }))
}

/// A setting of a slice along one axis: an attribute before operator set 10, an input from then on.
fn slice_number<'a>(
    scope: &Scope<'a>,
    call: &Call<'a>,
    name: &str,
    index: usize,
) -> Result<Option<i64>, OnnxError> {
    let given: Option<Vec<Size>> = if call.opset < 10 {
        call.attribute(name).map(|attribute| attribute.ints.iter().map(|&n| Size::Known(n)).collect())
    } else if call.input(index).is_some() {
        Some(sizes(scope, call, index)?.map(|sizes| sizes.sizes).unwrap_or_default())
    } else {
        None
    };
    match given.as_deref() {
        None => Ok(None),
        Some(&[Size::Known(number)]) => Ok(Some(number)),
        Some(_) => Err(call.error(format!("{name} must be one constant integer"))),
    }
}

/// A position counted from the start, or from the end if negative, as one from 0 to `length`.
fn clamp(position: i64, length: usize) -> usize {
    let length = length as i64;
    let position = if position < 0 { position.saturating_add(length) } else { position };
    position.clamp(0, length) as usize
}

fn bounded<'a>(call: &Call<'_>, sizes: Sizes) -> Read<'a> {
    if sizes.sizes.len() > MOST_SIZES {
        return Err(call.error(format!("a list of more than {MOST_SIZES} integers; shapes have fewer axes")));
    }
    Ok(Value::Sizes(sizes))
}
