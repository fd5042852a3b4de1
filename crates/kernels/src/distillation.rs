//! Soft targets: the divergence of a student's softened probabilities from a teacher's, mean over the batch.
//!
//! Source: Hinton et al. 2015, arXiv:1503.02531: `T²·KL(softmax(teacher/T) ‖ softmax(student/T))`. The factor T² keeps
//! the gradient as large as that of hard targets, whatever T is.

use super::cross_entropy::log_normaliser;
use sparse_vectors::Real;

/// Mean over the batch of `T²·KL`.
///
/// Shapes: `logits, teacher: [N, classes]`; `temperature` is T, above 0.
pub fn forward<T: Real>(logits: &[T], teacher: &[T], classes: usize, temperature: f64) -> T {
    let mut total = 0.0;
    for (row, target) in logits.chunks_exact(classes).zip(teacher.chunks_exact(classes)) {
        let (student, target) = (Softened::new(row, temperature), Softened::new(target, temperature));
        let term = |class| {
            let log_target = target.log_probability(class);
            log_target.exp() * (log_target - student.log_probability(class))
        };
        total += (0..classes).map(term).sum::<f64>();
    }
    T::from_f64(total * temperature * temperature / (logits.len() / classes) as f64)
}

/// Adds `upstream · T · (softmax(student/T) − softmax(teacher/T)) / N` to `dlogits`.
///
/// Shapes: `logits, teacher, dlogits: [N, classes]`; `upstream` is the gradient of what [`forward`] gives.
pub fn add_input_gradient<T: Real>(
    logits: &[T],
    teacher: &[T],
    classes: usize,
    temperature: f64,
    upstream: f64,
    dlogits: &mut [T],
) {
    let share = upstream * temperature / (logits.len() / classes) as f64;
    let rows = logits.chunks_exact(classes).zip(teacher.chunks_exact(classes));
    for ((row, target), out) in rows.zip(dlogits.chunks_exact_mut(classes)) {
        let (student, target) = (Softened::new(row, temperature), Softened::new(target, temperature));
        for (class, out) in out.iter_mut().enumerate() {
            let difference = student.log_probability(class).exp() - target.log_probability(class).exp();
            *out = T::from_f64(out.widen() + difference * share);
        }
    }
}

/// The softmax of one image's scores over a temperature.
struct Softened<'a, T> {
    row: &'a [T],
    temperature: f64,
    largest: f64,
    normaliser: f64,
}

impl<'a, T: Real> Softened<'a, T> {
    fn new(row: &'a [T], temperature: f64) -> Self {
        let (largest, normaliser) = log_normaliser(row, temperature);
        Self { row, temperature, largest: largest.widen(), normaliser }
    }

    fn log_probability(&self, class: usize) -> f64 {
        (self.row[class].widen() - self.largest) / self.temperature - self.normaliser
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: usize = 5;

    fn scores(seed: usize) -> Vec<f64> {
        (0..3 * CLASSES).map(|i| ((i + seed) * 7919 % 101) as f64 / 20.0 - 2.5).collect()
    }

    #[test]
    fn the_gradient_is_that_of_central_differences() {
        let (logits, teacher) = (scores(1), scores(40));
        for temperature in [0.5, 1.0, 4.0] {
            let mut gradient = vec![0.25; logits.len()];
            add_input_gradient(&logits, &teacher, CLASSES, temperature, 0.7, &mut gradient);
            for i in 0..logits.len() {
                let shifted = |delta: f64| {
                    let mut logits = logits.clone();
                    logits[i] += delta;
                    forward(&logits, &teacher, CLASSES, temperature)
                };
                let numeric = 0.7 * (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((gradient[i] - 0.25 - numeric).abs() < 1e-8, "{temperature} {i}: {}", gradient[i]);
            }
        }
    }

    #[test]
    fn equal_scores_cost_nothing_and_the_value_is_that_of_the_definition() {
        let logits = scores(3);
        assert_eq!(forward(&logits, &logits, CLASSES, 2.0), 0.0);
        // Two classes, T = 2: teacher (3/4, 1/4), student (1/2, 1/2).
        let value = forward(&[0.0, 0.0], &[2.0 * 3f64.ln(), 0.0], 2, 2.0);
        let expected = 4.0 * (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln());
        assert!((value - expected).abs() < 1e-12, "{value} {expected}");
    }

    #[test]
    fn huge_scores_do_not_overflow() {
        assert_eq!(forward(&[1e30f32, 0.0], &[1e30, 0.0], 2, 4.0), 0.0);
        assert!(forward(&[f32::NAN, 0.0], &[0.0, 0.0], 2, 4.0).is_nan());
    }
}
