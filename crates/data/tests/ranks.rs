//! Several processes that share one data set.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sparse_data::{Batch, Dataset, Error, Loader, LoaderConfig, Result, View, permutation};
use std::sync::Arc;

/// Images of one pixel that holds their index.
struct Numbers(usize);

impl Dataset for Numbers {
    fn len(&self) -> usize {
        self.0
    }

    fn classes(&self) -> usize {
        1
    }

    fn image_shape(&self) -> [usize; 3] {
        [1, 1, 1]
    }

    fn read(&self, index: usize, _: View, image: &mut [f32]) -> Result<u32> {
        image[0] = index as f32;
        Ok(0)
    }
}

fn batches(len: usize, config: LoaderConfig) -> Vec<Vec<usize>> {
    let indices = |batch: Result<Batch>| batch.unwrap().images.iter().map(|&index| index as usize).collect();
    Loader::new(Arc::new(Numbers(len)), config).unwrap().map(indices).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// The steps of all ranks, put together rank after rank, are the batches of one process with the whole step.
    #[test]
    fn ranks_share_every_step_without_overlap(
        len in 1usize..200,
        batch_size in 1usize..9,
        ranks in 1usize..6,
        workers in 1usize..4,
        drop_last: bool,
        seed: u64,
        late in any::<prop::sample::Index>(),
    ) {
        let step = batch_size * ranks;
        prop_assume!(!drop_last || step <= len);
        let config = |batch_size| LoaderConfig { drop_last, workers, ..LoaderConfig::train(batch_size, seed, 1) };
        let whole = batches(len, config(step));
        let parts: Vec<Vec<Vec<usize>>> = (0..ranks)
            .map(|rank| batches(len, LoaderConfig { rank, ranks, ..config(batch_size) }))
            .collect();
        for (number, images) in whole.iter().enumerate() {
            let joined: Vec<usize> = parts.iter().flat_map(|part| part[number].clone()).collect();
            prop_assert_eq!(&joined, images);
            let lens: Vec<usize> = parts.iter().map(|part| part[number].len()).collect();
            prop_assert!(lens.iter().all(|&len| len <= batch_size));
            prop_assert!(lens.iter().max().unwrap() - lens.iter().min().unwrap() <= 1, "{:?}", lens);
        }
        prop_assert!(parts.iter().all(|part| part.len() == whole.len()));
        let seen: Vec<usize> = whole.concat();
        prop_assert_eq!(&seen[..], &permutation(seed, 1, len)[..seen.len()]);
        prop_assert_eq!(seen.len(), if drop_last { len / step * step } else { len });
        // A run that goes on within the epoch sees the same.
        let first_batch = late.index(whole.len() + 1);
        for (rank, part) in parts.iter().enumerate() {
            let tail = batches(len, LoaderConfig { rank, ranks, first_batch, ..config(batch_size) });
            prop_assert_eq!(&tail[..], &part[first_batch..]);
        }
    }
}

#[test]
fn a_rank_that_is_none_and_a_step_that_is_too_large_are_refused() {
    let fault = |config| Loader::new(Arc::new(Numbers(10)), config).unwrap_err();
    for (rank, ranks) in [(0, 0), (2, 2), (5, 2)] {
        let error = fault(LoaderConfig { rank, ranks, ..LoaderConfig::eval(1) });
        assert!(matches!(error, Error::Setting { setting: "rank", .. }), "{error}");
    }
    let error = fault(LoaderConfig { ranks: 3, ..LoaderConfig::train(4, 0, 0) });
    assert!(matches!(error, Error::BatchSize { batch_size: 12, len: 10 }), "{error}");
    assert!(matches!(
        fault(LoaderConfig { ranks: usize::MAX, ..LoaderConfig::train(4, 0, 0) }),
        Error::BatchSize { .. }
    ));
}

#[test]
fn a_last_step_may_leave_a_rank_without_images() {
    let part = |rank| batches(5, LoaderConfig { rank, ranks: 4, ..LoaderConfig::eval(1) });
    let empty: Vec<usize> = Vec::new();
    assert_eq!(
        [0, 1, 2, 3].map(part),
        [[vec![0], empty.clone()], [vec![1], empty.clone()], [vec![2], empty], [vec![3], vec![4]],]
    );
}
