//! Weights as whole multiples of a scale for each output, chosen by what the layer reads.
//!
//! Source: Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", arXiv:2210.17323: weights are
//! rounded one after the other, and those that are left make good what rounding has changed. Here by the Cholesky factor of H instead of that of
//! its inverse, which is the same: with H = RᵀR the error is the sum of squares of R·(q − w), so that the last weight is rounded first and each one before it
//! after what the later ones are off by (Babai 1986, "nearest plane").

use crate::error::{Error, Result};
use crate::problem::{Problem, Pruned, matrix};
use faer::{Mat, Side};
use rayon::prelude::*;
use sparse_sparsity::Mask;
use std::collections::BTreeMap;

/// The greatest multiple; the least is its negative.
pub const LARGEST: i8 = 127;
/// Greatest multiples over the greatest weight of an output, of which the best is taken: a smaller step for all, and a few weights cut off.
const RATIOS: [f64; 7] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6];

/// A layer whose weights are whole multiples of a scale of their output.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// Row-major `[outputs, inputs]`, from −127 to 127; zero where the mask prunes.
    pub multiples: Vec<i8>,
    /// `[outputs]`, above 0.
    pub scales: Vec<f32>,
    /// What is added to the bias of the dense layer, `[outputs]`.
    pub bias: Vec<f64>,
    /// As [`Pruned::relative_error`].
    pub relative_error: f64,
}

impl Quantized {
    /// The weights, row-major `[outputs, inputs]`.
    pub fn weight(&self) -> Vec<f32> {
        let inputs = self.multiples.len() / self.scales.len().max(1);
        let scales = self.scales.iter().flat_map(|scale| std::iter::repeat_n(scale, inputs));
        self.multiples.iter().zip(scales).map(|(&multiple, scale)| f32::from(multiple) * scale).collect()
    }
}

/// A row as it is rounded.
struct Rounded {
    multiples: Vec<i8>,
    scale: f32,
    error: f64,
}

/// The inputs that a row keeps, in the order of their variance, and the Cholesky factor of their H.
struct Factor {
    places: Vec<usize>,
    lower: Mat<f64>,
}

impl Problem {
    /// The best weights with zeros where the layer's own are zero, with the bias that goes with them. A weight of an input that never changes stays as it is:
    /// the input may change one day.
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub fn unpruned(&self) -> Result<Pruned> {
        let mut found = self.solve(Mask::from_fn(self.weight.len(), |at| self.weight[at] != 0.0))?;
        for (at, weight) in found.weight.iter_mut().enumerate().filter(|(at, _)| self.dead[at % self.inputs])
        {
            *weight = self.weight[at] as f32;
        }
        found.bias = self.shifts(&found.weight);
        Ok(found)
    }

    /// Rounds weights that were chosen before to whole multiples of a scale for each output, so that the output changes least; what is zero, or pruned by the
    /// mask, stays zero. The error is never larger than that of the nearest multiples.
    ///
    /// # Errors
    /// [`Error::Length`] of other weights than the layer's, [`Error::Singular`].
    pub fn quantize(&self, chosen: &Pruned) -> Result<Quantized> {
        let [outputs, inputs] = self.shape();
        for got in [chosen.weight.len(), chosen.mask.len()] {
            if got != outputs * inputs {
                return Err(Error::Length { got, expected: outputs * inputs });
            }
        }
        if let Some(index) = chosen.weight.iter().position(|weight| !weight.is_finite()) {
            return Err(Error::WeightNotFinite { index });
        }
        let alive = |at: usize| chosen.mask.get(at) && chosen.weight[at] != 0.0;
        let kept = |row: usize| (0..inputs).filter(|at| alive(row * inputs + at)).collect::<Vec<usize>>();
        let shared = self.shared((0..outputs).map(kept))?;
        let row = |row: usize| {
            let weights = &chosen.weight[row * inputs..][..inputs];
            let places = kept(row);
            match shared.get(&places) {
                Some(factor) => Ok(factor.rounded(weights)),
                None => self.factor(places).map(|factor| factor.rounded(weights)),
            }
        };
        let rows = (0..outputs).into_par_iter().map(row).collect::<Result<Vec<Rounded>>>()?;
        let scales = rows.iter().map(|row| row.scale).collect();
        let multiples = rows.into_iter().flat_map(|row| row.multiples).collect();
        let mut quantized = Quantized { multiples, scales, bias: Vec::new(), relative_error: 0.0 };
        let weight = quantized.weight();
        quantized.relative_error = self.relative_error(&self.of_live_inputs(&weight));
        // A bias that was moved further than the means ask for stays so.
        let (before, after) = (self.shifts(&chosen.weight), self.shifts(&weight));
        let shifts = chosen.bias.iter().zip(before.iter().zip(&after));
        quantized.bias = shifts.map(|(bias, (before, after))| bias + (after - before)).collect();
        Ok(quantized)
    }

    /// Weights without those of inputs that never change, which say nothing about the output.
    fn of_live_inputs(&self, weight: &[f32]) -> Vec<f32> {
        let live = |(at, &weight): (usize, &f32)| if self.dead[at % self.inputs] { 0.0 } else { weight };
        weight.iter().enumerate().map(live).collect()
    }

    /// By how much the bias must change for weights, so that the mean of each output is that of the dense network.
    pub(crate) fn shifts(&self, weight: &[f32]) -> Vec<f64> {
        let [own, dense] = &self.means;
        let rows = self.weight.chunks_exact(self.inputs).zip(weight.chunks_exact(self.inputs));
        let shift = |(before, after): (&[f64], &[f32])| {
            let before = before.iter().zip(dense).map(|(weight, mean)| weight * mean).sum::<f64>();
            before - after.iter().zip(own).map(|(&weight, mean)| f64::from(weight) * mean).sum::<f64>()
        };
        rows.map(shift).collect()
    }

    /// The factors that several rows have in common, by the inputs that these keep.
    fn shared(&self, rows: impl Iterator<Item = Vec<usize>>) -> Result<BTreeMap<Vec<usize>, Factor>> {
        let mut counts = BTreeMap::new();
        rows.for_each(|places| *counts.entry(places).or_insert(0_usize) += 1);
        let several = counts.into_iter().filter(|&(_, count)| count > 1);
        several.map(|(places, _)| Ok((places.clone(), self.factor(places)?))).collect()
    }

    /// The inputs that vary most come last, and are rounded first.
    fn factor(&self, mut places: Vec<usize>) -> Result<Factor> {
        let inputs = self.inputs;
        let variance = |at: usize| self.h[at * inputs + at];
        places.sort_by(|&a, &b| variance(a).total_cmp(&variance(b)).then(b.cmp(&a)));
        let size = places.len();
        let mut part = Vec::with_capacity(size * size);
        for &i in &places {
            part.extend(places.iter().map(|&j| self.h[i * inputs + j]));
        }
        let lower = match size {
            0 => Mat::zeros(0, 0),
            _ => matrix(&part, size).llt(Side::Lower).map_err(|_| Error::Singular)?.L().to_owned(),
        };
        Ok(Factor { places, lower })
    }
}

impl Factor {
    /// The multiples of the best of some scales.
    fn rounded(&self, weights: &[f32]) -> Rounded {
        let wanted: Vec<f64> = self.places.iter().map(|&at| f64::from(weights[at])).collect();
        let greatest = wanted.iter().fold(0.0_f64, |greatest, weight| greatest.max(weight.abs()));
        let mut best = Rounded { multiples: vec![0; self.places.len()], scale: 1.0, error: f64::INFINITY };
        for ratio in RATIOS {
            let scale = (ratio * greatest / f64::from(LARGEST)) as f32;
            if !scale.is_normal() {
                continue;
            }
            let found = self.one_after_the_other(&wanted, scale);
            if found.error < best.error {
                best = found;
            }
        }
        if best.error.is_finite() {
            let nearest = self.nearest(&wanted, best.scale);
            if nearest.error < best.error {
                best = nearest;
            }
        }
        let mut multiples = vec![0; weights.len()];
        self.places.iter().zip(&best.multiples).for_each(|(&at, &multiple)| multiples[at] = multiple);
        Rounded { multiples, ..best }
    }

    fn one_after_the_other(&self, wanted: &[f64], scale: f32) -> Rounded {
        let size = wanted.len();
        let (mut off, mut multiples, mut error) = (vec![0.0; size], vec![0; size], 0.0);
        for at in (0..size).rev() {
            let column = self.lower.col(at);
            let later = (at + 1..size).map(|later| column[later] * off[later]).sum::<f64>();
            let target = wanted[at] - later / column[at];
            multiples[at] = multiple(target, scale);
            let value = f64::from(f32::from(multiples[at]) * scale);
            off[at] = value - wanted[at];
            error += (column[at] * (value - target)).powi(2);
        }
        Rounded { multiples, scale, error }
    }

    fn nearest(&self, wanted: &[f64], scale: f32) -> Rounded {
        let multiples: Vec<i8> = wanted.iter().map(|&weight| multiple(weight, scale)).collect();
        let values = multiples.iter().map(|&multiple| f64::from(f32::from(multiple) * scale));
        let off: Vec<f64> = values.zip(wanted).map(|(value, weight)| value - weight).collect();
        let part = |at: usize| {
            let column = self.lower.col(at);
            (at..off.len()).map(|later| column[later] * off[later]).sum::<f64>().powi(2)
        };
        let error = (0..off.len()).map(part).sum();
        Rounded { multiples, scale, error }
    }
}

/// The nearest multiple that there is.
fn multiple(weight: f64, scale: f32) -> i8 {
    let largest = f64::from(LARGEST);
    (weight / f64::from(scale)).round_ties_even().clamp(-largest, largest) as i8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, Statistics, Support};
    use proptest::prelude::*;

    /// Numbers that look like chance, between −1 and 1.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
        };
        (0..count).map(next).collect()
    }

    /// A layer that reads mixtures of fewer causes, some inputs dead.
    fn problem([outputs, inputs]: [usize; 2], seed: u64, dead: usize) -> Problem {
        let places = 3 * inputs + 5;
        let (causes, mix) = (numbers(inputs * places, seed), numbers(inputs * inputs, seed + 1));
        let value = |at: usize| {
            let (input, place) = (at / places, at % places);
            let mixed: f32 =
                (0..inputs).map(|cause| mix[input * inputs + cause] * causes[cause * places + place]).sum();
            if input < dead { 0.75 } else { mixed + 0.5 }
        };
        let reads: Vec<f32> = (0..inputs * places).map(value).collect();
        let rounded: Vec<f32> = reads.iter().map(|value| (value * 16.0).round() / 16.0).collect();
        let mut statistics = Statistics::new(inputs);
        statistics.add(&reads, Some(&rounded)).unwrap();
        statistics.problem(&numbers(outputs * inputs, seed + 2), 0.01).unwrap()
    }

    fn form(problem: &Problem, row: usize, off: &[f64]) -> f64 {
        let (inputs, off) = (problem.inputs, &off[row * problem.inputs..][..problem.inputs]);
        (0..inputs * inputs).map(|at| off[at / inputs] * problem.h[at] * off[at % inputs]).sum()
    }

    fn off(weight: &[f32], chosen: &Pruned) -> Vec<f64> {
        weight.iter().zip(&chosen.weight).map(|(&a, &b)| f64::from(a) - f64::from(b)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_row_is_worse_than_its_nearest_multiples_and_zeros_stay(
            outputs in 1_usize..6, inputs in 1_usize..20, seed in 0_u64..1000, dead in 0_usize..3, kept in 1_usize..100,
        ) {
            let problem = problem([outputs, inputs], seed, dead.min(inputs - 1));
            let kept = (outputs * inputs * kept).div_ceil(100);
            for chosen in [problem.unpruned().unwrap(), problem.prune(&Support::Count(kept), Method::Admm).unwrap()] {
                let found = problem.quantize(&chosen).unwrap();
                let weight = found.weight();
                prop_assert!(found.multiples.iter().all(|&multiple| multiple >= -LARGEST));
                prop_assert!(found.scales.iter().all(|&scale| scale > 0.0 && scale.is_finite()));
                for (at, &weight) in weight.iter().enumerate() {
                    prop_assert!(chosen.mask.get(at) || weight == 0.0);
                }
                let nearest = |at: usize| {
                    let scale = found.scales[at / inputs];
                    f32::from(multiple(f64::from(chosen.weight[at]), scale)) * scale
                };
                let nearest: Vec<f32> = (0..weight.len()).map(nearest).collect();
                for row in 0..outputs {
                    let (ours, theirs) = (form(&problem, row, &off(&weight, &chosen)), form(&problem, row, &off(&nearest, &chosen)));
                    prop_assert!(ours <= theirs * (1.0 + 1e-9) + 1e-12, "{ours} {theirs}");
                }
                // Means stay those of the dense network.
                for (bias, shift) in found.bias.iter().zip(problem.shifts(&weight)) {
                    prop_assert!((bias - shift).abs() < 1e-6, "{bias} {shift}");
                }
            }
        }
    }

    #[test]
    fn rounding_one_after_the_other_is_much_better_where_inputs_go_together() {
        let problem = problem([8, 40], 7, 0);
        let chosen = problem.unpruned().unwrap();
        let found = problem.quantize(&chosen).unwrap();
        let nearest = |at: usize| {
            let scale = found.scales[at / 40];
            f32::from(multiple(f64::from(chosen.weight[at]), scale)) * scale
        };
        let nearest: Vec<f32> = (0..320).map(nearest).collect();
        let (ours, theirs) = (problem.relative_error(&found.weight()), problem.relative_error(&nearest));
        assert!(ours < 0.6 * theirs, "{ours} {theirs}");
        assert!((found.relative_error - ours).abs() < 1e-12);
    }

    #[test]
    fn zeros_of_the_layer_and_weights_of_dead_inputs_stay() {
        let dense = problem([4, 12], 9, 2);
        let mut weight: Vec<f32> = dense.weight.iter().map(|&weight| weight as f32).collect();
        weight.iter_mut().step_by(5).for_each(|weight| *weight = 0.0);
        let mut statistics = Statistics::new(12);
        let reads: Vec<f32> =
            numbers(12 * 60, 4).iter().enumerate().map(|(at, &x)| if at < 120 { 0.5 } else { x }).collect();
        statistics.add(&reads, None).unwrap();
        let problem = statistics.problem(&weight, 0.01).unwrap();
        let chosen = problem.unpruned().unwrap();
        let found = problem.quantize(&chosen).unwrap().weight();
        for at in 0..48 {
            assert_eq!(chosen.weight[at] == 0.0, weight[at] == 0.0, "{at}");
            assert!(weight[at] != 0.0 || found[at] == 0.0, "{at}");
            if at % 12 < 2 {
                assert_eq!(chosen.weight[at], weight[at]);
            }
        }
        assert!(problem.quantize(&chosen).unwrap().relative_error < 1e-3);
    }

    #[test]
    fn with_means_alone_the_weights_are_best_as_they_are() {
        let (dense, other) = (numbers(12 * 60, 1), numbers(12 * 60, 2));
        let rounded: Vec<f32> = dense.iter().zip(&other).map(|(x, y)| x + 0.2 * y + 0.125).collect();
        let mut statistics = Statistics::new(12);
        statistics.add(&dense, Some(&rounded)).unwrap();
        let weight = numbers(3 * 12, 3);
        let repaired = statistics.problem(&weight, 0.01).unwrap().unpruned().unwrap();
        let problem = statistics.means_alone().problem(&weight, 0.01).unwrap();
        let chosen = problem.unpruned().unwrap();
        let off =
            |found: &Pruned| found.weight.iter().zip(&weight).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off(&chosen) < 1e-5 && off(&repaired) > 1e-2, "{} {}", off(&chosen), off(&repaired));
        // The mean of what is read rose by an eighth, and a little by chance.
        for (row, bias) in chosen.bias.iter().enumerate() {
            let moved = |at: usize| {
                let means: f32 =
                    (0..60).map(|place| rounded[at * 60 + place] - dense[at * 60 + place]).sum::<f32>()
                        / 60.0;
                f64::from(weight[row * 12 + at] * means)
            };
            let expected: f64 = (0..12).map(moved).sum();
            assert!((bias + expected).abs() < 1e-4, "{bias} {expected}");
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let of = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let problem = problem([70, 90], 3, 2);
                let pruned = problem.prune(&Support::Count(2000), Method::Admm).unwrap();
                (problem.quantize(&problem.unpruned().unwrap()).unwrap(), problem.quantize(&pruned).unwrap())
            })
        };
        let one = of(1);
        assert!(one == of(2) && one == of(3));
    }

    #[test]
    fn rows_without_weights_and_single_inputs_are_rounded_too() {
        let problem = problem([3, 1], 5, 0);
        let mut chosen = problem.unpruned().unwrap();
        (chosen.weight[0], chosen.weight[1], chosen.weight[2]) = (0.5, 0.0, -1e-3);
        let found = problem.quantize(&chosen).unwrap();
        assert_eq!(found.multiples[1], 0);
        assert_eq!(found.scales[1], 1.0);
        assert!((found.weight()[0] - 0.5).abs() < 1e-6 && (found.weight()[2] + 1e-3).abs() < 1e-9);
        chosen.weight[1] = f32::NAN;
        assert_eq!(problem.quantize(&chosen), Err(Error::WeightNotFinite { index: 1 }));
        chosen.weight.pop();
        assert!(matches!(problem.quantize(&chosen), Err(Error::Length { got: 2, expected: 3 })));
    }
}
