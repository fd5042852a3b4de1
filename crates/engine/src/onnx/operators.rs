//! Which operators are read, and by what.

use super::OnnxError;
use super::call::Call;
use super::scope::{Scope, Value};
use super::{dense, pointwise, reshape, sizes, windows};

/// Reads a node and makes what its first output stands for.
pub(super) type Reader = for<'a> fn(&mut Scope<'a>, &Call<'a>) -> Result<Value<'a>, OnnxError>;

/// The reader of an operator of ONNX's own domain.
pub(super) fn reader(operator: &str) -> Option<Reader> {
    Some(match operator {
        "Conv" => windows::convolution,
        "MaxPool" => windows::max_pool,
        "AveragePool" => windows::average_pool,
        "GlobalAveragePool" => windows::global_average_pool,
        "Pad" => windows::pad,
        "BatchNormalization" => pointwise::batch_normalization,
        "Relu" => pointwise::relu,
        "Clip" => pointwise::clip,
        "Max" => pointwise::max,
        "Min" => pointwise::min,
        "Add" => pointwise::add,
        "Sub" => pointwise::sub,
        "Mul" => pointwise::mul,
        "Div" => pointwise::div,
        "Gemm" => dense::gemm,
        "MatMul" => dense::matmul,
        "Softmax" => dense::softmax,
        "Flatten" => reshape::flatten,
        "Reshape" => reshape::reshape,
        "Squeeze" => reshape::squeeze,
        "Unsqueeze" => reshape::unsqueeze,
        "ReduceMean" => reshape::reduce_mean,
        "Identity" | "Dropout" => sizes::identity,
        "Cast" => sizes::cast,
        "Constant" => sizes::constant,
        "Transpose" => sizes::transpose,
        "Shape" => sizes::shape,
        "Gather" => sizes::gather,
        "Concat" => sizes::concat,
        "Slice" => sizes::slice,
        _ => return None,
    })
}
