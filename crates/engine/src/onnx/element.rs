//! The types of numbers in a file.

use half::{bf16, f16};

use super::proto::{BFLOAT16, DOUBLE, FLOAT, FLOAT16, INT8, INT32, INT64, UINT8};

/// What the numbers of a constant are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    F16,
    Bf16,
    Bool,
    Int { bits: u32, signed: bool },
}

impl Element {
    pub(super) const I64: Self = Self::Int { bits: 64, signed: true };

    /// The type with a number in `TensorProto.data_type`, if it is read.
    pub(super) const fn of(number: i32) -> Option<Self> {
        let (bits, signed) = match number {
            FLOAT => return Some(Self::F32),
            FLOAT16 => return Some(Self::F16),
            DOUBLE => return Some(Self::F64),
            BFLOAT16 => return Some(Self::Bf16),
            9 => return Some(Self::Bool),
            UINT8 => (8, false),
            INT8 => (8, true),
            4 => (16, false),
            5 => (16, true),
            INT32 => (32, true),
            INT64 => (64, true),
            12 => (32, false),
            13 => (64, false),
            _ => return None,
        };
        Some(Self::Int { bits, signed })
    }

    /// What the format calls it.
    pub(super) fn name(self) -> String {
        label((0..32).find(|&number| Self::of(number) == Some(self)).unwrap_or_default())
    }

    pub(super) const fn is_real(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::Bf16)
    }

    /// Bytes of a number in a file.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Bool => 1,
            Self::Int { bits, .. } => bits as usize / 8,
        }
    }

    /// The nearest number of this type.
    pub(super) fn rounded(self, number: f64) -> f64 {
        match self {
            Self::F32 => f64::from(number as f32),
            Self::F16 => f16::from_f64(number).to_f64(),
            Self::Bf16 => bf16::from_f64(number).to_f64(),
            Self::F64 | Self::Bool | Self::Int { .. } => number,
        }
    }

    /// Whether a whole number is one of this type.
    pub(super) fn holds(self, number: i64) -> bool {
        match self {
            Self::Bool => matches!(number, 0 | 1),
            Self::Int { bits: 64, signed } => signed || number >= 0,
            Self::Int { bits, signed: true } => (-(1_i64 << (bits - 1))..1 << (bits - 1)).contains(&number),
            Self::Int { bits, signed: false } => (0..1_i64 << bits).contains(&number),
            _ => true,
        }
    }
}

/// What the format calls a type, for messages.
pub(super) fn label(number: i32) -> String {
    const NAMES: [&str; 27] = [
        "UNDEFINED",
        "FLOAT",
        "UINT8",
        "INT8",
        "UINT16",
        "INT16",
        "INT32",
        "INT64",
        "STRING",
        "BOOL",
        "FLOAT16",
        "DOUBLE",
        "UINT32",
        "UINT64",
        "COMPLEX64",
        "COMPLEX128",
        "BFLOAT16",
        "FLOAT8E4M3FN",
        "FLOAT8E4M3FNUZ",
        "FLOAT8E5M2",
        "FLOAT8E5M2FNUZ",
        "UINT4",
        "INT4",
        "FLOAT4E2M1",
        "FLOAT8E8M0",
        "UINT2",
        "INT2",
    ];
    let name = usize::try_from(number).ok().and_then(|number| NAMES.get(number));
    name.map_or_else(|| format!("number {number}"), |&name| name.to_owned())
}
