//! Which channels to put side by side, so that blocks of zeros cost least.
//!
//! The channels that a layer reads may be in any order if what makes them is put into the same. A block over several of them is kept or
//! lost as a whole, so channels that matter to the same outputs belong together.
//!
//! Source: Pool & Yu 2021, "Channel Permutations for N:M Sparsity" (there for patterns, by exchanges as here).

/// Rounds over all pairs of blocks, at most.
const ROUNDS: usize = 6;

/// An order of the inputs of a layer, of which `scores: [outputs, inputs]` say what each weight is worth, so that blocks of so many `columns` of which a
/// share of `ratio` is lost lose little: which input comes at each place.
///
/// Inputs are exchanged between blocks as long as that keeps more, beginning with the order that there is and with that of their worth; the better end counts.
pub fn order(scores: &[f32], inputs: usize, columns: usize, ratio: f64) -> Vec<usize> {
    // By input: what its weights are worth.
    let mut worth = vec![Vec::with_capacity(scores.len() / inputs.max(1)); inputs];
    for scores in scores.chunks_exact(inputs.max(1)) {
        worth.iter_mut().zip(scores).for_each(|(worth, &score)| worth.push(score));
    }
    let total = |input: usize| worth[input].iter().map(|&worth| f64::from(worth)).sum::<f64>();
    let as_is: Vec<usize> = (0..inputs).collect();
    let mut sorted = as_is.clone();
    sorted.sort_by(|&a, &b| total(b).total_cmp(&total(a)));
    let mut search = Search { sums: Vec::new(), worth, columns: columns.max(1), order: as_is };
    let first = search.run(ratio);
    let found = std::mem::replace(&mut search.order, sorted);
    if search.run(ratio) > first { search.order } else { found }
}

/// A search by exchanges.
struct Search {
    /// By input, and by output.
    worth: Vec<Vec<f32>>,
    order: Vec<usize>,
    columns: usize,
    /// By block, and by output.
    sums: Vec<Vec<f32>>,
}

impl Search {
    /// Exchanges inputs; what the blocks are then worth that are kept.
    fn run(&mut self, ratio: f64) -> f64 {
        for _ in 0..ROUNDS {
            self.sum_up();
            if !self.round(self.kept(ratio).first().copied().unwrap_or(0.0)) {
                break;
            }
        }
        self.sum_up();
        self.kept(ratio).into_iter().map(f64::from).sum()
    }

    /// What the blocks are worth that are kept, the least first.
    fn kept(&self, ratio: f64) -> Vec<f32> {
        let mut sums: Vec<f32> = self.sums.iter().flatten().copied().collect();
        sums.sort_unstable_by(f32::total_cmp);
        let lost = (ratio * sums.len() as f64) as usize;
        sums.split_off(lost.min(sums.len()))
    }

    fn sum_up(&mut self) {
        let of_block = |inputs: &[usize]| {
            let mut sums = vec![0.0; self.worth[inputs[0]].len()];
            for &input in inputs {
                sums.iter_mut().zip(&self.worth[input]).for_each(|(sum, worth)| *sum += worth);
            }
            sums
        };
        self.sums = self.order.chunks(self.columns).map(of_block).collect();
    }

    /// The best exchange of each two blocks, if it keeps more; whether any did.
    fn round(&mut self, threshold: f32) -> bool {
        let blocks = self.sums.len();
        let mut any = false;
        for first in 0..blocks {
            for second in first + 1..blocks {
                any |= self.exchange([first, second], threshold);
            }
        }
        any
    }

    fn exchange(&mut self, [first, second]: [usize; 2], threshold: f32) -> bool {
        let places = |block: usize| block * self.columns..self.order.len().min((block + 1) * self.columns);
        let [sums_a, sums_b] = [&self.sums[first], &self.sums[second]];
        let now = beyond_threshold(sums_a, sums_b, None, threshold);
        // Not for what rounding makes of the sums.
        let mut best = (now * (1.0 + 1e-6), None);
        for a in places(first) {
            for b in places(second) {
                let worth = [&self.worth[self.order[a]], &self.worth[self.order[b]]];
                let gain = beyond_threshold(sums_a, sums_b, Some(worth), threshold);
                if gain > best.0 {
                    best = (gain, Some([a, b]));
                }
            }
        }
        let (_, Some([a, b])) = best else { return false };
        let [from, to] = [self.order[a], self.order[b]];
        for output in 0..self.sums[first].len() {
            let change = self.worth[to][output] - self.worth[from][output];
            self.sums[first][output] += change;
            self.sums[second][output] -= change;
        }
        self.order.swap(a, b);
        true
    }
}

/// What two blocks are worth beyond the threshold, after the exchange of an input of the first with one of the second.
fn beyond_threshold(a: &[f32], b: &[f32], exchange: Option<[&Vec<f32>; 2]>, threshold: f32) -> f32 {
    let beyond = |sum: f32| if sum > threshold { sum - threshold } else { 0.0 };
    // In sixteen sums side by side, so that it becomes vectors.
    let mut sums = [0.0_f32; 16];
    match exchange {
        None => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                sums[at % 16] += beyond(*a) + beyond(*b);
            }
        }
        Some([from, to]) => {
            let all = a.chunks(16).zip(b.chunks(16)).zip(from.chunks(16).zip(to.chunks(16)));
            for ((a, b), (from, to)) in all {
                for (at, sum) in sums.iter_mut().enumerate().take(a.len()) {
                    let change = to[at] - from[at];
                    *sum += beyond(a[at] + change) + beyond(b[at] - change);
                }
            }
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the blocks are worth that are kept.
    fn worth(scores: &[f32], order: &[usize], columns: usize, ratio: f64) -> f64 {
        let inputs = order.len();
        let outputs = scores.len() / inputs;
        let mut sums = Vec::new();
        for output in 0..outputs {
            for block in order.chunks(columns) {
                let at = block.iter().map(|&input| output * inputs + input);
                sums.push(at.map(|at| f64::from(scores[at])).sum::<f64>());
            }
        }
        sums.sort_by(f64::total_cmp);
        sums[(ratio * sums.len() as f64) as usize..].iter().sum()
    }

    fn random(len: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        (0..len).map(|_| next().powi(6)).collect()
    }

    #[test]
    fn channels_that_matter_to_the_same_outputs_come_together() {
        // Input i matters to outputs that are i modulo 6.
        let (inputs, outputs) = (24, 30);
        let scores: Vec<f32> = random(inputs * outputs)
            .into_iter()
            .enumerate()
            .map(|(at, noise)| noise * 0.1 + f32::from(at % inputs % 6 == at / inputs % 6))
            .collect();
        let found = order(&scores, inputs, 4, 0.75);
        for block in found.chunks(4) {
            assert!(block.iter().all(|input| input % 6 == block[0] % 6), "{found:?}");
        }
    }

    #[test]
    fn every_input_stays_and_blocks_keep_more() {
        for (inputs, outputs, columns) in [(64, 33, 4), (37, 20, 4), (16, 9, 2), (8, 5, 16), (3, 1, 1)] {
            let scores = random(inputs * outputs);
            let found = order(&scores, inputs, columns, 0.75);
            let mut sorted = found.clone();
            sorted.sort_unstable();
            let as_is: Vec<usize> = (0..inputs).collect();
            assert_eq!(sorted, as_is);
            let [before, after] = [&as_is, &found].map(|order| worth(&scores, order, columns, 0.75));
            assert!(after >= before * 0.999, "{inputs} {columns}: {before} {after}");
            if inputs == 64 {
                assert!(after > before * 1.05, "{before} {after}");
            }
            // What is in such an order already does not get worse.
            let moved: Vec<f32> =
                scores.chunks(inputs).flat_map(|row| found.iter().map(|&input| row[input])).collect();
            let again = order(&moved, inputs, columns, 0.75);
            assert!(worth(&moved, &again, columns, 0.75) >= after * 0.999, "{inputs} {columns}");
        }
        assert!(order(&[], 0, 4, 0.5).is_empty());
    }
}
