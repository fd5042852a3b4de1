//! Softmax cross-entropy with label smoothing, mean over the batch.
//!
//! Source: Szegedy et al. 2016, arXiv:1512.00567, section 7: the target is `(1 − ε)·onehot + ε/classes`.

use sparse_vectors::Real;

/// Mean loss over the batch.
///
/// Shapes: `logits: [N, classes]`, `labels: [N]`, each label below `classes`. `smoothing` is ε in [0, 1).
pub fn forward<T: Real>(logits: &[T], labels: &[u32], smoothing: f64) -> T {
    let classes = logits.len() / labels.len();
    let mut total = 0.0;
    for (row, &label) in logits.chunks_exact(classes).zip(labels) {
        let (largest, normaliser) = log_normaliser(row, 1.0);
        let log_probability = |value: T| (value - largest).widen() - normaliser;
        total -= (1.0 - smoothing) * log_probability(row[label as usize]);
        if smoothing > 0.0 {
            let sum: f64 = row.iter().map(|&value| log_probability(value)).sum();
            total -= smoothing / classes as f64 * sum;
        }
    }
    T::from_f64(total / labels.len() as f64)
}

/// `dlogits = (softmax − target) · upstream / N`.
///
/// Shapes: `logits, dlogits: [N, classes]`, `labels: [N]`; `upstream` is the gradient of the mean loss.
pub fn input_gradient<T: Real>(logits: &[T], labels: &[u32], smoothing: f64, upstream: T, dlogits: &mut [T]) {
    let classes = logits.len() / labels.len();
    let share = upstream.widen() / labels.len() as f64;
    let rows = logits.chunks_exact(classes).zip(dlogits.chunks_exact_mut(classes)).zip(labels);
    for ((row, out), &label) in rows {
        let (largest, normaliser) = log_normaliser(row, 1.0);
        for (class, (out, &value)) in out.iter_mut().zip(row).enumerate() {
            let onehot = if class == label as usize { 1.0 - smoothing } else { 0.0 };
            let target = onehot + smoothing / classes as f64;
            let probability = ((value - largest).widen() - normaliser).exp();
            *out = T::from_f64((probability - target) * share);
        }
    }
}

/// The largest logit, and `ln Σ exp((logit − largest) / temperature)`.
pub(super) fn log_normaliser<T: Real>(row: &[T], temperature: f64) -> (T, f64) {
    let largest = row.iter().copied().fold(T::neg_infinity(), T::max);
    let sum: f64 = row.iter().map(|&value| ((value - largest).widen() / temperature).exp()).sum();
    (largest, sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_cost_ln_classes_and_huge_ones_do_not_overflow() {
        let loss = forward(&[5.0f64; 8], &[0, 3], 0.1);
        assert!((loss - 4f64.ln()).abs() < 1e-12);
        assert_eq!(forward(&[1e30f32, 0.0], &[0], 0.0), 0.0);
        assert!(forward(&[f32::NAN, 0.0], &[0], 0.0).is_nan());
    }
}
