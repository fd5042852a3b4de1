//! Networks over candle variables: initialisation, forward and training passes, and the names of other programs.
//!
//! What is computed follows from the graph and the plan of `sparse-network`, whose items are given on here.
//!
//! Invariant: a network is described by its graph alone.
//!
//! # Where things lie
//!
//! Networks over candle variables: initial values (`init.rs`), the graph node by node as candle operations, for
//! autograd and as what tests compare with (`model.rs`), the steps of the plan over buffers that are kept (`host/`:
//! `pass.rs` forward, `backward.rs`, `values.rs` what lies in memory; `across.rs` is what they add up over other
//! processes, `features.rs` compares blocks with a teacher's and adds its gradient on the way back), the same steps
//! as launches on a device (`device/`: `forward.rs`, `backward.rs`, `convolve.rs` and `convolve_back.rs` for the
//! convolutions, `gradients.rs` where parts of a gradient meet, `values.rs` what lies in memory), and what other
//! programs call the same tensors (`names/`, a table with a line each for MobileNetV1; `own.rs` has the other
//! networks; `search.rs` compares names by their ends, so that prefixes do not matter, and finds the one network
//! among dictionaries). Names follow PaddleSlim: `conv1_weights`, `conv2_1_dw_bn_scale`, …, `fc7_offset`.
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
