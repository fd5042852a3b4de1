//! What can be wrong with the parts of a packed tensor.

use crate::Dtype;

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// One of the parts is not there.
    #[error("its part `{part}` is missing")]
    Missing {
        /// The ending of its name.
        part: &'static str,
    },
    /// The tensor is there packed and as it is.
    #[error("it is there twice, packed and unpacked")]
    Twice,
    /// A part has a type or shape that it cannot have.
    #[error("`{part}` is {dtype} {shape:?}, expected {expected}")]
    Part {
        /// The ending of its name.
        part: &'static str,
        /// Its type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// What it must be.
        expected: String,
    },
    /// An axis is negative, or the shape has more elements than memory has bytes.
    #[error("no tensor can have the shape {shape:?}")]
    Shape {
        /// The lengths of its axes as they are stored.
        shape: Vec<i64>,
    },
    /// Another number of bits is set than there are values.
    #[error("{bits} bits are set for {values} values")]
    Count {
        /// Bits that are set.
        bits: usize,
        /// Values that are there.
        values: usize,
    },
    /// Other numbers are there than the shape asks for.
    #[error("{values} values are there for {elements}")]
    Elements {
        /// Numbers asked for.
        elements: usize,
        /// Numbers that are there.
        values: usize,
    },
    /// A scale is no positive number.
    #[error("the scale of row {row} is no positive number")]
    Scale {
        /// The row, from 0.
        row: usize,
    },
    /// A bit is set behind the end of a row.
    #[error("a bit behind the last of {columns} columns is set in row {row}")]
    Padding {
        /// The row, from 0.
        row: usize,
        /// Weights of a row.
        columns: usize,
    },
}
