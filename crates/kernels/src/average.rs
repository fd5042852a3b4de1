//! Exponential moving averages of weights.
//!
//! Source: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging", with exponential weights as in Tarvainen &
//! Valpola 2017, arXiv:1703.01780, equation 1.

use super::simd::dispatch;
use rayon::prelude::*;
use sparse_vectors::Real;

/// Elements of one task, a whole number of mask words.
const CHUNK: usize = 64 * 1024;

/// `a += share · (w − a)`, which is `a = (1 − share)·a + share·w` and leaves an average alone that the value equals.
///
/// Both slices have the same length; `share` is a fraction. With the words of a mask (1 = kept) the average of a pruned weight is +0.
pub fn update<T: Real>(average: &mut [T], value: &[T], share: f64, mask: Option<&[u64]>) {
    assert_eq!(average.len(), value.len(), "elements of an average and of what goes into it");
    let share = T::from_f64(share);
    let chunks = average.par_chunks_mut(CHUNK).zip(value.par_chunks(CHUNK));
    chunks.enumerate().for_each(|(chunk, (average, value))| {
        let mask = mask.map(|words| &words[chunk * CHUNK / 64..]);
        let blocks = average.chunks_mut(64).zip(value.chunks(64));
        dispatch(
            #[inline(always)]
            || {
                for (block, (average, value)) in blocks.enumerate() {
                    let word = mask.map_or(u64::MAX, |words| words[block]);
                    for (i, (a, &w)) in average.iter_mut().zip(value).enumerate() {
                        let next = *a + (w - *a) * share;
                        *a = if word >> i & 1 == 1 { next } else { T::zero() };
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_plain_loop_at_any_number_of_threads() {
        let len = 2 * CHUNK + 77;
        let value: Vec<f32> = (0..len).map(|i| (i * 7919 % 2017) as f32 / 1008.5 - 1.0).collect();
        let start: Vec<f32> = (0..len).map(|i| (i * 104_729 % 1009) as f32 / 504.5 - 1.0).collect();
        let words: Vec<u64> =
            (0..len.div_ceil(64) as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        for masked in [false, true] {
            let kept = |i: usize| !masked || words[i / 64] >> (i % 64) & 1 == 1;
            let expected: Vec<u32> = (0..len)
                .map(|i| if kept(i) { start[i] + (value[i] - start[i]) * 0.3 } else { 0.0 }.to_bits())
                .collect();
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut average = start.clone();
                pool.install(|| update(&mut average, &value, 0.3, masked.then_some(&words)));
                assert!(average.iter().map(|a| a.to_bits()).eq(expected.iter().copied()));
            }
        }
        let mut same = value.clone();
        update(&mut same, &value, 0.123, None);
        assert!(same == value);
    }
}
