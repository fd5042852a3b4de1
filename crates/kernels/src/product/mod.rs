//! Matrix products the way this program needs them: operands transformed while they are packed, results finished while they
//! are in registers, zeros left out if a pattern says so.
//!
//! A product is cut into runs of column blocks by its shapes alone (`split`). A task packs a block (`panel`), multiplies it
//! tile by tile (`tile`, `multiply`) and hands every finished row of a tile on: to memory with statistics (`store`), or
//! to what a caller implements. `weight_gradient` sums products over the columns.
//!
//! Source of the dense scheme: Goto & van de Geijn 2008, Anatomy of high-performance matrix multiplication.

mod gate;
mod left;
mod matrix;
mod multiply;
mod panel;
mod pattern;
mod row_sums;
mod split;
mod store;
mod tile;
mod weight_gradient;

pub(crate) use gate::{Gate, Lattice, Places};
pub(crate) use left::Left;
pub use matrix::Matrix;
pub(crate) use multiply::{Panels, SharedRows, multiply};
pub(crate) use panel::{Columns, GradientRows, InputRows, prefetch_slice, width};
pub use pattern::Pattern;
pub(crate) use row_sums::{RowSums, add_rows};
pub(crate) use split::Split;
pub(crate) use store::product_with_statistics;
pub(crate) use weight_gradient::{WeightSums, add_partials, most_runs, weight_gradient};
