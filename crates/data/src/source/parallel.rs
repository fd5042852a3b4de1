//! The same work on many files at a time, as what it waits for is the disk.

use crate::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Reads that wait for the disk at the same time.
const THREADS: usize = 8;

/// The results of `work` on each item, in the order of the items; of several errors the first by that order.
pub(super) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let take_all = || {
        let mut done = Vec::new();
        while let number = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(number)
        {
            let result = work(item);
            let failed = result.is_err();
            done.push((number, result));
            if failed {
                // Items taken later by other threads are of no use any more.
                next.fetch_max(items.len(), Ordering::Relaxed);
            }
        }
        done
    };
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..items.len().min(THREADS)).map(|_| scope.spawn(take_all)).collect();
        let panicked = |_| Error::Thread { reason: "it panicked while it indexed an archive".to_owned() };
        threads.into_iter().map(|thread| thread.join().map_err(panicked)).collect::<Result<Vec<_>>>()
    })?;
    let mut results: Vec<(usize, Result<R>)> = done.into_iter().flatten().collect();
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_an_error_ends_the_work() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(map(&items, |&item| Ok(2 * item)).unwrap(), (0..200).step_by(2).collect::<Vec<_>>());
        assert_eq!(map(&[], |&item: &usize| Ok(item)).unwrap(), Vec::<usize>::new());
        let odd = |&item: &usize| {
            if item == 50 { Err(Error::custom(item, "odd")) } else { Ok(item) }
        };
        assert!(matches!(map(&items, odd), Err(Error::Custom { index: 50, .. })));
        let panics = |&item: &usize| if item == 3 { panic!("three") } else { Ok(item) };
        assert!(matches!(map(&items, panics), Err(Error::Thread { .. })));
    }
}
