//! The order in which an epoch visits the images.

use crate::random::{Purpose, SampleRng};

/// The order of an epoch: every index from 0 to `len - 1` once, all orders equally likely.
///
/// A pure function (Fisher–Yates over a keyed ChaCha stream), the same on every machine.
///
/// ```
/// let order = sparse_data::permutation(42, 0, 1000);
/// assert_eq!(order, sparse_data::permutation(42, 0, 1000));
/// assert_ne!(order, sparse_data::permutation(42, 1, 1000));
/// ```
pub fn permutation(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    let mut rng = SampleRng::keyed(Purpose::Order, seed, epoch, 0);
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, rng.below(last as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn holds_every_index_once(seed: u64, epoch: u64, len in 0usize..2000) {
            let mut order = permutation(seed, epoch, len);
            order.sort_unstable();
            prop_assert_eq!(order, (0..len).collect::<Vec<_>>());
        }

        #[test]
        fn differs_by_seed_and_epoch(seed: u64, epoch in 0u64..1000, len in 50usize..500) {
            let order = permutation(seed, epoch, len);
            prop_assert_ne!(&order, &permutation(seed, epoch + 1, len));
            prop_assert_ne!(&order, &permutation(seed.wrapping_add(1), epoch, len));
        }
    }

    #[test]
    fn all_orders_are_equally_likely() {
        let mut counts = BTreeMap::<Vec<usize>, u32>::new();
        for epoch in 0..24_000 {
            *counts.entry(permutation(3, epoch, 4)).or_default() += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
