//! A pickle machine that runs nothing: plain containers, numpy arrays and torch tensors become [`Value`]s. Any other class
//! is kept as its name with what it was given, and only as that; one that would reach beyond the program ends the reading.
//!
//! Values lie in one list and name each other by their index, so that nothing here recurses, whatever the nesting and
//! whatever refers to itself. Everything that takes memory is counted: opcodes, open marks, and bytes that are not a part
//! of the file. Source of the opcodes: CPython's `pickletools.py`, protocols 0 to 5.

mod arrays;
mod build;
mod classes;
mod machine;
mod reader;
mod value;

use std::path::Path;

use crate::Error;
pub(super) use arrays::c_strides;
pub(super) use machine::unpickle;
pub(super) use value::{Array, Id, Object, Pickle, Storage, StridedTensor, Value};

/// Most opcodes of one pickle; the state of a trained MobileNet with its optimizer has some 20,000.
const MOST_STEPS: usize = 2_000_000;
/// Most marks open at a time, which is how deep containers nest.
const MOST_DEPTH: usize = 1000;
/// Most classes and functions that are not in the list.
const MOST_FOREIGN: usize = 10_000;
/// How many bytes that are no part of the file (decoded text) a pickle may make, as a multiple of its own size. Numbers in
/// protocol 0 are a text, of which a byte makes up to two in UTF-8, and one in the numbers that the text stands for.
const OWNED_PER_BYTE: usize = 4;

/// Why a pickle is refused.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// It asks for a class or function that reaches beyond the program.
    Class(String),
    /// It is damaged, or does what the machine does not do.
    Bad {
        /// Position of the opcode in the pickle, in bytes.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// It passes a limit.
    Limit {
        /// Of what there is too much.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
}

impl Fault {
    /// The error for the file `path`.
    pub(super) fn in_file(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Class(class) => Error::ForbiddenClass { path, class },
            Self::Bad { at, reason } => Error::BadPickle { path, at, reason },
            Self::Limit { what, limit } => Error::TooLarge { path, what, limit: limit as u64 },
        }
    }
}

#[cfg(test)]
mod tests;
