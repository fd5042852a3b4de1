//! `--pruning_strategy rewind`: training goes back to an early epoch, with fewer weights each time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::weights::{Weights, pointwise, pruned_of};
use common::{Bench, fail, number, succeed};

const INNER: &str = "--prune_params_type conv1x1_only";
/// Two epochs of 10 steps: a pass of 8, and two of the 6 after its first two.
const REWIND: &str = "--pruning_strategy rewind --rewind_epoch 0.2 --rewind_rounds 2 --ratio 0.75";
const SAVES: &str = "--set checkpoint.every_steps=1 --set checkpoint.keep=1000";

fn saved(bench: &Bench, step: usize) -> Weights {
    Weights::read(&bench.path(&format!("run/checkpoints/step-{step:08}/weights.safetensors")))
}

/// A run that does by hand what rewinding is: the weights of an early step, those that are small at the end of the pass zero.
#[test]
fn kept_weights_go_back_to_what_they_were() {
    let bench = Bench::new();
    bench.train(&format!("{REWIND} {INNER} {SAVES} --lr_strategy cosine_decay"));
    let early = saved(&bench, 2);
    for (back, ratio, before) in [(8, 0.5, 7), (14, 0.75, 13)] {
        let (now, last) = (saved(&bench, back), saved(&bench, before));
        let (zeros, total) = now.zeros(pointwise);
        assert_eq!(zeros, pruned_of(ratio, total), "after {back} steps");
        for (name, (shape, values)) in &now.tensors {
            let was = &early.tensors[name].1;
            let same =
                values.iter().zip(was).all(|(now, was)| now == was || pointwise(name, shape) && *now == 0.0);
            assert!(same && (values != &last.tensors[name].1 || was == values), "{name} after {back} steps");
        }
    }
    let rates: Vec<f64> = bench
        .metrics("run")
        .iter()
        .filter(|record| record.get("lr").is_some())
        .map(|record| number(record, "/lr"))
        .collect();
    assert_eq!(rates.len(), 20);
    assert!(rates[8..14] == rates[2..8] && rates[14..20] == rates[2..8] && rates[2] > rates[7], "{rates:?}");
    let (zeros, total) = bench.weights("run").zeros(pointwise);
    assert_eq!(zeros, pruned_of(0.75, total));
    let momentum = |step: usize| {
        let path = format!("run/checkpoints/step-{step:08}/velocity.safetensors");
        Weights::read(&bench.path(&path)).tensors.values().any(|(_, values)| values.iter().any(|v| *v != 0.0))
    };
    assert!(momentum(7) && !momentum(8) && momentum(9) && !momentum(14));
    let remembers =
        |step: usize| bench.path(&format!("run/checkpoints/step-{step:08}/rewind.safetensors")).exists();
    assert_eq!([1, 2, 8, 13, 14, 20].map(remembers), [false, true, true, true, false, false]);
    // What is saved on the way changes nothing.
    bench
        .train(&format!("{REWIND} {INNER} --lr_strategy cosine_decay --log_period 100 --model_path unsaved"));
    assert!(bench.bytes("unsaved/weights.safetensors") == bench.bytes("run/weights.safetensors"));
}

#[test]
fn the_rate_alone_goes_back_where_that_is_asked_for() {
    let bench = Bench::new();
    bench.train(&format!("{REWIND} {INNER} {SAVES} --rewind rate"));
    let (early, before, back) = (saved(&bench, 2), saved(&bench, 7), saved(&bench, 8));
    let moved = |from: &Weights| {
        let values =
            back.tensors.iter().zip(&from.tensors).flat_map(|(now, from)| now.1.1.iter().zip(&from.1.1));
        values.filter(|(now, _)| **now != 0.0).map(|(now, from)| f64::from(now - from).powi(2)).sum::<f64>()
    };
    assert!(moved(&before) < moved(&early), "{} {}", moved(&before), moved(&early));
    assert!(!bench.path("run/checkpoints/step-00000007/rewind.safetensors").exists());
}

#[test]
fn what_does_not_go_with_it_is_refused_by_name() {
    let bench = Bench::new();
    let refused = |flags: &str, parts: &[&str]| {
        fail(bench.small(&format!("--pruning_strategy rewind {flags}")), 2, parts);
        assert!(!bench.path("run").exists(), "{flags}");
    };
    let strategy = "prune.pruning_strategy = \"rewind\"";
    refused("--pruning_mode threshold", &[strategy, "threshold", "--ratio 0.9"]);
    refused("--set prune.paddle_compat=true", &[strategy, "prune.paddle_compat"]);
    refused("--criterion obs", &["prune.criterion = \"obs\"", "rewinding", "--pruning_strategy gmp"]);
    refused("--rewind_epoch 2", &["goes back 3 times", "step 20", "--num_epochs", "--rewind_epoch"]);
    refused("--rewind_epoch -1", &["prune.rewind_epoch"]);
    refused("--rewind_rounds 0", &["prune.rewind_rounds"]);
    refused("--rewind momentum", &["prune.rewind", "weights", "rate"]);
    // What was trained with other rounds is no state to go on from.
    bench.train(&format!("{REWIND} --set checkpoint.every_steps=5 --num_epochs 2"));
    fail(
        bench.small(&format!("{REWIND} --rewind_rounds 3 --resume auto --num_epochs 3")),
        1,
        &["prune.rewind_rounds"],
    );
    // From weights alone, in the middle, there is nothing to go back to.
    let middle =
        format!("{REWIND} --pretrained_model run --resume_epoch 1 --model_path other --rewind_epoch 0.5");
    fail(bench.small(&middle), 2, &["the weights to go back to", "checkpoints"]);
    succeed(bench.small(&format!("{middle} --rewind rate")));
}
