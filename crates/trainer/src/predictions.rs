//! What a model says of every test image: `predictions.csv`.

use crate::error::{Error, Result};
use crate::run_file::text_if_there;
use std::fmt::Write;
use std::path::Path;

/// Name of the file in a run folder.
pub const PREDICTIONS_FILE: &str = "predictions.csv";
/// What `--phase test` calls it in the folder of a run whose weights it did not test.
pub(crate) const OTHER_PREDICTIONS_FILE: &str = "test-predictions.csv";

/// What a prediction takes on its way to another rank.
const PREDICTION_BYTES: usize = 25;
const HEADER: &str = "index,label,predicted,top5,loss";

/// What a model says of one test image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Number of the image in the order of the test set, from 0.
    pub index: u64,
    /// Its class.
    pub label: u32,
    /// The class with the highest score.
    pub predicted: u32,
    /// Whether the label is among the five highest scores.
    pub top5: bool,
    /// Cross-entropy of the scores, without label smoothing.
    pub loss: f64,
}

impl Prediction {
    /// Whether the label has the highest score.
    #[must_use]
    pub fn correct(&self) -> bool {
        self.predicted == self.label
    }

    /// What the scores of one image say; ties and scores that are not numbers rank as in [`crate::Accuracy`].
    pub(crate) fn of(index: u64, label: u32, scores: &[f32]) -> Self {
        let rank = |class: usize| crate::metrics::rank_of(scores, class);
        let best = (0..scores.len()).find(|&class| rank(class) == 0).unwrap_or(scores.len());
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = scores.iter().map(|&score| f64::from(score - largest).exp()).sum();
        let loss = sum.ln() - f64::from(scores[label as usize] - largest);
        Self { index, label, predicted: best as u32, top5: rank(label as usize) < 5, loss }
    }

    /// All of it, for other ranks.
    pub(crate) fn to_bytes(self) -> [u8; PREDICTION_BYTES] {
        let mut bytes = [0; PREDICTION_BYTES];
        bytes[..8].copy_from_slice(&self.index.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.loss.to_bits().to_le_bytes());
        bytes[16..20].copy_from_slice(&self.label.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.predicted.to_le_bytes());
        bytes[24] = u8::from(self.top5);
        bytes
    }

    /// The reverse of [`Prediction::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8; PREDICTION_BYTES]) -> Self {
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let short = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let loss = f64::from_bits(long(8));
        Self { index: long(0), label: short(16), predicted: short(20), top5: bytes[24] == 1, loss }
    }
}

/// The file's text: a header, then a line per image.
pub(crate) fn to_csv(predictions: &[Prediction]) -> String {
    let mut text = format!("{HEADER}\n");
    for Prediction { index, label, predicted, top5, loss } in predictions {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{index},{label},{predicted},{},{loss:.6}", u8::from(*top5));
    }
    text
}

/// Reads the predictions of a run folder.
///
/// # Errors
/// [`Error::NoPredictions`] if the folder has none, [`Error::BadPredictions`] naming the line that is malformed.
pub fn read_predictions(run_folder: &Path) -> Result<Vec<Prediction>> {
    let path = run_folder.join(PREDICTIONS_FILE);
    let Some(text) = text_if_there(&path)? else { return Err(Error::NoPredictions { path }) };
    let mut lines = text.lines().enumerate();
    let malformed = |line: usize| Error::BadPredictions { path: path.clone(), line: line + 1 };
    if lines.next().is_none_or(|(_, header)| header != HEADER) {
        return Err(malformed(0));
    }
    let parsed: Result<Vec<Prediction>> =
        lines.map(|(number, line)| parse(line).ok_or_else(|| malformed(number))).collect();
    parsed.and_then(|list| if list.is_empty() { Err(malformed(0)) } else { Ok(list) })
}

fn parse(line: &str) -> Option<Prediction> {
    let mut fields = line.split(',');
    let prediction = Prediction {
        index: fields.next()?.parse().ok()?,
        label: fields.next()?.parse().ok()?,
        predicted: fields.next()?.parse().ok()?,
        top5: match fields.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        },
        loss: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(prediction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_a_prediction() {
        let prediction = Prediction::of(7, 2, &[1.0, 3.0, 3.0, 0.0, 0.0, 0.0]);
        assert_eq!((prediction.index, prediction.predicted, prediction.top5), (7, 1, true));
        let sum = 2.0 * 3f64.exp() + 1f64.exp() + 3.0;
        assert!((prediction.loss - (sum.ln() - 3.0)).abs() < 1e-12);
        assert!(!Prediction::of(0, 5, &[1.0, 3.0, 3.0, 0.0, 0.0, 0.0]).top5);
        assert!(!Prediction::of(0, 0, &[f32::NAN, 1.0]).correct());
    }

    #[test]
    fn the_file_reads_back_and_a_malformed_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = |folder: &Path| read_predictions(folder).unwrap_err().to_string();
        assert!(error(folder.path()).contains("--phase test"));
        let list = [
            Prediction { index: 0, label: 3, predicted: 3, top5: true, loss: 0.25 },
            Prediction { index: 1, label: 9, predicted: 0, top5: false, loss: 4.5 },
        ];
        let write = |text: &str| std::fs::write(folder.path().join(PREDICTIONS_FILE), text).unwrap();
        let text = to_csv(&list);
        write(&text);
        assert_eq!(read_predictions(folder.path()).unwrap(), list);
        for (bad, line) in [
            (text.replace("1,9", "1,x"), "line 3"),
            (text.replace(",1,0.25", ",2,0.25"), "line 2"),
            (text.replace("4.500000", "4.5,6"), "line 3"),
            (text[..text.len() - 10].to_owned(), "line 3"),
            (text.replace("index", "i"), "line 1"),
            (HEADER.to_owned(), "line 1"),
            (String::new(), "line 1"),
        ] {
            write(&bad);
            assert!(error(folder.path()).contains(line), "{bad:?}: {}", error(folder.path()));
        }
    }
}
