//! How other programs call the tensors of a MobileNetV1, and how they lay them out.
//!
//! [`FAMILIES`] is a table with a line per program. [`recognise`] finds the one whose names a file has, reads width,
//! channels and classes from the shapes, and says for each of our parameters which tensor it comes from and in which
//! order of axes.

mod families;
mod layout;
mod recognise;
mod template;

pub use families::{Background, FAMILIES, Family, Input};
pub use layout::arranged;
pub use recognise::{Recognised, Shapes, Source, recognise};
