//! The solver against every support there is, against magnitude, and with what real images bring: dead, equal and huge inputs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::noise;
use proptest::prelude::*;
use sparse_oneshot::{Error, Method, Problem, Statistics, Support};
use sparse_sparsity::Mask;

/// Inputs that go together and differ in scale, `[inputs, pixels]`: few sources, mixed.
fn correlated(inputs: usize, pixels: usize, seed: u64) -> Vec<f32> {
    let sources = inputs / 2 + 1;
    let (source, mix) = (noise(sources * pixels, seed), noise(inputs * sources, seed + 1));
    let own = noise(inputs * pixels, seed + 2);
    let value = |at: usize| {
        let (input, pixel) = (at / pixels, at % pixels);
        let mixed: f32 = (0..sources).map(|i| mix[input * sources + i] * source[i * pixels + pixel]).sum();
        (mixed + 0.2 * own[at]) * (1.0 + input as f32) + input as f32
    };
    (0..inputs * pixels).map(value).collect()
}

fn problem(outputs: usize, inputs: usize, seed: u64) -> Problem {
    let mut statistics = Statistics::new(inputs);
    for image in 0..3 {
        let x = correlated(inputs, 50, seed * 10 + image);
        statistics.add(&x, None).unwrap();
    }
    statistics.problem(&noise(outputs * inputs, seed + 99), 0.01).unwrap()
}

/// The least error of all supports of so many weights.
fn least(problem: &Problem, kept: u32) -> f64 {
    let [outputs, inputs] = problem.shape();
    let len = outputs * inputs;
    let of = |bits: u32| {
        let mask = Mask::from_fn(len, |at| bits >> at & 1 == 1);
        problem.solve(mask).unwrap().relative_error
    };
    (0..1u32 << len).filter(|bits| bits.count_ones() == kept).map(of).fold(f64::INFINITY, f64::min)
}

#[test]
fn close_to_the_best_of_all_supports() {
    let (mut found, mut best) = ([0.0; 2], 0.0);
    for seed in 0..12 {
        let problem = problem(1, 10, seed);
        for kept in [2, 4, 6] {
            let least = least(&problem, kept);
            for (method, sum) in [Method::Admm, Method::Obs].into_iter().zip(&mut found) {
                let pruned = problem.prune(&Support::Count(kept as usize), method).unwrap();
                assert_eq!(pruned.mask.kept(), kept as usize);
                assert!(pruned.relative_error >= least - 1e-9, "{method:?} is better than the best");
                *sum += pruned.relative_error;
            }
            best += least;
        }
    }
    println!("sum of relative errors: best {best:.4}, ADMM {:.4}, OBS {:.4}", found[0], found[1]);
    assert!(found.iter().all(|&sum| sum < 1.25 * best), "{found:?} where {best} is the least");
}

#[test]
fn rows_share_what_is_kept_as_the_best_would() {
    for seed in 0..6 {
        let problem = problem(3, 4, 100 + seed);
        let least = least(&problem, 5);
        let best = problem.prune(&Support::Count(5), Method::Best).unwrap();
        assert!(best.relative_error <= 1.3 * least + 1e-9, "{} for {least}", best.relative_error);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn never_worse_than_magnitude(seed in 0u64..1000, outputs in 1usize..12, inputs in 1usize..20, share in 0.05f64..1.0) {
        let problem = problem(outputs, inputs, seed);
        let support = Support::Count((share * (outputs * inputs) as f64) as usize);
        let magnitude = problem.prune(&support, Method::Magnitude).unwrap();
        for method in [Method::Admm, Method::Obs, Method::Best] {
            let pruned = problem.prune(&support, method).unwrap();
            prop_assert_eq!(pruned.mask.kept(), support.kept(outputs, inputs));
            prop_assert!(pruned.relative_error <= magnitude.relative_error * (1.0 + 1e-6) + 1e-9,
                "{:?}: {} for {}", method, pruned.relative_error, magnitude.relative_error);
        }
    }

    #[test]
    fn blocks_and_patterns_are_kept_whole(seed in 0u64..1000, rows in 1usize..4, groups in 1usize..4) {
        let (outputs, inputs) = (2 * rows, 4 * groups);
        let problem = problem(outputs, inputs, seed);
        let pruned = problem.prune(&Support::Pattern { n: 2, m: 4, apart: 1 }, Method::Admm).unwrap();
        for group in 0..outputs * groups {
            let kept = (0..4).filter(|at| pruned.mask.get(group * 4 + at)).count();
            prop_assert_eq!(kept, 2);
        }
        let support = Support::Blocks { size: [2, 4], count: 1 };
        let pruned = problem.prune(&support, Method::Best).unwrap();
        let kept: Vec<usize> = (0..outputs * inputs).filter(|&at| pruned.mask.get(at)).collect();
        prop_assert_eq!(kept.len(), 8);
        let blocks: Vec<(usize, usize)> = kept.iter().map(|at| (at / inputs / 2, at % inputs / 4)).collect();
        prop_assert!(blocks.iter().all(|block| *block == blocks[0]));
    }
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let problem = problem(150, 130, 7);
            [Method::Admm, Method::Obs].map(|method| problem.prune(&Support::Count(5000), method).unwrap())
        })
    };
    let one = with(1);
    assert!([2, 3, 5].map(with).iter().all(|several| *several == one));
}

/// What the pruned network gives differs from what the dense one gives: the layer makes up for it.
#[test]
fn a_layer_repairs_what_those_before_it_changed() {
    let (inputs, pixels) = (6, 400);
    let dense = correlated(inputs, pixels, 3);
    // Twice as large and shifted, as if a layer before had lost its batch norm.
    let own: Vec<f32> = dense.iter().map(|value| 2.0 * value + 5.0).collect();
    let mut statistics = Statistics::new(inputs);
    statistics.add(&dense, Some(&own)).unwrap();
    let weight = noise(4 * inputs, 5);
    let problem = statistics.problem(&weight, 1e-9).unwrap();
    let pruned = problem.prune(&Support::Count(4 * inputs), Method::Admm).unwrap();
    for (output, bias) in pruned.bias.iter().enumerate() {
        for pixel in 0..pixels {
            let of = |weight: &[f32], x: &[f32]| -> f64 {
                (0..inputs)
                    .map(|i| f64::from(weight[output * inputs + i]) * f64::from(x[i * pixels + pixel]))
                    .sum()
            };
            let (expected, found) = (of(&weight, &dense), of(&pruned.weight, &own) + bias);
            assert!((expected - found).abs() < 1e-3 * (1.0 + expected.abs()), "{found} for {expected}");
        }
    }
    assert!(pruned.relative_error < 1e-6);
}

#[test]
fn inputs_that_never_change_get_no_weight_and_no_fault() {
    let (inputs, pixels) = (4, 100);
    let mut x = correlated(inputs, pixels, 1);
    x[pixels..2 * pixels].fill(0.0);
    x[2 * pixels..3 * pixels].fill(3.5);
    let mut statistics = Statistics::new(inputs);
    statistics.add(&x, None).unwrap();
    let weight = [1.0, 2.0, 3.0, 4.0];
    let problem = statistics.problem(&weight, 0.01).unwrap();
    for method in [Method::Admm, Method::Obs, Method::Magnitude] {
        let pruned = problem.prune(&Support::Count(2), method).unwrap();
        if method != Method::Magnitude {
            assert!(pruned.mask.get(0) && pruned.mask.get(3), "{method:?}: {:?}", pruned.mask);
        }
        assert_eq!((pruned.weight[1], pruned.weight[2]), (0.0, 0.0), "{method:?}");
    }
    // What the constant input added is in the bias.
    let whole = problem.prune(&Support::Count(4), Method::Admm).unwrap();
    assert!((whole.bias[0] - 10.5).abs() < 0.2, "{:?}", whole.bias);
    // All alike: nothing to choose by.
    let mut alike = Statistics::new(2);
    alike.add(&[1.0; 20], None).unwrap();
    let problem = alike.problem(&[1.0, 2.0], 0.01).unwrap();
    assert!(problem.is_constant() && alike.is_constant_dense());
    let pruned = problem.prune(&Support::Count(1), Method::Best).unwrap();
    assert_eq!((pruned.weight, pruned.bias), (vec![0.0, 0.0], vec![3.0]));
}

#[test]
fn fewer_pixels_than_inputs_are_enough_with_damping() {
    let mut statistics = Statistics::new(20);
    let x = correlated(20, 5, 1);
    statistics.add(&x, None).unwrap();
    let problem = statistics.problem(&noise(60, 2), 0.01).unwrap();
    let pruned = problem.prune(&Support::Count(30), Method::Best).unwrap();
    assert!(pruned.relative_error.is_finite() && pruned.mask.kept() == 30);
}

#[test]
fn what_is_no_number_is_named() {
    let mut statistics = Statistics::new(2);
    assert_eq!(statistics.problem(&[1.0, 2.0], 0.01).unwrap_err(), Error::NoImages);
    assert_eq!(statistics.add(&[1.0; 3], None).unwrap_err(), Error::Length { got: 3, expected: 2 });
    assert_eq!(
        statistics.add(&[1.0; 4], Some(&[1.0; 2])).unwrap_err(),
        Error::Length { got: 2, expected: 4 }
    );
    statistics.add(&[1.0, 2.0, 0.5, 1.0], None).unwrap();
    let error = statistics.problem(&[1.0, f32::NAN], 0.01).unwrap_err();
    assert_eq!(error, Error::WeightNotFinite { index: 1 });
    statistics.add(&[f32::INFINITY; 2], None).unwrap();
    assert_eq!(statistics.problem(&[1.0, 2.0], 0.01).unwrap_err(), Error::NotFinite);
}

#[test]
fn inputs_that_vary_little_about_a_large_value_are_told_apart() {
    // In f32 a step of 1e-4 beside 1000 is one unit in the last place.
    let values: Vec<f32> = correlated(6, 40, 3).iter().map(|value| 1000.0 + 0.01 * value).collect();
    let mut statistics = Statistics::new(6);
    statistics.add(&values, None).unwrap();
    assert!(!statistics.is_constant_dense());
    let weight = noise(18, 5);
    let problem = statistics.problem(&weight, 0.01).unwrap();
    let pruned = problem.prune(&Support::Count(9), Method::Best).unwrap();
    assert!(pruned.relative_error.is_finite() && pruned.relative_error < 1.0, "{}", pruned.relative_error);
    // The bias takes the large mean.
    let sum = |weight: &[f32]| weight[..6].iter().map(|&weight| f64::from(weight) * 1000.0).sum::<f64>();
    let off = sum(&weight) - sum(&pruned.weight) - pruned.bias[0];
    assert!(off.abs() < 1.0, "{off}");
}

#[test]
fn what_may_not_be_kept_is_not_kept() {
    for seed in 0..6 {
        let problem = problem(2, 5, seed);
        let allowed = Mask::from_fn(10, |at| (at as u64 * 7 + seed) % 10 < 7);
        let within = problem.clone().within(allowed.clone()).unwrap();
        let supports = [
            (Support::Count(4), 4),
            (Support::Count(7), 7),
            (Support::Count(9), 7),
            (Support::Blocks { size: [1, 1], count: 3 }, 3),
        ];
        for (support, kept) in supports {
            for method in [Method::Magnitude, Method::Admm, Method::Obs, Method::Best] {
                let pruned = within.prune(&support, method).unwrap();
                assert_eq!(pruned.mask.kept(), kept, "{support:?} {method:?}");
                assert!((0..10).all(|at| allowed.get(at) || !pruned.mask.get(at)), "{support:?} {method:?}");
            }
        }
        // Not far from the best of all supports that are allowed.
        let masks = (0..1u32 << 10).filter(|bits| bits.count_ones() == 4);
        let masks = masks.map(|bits| Mask::from_fn(10, |at| bits >> at & 1 == 1));
        let fits = masks.filter(|mask| (0..10).all(|at| allowed.get(at) || !mask.get(at)));
        let least =
            fits.map(|mask| problem.solve(mask).unwrap().relative_error).fold(f64::INFINITY, f64::min);
        let found = within.prune(&Support::Count(4), Method::Best).unwrap().relative_error;
        assert!(found <= 1.3 * least + 1e-9, "{found} {least}");
        assert!(matches!(problem.within(Mask::all_kept(3)), Err(Error::Length { got: 3, expected: 10 })));
    }
}

#[test]
fn weights_of_inputs_that_never_change_are_held_where_that_is_asked_for() {
    let mut x = correlated(5, 60, 3);
    x[60..180].fill(0.75);
    let mut statistics = Statistics::new(5);
    statistics.add(&x, None).unwrap();
    let weight = noise(10, 4);
    let problem = statistics.problem(&weight, 0.01).unwrap();
    let held = problem.clone().holding_dead();
    for method in [Method::Magnitude, Method::Admm, Method::Obs, Method::Best] {
        // Three inputs are alive: of eight weights two have to be of others, the largest of these.
        let pruned = held.prune(&Support::Count(8), method).unwrap();
        let mut dead = [1, 2, 6, 7];
        dead.sort_by(|&a, &b| weight[b].abs().total_cmp(&weight[a].abs()));
        if method != Method::Magnitude {
            assert!(pruned.mask.get(dead[0]) && pruned.mask.get(dead[1]), "{method:?}");
        }
        assert_eq!(pruned.mask.kept(), 8);
        let kept = dead.iter().filter(|&&at| pruned.mask.get(at));
        assert!(kept.into_iter().all(|&at| pruned.weight[at] == weight[at]), "{method:?}");
        // What the bias takes does not count them.
        for row in 0..2 {
            let output = |pixel: usize| {
                let input = |input: usize| pruned.weight[row * 5 + input] * x[input * 60 + pixel];
                (0..5).map(|at| f64::from(input(at))).sum::<f64>() + pruned.bias[row]
            };
            let dense = |pixel: usize| {
                (0..5).map(|at| f64::from(weight[row * 5 + at] * x[at * 60 + pixel])).sum::<f64>()
            };
            let off = (0..60).map(|pixel| output(pixel) - dense(pixel)).sum::<f64>() / 60.0;
            assert!(off.abs() < 1e-4, "{off}");
        }
        let plain = problem.prune(&Support::Count(8), method).unwrap();
        assert!(dead.iter().all(|&at| plain.weight[at] == 0.0));
    }
}

#[test]
fn outputs_have_the_mean_and_variance_that_the_inputs_give() {
    let (inputs, pixels) = (5, 200);
    let x = correlated(inputs, pixels, 4);
    let mut statistics = Statistics::new(inputs);
    statistics.add(&x, None).unwrap();
    let weight = noise(3 * inputs, 8);
    let problem = statistics.problem(&weight, 0.01).unwrap();
    let other = noise(3 * inputs, 9);
    for (row, [mean, variance]) in problem.outputs(&other).into_iter().enumerate() {
        let value = |pixel: usize| -> f64 {
            let product = |i: usize| f64::from(other[row * inputs + i]) * f64::from(x[i * pixels + pixel]);
            (0..inputs).map(product).sum()
        };
        let values: Vec<f64> = (0..pixels).map(value).collect();
        let expected = values.iter().sum::<f64>() / pixels as f64;
        let spread = values.iter().map(|value| (value - expected).powi(2)).sum::<f64>() / pixels as f64;
        assert!((mean - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{mean} for {expected}");
        assert!((variance - spread).abs() < 1e-6 * spread, "{variance} for {spread}");
    }
}
