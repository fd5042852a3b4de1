//! Weights with zeros that learn from the dense network they were made of, on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::weights::{Weights, pointwise, prunable, pruned_of};
use common::{Bench, number, succeed};

const SPARSE: &str = "--pretrained_model sparse.safetensors --batch_size 32 --lr 0.02 --lr_strategy cosine_decay --num_epochs 4";
const TAUGHT: &str = "--distill --teacher dense --distill_features 1 --ema 0.9";

/// A dense network in `dense`, and its weights with the smallest 75 % of each pointwise layer zero in `sparse.safetensors`.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.train("--num_epochs 8 --batch_size 32 --lr 0.02 --pruning_mode none --model_path dense");
    let mut weights = bench.weights("dense");
    let layers = weights.tensors.iter_mut().filter(|(name, (shape, _))| pointwise(name, shape));
    for (_, values) in layers.map(|(_, tensor)| tensor) {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()));
        let pruned = pruned_of(0.75, values.len());
        order[..pruned].iter().for_each(|&index| values[index] = 0.0);
    }
    weights.write(&bench.path("sparse.safetensors"));
    bench
}

/// Which prunable weights are zero.
fn zeros(weights: &Weights) -> Vec<bool> {
    let prunable = weights.tensors.iter().filter(|(name, (shape, _))| prunable(name, shape));
    prunable.flat_map(|(_, (_, values))| values).map(|&value| value == 0.0).collect()
}

fn top1(bench: &Bench, weights: &str) -> f64 {
    succeed(bench.small(&format!("--phase test --pretrained_model {weights} --model_path test")));
    number(&bench.json("test/test.json"), "/top1")
}

#[test]
fn zeros_that_are_kept_stay_where_they_are_in_weights_and_averages() {
    let bench = bench();
    let start = Weights::read(&bench.path("sparse.safetensors"));
    let (dense, pruned) = (top1(&bench, "dense"), top1(&bench, "sparse.safetensors"));
    let flags = format!("{SPARSE} {TAUGHT} --ratio 0 --set prune.regrow=false");
    bench
        .train(&flags)
        .says(&["they stay zero (prune.regrow = false)", "learning from the scores and features of dense"]);
    let averages = Weights::read(&bench.path("run/weights_ema.safetensors"));
    for weights in [bench.weights("run"), averages] {
        assert!(zeros(&weights) == zeros(&start));
        assert!(weights.tensors != start.tensors);
    }
    let summary = bench.json("run/summary.json");
    let [taught, averaged] = ["/top1", "/ema/top1"].map(|pointer| number(&summary, pointer));
    assert!(dense > 0.9 && pruned < 0.6, "{dense} {pruned}");
    assert!(taught > pruned + 0.2 && averaged > pruned + 0.2, "{taught} and {averaged} after {pruned}");
    // The teacher is the dense network: another one is refused when the run goes on, and the same gives the same bytes.
    let weights = bench.bytes("run/weights.safetensors");
    std::fs::remove_file(bench.path("run/summary.json")).unwrap();
    common::fail(
        bench.small(&format!("{flags} --teacher sparse.safetensors --resume auto")),
        1,
        &["learned from other weights"],
    );
    bench.train(&format!("{flags} --resume_epoch 2 --threads 2"));
    assert!(bench.bytes("run/weights.safetensors") == weights);
}

#[test]
fn zeros_may_wander_at_the_same_ratio_and_a_pruned_teacher_is_warned_of() {
    let bench = bench();
    let start = Weights::read(&bench.path("sparse.safetensors"));
    let ratio = "--ratio 0.75 --local_sparsity True --prune_params_type conv1x1_only";
    bench.train(&format!("{SPARSE} {TAUGHT} {ratio}"));
    let weights = bench.weights("run");
    let of_layers = |weights: &Weights| weights.zeros(pointwise).0;
    assert_eq!(of_layers(&weights), of_layers(&start));
    assert!(zeros(&weights) != zeros(&start));
    // Without a teacher of its own the run would learn from its start.
    let ended = bench.train(&format!("{SPARSE} --distill {ratio} --num_epochs 1 --model_path alone"));
    ended.says(&["learns from these very weights", "--teacher"]);
    let ended =
        bench.train(&format!("--pretrained_model dense --distill {ratio} --num_epochs 1 --model_path usual"));
    assert!(!ended.stderr.contains("these very weights"), "{}", ended.stderr);
}
