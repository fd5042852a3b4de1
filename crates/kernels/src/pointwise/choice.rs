//! Dense or sparse: fixed where it decides bits, measured on this machine where it does not.

use super::super::activation::Input;
use super::super::product::{InputRows, Left, Matrix, Pattern, product_with_statistics};
use sparse_vectors::Real;
use sparse_vectors::arithmetic::Plain;
use sparse_vectors::vector::Stored;
use std::time::{Duration, Instant};

/// Which products of a pointwise layer leave the zeros out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The forward product.
    pub forward: bool,
    /// The gradient to the input.
    pub input_gradient: bool,
    /// The gradient to the weight.
    pub weight_gradient: bool,
}

/// Pixels that products are tried on.
const SAMPLE: usize = 512;
/// Times that each product is tried; the fastest counts.
const TRIALS: usize = 3;
/// Kept fraction above which sparse products are not even tried.
const DENSE_ABOVE: f64 = 0.8;
/// Kept fraction up to which the gradient to the weight is sparse. The two ways of computing it round differently, so the
/// choice must not hang on a clock: it would make two runs from one seed differ.
const SPARSE_WEIGHT_GRADIENT: f64 = 0.45;
/// Kept fraction up to which all products are sparse where activations are bf16: dense products of bf16 round differently.
const SPARSE_BF16: f64 = 0.25;

impl Choice {
    /// Whether any product leaves the zeros out.
    pub fn any(&self) -> bool {
        self.forward || self.input_gradient || self.weight_gradient
    }

    /// What either leaves out.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            forward: self.forward || other.forward,
            input_gradient: self.input_gradient || other.input_gradient,
            weight_gradient: self.weight_gradient || other.weight_gradient,
        }
    }
}

/// The part of the choice that decides bits, for a weight `[outputs, inputs]` of which so many are `kept`: a function of the
/// mask alone, to be asked again whenever a mask changes. Whatever was chosen before must not matter, since a run that
/// goes on from a checkpoint does not know it.
pub fn fixed<E: Stored>(kept: usize, sizes: [usize; 2]) -> Choice {
    let density = density(kept, sizes);
    if E::BF16 {
        let sparse = density <= SPARSE_BF16;
        return Choice { forward: sparse, input_gradient: sparse, weight_gradient: sparse };
    }
    Choice { weight_gradient: density <= SPARSE_WEIGHT_GRADIENT, ..Choice::default() }
}

/// One of the products that are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trial {
    /// The gradient to the input, or the forward product.
    pub input_gradient: bool,
    /// Without the zeros, or dense.
    pub sparse: bool,
}

/// What takes the time of a product.
pub trait Stopwatch {
    /// Runs `product`, and tells how long it took.
    fn time(&mut self, trial: Trial, product: &mut dyn FnMut()) -> Duration;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Stopwatch for WallClock {
    fn time(&mut self, _: Trial, product: &mut dyn FnMut()) -> Duration {
        let start = Instant::now();
        product();
        start.elapsed()
    }
}

/// The rest of the choice, for a weight `[outputs, inputs]`: by trying the products whose bits do not depend on it. To be
/// joined with [`fixed`].
pub fn choose<E: Stored>(pattern: &Pattern, sizes: [usize; 2], stopwatch: &mut impl Stopwatch) -> Choice {
    let [outputs, inputs] = sizes;
    if E::BF16 || density(pattern.kept(), sizes) > DENSE_ABOVE {
        return Choice::default();
    }
    let weight: Vec<E::Real> = (0..outputs * inputs).map(|i| E::Real::from_f64((i % 7) as f64)).collect();
    let matrix = Matrix::row_major(&weight, outputs, inputs, inputs);
    let forward = [Left::dense::<Plain>(matrix), Left::sparse(&weight, pattern.by_output())];
    let backward = [Left::dense::<Plain>(matrix.transposed()), Left::sparse(&weight, pattern.by_input())];
    Choice {
        forward: sparse_is_faster::<E>(&forward, [outputs, inputs], false, stopwatch),
        input_gradient: sparse_is_faster::<E>(&backward, [inputs, outputs], true, stopwatch),
        weight_gradient: false,
    }
}

/// Kept fraction of a weight; 0 of none.
fn density(kept: usize, [outputs, inputs]: [usize; 2]) -> f64 {
    kept as f64 / (outputs * inputs).max(1) as f64
}

/// Whether the second left operand `[rows, inner]` makes the faster product.
fn sparse_is_faster<E: Stored>(
    operands: &[Left<'_, E::Real>; 2],
    [rows, inner]: [usize; 2],
    input_gradient: bool,
    stopwatch: &mut impl Stopwatch,
) -> bool {
    let x: Vec<E> = (0..inner * SAMPLE).map(|i| E::store(E::Real::from_f64((i % 5) as f64))).collect();
    let x = InputRows { x: Input::Plain(&x), channels: inner, pixels: SAMPLE };
    let mut y = vec![E::default(); rows * SAMPLE];
    let mut best = [Duration::MAX; 2];
    for _ in 0..TRIALS {
        for (sparse, (best, left)) in [false, true].into_iter().zip(best.iter_mut().zip(operands)) {
            let trial = Trial { input_gradient, sparse };
            let mut product = || product_with_statistics::<E, Plain>(left, &x, &mut y, None, rows);
            *best = stopwatch.time(trial, &mut product).min(*best);
        }
    }
    best[1] < best[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;
    use std::collections::HashMap;

    /// A clock that a test sets: times of a trial in turn, the last one for ever.
    #[derive(Default)]
    struct Scripted {
        times: HashMap<Trial, Vec<u64>>,
        taken: Vec<Trial>,
    }

    impl Scripted {
        /// Microseconds of `[forward, input gradient]`, dense and sparse.
        fn new(times: [[&[u64]; 2]; 2]) -> Self {
            let mut scripted = Self::default();
            for (input_gradient, times) in [false, true].into_iter().zip(times) {
                for (sparse, times) in [false, true].into_iter().zip(times) {
                    scripted.times.insert(Trial { input_gradient, sparse }, times.to_vec());
                }
            }
            scripted
        }
    }

    impl Stopwatch for Scripted {
        fn time(&mut self, trial: Trial, product: &mut dyn FnMut()) -> Duration {
            product();
            let before = self.taken.iter().filter(|&&taken| taken == trial).count();
            self.taken.push(trial);
            let times = &self.times[&trial];
            Duration::from_micros(times[before.min(times.len() - 1)])
        }
    }

    const SIZES: [usize; 2] = [20, 30];

    /// A pattern of the first `kept` weights.
    fn pattern(kept: usize) -> Pattern {
        let mut words = vec![0u64; (SIZES[0] * SIZES[1]).div_ceil(64)];
        (0..kept).for_each(|i| words[i / 64] |= 1 << (i % 64));
        Pattern::new(&words, SIZES[0], SIZES[1])
    }

    #[test]
    fn the_faster_path_is_chosen_product_by_product() {
        let measured = |forward, input_gradient| Choice { forward, input_gradient, weight_gradient: false };
        for (times, expected) in [
            ([[&[9][..], &[8]], [&[9], &[10]]], measured(true, false)),
            ([[&[9], &[10]], [&[9], &[8]]], measured(false, true)),
            ([[&[9], &[8]], [&[9], &[8]]], measured(true, true)),
            // A path that is as fast is not worth a pattern.
            ([[&[9], &[9]], [&[9], &[9]]], measured(false, false)),
            // What disturbs one trial does not count: the fastest of each does.
            ([[&[90, 9, 90], &[80, 80, 8]], [&[1, 9, 9], &[2, 8, 8]]], measured(true, false)),
        ] {
            let mut scripted = Scripted::new(times);
            assert_eq!(choose::<f32>(&pattern(150), SIZES, &mut scripted), expected, "{times:?}");
            assert_eq!(scripted.taken.len(), 4 * TRIALS);
            // In turn, so that what disturbs one disturbs the other.
            assert!(scripted.taken.chunks(2).all(|pair| !pair[0].sparse && pair[1].sparse));
            assert_eq!(choose::<f64>(&pattern(150), SIZES, &mut Scripted::new(times)), expected);
        }
    }

    #[test]
    fn what_decides_bits_is_no_matter_of_the_clock() {
        let never = || Scripted::new([[&[9], &[8]], [&[9], &[8]]]);
        for kept in 0..=600 {
            let density = kept as f64 / 600.0;
            let weight_gradient = density <= 0.45;
            assert_eq!(fixed::<f32>(kept, SIZES), Choice { weight_gradient, ..Choice::default() });
            assert_eq!(fixed::<f64>(kept, SIZES), fixed::<f32>(kept, SIZES));
            let all = density <= 0.25;
            let short = Choice { forward: all, input_gradient: all, weight_gradient: all };
            assert_eq!(fixed::<bf16>(kept, SIZES), short);
        }
        for kept in [0, 150, 151, 270, 271, 480, 600] {
            let mut clock = never();
            assert!(!choose::<f32>(&pattern(kept), SIZES, &mut clock).weight_gradient);
            // Bits of bf16 hang on every choice, and hardly any zeros are not worth a trial.
            assert_eq!(clock.taken.is_empty(), kept > 480, "{kept}");
            let mut clock = never();
            assert_eq!(choose::<bf16>(&pattern(kept), SIZES, &mut clock), Choice::default());
            assert!(clock.taken.is_empty());
        }
        assert_eq!(fixed::<f32>(0, [0, 0]), Choice { weight_gradient: true, ..Choice::default() });
    }

    #[test]
    fn the_wall_clock_runs_what_it_times() {
        let (trial, mut runs) = (Trial { input_gradient: false, sparse: true }, 0);
        WallClock.time(trial, &mut || runs += 1);
        assert_eq!(runs, 1);
    }
}
