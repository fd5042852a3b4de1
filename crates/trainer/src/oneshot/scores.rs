//! Scores of two networks beside each other.

/// Scores of images, one after the other.
pub(super) struct Scores {
    pub(super) values: Vec<f32>,
    pub(super) classes: usize,
}

impl Scores {
    /// The squared difference as a share of the variance of these.
    pub(super) fn error(&self, other: &Self) -> f64 {
        let mean =
            self.values.iter().map(|&score| f64::from(score)).sum::<f64>() / self.values.len().max(1) as f64;
        let whole: f64 = self.values.iter().map(|&score| (f64::from(score) - mean).powi(2)).sum();
        let off = self.values.iter().zip(&other.values).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        if whole > 0.0 { off.sum::<f64>() / whole } else { 0.0 }
    }

    fn first(&self) -> impl Iterator<Item = usize> {
        let first = |scores: &[f32]| {
            let greatest = scores.iter().enumerate().max_by(|(i, a), (j, b)| a.total_cmp(b).then(j.cmp(i)));
            greatest.map_or(0, |(class, _)| class)
        };
        self.values.chunks_exact(self.classes.max(1)).map(first)
    }

    /// Share of images whose first class is the same.
    pub(super) fn agreement(&self, other: &Self) -> f64 {
        share(self.first().zip(other.first()).map(|(a, b)| a == b))
    }

    /// Share of images whose first class is the label.
    pub(super) fn top1(&self, labels: &[u32]) -> f64 {
        share(self.first().zip(labels).map(|(first, &label)| first == label as usize))
    }
}

/// The share of what is true.
fn share(found: impl Iterator<Item = bool>) -> f64 {
    let (yes, all) = found.fold((0_usize, 0_usize), |(yes, all), found| (yes + usize::from(found), all + 1));
    yes as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_compared_by_their_first_classes_and_by_their_squares() {
        let scores = |values: &[f32]| Scores { values: values.to_vec(), classes: 2 };
        // The first of equal scores counts.
        let (a, b) = (scores(&[1.0, 0.0, 2.0, 3.0, 1.0, 1.0]), scores(&[1.0, 2.0, 2.0, 3.0, 1.0, 0.0]));
        assert_eq!((a.agreement(&b), a.agreement(&a)), (2.0 / 3.0, 1.0));
        assert_eq!((a.top1(&[0, 1, 1]), b.top1(&[1, 1, 0])), (2.0 / 3.0, 1.0));
        // Squares off: 4 + 1; around the mean of 4/3: 16 - 6 · 16/9.
        assert!((a.error(&b) - 5.0 / (16.0 - 64.0 / 6.0)).abs() < 1e-9);
        assert_eq!(scores(&[1.0, 1.0]).error(&scores(&[0.0, 0.0])), 0.0);
    }
}
