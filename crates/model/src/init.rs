//! Initial values of the parameters.

use crate::{Initial, Parameter, Result};
use candle_core::{DType, Device, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A variable with the initial value of the `index`-th parameter, a function of `(seed, index)`.
///
/// # Errors
/// Candle's, on allocation.
pub(crate) fn initial_value(
    parameter: &Parameter,
    (seed, index): (u64, usize),
    dtype: DType,
    device: &Device,
) -> Result<Var> {
    let count = parameter.shape.iter().product();
    let values: Vec<f32> = match parameter.initial {
        Initial::Constant(value) => vec![value as f32; count],
        Initial::Uniform { bound } => {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(index as u64);
            let bound = bound as f32;
            (0..count).map(|_| rng.random_range(-bound..=bound)).collect()
        }
    };
    let tensor = Tensor::from_vec(values, parameter.shape.as_slice(), device)?.to_dtype(dtype)?;
    Ok(Var::from_tensor(&tensor)?)
}
