//! MobileNetV1 as a table: its layers, its parameters, and what a weights file says about it.
//!
//! [`layers`] is the one description of the network: training, parameter counts, FLOPs, the inference engine and
//! exports all read it. Names and initial values follow PaddleSlim's demo (`conv1_weights`, `conv2_1_dw_bn_scale`, …,
//! `fc7_offset`).
//!
//! Invariant: one layer table, never copied; no tensors, no candle.
//!
//! ```
//! use sparse_network::{ConvKind, MobileNetConfig, layers, parameters};
//!
//! let config = MobileNetConfig::new(1.0, 3, 1000);
//! let pointwise = layers(&config)?.iter().filter(|layer| layer.kind == ConvKind::Pointwise).count();
//! assert_eq!(pointwise, 13);
//! assert_eq!(parameters(&config)?.len(), 137);
//! # Ok::<(), sparse_network::Error>(())
//! ```

mod architecture;
mod error;
mod table;

pub use architecture::Architecture;
pub use error::{Error, Result};
pub use sparse_kernels::host::activation::Activation;
pub use sparse_kernels::host::padding::Padding;
pub use table::{
    ConvKind, ConvLayer, HEAD_BIAS, HEAD_WEIGHT, Initial, MobileNetConfig, Parameter, layers, parameters,
};
