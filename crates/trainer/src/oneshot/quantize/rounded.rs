//! The weights of a layer as whole multiples of scales, and its biases as multiples of what integers count in.

use sparse_oneshot::{Pruned, Quantized};

/// The greatest multiple of a bias: 32 bits hold it and the sum of a layer's products.
const LARGEST_BIAS: f64 = (1_u32 << 30) as f64;
/// Multiples that are enough for the bias of an output without weights.
const FINE_BIAS: f64 = (1_u32 << 22) as f64;

/// What became of some outputs of a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rounded {
    /// `[outputs, inputs]`.
    pub(super) weight: Vec<f32>,
    /// `[outputs]`; until it is put behind the biases of the dense layer, what is added to these.
    pub(super) bias: Vec<f32>,
    shifts: Vec<f64>,
    /// `[outputs]`; empty if it stays f32.
    pub(super) scales: Vec<f32>,
    pub(super) relative_error: f64,
}

impl Rounded {
    pub(super) fn of_f32(found: Pruned) -> Self {
        let Pruned { weight, bias, relative_error, .. } = found;
        Self { weight, bias: Vec::new(), shifts: bias, scales: Vec::new(), relative_error }
    }

    pub(super) fn of(found: Quantized) -> Self {
        let weight = found.weight();
        let Quantized { scales, bias, relative_error, .. } = found;
        Self { weight, bias: Vec::new(), shifts: bias, scales, relative_error }
    }

    /// Takes a group behind those that are there, with its dense biases.
    pub(super) fn extend(&mut self, group: Self, dense: &[f32]) {
        self.weight.extend(group.weight);
        self.scales.extend(group.scales);
        let biases = dense.iter().zip(group.shifts);
        self.bias.extend(biases.map(|(&bias, shift)| (f64::from(bias) + shift) as f32));
    }

    /// Makes each bias a whole multiple of the product of the scale of what is read and that of its output. Where this would be too large a multiple, the
    /// scale grows; an output without weights has any.
    pub(super) fn settle(&mut self, input: Option<f32>) {
        let Some(input) = input.map(f64::from) else { return };
        let inputs = self.weight.len() / self.scales.len().max(1);
        let rows = self.weight.chunks_exact_mut(inputs.max(1)).zip(&mut self.scales);
        for ((weight, scale), bias) in rows.zip(&mut self.bias) {
            let (wanted, empty) = (f64::from(*bias), weight.iter().all(|&weight| weight == 0.0));
            let most = if empty { FINE_BIAS } else { LARGEST_BIAS };
            let least = (wanted.abs() / input / most) as f32;
            if (empty || f64::from(*scale) * input * LARGEST_BIAS < wanted.abs()) && least.is_normal() {
                *scale = least;
                weight.iter_mut().for_each(|weight| {
                    *weight = (*weight / least).round_ties_even().clamp(-127.0, 127.0) * least;
                });
            }
            let unit = input * f64::from(*scale);
            *bias = ((wanted / unit).round_ties_even() * unit) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_are_whole_multiples_and_fit() {
        let mut rounded = Rounded {
            weight: vec![0.5, -1.0, 0.0, 0.0, 1e-12, 0.0, 0.0, 0.0],
            bias: vec![0.333, -2.7, 5.0, 0.0],
            scales: vec![0.5, 1.0, 1e-12, 1.0],
            ..Rounded::default()
        };
        rounded.settle(Some(0.01));
        assert!((rounded.bias[0] - 0.335).abs() < 1e-6, "{rounded:?}");
        for (bias, wanted) in rounded.bias.iter().zip([0.333, -2.7, 5.0, 0.0]) {
            assert!((bias - wanted).abs() < 0.003, "{rounded:?}");
        }
        for (at, bias) in rounded.bias.iter().enumerate() {
            let multiple = f64::from(*bias) / 0.01_f32 as f64 / f64::from(rounded.scales[at]);
            assert!(multiple.abs() <= LARGEST_BIAS * 1.001, "{multiple}");
        }
        assert_eq!(rounded.weight[4], 0.0);
        assert_eq!((rounded.weight[0], rounded.weight[1], rounded.scales[3]), (0.5, -1.0, 1.0));
    }
}
