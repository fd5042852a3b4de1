//! Measuring the inference engine: milliseconds dense and with zeros left out, layer by layer, beside the training model.
//!
//! [`bench_infer`] takes weights, or makes networks whose pointwise layers have an exact share of zeros, the smallest of
//! independent normal weights. The two engines run in turn, ten times each, so that whatever disturbs the machine
//! disturbs both.

mod break_even;
mod int8;
mod network;
mod report;
mod timing;

pub use report::{InferReport, LayerInfer};

use super::{InferConfig, InferPrecision};
use crate::advice::warn_of_slow;
use crate::error::Result;
use crate::pretrained::WeightsAt;
use network::Network;
use sparse_engine::{Engine, Options, Precision, Products};
use timing::Turns;

/// Runs of an engine in one turn.
const TURN: usize = 10;

/// Times the engine for each network and batch, in the order given. The log tells what is being measured.
///
/// # Errors
/// [`crate::Error::BenchSetting`] for a setting out of its range; what reading weights or running the engine reports.
pub fn bench_infer(config: &InferConfig) -> Result<Vec<InferReport>> {
    config.check()?;
    warn_of_slow(engine_precision(config));
    let mut reports = Vec::new();
    let networks = match &config.weights {
        Some(path) => vec![Network::read(WeightsAt::from(path).under(config.key.as_deref()), config)?],
        None => {
            let random = |&sparsity| Network::random(config, sparsity);
            config.sparsities.iter().map(random).collect::<Result<_>>()?
        }
    };
    for network in networks {
        bench_network(config, &network, &mut reports)?;
    }
    Ok(reports)
}

/// What products are computed in that are not in integers.
fn engine_precision(config: &InferConfig) -> Precision {
    match config.precision {
        InferPrecision::F32 | InferPrecision::Int8 => Precision::F32,
        InferPrecision::Bf16 => Precision::Bf16,
    }
}

fn bench_network(config: &InferConfig, network: &Network, reports: &mut Vec<InferReport>) -> Result<()> {
    let options = Options {
        threads: config.threads,
        products: Products::Measured,
        precision: engine_precision(config),
        ..Options::default()
    };
    let chosen = Engine::new(network.graph.clone(), options)?;
    let dense = chosen.with_products(Products::Dense)?;
    tracing::info!("{}: measuring from which sparsity on zeros pay, layer by layer", network.name);
    let break_even = break_even::of_layers(&network.graph, &dense)?;
    let max_rel_error = network.error_of(&chosen)?;
    for &batch in &config.batches {
        tracing::info!("{}: batch {batch}, {} runs each way", network.name, config.runs);
        let mut turns = Turns::new([&dense, &chosen], batch)?;
        turns.run(config.runs)?;
        let measured = report::Measured { turns, break_even: &break_even, max_rel_error, batch };
        reports.push(report::report(config, network, &chosen, measured));
    }
    Ok(())
}
