//! Momentum SGD with L2 decay: `v = μ·v + (g + λ·w)`, `w −= lr·v`; no dampening, no Nesterov.
//!
//! Source: PaddlePaddle `Momentum` with `L2Decay`, as PaddleSlim's demo builds it.

use super::simd::{dispatch, sum_terms};
use rayon::prelude::*;
use sparse_vectors::Real;

/// Elements of one task, a whole number of mask words.
const CHUNK: usize = 64 * 1024;

/// Coefficients of the velocity update.
#[derive(Clone, Copy, Debug)]
pub struct Velocity<'a> {
    /// μ, fraction of the old velocity kept.
    pub momentum: f64,
    /// λ, added as λ·w to the gradient.
    pub l2_decay: f64,
    /// Factor on the gradient before all else (gradient clipping), 1 when off.
    pub gradient_scale: f64,
    /// Bits of the mask, 1 = kept; the gradient of a pruned weight counts as zero.
    pub mask: Option<&'a [u64]>,
    /// With a mask: the velocity of a pruned weight is zero too, so that the weight cannot come back.
    pub hold_pruned: bool,
}

/// `v = μ·v + (g + λ·w)`. All slices have the same length.
pub fn update_velocity<T: Real>(velocity: &mut [T], gradient: &[T], weight: &[T], rule: Velocity<'_>) {
    let (momentum, l2) = (T::from_f64(rule.momentum), T::from_f64(rule.l2_decay));
    let scale = T::from_f64(rule.gradient_scale);
    let chunks = velocity.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(weight.par_chunks(CHUNK));
    chunks.enumerate().for_each(|(chunk, ((velocity, gradient), weight))| {
        let mask = rule.mask.map(|words| &words[chunk * CHUNK / 64..]);
        let blocks = velocity.chunks_mut(64).zip(gradient.chunks(64)).zip(weight.chunks(64));
        dispatch(
            #[inline(always)]
            || {
                for (block, ((velocity, gradient), weight)) in blocks.enumerate() {
                    let word = mask.map_or(u64::MAX, |words| words[block]);
                    for (i, ((v, &g), &w)) in velocity.iter_mut().zip(gradient).zip(weight).enumerate() {
                        let kept = word >> i & 1 == 1;
                        let g = if kept { g * scale } else { T::zero() };
                        let next = momentum * *v + (g + l2 * w);
                        *v = if kept || !rule.hold_pruned { next } else { T::zero() };
                    }
                }
            },
        );
    });
}

/// `w −= lr·v`.
pub fn apply_velocity<T: Real>(weight: &mut [T], velocity: &[T], learning_rate: f64) {
    let rate = T::from_f64(learning_rate);
    weight.par_chunks_mut(CHUNK).zip(velocity.par_chunks(CHUNK)).for_each(|(weight, velocity)| {
        dispatch(
            #[inline(always)]
            || weight.iter_mut().zip(velocity).for_each(|(w, &v)| *w -= rate * v),
        );
    });
}

/// Σ g², chunk by chunk in order, for the global gradient norm. With the words of a mask, over kept weights alone.
pub fn squared_norm<T: Real>(gradient: &[T], mask: Option<&[u64]>) -> f64 {
    let chunks = gradient.par_chunks(CHUNK).enumerate();
    let partial: Vec<f64> = chunks
        .map(|(chunk, gradient)| {
            let words = mask.map(|words| &words[chunk * CHUNK / 64..]);
            dispatch(
                #[inline(always)]
                || match words {
                    None => sum_terms([gradient], |[g]| g * g),
                    Some(words) => gradient.chunks(64).zip(words).map(kept_squares).sum(),
                },
            )
        })
        .collect();
    partial.iter().sum()
}

/// Σ g² over the kept weights of one word.
fn kept_squares<T: Real>((gradient, &word): (&[T], &u64)) -> f64 {
    let kept = gradient.iter().enumerate().filter(|(i, _)| word >> i & 1 == 1);
    kept.map(|(_, g)| g.widen() * g.widen()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_by_hand_masked_and_held() {
        let (mut v, mut w) = ([0.5f64, 0.5, 0.5], [1.0, 0.0, 0.0]);
        let g = [1.0, 1.0, 1.0];
        let rule = Velocity {
            momentum: 0.9,
            l2_decay: 0.1,
            gradient_scale: 1.0,
            mask: Some(&[0b011]),
            hold_pruned: false,
        };
        update_velocity(&mut v, &g, &w, rule);
        assert_eq!(v, [0.9 * 0.5 + (1.0 + 0.1), 0.9 * 0.5 + 1.0, 0.9 * 0.5]);
        apply_velocity(&mut w, &v, 0.1);
        assert_eq!(w[2], -0.1 * 0.45);
        update_velocity(&mut v, &g, &w, Velocity { hold_pruned: true, ..rule });
        assert_eq!(v[2], 0.0);
    }

    #[test]
    fn the_norm_is_over_all_or_over_kept_weights() {
        let gradient: Vec<f64> = (0..130).map(f64::from).collect();
        let squares =
            |keep: fn(usize) -> bool| (0..130).filter(|&i| keep(i)).map(|i| (i * i) as f64).sum::<f64>();
        assert_eq!(squared_norm(&gradient, None), squares(|_| true));
        let words = [u64::MAX, 0, 0b01];
        assert_eq!(squared_norm(&gradient, Some(&words)), squares(|i| i < 64 || i == 128));
    }

    #[test]
    fn mask_words_line_up_across_tasks() {
        let len = CHUNK + 100;
        let words: Vec<u64> =
            (0..len.div_ceil(64)).map(|i| if i * 64 >= CHUNK { 0 } else { u64::MAX }).collect();
        let (mut v, ones) = (vec![0.0f32; len], vec![1.0f32; len]);
        let rule = Velocity {
            momentum: 0.9,
            l2_decay: 0.0,
            gradient_scale: 1.0,
            mask: Some(&words),
            hold_pruned: false,
        };
        update_velocity(&mut v, &ones, &ones, rule);
        assert!(v[..CHUNK].iter().all(|&v| v == 1.0) && v[CHUNK..].iter().all(|&v| v == 0.0));
    }
}
