//! From which sparsity on a layer is faster without its zeros, on this machine.
//!
//! Two copies of the network with half and nine tenths of every product's weights zero are timed. The time without
//! zeros is nearly linear in the weights that are kept, so two points give the sparsity at which it is that of the dense
//! product.

use super::super::measure::median_ms;
use super::TURN;
use crate::error::Result;
use sparse_data::sample_rng;
use sparse_engine::graph::{Graph, Op};
use sparse_engine::{Engine, Products, Session};
use std::thread::sleep;
use std::time::Duration;

/// Sparsities of the two copies.
const PROBES: [f64; 2] = [0.5, 0.9];
/// Turns of each copy.
const TURNS: usize = 6;
/// Number of the stream of random numbers that decide on zeros.
const ZEROS: u64 = 3;

/// For each layer of `dense` the sparsity from which on leaving zeros out pays, a fraction; 1 = never, 0 = always. `None`
/// where there is no product of weights.
///
/// # Errors
/// If an engine cannot be made or run.
pub(super) fn of_layers(graph: &Graph, dense: &Engine) -> Result<Vec<Option<f64>>> {
    let options = sparse_engine::Options { products: Products::Sparse, ..dense.options() };
    let copies = PROBES.map(|sparsity| Engine::new(with_zeros(graph, sparsity), options));
    let [half, tenth] = copies;
    let [dense_times, half_times, tenth_times] = typical_times([dense, &half?, &tenth?])?;
    let layers = dense.layers();
    let of = |(index, layer): (usize, &sparse_engine::LayerReport)| {
        let times = [dense_times[index], half_times[index], tenth_times[index]];
        layer.is_product.then(|| crossing(times))
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

/// The median time of each layer of three engines in turn, in milliseconds. (Not the least: the thread with the clock may
/// be late to look at it, and what another thread did meanwhile seems to take no time.)
fn typical_times(engines: [&Engine; 3]) -> Result<[Vec<f64>; 3]> {
    let [channels, height, width] = engines[0].input_shape();
    let image = vec![0.5; channels * height * width];
    let mut outputs = vec![0.0; engines[0].outputs()];
    let layers = engines[0].layers().len();
    let mut taken = [(); 3].map(|()| vec![Vec::new(); layers]);
    let mut sessions = Vec::new();
    for engine in engines {
        sessions.push(engine.session()?);
    }
    let mut times = vec![Duration::ZERO; layers];
    for _ in 0..TURNS {
        for (session, taken) in sessions.iter_mut().zip(&mut taken) {
            sleep(Session::SETTLING);
            session.run(&image, &mut outputs)?;
            for _ in 0..TURN {
                times.fill(Duration::ZERO);
                session.run_timed(&image, &mut outputs, &mut times)?;
                taken.iter_mut().zip(&times).for_each(|(taken, &time)| taken.push(time));
            }
        }
    }
    Ok(taken.map(|layers| layers.into_iter().map(median_ms).collect()))
}

/// The graph with a random share of the weights of every product zero.
fn with_zeros(graph: &Graph, sparsity: f64) -> Graph {
    let mut graph = graph.clone();
    for (index, node) in graph.nodes.iter_mut().enumerate() {
        let Op::Convolution(convolution) = &mut node.op else { continue };
        if convolution.shape[1] == 1 && convolution.groups > 1 {
            continue;
        }
        // Activations neither grow nor vanish.
        let inputs: usize = convolution.shape[1..].iter().product();
        let bound = (6.0 / (inputs as f64 * (1.0 - sparsity))).sqrt();
        let mut rng = sample_rng(super::super::SEED, ZEROS, index);
        for weight in &mut convolution.weight {
            let kept = rng.uniform(0.0, 1.0) >= sparsity;
            *weight = if kept { rng.uniform(-bound, bound) as f32 } else { 0.0 };
        }
    }
    graph
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
