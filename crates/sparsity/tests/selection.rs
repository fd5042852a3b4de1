//! Properties of the exact selection, against sorting, on values full of ties.

use std::ops::ControlFlow;

use proptest::prelude::*;
use sparse_sparsity::mask::WORD_BITS;
use sparse_sparsity::select::{self, Cutoff, Selection};
use sparse_sparsity::{Mask, Weight, paddle, threshold};

/// Weights with many ties, zeros of both signs, neighbours in the last bit, and extremes.
fn weights() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        4 => prop::sample::select(vec![0.0_f32, -0.0, 0.5, -0.5, 1.0, -1.0]),
        4 => -1.0_f32..1.0,
        1 => (0_u32..4).prop_map(|step| f32::from_bits(0.5_f32.to_bits() + step)),
        1 => prop::sample::select(vec![1e-45, -1e-45, f32::MAX, f32::INFINITY, f32::NEG_INFINITY]),
    ];
    prop::collection::vec(value, 0..400)
}

/// The mask by sorting (magnitude, index).
fn pruned_by_sorting<T: Weight>(weights: &[T], count: usize) -> Mask {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| (weights[index].magnitude_key(), index));
    let pruned: std::collections::HashSet<usize> = order.into_iter().take(count).collect();
    Mask::from_fn(weights.len(), |index| !pruned.contains(&index))
}

fn cutoff_by_chunks(weights: &[f32], chunk: usize, count: u64) -> sparse_sparsity::Result<Cutoff<f32>> {
    let mut selection = Selection::new(count);
    loop {
        let mut whole = selection.histogram();
        for part in weights.chunks(chunk) {
            let mut histogram = selection.histogram();
            histogram.add(part, 1)?;
            whole.merge(&histogram);
        }
        match selection.narrow(&whole) {
            ControlFlow::Continue(next) => selection = next,
            ControlFlow::Break(cutoff) => return Ok(cutoff),
        }
    }
}

fn magnitudes_of(weights: &[f32], pruned: &Mask) -> Vec<u64> {
    let keys = weights.iter().enumerate().filter(|(index, _)| !pruned.get(*index));
    let mut keys: Vec<u64> = keys.map(|(_, weight)| weight.magnitude_key()).collect();
    keys.sort_unstable();
    keys
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_count_is_exact_and_ties_go_by_index(weights in weights(), share in 0.0..=1.0_f64) {
        let count = (share * weights.len() as f64) as usize;
        let mask = select::prune_smallest(&weights, count).unwrap();
        prop_assert_eq!(mask.pruned(), count);
        prop_assert_eq!(mask, pruned_by_sorting(&weights, count));
        let wide: Vec<f64> = weights.iter().map(|&weight| f64::from(weight) * 1.1).collect();
        prop_assert_eq!(select::prune_smallest(&wide, count).unwrap(), pruned_by_sorting(&wide, count));
    }

    #[test]
    fn a_permutation_prunes_the_same_magnitudes(
        (weights, shuffled) in weights().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        share in 0.0..=1.0_f64,
    ) {
        let count = (share * weights.len() as f64) as usize;
        let one = select::prune_smallest(&weights, count).unwrap();
        let other = select::prune_smallest(&shuffled, count).unwrap();
        prop_assert_eq!(magnitudes_of(&weights, &one), magnitudes_of(&shuffled, &other));
    }

    #[test]
    fn chunks_give_what_the_whole_gives(weights in weights(), chunk in 1..4_usize, share in 0.0..1.0_f64) {
        let (chunk, count) = (chunk * WORD_BITS, (share * weights.len() as f64) as u64);
        let cutoff = cutoff_by_chunks(&weights, chunk, count).unwrap();
        prop_assert_eq!(cutoff, select::cutoff_of(&[&weights], count).unwrap());
        let mut mask = Mask::all_pruned(weights.len());
        let mut budget = cutoff.budget();
        for (part, words) in weights.chunks(chunk).zip(mask.words_mut().chunks_mut(chunk / WORD_BITS)) {
            cutoff.keep_words(part, cutoff.boundary(part, budget, |_| 1), words);
            budget = budget.saturating_sub(cutoff.tied(part, |_| 1));
        }
        prop_assert_eq!(mask, select::prune_smallest(&weights, count as usize).unwrap());
    }

    #[test]
    fn a_weighted_value_equals_that_many_copies(
        values in prop::collection::vec((-1.0_f32..1.0, 0..5_u64), 0..60),
        share in 0.0..1.0_f64,
    ) {
        let (scores, counts): (Vec<f32>, Vec<u64>) = values.iter().copied().unzip();
        let copies: Vec<f32> =
            values.iter().flat_map(|&(score, count)| vec![score; count as usize]).collect();
        let count = (share * copies.len() as f64) as u64;
        let mut selection = Selection::new(count);
        let cutoff = loop {
            let mut histogram = selection.histogram();
            histogram.add_weighted(&scores, |index| counts[index]).unwrap();
            match selection.narrow(&histogram) {
                ControlFlow::Continue(next) => selection = next,
                ControlFlow::Break(cutoff) => break cutoff,
            }
        };
        prop_assert_eq!(cutoff, select::cutoff_of(&[&copies], count).unwrap());
    }

    #[test]
    fn a_threshold_keeps_what_it_says(weights in weights(), threshold in 0.0..1.0_f64) {
        let mask = threshold::mask_by_threshold(&weights, threshold).unwrap();
        let keep = |index: usize| weights[index].abs() >= threshold as f32 && weights[index] != 0.0;
        prop_assert_eq!(mask, Mask::from_fn(weights.len(), keep));
    }

    #[test]
    fn the_paddle_rule_equals_its_formula_on_a_sorted_array(weights in weights(), ratio in 0.0..=1.0_f64) {
        let mut sorted: Vec<f32> = weights.iter().map(|weight| weight.abs()).filter(|&w| w != 0.0).collect();
        sorted.sort_by(f32::total_cmp);
        let (total, non_zero) = (weights.len() as f64, sorted.len() as f64);
        let share = (ratio * total - (total - non_zero)).max(0.0) / non_zero;
        let index = ((share * non_zero) as i64 - 1).max(0) as usize;
        let formula = sorted.get(index).copied().unwrap_or(0.0);
        prop_assert_eq!(paddle::threshold(&[&weights], ratio).unwrap(), formula);
    }

    #[test]
    fn masks_survive_their_bytes(bits in prop::collection::vec(any::<bool>(), 0..300)) {
        let mask = Mask::from_fn(bits.len(), |index| bits[index]);
        prop_assert_eq!(mask.kept(), bits.iter().filter(|&&bit| bit).count());
        prop_assert_eq!(Mask::from_bytes(bits.len(), &mask.to_bytes()), Ok(mask));
    }
}
