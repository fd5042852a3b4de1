//! Networks over candle variables: initialisation, forward and training passes, and the names of other programs.
//!
//! What is computed follows from the graph and the plan of `sparse-network`, whose items are given on here.
//!
//! Invariant: a network is described by its graph alone.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use sparse_model::{Mode, Model, NetworkConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = NetworkConfig::mobilenet(0.25, 1, 10);
//! let model = Model::new(config, 7, DType::F32, &Device::Cpu)?;
//! let images = Tensor::zeros((2, 1, 28, 28), DType::F32, &Device::Cpu)?;
//! let logits = model.forward(&images, Mode::Eval)?;
//! assert_eq!(logits.dims(), [2, 10]);
//! # Ok(())
//! # }
//! ```

pub mod device;
mod error;
mod host;
mod init;
mod model;
pub mod names;

pub use error::{Error, Result};
pub use host::{
    Across, AddUp, FeatureTargets, LayerPaths, LayerTimes, Loss, Masks, Precision, Ready, SoftTargets,
    Targets, Times, TrainPass, check_features,
};
pub use model::{BN_MOMENTUM, Mode, Model};
pub use sparse_network::{
    Activation, ConvKind, ConvLayer, Graph, Initial, Kind, NetworkConfig, Padding, Parameter, Plan, layers,
    parameters,
};
