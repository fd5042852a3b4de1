//! A layer that was pruned elsewhere: `tests/golden/make.py`, with numpy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::admm::{Admm, ITERATIONS};
use crate::{Method, Problem, Statistics, Support};
use serde_json::Value;
use sparse_sparsity::Mask;

fn golden() -> Value {
    serde_json::from_str(include_str!("../tests/golden/layer.json")).unwrap()
}

fn numbers(of: &Value, name: &str) -> Vec<f64> {
    of[name].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// The layer's problem, its places given as images of 100.
fn problem(golden: &Value) -> Problem {
    let unit = golden["unit"].as_f64().unwrap();
    let inputs = golden["inputs"].as_u64().unwrap() as usize;
    let values = |name| numbers(golden, name).iter().map(|value| (value / unit) as f32).collect::<Vec<f32>>();
    let [weight, dense, pruned] = ["weight", "dense", "pruned"].map(values);
    let places = dense.len() / inputs;
    let mut statistics = Statistics::new(inputs);
    for start in (0..places).step_by(100) {
        let image = |values: &[f32]| {
            let rows = values.chunks_exact(places);
            rows.flat_map(|row| row[start..places.min(start + 100)].to_vec()).collect::<Vec<f32>>()
        };
        statistics.add(&image(&dense), Some(&image(&pruned))).unwrap();
    }
    assert_eq!(statistics.count(), places as u64);
    let mut problem = statistics.problem(&weight, golden["damp"].as_f64().unwrap()).unwrap();
    // All outputs count alike there.
    problem.counts.fill(1.0);
    problem
}

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64], most: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= most, "{what} {at}: {found}, expected {expected}");
    }
}

#[test]
fn covariances_weights_and_bias_are_those_of_numpy() {
    let golden = golden();
    let problem = problem(&golden);
    close("H", &problem.h, &numbers(&golden, "h"), 1e-10);
    close("G", &problem.g, &numbers(&golden, "g"), 1e-10);
    for case in golden["cases"].as_array().unwrap() {
        let support = numbers(case, "support");
        let mask = Mask::from_fn(problem.outputs * problem.inputs, |at| support.contains(&(at as f64)));
        let solved = problem.solve(mask).unwrap();
        let kept: Vec<f64> = support.iter().map(|&at| f64::from(solved.weight[at as usize])).collect();
        close("weight", &kept, &numbers(case, "weights"), 1e-6);
        close("bias", &solved.bias, &numbers(case, "bias"), 1e-6);
        close("error", &[solved.relative_error], &[case["relative_error"].as_f64().unwrap()], 1e-6);
        assert_eq!(solved.weight.iter().filter(|&&value| value != 0.0).count(), support.len());
    }
}

#[test]
fn the_places_kept_are_those_of_numpy_or_better_ones() {
    let golden = golden();
    let problem = problem(&golden);
    for case in golden["cases"].as_array().unwrap() {
        let support: Vec<usize> = numbers(case, "support").iter().map(|&at| at as usize).collect();
        let error = case["relative_error"].as_f64().unwrap();
        let count = Support::Count(support.len());
        let same = |mask: &Mask| (0..mask.len()).filter(|&at| mask.get(at)).eq(support.iter().copied());
        let mask = Admm::new(&problem).unwrap().mask(&problem, &count, ITERATIONS);
        let found = problem.solve(mask.clone()).unwrap().relative_error;
        assert!(same(&mask) || found < error, "{} kept: {found}, numpy {error}", support.len());
        for method in [Method::Admm, Method::Best] {
            let pruned = problem.prune(&count, method).unwrap();
            assert!(
                same(&pruned.mask) || pruned.relative_error < error,
                "{method:?}, {} kept",
                support.len()
            );
        }
    }
}
