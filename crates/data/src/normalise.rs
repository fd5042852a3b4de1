//! Pixel bytes to network input.

use crate::{Error, Result};

/// Per channel: from a byte to its network input.
pub(crate) type Table = [f32; 256];

/// Normalisation `(x / 255 - mean) / std`, per channel.
///
/// Mean and deviation are fractions of the full pixel value 255. The default is 0.5 and 0.5, which is
/// PaddleSlim's `(x - 127.5) / 127.5` for MNIST and CIFAR-10.
///
/// ```
/// use sparse_data::Normalise;
/// let fashion = Normalise::new(vec![0.286], vec![0.353])?;
/// assert_eq!(fashion.mean(), [0.286]);
/// assert!(Normalise::new(vec![127.5], vec![0.5]).is_err());
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Normalise {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Normalise {
    /// Mean and standard deviation, as fractions of 255: one of each per channel, or one for all channels.
    ///
    /// # Errors
    ///
    /// A mean outside `[0, 1]` or a deviation outside `(0, 1]`.
    pub fn new(mean: Vec<f64>, std: Vec<f64>) -> Result<Self> {
        Self::of_white(1.0, &mean, &std)
    }

    /// Mean and standard deviation of pixels that are 0 where they are black and `white` where they are white: one of each
    /// per channel, or one for all channels.
    ///
    /// # Errors
    ///
    /// A mean outside `[0, white]` or a deviation outside `(0, white]`.
    pub fn of_white(white: f64, mean: &[f64], std: &[f64]) -> Result<Self> {
        if mean.is_empty() || !mean.iter().all(|value| (0.0..=white).contains(value)) {
            return Err(outside("data.mean", mean, white, "at least 0"));
        }
        if std.is_empty() || !std.iter().all(|&value| value > 0.0 && value <= white) {
            return Err(outside("data.std", std, white, "above 0"));
        }
        let fractions = |values: &[f64]| values.iter().map(|value| value / white).collect();
        Ok(Self { mean: fractions(mean), std: fractions(std) })
    }

    /// ImageNet's statistics: mean .485 .456 .406, deviation .229 .224 .225 (red, green, blue).
    pub fn imagenet() -> Self {
        Self { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// The mean, a fraction of 255, one per channel or one for all.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation, a fraction of 255, one per channel or one for all.
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// One lookup table per channel.
    pub(crate) fn tables(&self, channels: usize) -> Result<Vec<Table>> {
        let fits = |values: &[f64]| values.len() == 1 || values.len() == channels;
        if !fits(&self.mean) {
            return Err(miscounted("data.mean", &self.mean, channels));
        }
        if !fits(&self.std) {
            return Err(miscounted("data.std", &self.std, channels));
        }
        let table = |channel| {
            let mean = 255.0 * self.mean[channel % self.mean.len()];
            let std = 255.0 * self.std[channel % self.std.len()];
            std::array::from_fn(|byte| ((byte as f64 - mean) / std) as f32)
        };
        Ok((0..channels).map(table).collect())
    }
}

impl Default for Normalise {
    fn default() -> Self {
        Self { mean: vec![0.5], std: vec![0.5] }
    }
}

fn outside(setting: &'static str, values: &[f64], white: f64, least: &str) -> Error {
    let example = if white == 1.0 { " (127.5 of 255 is 0.5)" } else { "" };
    let reason = format!(
        "{values:?} cannot be used; pixels are counted from 0 to {white} here{example}: give numbers of {least}, at most {white}"
    );
    Error::Setting { setting, reason }
}

fn miscounted(setting: &'static str, values: &[f64], channels: usize) -> Error {
    let count = values.len();
    let reason = format!("it has {count} numbers; give one per channel ({channels}) or one for all");
    Error::Setting { setting, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_paddleslims_for_every_byte() {
        let tables = Normalise::default().tables(3).unwrap();
        assert_eq!(tables.len(), 3);
        for byte in 0..=255u8 {
            let expected = (f32::from(byte) - 127.5) / 127.5;
            assert!(tables.iter().all(|table| table[usize::from(byte)] == expected));
        }
    }

    #[test]
    fn imagenet_is_per_channel() {
        let tables = Normalise::imagenet().tables(3).unwrap();
        for (channel, (mean, std)) in [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)].into_iter().enumerate()
        {
            assert!((tables[channel][200] - (200.0 / 255.0 - mean) / std).abs() < 1e-6);
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for (mean, std) in [(vec![], vec![0.5]), (vec![0.5], vec![0.0]), (vec![f64::NAN], vec![0.5])] {
            assert!(matches!(Normalise::new(mean, std), Err(Error::Setting { .. })));
        }
        let pixels = Normalise::new(vec![127.5], vec![127.5]).unwrap_err().to_string();
        assert!(pixels.contains("data.mean") && pixels.contains("127.5 of 255 is 0.5"), "{pixels}");
        let bytes = Normalise::of_white(255.0, &[300.0], &[1.0]).unwrap_err().to_string();
        assert!(bytes.contains("[300.0]") && bytes.contains("from 0 to 255 here: give"), "{bytes}");
        assert_eq!(Normalise::of_white(255.0, &[127.5], &[127.5]).unwrap(), Normalise::default());
        let count = Normalise::imagenet().tables(1).unwrap_err().to_string();
        assert!(count.contains("it has 3 numbers; give one per channel (1)"), "{count}");
    }
}
