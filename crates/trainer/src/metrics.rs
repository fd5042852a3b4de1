//! Top-1 and top-5 accuracy, counted exactly.

/// Hits among samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// Samples seen.
    pub samples: u64,
    /// Samples whose label has the highest score.
    pub hits1: u64,
    /// Samples whose label is among the five highest scores.
    pub hits5: u64,
}

impl Accuracy {
    /// Counts a batch.
    ///
    /// Shapes: `logits: [N, classes]`, `labels: [N]`. Among equal scores the lower class ranks first; a score that
    /// is not a number ranks last.
    pub fn add(&mut self, logits: &[f32], labels: &[u32]) {
        let Some(classes) = logits.len().checked_div(labels.len()) else { return };
        for (scores, &label) in logits.chunks_exact(classes).zip(labels) {
            let rank = rank_of(scores, label as usize);
            self.samples += 1;
            self.hits1 += u64::from(rank < 1);
            self.hits5 += u64::from(rank < 5);
        }
    }

    /// Fraction of samples whose label ranks first; 0 without samples.
    pub fn top1(&self) -> f64 {
        self.fraction(self.hits1)
    }

    /// Fraction of samples whose label ranks among the first five; 0 without samples.
    pub fn top5(&self) -> f64 {
        self.fraction(self.hits5)
    }

    fn fraction(&self, hits: u64) -> f64 {
        if self.samples == 0 { 0.0 } else { hits as f64 / self.samples as f64 }
    }
}

/// How many classes rank before `label`.
pub(crate) fn rank_of(scores: &[f32], label: usize) -> usize {
    let own = scores[label];
    if own.is_nan() {
        return scores.len();
    }
    let before = |(class, &score): (usize, &f32)| score > own || (score == own && class < label);
    scores.iter().enumerate().filter(|&item| before(item)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_ties_and_nan() {
        let mut accuracy = Accuracy::default();
        let scores = [0.1, 0.9, 0.5, 0.5, 0.2, 0.0, -1.0];
        for label in [1, 2, 3, 5, 6] {
            accuracy.add(&scores, &[label]);
        }
        assert_eq!(accuracy, Accuracy { samples: 5, hits1: 1, hits5: 3 });
        accuracy.add(&[f32::NAN, f32::NAN], &[0]);
        assert_eq!((accuracy.hits1, accuracy.samples), (1, 6));
        assert_eq!(rank_of(&[0.5, 0.5], 1), 1);
    }

    #[test]
    fn batches_of_different_size_weigh_by_their_samples() {
        let mut accuracy = Accuracy::default();
        accuracy.add(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], &[0, 0, 0]);
        accuracy.add(&[1.0, 0.0], &[1]);
        assert_eq!(accuracy.top1(), 0.75);
    }
}
