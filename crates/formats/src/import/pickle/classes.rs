//! The list of classes and functions that a pickle may name. None of these is run: each stands for code here that makes
//! the value. What is not in the list is kept as a value that does nothing, and no tensor is made of it.

use crate::Dtype;

/// A class or function of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Class {
    /// `collections.OrderedDict`
    OrderedDict,
    /// `collections.defaultdict`
    DefaultDict,
    /// `collections.Counter`, `builtins.set`, `torch.device` and others of which no tensor is made
    Opaque,
    /// `builtins.tuple`, with which Paddle wraps (name, array)
    Tuple,
    /// `builtins.bytearray`
    ByteArray,
    /// `builtins.eval`, with which `paddle.save` wraps the array of a static graph: `eval('data', {'data': array})`
    Eval,
    /// `_codecs.encode`, which is how protocol 2 writes bytes
    Encode,
    /// `numpy.ndarray`, and `numpy.memmap`, which is the same in a pickle
    Ndarray,
    /// `numpy.dtype`
    NumpyDtype,
    /// `ml_dtypes.bfloat16`, which `numpy.dtype` is made of
    NumpyBfloat16,
    /// `numpy.core.multiarray._reconstruct`
    Reconstruct,
    /// `numpy.core.numeric._frombuffer`
    FromBuffer,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v3`, which names the element type
    RebuildTensorV3,
    /// `torch._utils._rebuild_parameter` and `_rebuild_parameter_with_state`
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`, for tensors with attributes and for classes derived from them
    RebuildFromType,
    /// `torch._utils._rebuild_device_tensor_from_numpy` and `_rebuild_device_tensor_from_cpu_tensor`
    RebuildDeviceTensor,
    /// `torch.Tensor`, `torch.nn.parameter.Parameter` and `torch.nn.parameter.Buffer`
    TorchTensor,
    /// `torch.Size`
    TorchSize,
    /// `torch.float32` and the others
    TorchDtype(Dtype),
    /// `torch.FloatStorage` and the others
    Storage(Dtype),
    /// A storage of numbers that are not read, with their bytes, and why not.
    UnreadableStorage(&'static str, usize),
    /// A function or type that makes tensors which are not read, and why not.
    Unreadable(&'static str),
}

const QUANTISED: &str = "it is quantised: dequantize() it and save it again";
const SPARSE: &str = "it is stored sparse: make it dense with to_dense() and save it again";
const COMPLEX: &str = "it holds complex numbers";
const META: &str = "it has no data (it was on the device `meta`): save a model that has its weights";
const SUBCLASS: &str = "it is of a class derived from torch.Tensor: save the plain tensor";
const NESTED: &str = "it is a nested tensor";
const FLOAT8: &str =
    "it holds 8-bit floating-point numbers, whose scale is elsewhere: save it as f32, f16 or bf16";
const BY_PICKLE: &str = "it was pickled without torch.save, which puts its numbers into a file inside the file: save it with torch.save";
const MASKED: &str = "it is a masked array of numpy: fill it and save a plain array";

/// The entry for `module.name`.
pub(super) fn find(module: &str, name: &str) -> Option<Class> {
    let class = match (module, name) {
        ("collections", "OrderedDict") => Class::OrderedDict,
        ("collections", "defaultdict") => Class::DefaultDict,
        ("collections", "Counter") => Class::Opaque,
        ("builtins" | "__builtin__", name) => builtin(name)?,
        ("_codecs", "encode") => Class::Encode,
        ("ml_dtypes", "bfloat16") => Class::NumpyBfloat16,
        ("torch._utils" | "torch._tensor", name) => rebuild(name)?,
        ("torch.nn.parameter", "Parameter" | "Buffer") | ("torch", "Tensor") => Class::TorchTensor,
        ("torch", "Size") => Class::TorchSize,
        ("torch", "device") => Class::Opaque,
        ("torch.storage", "_load_from_bytes") => Class::Unreadable(BY_PICKLE),
        ("torch" | "torch.storage", "UntypedStorage") => Class::Storage(Dtype::U8),
        ("torch", name) if name.ends_with("Storage") => storage(name)?,
        ("torch", name) => torch_dtype(name)?,
        (module, name) if module == "numpy" || module.starts_with("numpy.") => numpy(module, name)?,
        _ => return None,
    };
    Some(class)
}

fn builtin(name: &str) -> Option<Class> {
    Some(match name {
        "tuple" => Class::Tuple,
        "set" | "frozenset" => Class::Opaque,
        "bytearray" => Class::ByteArray,
        "eval" => Class::Eval,
        _ => return None,
    })
}

fn numpy(module: &str, name: &str) -> Option<Class> {
    Some(match (module, name) {
        ("numpy", "ndarray" | "memmap") => Class::Ndarray,
        ("numpy", "dtype") => Class::NumpyDtype,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Class::Reconstruct,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Class::Opaque,
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Class::FromBuffer,
        ("numpy.ma.core" | "numpy.ma", "_mareconstruct") => Class::Unreadable(MASKED),
        _ => return None,
    })
}

/// The functions with which torch makes tensors again. Source: PyTorch, `torch/_utils.py` and `torch/_tensor.py`.
fn rebuild(name: &str) -> Option<Class> {
    Some(match name {
        "_rebuild_tensor" | "_rebuild_tensor_v2" => Class::RebuildTensor,
        "_rebuild_tensor_v3" => Class::RebuildTensorV3,
        "_rebuild_parameter" | "_rebuild_parameter_with_state" => Class::RebuildParameter,
        "_rebuild_from_type_v2" => Class::RebuildFromType,
        "_rebuild_device_tensor_from_numpy"
        | "_rebuild_device_tensor_from_cpu_tensor"
        | "_rebuild_xla_tensor" => Class::RebuildDeviceTensor,
        "_rebuild_qtensor" => Class::Unreadable(QUANTISED),
        "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => Class::Unreadable(SPARSE),
        "_rebuild_meta_tensor_no_storage" => Class::Unreadable(META),
        "_rebuild_wrapper_subclass" | "_rebuild_from_type" => Class::Unreadable(SUBCLASS),
        "_rebuild_nested_tensor" => Class::Unreadable(NESTED),
        _ => return None,
    })
}

fn storage(name: &str) -> Option<Class> {
    Some(Class::Storage(match name {
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
        "ComplexFloatStorage" => return Some(Class::UnreadableStorage(COMPLEX, 8)),
        "ComplexDoubleStorage" => return Some(Class::UnreadableStorage(COMPLEX, 16)),
        "QInt32Storage" => return Some(Class::UnreadableStorage(QUANTISED, 4)),
        "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => {
            return Some(Class::UnreadableStorage(QUANTISED, 1));
        }
        _ => return None,
    }))
}

fn torch_dtype(name: &str) -> Option<Class> {
    Some(Class::TorchDtype(match name {
        "float32" => Dtype::F32,
        "float64" => Dtype::F64,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint8" => Dtype::U8,
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "bool" => Dtype::Bool,
        name if name.starts_with("complex") => return Some(Class::Unreadable(COMPLEX)),
        name if name.starts_with("float8") || name.starts_with("float4") => {
            return Some(Class::Unreadable(FLOAT8));
        }
        name if name.starts_with("qint") || name.starts_with("quint") => {
            return Some(Class::Unreadable(QUANTISED));
        }
        _ => return None,
    }))
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

/// Modules whose functions reach beyond the program; no file of weights has a use for them.
const SYSTEM: [&str; 17] = [
    "os",
    "posix",
    "nt",
    "subprocess",
    "pty",
    "commands",
    "popen2",
    "runpy",
    "socket",
    "shutil",
    "ctypes",
    "webbrowser",
    "importlib",
    "imp",
    "sys",
    "urllib",
    "requests",
];
/// Functions of Python itself that run what they are given, or reach beyond the program.
const RUNNING: [&str; 7] = ["exec", "execfile", "compile", "__import__", "open", "input", "breakpoint"];

/// Whether only a file that is made to attack names this.
pub(super) fn is_attack(module: &str, name: &str) -> bool {
    match module {
        "builtins" | "__builtin__" => RUNNING.contains(&name),
        "os" if matches!(name, "_Environ" | "PathLike" | "stat_result") => false,
        "torch" | "torch.serialization" => name == "load",
        "pickle" | "_pickle" | "cPickle" | "marshal" => matches!(name, "load" | "loads"),
        module => {
            let root = module.split_once('.').map_or(module, |(root, _)| root);
            SYSTEM.contains(&root)
        }
    }
}
