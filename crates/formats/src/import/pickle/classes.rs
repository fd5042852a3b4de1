//! The list of classes and functions that a pickle may name. Nothing else is looked up, and none of these is run: each
//! stands for code here that makes the value.

use crate::Dtype;

/// A class or function of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Class {
    /// `collections.OrderedDict`
    OrderedDict,
    /// `collections.Counter`
    Counter,
    /// `builtins.tuple`, with which Paddle wraps (name, array)
    Tuple,
    /// `builtins.set`
    Set,
    /// `_codecs.encode`, which is how protocol 2 writes bytes
    Encode,
    /// `numpy.ndarray`
    Ndarray,
    /// `numpy.dtype`
    NumpyDtype,
    /// `numpy.core.multiarray._reconstruct`
    Reconstruct,
    /// `numpy.core.multiarray.scalar`
    NumpyScalar,
    /// `numpy.core.numeric._frombuffer`
    FromBuffer,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`
    RebuildParameter,
    /// `torch.Size`
    TorchSize,
    /// `torch.device`
    TorchDevice,
    /// `torch.FloatStorage` and the others
    Storage(Dtype),
}

/// The entry for `module.name`.
pub(super) fn find(module: &str, name: &str) -> Option<Class> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Class::OrderedDict,
        ("collections", "Counter") => Class::Counter,
        ("builtins" | "__builtin__", "tuple") => Class::Tuple,
        ("builtins" | "__builtin__", "set") => Class::Set,
        ("_codecs", "encode") => Class::Encode,
        ("numpy", "ndarray") => Class::Ndarray,
        ("numpy", "dtype") => Class::NumpyDtype,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Class::Reconstruct,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Class::NumpyScalar,
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Class::FromBuffer,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Class::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Class::RebuildParameter,
        ("torch", "Size") => Class::TorchSize,
        ("torch", "device") => Class::TorchDevice,
        ("torch", storage) => Class::Storage(storage_dtype(storage)?),
        _ => return None,
    })
}

fn storage_dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "FloatStorage" => Dtype::F32,
        "DoubleStorage" => Dtype::F64,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        _ => return None,
    })
}

/// The element type that numpy calls so, without its byte order.
pub(super) fn numpy_dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "b1" | "?" => Dtype::Bool,
        "u1" => Dtype::U8,
        "i1" => Dtype::I8,
        "u2" => Dtype::U16,
        "i2" => Dtype::I16,
        "f2" => Dtype::F16,
        "u4" => Dtype::U32,
        "i4" => Dtype::I32,
        "f4" => Dtype::F32,
        "u8" => Dtype::U64,
        "i8" => Dtype::I64,
        "f8" => Dtype::F64,
        _ => return None,
    })
}
