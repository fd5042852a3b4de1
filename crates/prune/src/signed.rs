//! Signed scores as magnitudes in the same order, which is what the selection ranks.

/// A number that is not negative, in the order of the scores. Scores count as `f32`; both zeros are one.
pub(crate) fn to_magnitude(score: f64) -> f64 {
    let bits = (score as f32 + 0.0).to_bits();
    f64::from(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 })
}

/// The score that [`to_magnitude`] makes this of; infinity stays what it is.
pub(crate) fn from_magnitude(magnitude: f64) -> f64 {
    if magnitude.is_infinite() {
        return magnitude;
    }
    let ordered = magnitude as u32;
    f64::from(f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept_and_the_way_back_is_exact() {
        let scores = [f64::NEG_INFINITY, -3e38, -1.5, -1.25, -1e-40, 0.0, 1e-40, 0.75, 1.0, 3e38];
        assert!(scores.is_sorted_by(|a, b| to_magnitude(*a) < to_magnitude(*b)));
        for score in scores {
            assert_eq!(from_magnitude(to_magnitude(score)), f64::from(score as f32));
            assert!(to_magnitude(score) >= 0.0);
        }
        assert_eq!(to_magnitude(-0.0), to_magnitude(0.0));
        assert_eq!(from_magnitude(f64::INFINITY), f64::INFINITY);
    }
}
