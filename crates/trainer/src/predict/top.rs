//! The most probable classes by their scores.

use std::cmp::Ordering;

/// The first `count` classes with their probabilities: the softmax of `scores`, or `scores` themselves if they are such.
/// Ties go to the lower number, and scores that are not numbers to the end, as in [`crate::Accuracy`].
pub(super) fn top(scores: &[f32], count: usize, are_probabilities: bool) -> Vec<(usize, f64)> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |score: f32| f64::from(score - largest).exp();
    let sum: f64 = scores.iter().map(|&score| weight(score)).sum();
    let probability = |score: f32| if are_probabilities { f64::from(score) } else { weight(score) / sum };
    let mut classes: Vec<usize> = (0..scores.len()).collect();
    classes.sort_by(|&a, &b| downwards(scores[a], scores[b]));
    classes.into_iter().take(count).map(|class| (class, probability(scores[class]))).collect()
}

fn downwards(a: f32, b: f32) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::rank_of;

    #[test]
    fn ranks_are_those_of_a_test() {
        let scores = [0.5, f32::NAN, 2.0, 0.5, -1.0];
        let order: Vec<usize> = top(&scores, 9, false).into_iter().map(|(class, _)| class).collect();
        assert_eq!(order, [2, 0, 3, 4, 1]);
        for (rank, &class) in order[..4].iter().enumerate() {
            assert_eq!(rank_of(&scores, class), rank);
        }
    }

    #[test]
    fn probabilities_sum_to_one_and_large_scores_do_not_overflow() {
        let all = top(&[1000.0, 1001.0, 999.0], 3, false);
        assert!((all.iter().map(|(_, probability)| probability).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((all[0].1 - 0.665_240_955_774_822).abs() < 1e-9, "{all:?}");
        assert_eq!(top(&[0.25, 0.75], 1, true), [(1, 0.75)]);
    }
}
