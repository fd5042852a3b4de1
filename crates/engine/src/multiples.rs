//! Weights that are whole multiples of a scale for each output, as bytes can have them.

/// Multiples that a byte has.
const LEAST: f32 = i8::MIN as f32;
const MOST: f32 = i8::MAX as f32;

/// The whole numbers from −128 to 127 of which `weight`, `[outputs, …]`, is `number · scale` in `f32`, by the scale of its output; none if
/// one weight is no such multiple, or a scale is not a number above 0. `scales`: `[outputs]`.
pub fn multiples(weight: &[f32], scales: &[f32]) -> Option<Vec<i8>> {
    if !scales.iter().all(|&scale| is_scale(scale)) || weight.len().checked_rem(scales.len()) != Some(0) {
        return None;
    }
    let row = (weight.len() / scales.len()).max(1);
    let of = |(weights, &scale): (&[f32], &f32)| {
        weights.iter().map(|&weight| multiple(weight, scale)).collect::<Option<Vec<i8>>>()
    };
    Some(weight.chunks(row).zip(scales).map(of).collect::<Option<Vec<_>>>()?.concat())
}

/// Whether numbers can be multiples of it.
pub(crate) fn is_scale(scale: f32) -> bool {
    scale > 0.0 && scale.is_finite()
}

fn multiple(weight: f32, scale: f32) -> Option<i8> {
    let number = (weight / scale).round_ties_even();
    let is_multiple = (LEAST..=MOST).contains(&number) && number * scale == weight;
    is_multiple.then_some(number as i8)
}

/// Multiplies each output's weights by a factor. They stay whole multiples of scales, which are multiplied too, unless a factor
/// leaves no scale, or turns −128 into the 128 that no byte has: then there are no scales any more.
pub(crate) fn scale_outputs(weight: &mut [f32], scales: &mut Option<Vec<f32>>, factors: &[f32]) {
    let row = weight.len().checked_div(factors.len()).unwrap_or_default().max(1);
    let scaled = scales.as_ref().and_then(|scales| rescaled(weight, scales, factors));
    *scales = match scaled {
        Some((weights, scales)) => {
            weight.copy_from_slice(&weights);
            Some(scales)
        }
        None => {
            let rows = weight.chunks_mut(row).zip(factors);
            rows.for_each(|(row, factor)| row.iter_mut().for_each(|weight| *weight *= factor));
            None
        }
    };
}

/// The weights and scales of outputs that are multiplied by a factor each; none if they would be no multiples.
fn rescaled(weight: &[f32], scales: &[f32], factors: &[f32]) -> Option<(Vec<f32>, Vec<f32>)> {
    let numbers = multiples(weight, scales)?;
    let row = weight.len().checked_div(factors.len())?.max(1);
    // Where the factor is zero all weights are, and any scale is right.
    let scale = |(&scale, &factor): (&f32, &f32)| if factor == 0.0 { scale } else { scale * factor.abs() };
    let scales: Vec<f32> = scales.iter().zip(factors).map(scale).collect();
    let mut weights = Vec::with_capacity(weight.len());
    for ((numbers, &scale), &factor) in numbers.chunks(row).zip(&scales).zip(factors) {
        let sign = if factor == 0.0 { 0.0 } else { factor.signum() };
        weights.extend(numbers.iter().map(|&number| f32::from(number) * sign * scale));
    }
    multiples(&weights, &scales).map(|_| (weights, scales))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_are_whole_within_a_byte_and_exact() {
        let scales = [0.1_f32, 0.25];
        let weight = [-128.0 * 0.1_f32, 127.0 * 0.1, 0.0, -0.25, 31.75, 0.5];
        assert_eq!(multiples(&weight, &scales), Some(vec![-128, 127, 0, -1, 127, 2]));
        assert_eq!(multiples(&[], &[]), None);
        for (weight, scales) in [
            ([0.1, 32.0], [0.1, 0.25]),
            ([0.1, -32.25], [0.1, 0.25]),
            ([0.1, 0.3], [0.1, 0.25]),
            ([0.1, f32::NAN], [0.1, 0.25]),
            ([0.1, 0.0], [0.1, 0.0]),
            ([0.1, 0.0], [0.1, f32::INFINITY]),
            ([0.1, 0.0], [-0.1, 0.25]),
        ] {
            assert_eq!(multiples(&weight, &scales), None, "{weight:?} {scales:?}");
        }
        assert_eq!(multiples(&[0.1, 0.2, 0.3], &scales), None);
    }

    #[test]
    fn factors_scale_the_steps_and_their_signs_the_weights() {
        let mut weight = vec![-12.7, 0.1, 0.5, -0.25, 3.0, 0.0];
        let mut scales = Some(vec![0.1, 0.25, 1.5]);
        scale_outputs(&mut weight, &mut scales, &[-3.0, 0.5, 0.0]);
        assert_eq!(scales, Some(vec![0.1 * 3.0, 0.125, 1.5]));
        assert_eq!(weight, [127.0 * (0.1_f32 * 3.0), -(0.1_f32 * 3.0), 0.25, -0.125, 0.0, 0.0]);
    }

    #[test]
    fn weights_that_no_byte_has_any_more_lose_their_scales() {
        for factors in [[-2.0, 1.0], [f32::NAN, 1.0], [1.0, 1e-45]] {
            let mut weight = vec![-12.8, 0.1, 0.5, -0.25];
            let mut scales = Some(vec![0.1, 0.25]);
            scale_outputs(&mut weight, &mut scales, &factors);
            assert_eq!(scales, None, "{factors:?}");
            let expected = [-12.8 * factors[0], 0.1 * factors[0], 0.5 * factors[1], -0.25 * factors[1]];
            let same = weight.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits() || b.is_nan());
            assert!(same, "{factors:?}: {weight:?}");
        }
        let (mut weight, mut scales) = (vec![1.0, 2.0], None);
        scale_outputs(&mut weight, &mut scales, &[2.0, -1.0]);
        assert_eq!((weight, scales), (vec![2.0, -2.0], None));
    }
}
