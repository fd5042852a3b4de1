//! Numbers of the kinds that are summed.

use bytemuck::Pod;
use std::ops::AddAssign;

/// Numbers to be summed in place.
#[derive(Debug)]
pub enum Slice<'a> {
    /// Gradients.
    F32(&'a mut [f32]),
    /// Losses and statistics.
    F64(&'a mut [f64]),
    /// Counts.
    U64(&'a mut [u64]),
}

/// Numbers that are handed over.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Gradients.
    F32(Vec<f32>),
    /// Gradients of tests.
    F64(Vec<f64>),
}

impl Numbers {
    /// The same, in place.
    pub fn as_slice(&mut self) -> Slice<'_> {
        match self {
            Self::F32(values) => Slice::F32(values),
            Self::F64(values) => Slice::F64(values),
        }
    }
}

/// A kind of number that is handed over.
pub trait Number: Pod + AddAssign {
    /// As [`Numbers`].
    fn wrap(values: Vec<Self>) -> Numbers;

    /// Out of [`Numbers`]; `None` if they are of another kind.
    fn unwrap(numbers: Numbers) -> Option<Vec<Self>>;
}

impl Number for f32 {
    fn wrap(values: Vec<Self>) -> Numbers {
        Numbers::F32(values)
    }

    fn unwrap(numbers: Numbers) -> Option<Vec<Self>> {
        if let Numbers::F32(values) = numbers { Some(values) } else { None }
    }
}

impl Number for f64 {
    fn wrap(values: Vec<Self>) -> Numbers {
        Numbers::F64(values)
    }

    fn unwrap(numbers: Numbers) -> Option<Vec<Self>> {
        if let Numbers::F64(values) = numbers { Some(values) } else { None }
    }
}
