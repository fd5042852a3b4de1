//! Which 256 numbers an activation is rounded to.

use sparse_engine::graph::Quantization;

/// Bins of a histogram on each side of 0.
const BINS: i64 = 4096;
/// Ends of the range that are tried, as shares of the least and the greatest value: so many steps down from 1.
const STEPS: usize = 48;
const STEP: f64 = 0.0175;
/// Steps of an end where both are tried together.
const STEPS_OF_BOTH: usize = 16;
const STEP_OF_BOTH: f64 = 0.05;

/// How often values came, in bins that grow with the greatest of them.
///
/// Bins are as wide as a power of two, and two of them become one when a value lies beyond the last: the same values in the same order always give the same.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    width: f64,
    /// Bin `at` holds values from `(at − BINS) · width` on.
    counts: Vec<u64>,
    ends: [f32; 2],
    finite: bool,
}

impl Histogram {
    pub(super) fn new() -> Self {
        let counts = vec![0; 2 * BINS as usize];
        Self { width: 2.0_f64.powi(-40), counts, ends: [0.0; 2], finite: true }
    }

    /// Takes values; zeros count nothing, as they are rounded to themselves.
    pub(super) fn add(&mut self, values: &[f32]) {
        let ends = values.iter().fold(self.ends, |[low, high], &value| [low.min(value), high.max(value)]);
        self.finite &= values.iter().all(|value| value.is_finite());
        if !self.finite {
            return;
        }
        self.ends = ends;
        let reach = |width: f64| width * (BINS - 1) as f64;
        let largest = f64::from(ends[1].max(-ends[0]));
        while largest >= reach(self.width) {
            self.widen();
        }
        let inverse = 1.0 / self.width;
        for &value in values.iter().filter(|&&value| value != 0.0) {
            let bin = (f64::from(value) * inverse).floor() as i64 + BINS;
            self.counts[bin as usize] += 1;
        }
    }

    fn widen(&mut self) {
        self.width *= 2.0;
        let mut counts = vec![0; self.counts.len()];
        for (bin, &count) in self.counts.iter().enumerate() {
            counts[((bin as i64 - BINS).div_euclid(2) + BINS) as usize] += count;
        }
        self.counts = counts;
    }

    /// Whether all values are numbers.
    pub(super) fn is_finite(&self) -> bool {
        self.finite
    }

    /// The middles of bins that hold values, and how many these are.
    fn bins(&self) -> Vec<(f64, f64)> {
        let middle = |bin: usize| {
            let middle = (bin as i64 - BINS) as f64 * self.width + self.width / 2.0;
            middle.clamp(f64::from(self.ends[0]), f64::from(self.ends[1]))
        };
        let bins = self.counts.iter().enumerate().filter(|&(_, &count)| count > 0);
        bins.map(|(bin, &count)| (middle(bin), count as f64)).collect()
    }

    /// The steps of the range by which the squared error of all values is least; 0 is a step, and the first one where no value is below 0.
    pub(super) fn least_error(&self) -> Quantization {
        let bins = self.bins();
        let [low, high] = self.ends.map(f64::from);
        let mut best = (f64::INFINITY, quantization([low, high]));
        let mut attempt = |low: f64, high: f64| {
            let found = quantization([low, high]);
            let error = bins.iter().map(|&(value, count)| count * off(found, value).powi(2)).sum::<f64>();
            if error < best.0 {
                best = (error, found);
            }
        };
        if low >= 0.0 || high <= 0.0 {
            (0..STEPS).for_each(|step| {
                let share = 1.0 - STEP * step as f64;
                attempt(low * share, high * share);
            });
        } else {
            for (down, up) in
                (0..STEPS_OF_BOTH * STEPS_OF_BOTH).map(|at| (at / STEPS_OF_BOTH, at % STEPS_OF_BOTH))
            {
                attempt(low * (1.0 - STEP_OF_BOTH * down as f64), high * (1.0 - STEP_OF_BOTH * up as f64));
            }
        }
        best.1
    }

    /// The steps of a range beyond which, on each side of 0, lies no greater share of the values of that side than `beyond`.
    pub(super) fn percentile(&self, beyond: f64) -> Quantization {
        let bins = self.bins();
        let end = |sign: f64| {
            let side = || bins.iter().filter(move |(value, _)| value * sign > 0.0);
            let allowed = beyond * side().map(|&(_, count)| count).sum::<f64>();
            let mut farthest: Vec<(f64, f64)> = side().map(|&(value, count)| (value * sign, count)).collect();
            farthest.sort_by(|a, b| b.0.total_cmp(&a.0));
            let mut seen = 0.0;
            let end = farthest.into_iter().find(|&(_, count)| {
                seen += count;
                seen > allowed
            });
            end.map_or(0.0, |(value, _)| sign * value)
        };
        quantization([end(-1.0), end(1.0)])
    }
}

/// 256 steps from one end to the other, of which one is 0.
fn quantization([low, high]: [f64; 2]) -> Quantization {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = ((high - low) / 255.0) as f32;
    if !scale.is_normal() {
        return Quantization { scale: 1.0 / 255.0, zero: 0 };
    }
    let zero = (-low / f64::from(scale)).round_ties_even().clamp(0.0, 255.0) as u8;
    Quantization { scale, zero }
}

fn off(quantization: Quantization, value: f64) -> f64 {
    let (scale, zero) = (f64::from(quantization.scale), f64::from(quantization.zero));
    let step = ((value / scale).round_ties_even() + zero).clamp(0.0, 255.0);
    (step - zero) * scale - value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::new();
        values.chunks(7).for_each(|values| histogram.add(values));
        histogram
    }

    /// A bell between −4 and 4, and its positive half.
    fn bell() -> Vec<f32> {
        (-4000..4000_i32)
            .flat_map(|at| {
                let x = at as f32 / 1000.0;
                std::iter::repeat_n(x, (60.0 * (-x * x).exp()) as usize)
            })
            .collect()
    }

    #[test]
    fn no_value_is_lost_as_bins_grow() {
        let values: Vec<f32> = (0..3000).map(|at| (at as f32 - 700.0) * 0.37).collect();
        let histogram = of(&values);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 2999);
        assert_eq!(histogram.ends, [-700.0 * 0.37, 2299.0 * 0.37]);
        assert!(histogram.width < 2.0 * 2299.0 * 0.37 / BINS as f64 * 2.0);
        for (value, _) in histogram.bins() {
            assert!(values.iter().any(|other| (f64::from(*other) - value).abs() <= histogram.width));
        }
    }

    #[test]
    fn where_no_value_is_below_zero_zero_is_the_first_step() {
        let relu: Vec<f32> = bell().into_iter().map(|value| value.max(0.0)).collect();
        let mut with_outlier = relu.repeat(20);
        with_outlier.push(6.0);
        let (plain, other) = (of(&relu).least_error(), of(&with_outlier).least_error());
        assert_eq!((plain.zero, other.zero), (0, 0));
        let top = |quantization: Quantization| quantization.scale * 255.0;
        assert!((1.5..=2.6).contains(&top(plain)), "{plain:?}");
        // One value far away does not take the steps from all others.
        assert!(top(other) < 5.0, "{other:?}");
        assert!((of(&with_outlier).percentile(0.0).scale * 255.0 - 6.0).abs() < 0.1);
        assert!(of(&with_outlier).percentile(0.001).scale * 255.0 < 4.0);
    }

    #[test]
    fn zero_is_a_step_of_every_range() {
        let shifted: Vec<f32> = bell().into_iter().map(|value| value + 1.3).collect();
        let found = of(&shifted).least_error();
        assert!(found.zero > 0 && found.number(found.byte(0.0)) == 0.0, "{found:?}");
        let below: Vec<f32> = bell().into_iter().map(|value| -value.abs()).collect();
        assert_eq!(of(&below).least_error().zero, 255);
        assert_eq!(of(&[0.0; 9]).least_error(), Quantization { scale: 1.0 / 255.0, zero: 0 });
        assert!(!of(&[1.0, f32::NAN]).is_finite() && !of(&[f32::INFINITY]).is_finite());
    }
}
