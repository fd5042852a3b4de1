//! Which ratio to try next. A function of what is known, so that a sweep goes on where it stopped and never repeats a point.

use serde::{Deserialize, Serialize};

/// Ratios are rounded to this many parts.
const PARTS: f64 = 10_000.0;

/// How the highest ratio is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Search {
    /// Halves the interval from `low`, taken to be good, to `high`, taken not to be, `steps` times.
    Bisection {
        /// Lower end, a fraction.
        low: f64,
        /// Upper end, a fraction.
        high: f64,
        /// Points to try.
        steps: usize,
    },
    /// Tries these ratios from the lowest on, up to the first that loses too much.
    Ladder(Vec<f64>),
}

impl Search {
    /// The next ratio to try; `None` when the search is over. `good` tells whether a ratio is within the limit, if it was
    /// tried.
    pub fn next(&self, good: impl Fn(f64) -> Option<bool>) -> Option<f64> {
        match self {
            Self::Bisection { low, high, steps } => {
                let (mut low, mut high) = (*low, *high);
                for _ in 0..*steps {
                    let middle = ((low + high) / 2.0 * PARTS).round() / PARTS;
                    if middle <= low || middle >= high {
                        return None;
                    }
                    match good(middle) {
                        None => return Some(middle),
                        Some(true) => low = middle,
                        Some(false) => high = middle,
                    }
                }
                None
            }
            Self::Ladder(rungs) => {
                let mut rungs = rungs.clone();
                rungs.sort_by(f64::total_cmp);
                let open =
                    rungs.into_iter().map(|rung| (rung, good(rung))).find(|&(_, good)| good != Some(true));
                open.filter(|(_, good)| good.is_none()).map(|(rung, _)| rung)
            }
        }
    }

    /// Points at most.
    pub fn most(&self) -> usize {
        match self {
            Self::Bisection { steps, .. } => *steps,
            Self::Ladder(rungs) => rungs.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ratios tried if those up to `limit` are good.
    fn tried(search: &Search, limit: f64) -> Vec<f64> {
        let mut known: Vec<f64> = Vec::new();
        while let Some(ratio) = search.next(|ratio| known.contains(&ratio).then_some(ratio <= limit)) {
            assert!(!known.contains(&ratio), "{ratio} again");
            known.push(ratio);
        }
        known
    }

    #[test]
    fn bisection_halves_what_is_left() {
        let search = Search::Bisection { low: 0.0, high: 1.0, steps: 5 };
        assert_eq!(tried(&search, 0.8), [0.5, 0.75, 0.875, 0.8125, 0.7813]);
        assert_eq!(tried(&search, 0.0), [0.5, 0.25, 0.125, 0.0625, 0.0313]);
        // It ends when there is nothing between its ends.
        let long = Search::Bisection { low: 0.9, high: 0.901, steps: 50 };
        assert!(tried(&long, 0.9).len() < 8);
    }

    #[test]
    fn a_ladder_is_climbed_up_to_the_first_rung_that_breaks() {
        let search = Search::Ladder(vec![0.9, 0.5, 0.7]);
        assert_eq!(tried(&search, 0.6), [0.5, 0.7]);
        assert_eq!(tried(&search, 1.0), [0.5, 0.7, 0.9]);
    }
}
