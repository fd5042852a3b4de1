//! Scores of two networks beside each other.

/// Scores of images, one after the other.
pub(super) struct Scores {
    pub(super) values: Vec<f32>,
    pub(super) classes: usize,
}

/// Which outputs of a network are the classes that images have.
pub(super) struct Chosen<'a> {
    outputs: usize,
    /// All, if it is none.
    classes: Option<&'a [u32]>,
}

impl<'a> Chosen<'a> {
    /// Those that the data are told to have (`data.classes`), if the network has more.
    pub(super) fn of(classes: Option<&'a [u32]>, outputs: usize) -> Self {
        let fewer = |classes: &&[u32]| {
            classes.len() != outputs && classes.iter().all(|&class| (class as usize) < outputs)
        };
        Self { outputs, classes: classes.filter(fewer) }
    }

    /// How many there are.
    pub(super) fn classes(&self) -> usize {
        self.classes.map_or(self.outputs, <[u32]>::len)
    }

    /// Their scores, from all scores of images.
    pub(super) fn scores(&self, all: Vec<f32>) -> Scores {
        let Some(classes) = self.classes else { return Scores { values: all, classes: self.outputs } };
        let images = all.chunks_exact(self.outputs.max(1));
        let values = images.flat_map(|scores| classes.iter().map(|&class| scores[class as usize])).collect();
        Scores { values, classes: classes.len() }
    }
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
    fn of_more_outputs_than_classes_those_of_the_classes_count() {
        let all = || vec![1.0, 2.0, 9.0, 4.0, 3.0, 0.0];
        let some = Chosen::of(Some(&[1, 0]), 3);
        let scores = some.scores(all());
        assert_eq!((some.classes(), scores.classes, scores.values), (2, 2, vec![2.0, 1.0, 3.0, 4.0]));
        // As many as the network has, or others than it has: its outputs as they are.
        for classes in [&[2, 1, 0][..], &[7]] {
            let all_of_them = Chosen::of(Some(classes), 3);
            assert_eq!((all_of_them.classes(), all_of_them.scores(all()).values), (3, all()));
        }
    }

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
