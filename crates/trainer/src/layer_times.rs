//! What each layer of an engine takes.

use crate::bench::median_ms;
use crate::error::Result;
use sparse_data::sample_rng;
use sparse_engine::graph::{Graph, Op};
use sparse_engine::{Engine, Session};
use std::thread::sleep;
use std::time::Duration;

/// Turns of each engine.
const TURNS: usize = 6;
/// Runs of a turn.
const TURN: usize = 10;
/// Seed and number of the stream of random numbers that decide on zeros.
const SEED: u64 = 0;
const ZEROS: u64 = 3;

/// The median time of each layer of engines in turn, for one image, in milliseconds. (Not the least: the thread with the clock may
/// be late to look at it, and what another thread did meanwhile seems to take no time.)
///
/// # Errors
/// If an engine cannot be run.
pub(crate) fn typical(engines: &[&Engine]) -> Result<Vec<Vec<f64>>> {
    let [first, ..] = engines else { return Ok(Vec::new()) };
    let [channels, height, width] = first.input_shape();
    let image = vec![0.5; channels * height * width];
    let mut outputs = vec![0.0; first.outputs()];
    let layers: Vec<usize> = engines.iter().map(|engine| engine.layers().len()).collect();
    let mut taken: Vec<_> = layers.iter().map(|&layers| vec![Vec::new(); layers]).collect();
    let mut sessions = Vec::new();
    for engine in engines {
        sessions.push(engine.session()?);
    }
    let mut times = vec![Duration::ZERO; layers.iter().copied().max().unwrap_or_default()];
    for _ in 0..TURNS {
        for (session, taken) in sessions.iter_mut().zip(&mut taken) {
            sleep(Session::SETTLING);
            session.run(&image, &mut outputs)?;
            for _ in 0..TURN {
                let times = &mut times[..taken.len()];
                times.fill(Duration::ZERO);
                session.run_timed(&image, &mut outputs, times)?;
                taken.iter_mut().zip(&*times).for_each(|(taken, &time)| taken.push(time));
            }
        }
    }
    Ok(taken.into_iter().map(|layers| layers.into_iter().map(median_ms).collect()).collect())
}

/// The graph with a random share of the weights of every product zero; in integers, of its blocks of four over input channels.
pub(crate) fn with_zeros(graph: &Graph, sparsity: f64) -> Graph {
    let mut graph = graph.clone();
    for (index, node) in graph.nodes.iter_mut().enumerate() {
        let Op::Convolution(convolution) = &mut node.op else { continue };
        if convolution.shape[1] == 1 && convolution.groups > 1 {
            continue;
        }
        // Activations neither grow nor vanish.
        let inputs: usize = convolution.shape[1..].iter().product();
        let bound = (6.0 / (inputs as f64 * (1.0 - sparsity))).sqrt();
        let mut rng = sample_rng(SEED, ZEROS, index);
        if let Some(scales) = &convolution.scales {
            let (rows, positions) = (convolution.weight.chunks_mut(inputs), convolution.window.taps());
            for (row, &scale) in rows.zip(scales) {
                for block in row.chunks_mut(4 * positions) {
                    let kept = rng.uniform(0.0, 1.0) >= sparsity;
                    block.fill(if kept { scale } else { 0.0 });
                }
            }
            continue;
        }
        for weight in &mut convolution.weight {
            let kept = rng.uniform(0.0, 1.0) >= sparsity;
            *weight = if kept { rng.uniform(-bound, bound) as f32 } else { 0.0 };
        }
    }
    graph
}
