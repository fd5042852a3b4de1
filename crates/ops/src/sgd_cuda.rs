//! Momentum SGD on CUDA tensors, a variable at a time.

use crate::cuda::{Place, error};
use candle_core::{DType, Result, Tensor};
use sparse_kernels::cuda::chunks::{Chunks, Member, place as places};
use sparse_kernels::cuda::sgd::{self, Rule, Runs};
use sparse_kernels::cuda::{Memory, Queue};
use sparse_kernels::host::sgd::Velocity;

/// `v = μ·v + (g·scale + λ·w)`, `w −= lr·v`, in place.
pub(crate) fn step(
    [weight, gradient, velocity]: [&Tensor; 3],
    rule: Velocity<'_>,
    learning_rate: f64,
) -> Result<()> {
    let place = Place::of_tensor(weight)?;
    let queue = &*place.queue;
    let count = weight.elem_count();
    let (spans, end) = places([count]);
    let masked = rule.mask.is_some();
    let members: Vec<Member> = spans.iter().map(|&span| Member { span, group: 0, masked }).collect();
    let chunks = Chunks::new(queue, &members).map_err(error)?;
    // Runs of the kernels are whole words of masks long.
    let [weights, gradients, velocities, words, scale] =
        [end * 4, end * 4, end * 4, end / 8, 4].map(|bytes| place.scratch(bytes));
    let (weights, gradients, velocities, words, scale) = (weights?, gradients?, velocities?, words?, scale?);
    if let Some(mask) = rule.mask {
        let bytes: &[u8] = bytemuck::cast_slice(mask);
        queue.write(bytes, words.slice().part(0, bytes.len())).map_err(error)?;
    }
    let factor = [rule.gradient_scale as f32];
    queue.write(bytemuck::cast_slice(&factor), scale.slice().part(0, 4)).map_err(error)?;
    place.with([weight, gradient, velocity], |[weight, gradient, velocity]| {
        for (from, to) in [(weight, &weights), (gradient, &gradients), (velocity, &velocities)] {
            queue.copy(from, to.slice().part(0, count * 4)).map_err(error)?;
        }
        let runs = Runs {
            weights: weights.slice(),
            gradients: gradients.slice(),
            velocities: velocities.slice(),
            words: words.slice(),
        };
        let rule = Rule {
            learning_rate,
            momentum: rule.momentum,
            l2_decay: rule.l2_decay,
            masked,
            hold_pruned: rule.hold_pruned,
        };
        sgd::step(queue, runs, rule, Some(scale.slice()), &chunks).map_err(error)?;
        for (from, to) in [(&weights, weight), (&velocities, velocity)] {
            queue.copy(from.slice().part(0, count * 4), to).map_err(error)?;
        }
        Ok(())
    })
}

/// Σ g² over the kept weights; waits for the device.
pub(crate) fn squared_norm(gradient: &Tensor, mask: Option<&[u64]>) -> Result<f64> {
    let kept = match mask {
        Some(words) => gradient.mul(&crate::cuda::mask_tensor(words, gradient)?)?,
        None => gradient.clone(),
    };
    kept.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar()
}
