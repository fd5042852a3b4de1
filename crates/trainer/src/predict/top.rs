//! The most probable classes by their scores.

use std::cmp::Ordering;

/// The first `count` classes with their probabilities: the softmax of `scores`, or `scores` themselves if they are such.
/// Ties go to the lower number, as in [`crate::Accuracy`]. `None` where a probability is no number: with a NaN among the
/// scores, or an infinite one that leaves nothing for the others.
pub(super) fn top(scores: &[f32], count: usize, are_probabilities: bool) -> Option<Vec<(usize, f64)>> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |score: f32| f64::from(score - largest).exp();
    let sum: f64 = scores.iter().map(|&score| weight(score)).sum();
    let probability = |score: f32| if are_probabilities { f64::from(score) } else { weight(score) / sum };
    if !scores.iter().all(|&score| probability(score).is_finite()) {
        return None;
    }
    let mut classes: Vec<usize> = (0..scores.len()).collect();
    classes.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap_or(Ordering::Equal));
    Some(classes.into_iter().take(count).map(|class| (class, probability(scores[class]))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::rank_of;

    #[test]
    fn ranks_are_those_of_a_test() {
        let scores = [0.5, f32::NEG_INFINITY, 2.0, 0.5, -1.0];
        let order: Vec<usize> = top(&scores, 9, false).unwrap().into_iter().map(|(class, _)| class).collect();
        assert_eq!(order, [2, 0, 3, 4, 1]);
        for (rank, &class) in order.iter().enumerate() {
            assert_eq!(rank_of(&scores, class), rank);
        }
    }

    #[test]
    fn probabilities_sum_to_one_and_large_scores_do_not_overflow() {
        let all = top(&[1000.0, 1001.0, 999.0], 3, false).unwrap();
        assert!((all.iter().map(|(_, probability)| probability).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((all[0].1 - 0.665_240_955_774_822).abs() < 1e-9, "{all:?}");
        assert_eq!(top(&[0.25, 0.75], 1, true).unwrap(), [(1, 0.75)]);
    }

    #[test]
    fn scores_without_a_softmax_give_no_ranking() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for scores in [[nan; 3], [1.0, nan, 2.0], [1.0, inf, 2.0], [-inf; 3]] {
            assert_eq!(top(&scores, 1, false), None, "{scores:?}");
        }
        assert_eq!(top(&[0.5, nan], 1, true), None);
    }
}
