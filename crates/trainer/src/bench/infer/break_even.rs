//! From which sparsity on a layer is faster without its zeros, on this machine.
//!
//! Two copies of the network with half and nine tenths of every product's weights zero are timed. The time without
//! zeros is nearly linear in the weights that are kept, so two points give the sparsity at which it is that of the dense
//! product.

use crate::error::Result;
use crate::layer_times::{typical, with_zeros};
use sparse_engine::graph::Graph;
use sparse_engine::{Engine, Products};

/// Sparsities of the two copies.
const PROBES: [f64; 2] = [0.5, 0.9];

/// For each layer of `dense` the sparsity from which on leaving zeros out pays, a fraction; 1 = never, 0 = always. `None`
/// where there is no product of weights.
///
/// # Errors
/// If an engine cannot be made or run.
pub(super) fn of_layers(graph: &Graph, dense: &Engine) -> Result<Vec<Option<f64>>> {
    let options = sparse_engine::Options { products: Products::Sparse, ..dense.options() };
    let copies = PROBES.map(|sparsity| Engine::new(with_zeros(graph, sparsity), options));
    let [half, tenth] = copies;
    let times = typical(&[dense, &half?, &tenth?])?;
    let layers = dense.layers();
    let of = |(index, layer): (usize, &sparse_engine::LayerReport)| {
        layer.is_product.then(|| crossing([0, 1, 2].map(|engine| times[engine][index])))
    };
    Ok(layers.iter().enumerate().map(of).collect())
}

/// Where the line through the times at [`PROBES`] meets the time of the dense product.
fn crossing([dense, half, tenth]: [f64; 3]) -> f64 {
    let slope = (half - tenth) / (PROBES[1] - PROBES[0]);
    if slope <= 0.0 {
        return if tenth < dense { 0.0 } else { 1.0 };
    }
    (PROBES[1] - (dense - tenth) / slope).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_meet_where_they_should() {
        // Half of the weights take 6, a tenth takes 2: all take 11, and 6 is met at a half.
        assert!((crossing([6.0, 6.0, 2.0]) - 0.5).abs() < 1e-9);
        assert!((crossing([4.0, 6.0, 2.0]) - 0.7).abs() < 1e-9);
        assert_eq!(crossing([100.0, 6.0, 2.0]), 0.0);
        assert_eq!(crossing([0.5, 6.0, 2.0]), 1.0);
        assert_eq!([crossing([3.0, 2.0, 2.0]), crossing([1.0, 2.0, 2.0])], [0.0, 1.0]);
    }
}
