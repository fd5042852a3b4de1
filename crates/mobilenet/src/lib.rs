//! MobileNetV1 on candle: initialisation, forward and training passes, and the names of other programs.
//!
//! What is computed follows from the layer table of `sparse-network`, whose items are given on here.
//!
//! Invariant: the network is described by that table alone.
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
mod train;

pub use error::{Error, Result};
pub use model::{MobileNet, Mode};
pub use sparse_network::{
    Activation, ConvKind, ConvLayer, HEAD_BIAS, HEAD_WEIGHT, Initial, MobileNetConfig, Padding, Parameter,
    layers, parameters,
};
pub use train::{
    Across, AddUp, FeatureTargets, LayerPaths, LayerTimes, Loss, Masks, Precision, Ready, SoftTargets,
    Targets, Times, TrainPass, check_features,
};
