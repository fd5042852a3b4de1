//! MobileNetV1 on candle: layer table, initialisation, canonical names.
//!
//! [`layers`] is the one description of the network: the model here, parameter counts, FLOPs and exports all
//! read it. Names and initial values follow PaddleSlim's demo (`conv1_weights`, `conv2_1_dw_bn_scale`, …,
//! `fc7_offset`).
//!
//! Invariant: one layer table, never copied.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use sparse_mobilenet::{MobileNet, MobileNetConfig, Mode};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = MobileNetConfig::new(0.25, 1, 10);
//! let model = MobileNet::new(config, 7, DType::F32, &Device::Cpu)?;
//! let images = Tensor::zeros((2, 1, 28, 28), DType::F32, &Device::Cpu)?;
//! let logits = model.forward(&images, Mode::Eval)?;
//! assert_eq!(logits.dims(), [2, 10]);
//! # Ok(())
//! # }
//! ```

pub mod device;
mod error;
mod init;
mod model;
pub mod names;
mod table;
mod train;

pub use error::{Error, Result};
pub use model::{MobileNet, Mode};
pub use sparse_kernels::host::activation::Activation;
pub use sparse_kernels::host::padding::Padding;
pub use table::{
    ConvKind, ConvLayer, HEAD_BIAS, HEAD_WEIGHT, Initial, MobileNetConfig, Parameter, layers, parameters,
};
pub use train::{LayerPaths, LayerTimes, Loss, Masks, Precision, SoftTargets, Targets, Times, TrainPass};
