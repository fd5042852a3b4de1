//! Global mean pooling.

use crate::Real;

/// `y[n, c] = mean over H·W of x[c, ·, n]`.
///
/// Shapes: `x: [C, plane, N]`, `y: [N, C]`.
pub fn forward<T: Real>(x: &[T], y: &mut [T], plane: usize, batch: usize) {
    let channels = y.len() / batch;
    let share = T::from_f64(1.0 / plane as f64);
    let mut sums = vec![T::zero(); batch];
    for (channel, x) in x.chunks_exact(plane * batch).enumerate() {
        sums.fill(T::zero());
        for run in x.chunks_exact(batch) {
            sums.iter_mut().zip(run).for_each(|(sum, &value)| *sum += value);
        }
        for (image, &sum) in sums.iter().enumerate() {
            y[image * channels + channel] = sum * share;
        }
    }
}

/// The gradient spread evenly: `dx[c, ·, n] = dy[n, c] / plane`.
///
/// Shapes: `dy: [N, C]`, `dx: [C, plane, N]`.
pub fn input_gradient<T: Real>(dy: &[T], dx: &mut [T], plane: usize, batch: usize) {
    let channels = dy.len() / batch;
    let share = T::from_f64(1.0 / plane as f64);
    for (channel, dx) in dx.chunks_exact_mut(plane * batch).enumerate() {
        let (first, rest) = dx.split_at_mut(batch);
        for (image, out) in first.iter_mut().enumerate() {
            *out = dy[image * channels + channel] * share;
        }
        rest.chunks_exact_mut(batch).for_each(|run| run.copy_from_slice(first));
    }
}
