//! Differences over the same images.

use super::Predicted;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Half of a 95 % interval in standard errors.
const Z_95: f64 = 1.959_964;

/// A difference in top-1 accuracy, as fractions, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The difference.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// How much more often `runs` are right than `dense`, image by image.
///
/// # Errors
/// [`Error::OtherImages`] if they were tested on different ones.
pub(crate) fn difference(dense: &[Predicted], runs: &[Predicted]) -> Result<Difference> {
    let (dense, runs) = (rates(dense, dense)?, rates(dense, runs)?);
    let differences: Vec<f64> = runs.iter().zip(&dense).map(|(run, dense)| run - dense).collect();
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
    let half = Z_95 * (squares / (count - 1.0).max(1.0) / count).sqrt();
    Ok(Difference { mean, low: mean - half, high: mean + half })
}

/// For each image, in which share of the runs it is right. The images must be those of the first of `reference`.
fn rates(reference: &[Predicted], runs: &[Predicted]) -> Result<Vec<f64>> {
    let Some((reference_name, expected)) = reference.first() else { return Ok(Vec::new()) };
    let mut right = vec![0.0; expected.len()];
    for (name, images) in runs {
        let same =
            |(a, b): (&crate::Prediction, &crate::Prediction)| (a.index, a.label) == (b.index, b.label);
        if images.len() != expected.len() || !images.iter().zip(expected).all(same) {
            return Err(Error::OtherImages { run: name.clone(), reference: reference_name.clone() });
        }
        for (right, image) in right.iter_mut().zip(images) {
            *right += f64::from(u8::from(image.correct())) / runs.len() as f64;
        }
    }
    Ok(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Prediction;

    fn run(right: &[u8]) -> Predicted {
        let image = |(index, &right): (usize, &u8)| Prediction {
            index: index as u64,
            label: 1,
            predicted: u32::from(right),
            top5: true,
            loss: 0.0,
        };
        ("run".to_owned(), right.iter().enumerate().map(image).collect())
    }

    #[test]
    fn the_interval_is_that_of_paired_samples() {
        // Differences 0, −1, 0, +1, −1: mean −0.2, variance 0.7.
        let found = difference(&[run(&[1, 1, 0, 0, 1])], &[run(&[1, 0, 0, 1, 0])]).unwrap();
        let half = 1.959_964 * (0.7f64 / 5.0).sqrt();
        assert!((found.mean + 0.2).abs() < 1e-12);
        assert!((found.low + 0.2 + half).abs() < 1e-9 && (found.high + 0.2 - half).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn seeds_are_averaged_image_by_image() {
        let dense = [run(&[1, 0, 1, 0]), run(&[0, 1, 1, 0])];
        // Rates ½ ½ 1 0 against ½ ½ 1 0: the same, although no two runs are.
        let found = difference(&dense, &[run(&[0, 1, 1, 0]), run(&[1, 0, 1, 0])]).unwrap();
        assert_eq!((found.mean, found.low, found.high), (0.0, 0.0, 0.0));
        let found = difference(&dense, &[run(&[1, 1, 1, 1])]).unwrap();
        assert_eq!(found.mean, 0.5);
    }

    #[test]
    fn other_images_are_refused() {
        let dense = [run(&[1, 0, 1])];
        let mut other = run(&[1, 0, 1]);
        other.1[2].label = 0;
        for other in [other, run(&[1, 0])] {
            assert!(matches!(difference(&dense, &[other]), Err(Error::OtherImages { .. })));
        }
    }
}
