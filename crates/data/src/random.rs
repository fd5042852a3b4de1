//! Random numbers as a function of (seed, epoch, index).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a generator is for: part of its key, so that no two uses share a stream.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Order,
    Sample,
}

/// A stream of random numbers whose values are the same on every machine.
///
/// It is ChaCha with 8 rounds, keyed with all of seed, epoch, index and purpose; neighbouring keys are unrelated.
#[derive(Clone, Debug)]
pub struct SampleRng(ChaCha8Rng);

/// The generator for the augmentation of image `index` in `epoch` of the run with this `seed`.
///
/// ```
/// use sparse_data::sample_rng;
/// assert_eq!(sample_rng(1, 2, 3).next_u64(), sample_rng(1, 2, 3).next_u64());
/// assert_ne!(sample_rng(1, 2, 3).next_u64(), sample_rng(1, 2, 4).next_u64());
/// ```
pub fn sample_rng(seed: u64, epoch: u64, index: usize) -> SampleRng {
    SampleRng::keyed(Purpose::Sample, seed, epoch, index as u64)
}

impl SampleRng {
    pub(crate) fn keyed(purpose: Purpose, seed: u64, epoch: u64, index: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, epoch, index, purpose as u64]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A whole number from 0 to `bound - 1`, each equally likely; 0 when `bound` is 0.
    ///
    /// Multiply-and-shift with rejection (Lemire 2019, "Fast random integer generation in an interval").
    pub fn below(&mut self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            let low = product as u64;
            if low >= bound || low >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number in `[low, high)`, uniform on a grid of 2^53 steps.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.next_u64() >> 63 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_counts() {
        let first = |purpose, seed, epoch, index| SampleRng::keyed(purpose, seed, epoch, index).next_u64();
        let base = first(Purpose::Sample, 1, 2, 3);
        assert_ne!(base, first(Purpose::Order, 1, 2, 3));
        assert_ne!(base, first(Purpose::Sample, 2, 2, 3));
        assert_ne!(base, first(Purpose::Sample, 1, 1, 3));
        assert_ne!(base, first(Purpose::Sample, 1, 2, 2));
        assert_ne!(first(Purpose::Sample, 1, 2, 3), first(Purpose::Sample, 3, 2, 1));
    }

    #[test]
    fn below_is_uniform_and_bounded() {
        let mut rng = sample_rng(0, 0, 0);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[rng.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn uniform_and_coin_are_balanced() {
        let mut rng = sample_rng(5, 0, 0);
        let mean = (0..10_000).map(|_| rng.uniform(2.0, 4.0)).sum::<f64>() / 10_000.0;
        assert!((mean - 3.0).abs() < 0.03, "{mean}");
        let heads = (0..10_000).filter(|_| rng.coin()).count();
        assert!((4_800..5_200).contains(&heads), "{heads}");
    }
}
