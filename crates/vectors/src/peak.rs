//! What this machine can do at most, measured: the marks that kernels are held against.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Independent sums: enough to hide how long one multiply-add takes, few enough for 16 registers.
const SUMS: usize = 12;
/// Multiply-adds to each sum between two looks at the clock.
const ROUNDS: usize = 4096;
/// How long one run multiplies.
const RUN: Duration = Duration::from_millis(20);
/// Runs; the best counts.
const RUNS: usize = 5;
/// Numbers in the buffer that is streamed, 128 MiB of f32: more than caches hold.
const BUFFER: usize = 32 << 20;
/// Numbers that a thread takes at a time.
const CHUNK: usize = 256 << 10;

/// Threads of the rayon pool that the kernels run on here.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Floating-point operations per second, of f32 in registers on the first `threads` threads of the rayon pool; a
/// multiply-add counts as two.
pub fn flops_per_second(threads: usize) -> f64 {
    best_rate(|| {
        let done = rayon::broadcast(|thread| if thread.index() < threads { multiply() } else { 0 });
        done.into_iter().sum::<usize>() as f64
    })
}

/// Bytes per second between memory and all threads of the rayon pool, half of them read and half written.
pub fn bytes_per_second() -> f64 {
    let mut buffer = vec![1.0f32; BUFFER];
    best_rate(|| {
        let negate = |chunk: &mut [f32]| {
            pulp::Arch::new().dispatch(|| chunk.iter_mut().for_each(|value| *value = -*value));
        };
        black_box(&mut buffer).par_chunks_mut(CHUNK).for_each(negate);
        (2 * BUFFER * size_of::<f32>()) as f64
    })
}

/// The most that `run` does per second in several runs; it says how much it did.
fn best_rate(mut run: impl FnMut() -> f64) -> f64 {
    let mut rate = || {
        let start = Instant::now();
        let done = run();
        done / start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| rate()).fold(0.0, f64::max)
}

/// Multiplies and adds for the length of one run, and says how many operations that took.
fn multiply() -> usize {
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < RUN {
        let (sum, operations) = pulp::Arch::new().dispatch(Burst { factor: black_box(0.75), offset: 0.5 });
        black_box(sum);
        done += operations;
    }
    done
}

/// [`ROUNDS`] multiply-adds to each of [`SUMS`] registers; gives their sum and the number of operations.
struct Burst {
    factor: f32,
    offset: f32,
}

impl WithSimd for Burst {
    type Output = (f32, usize);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f32, usize) {
        let (factor, offset) = (simd.splat_f32s(self.factor), simd.splat_f32s(self.offset));
        let mut sums = [offset; SUMS];
        for (start, sum) in sums.iter_mut().enumerate() {
            *sum = simd.splat_f32s(start as f32);
        }
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, offset);
            }
        }
        let mut total = sums[0];
        for &sum in &sums[1..] {
            total = simd.add_f32s(total, sum);
        }
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        (simd.reduce_sum_f32s(total), 2 * ROUNDS * SUMS * lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_does_the_multiply_adds_it_counts() {
        let burst = || Burst { factor: 0.75, offset: 0.5 };
        let (sum, operations) = burst().with_simd(pulp::Scalar::new());
        // Each sum goes to 0.5 / (1 − 0.75).
        assert_eq!((sum, operations), (2.0 * SUMS as f32, 2 * ROUNDS * SUMS));
        let (sum, operations) = pulp::Arch::new().dispatch(burst());
        assert_eq!(sum as usize * ROUNDS, operations);
    }

    #[test]
    fn rates_are_positive_and_finite() {
        for rate in [flops_per_second(threads()), flops_per_second(1), bytes_per_second()] {
            assert!(rate.is_finite() && rate > 0.0, "{rate}");
        }
    }
}
