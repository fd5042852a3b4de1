//! The loader: order, resumption, and what happens when things go wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sparse_data::{
    Batch, Dataset, Error, Loader, LoaderConfig, Order, Result, View, permutation, sample_rng,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Images whose pixels are random numbers of (seed, epoch, index); label = index modulo 7.
#[derive(Default)]
struct Noise {
    len: usize,
    fail_at: Option<usize>,
    panic_at: Option<usize>,
    label_at: Option<usize>,
    delay: Duration,
    reads: AtomicUsize,
}

impl Dataset for Noise {
    fn len(&self) -> usize {
        self.len
    }

    fn classes(&self) -> usize {
        7
    }

    fn image_shape(&self) -> [usize; 3] {
        [1, 2, 3]
    }

    fn read(&self, index: usize, view: View, image: &mut [f32]) -> Result<u32> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(self.delay);
        if self.fail_at == Some(index) {
            return Err(Error::custom(index, "the tape tore"));
        }
        assert!(self.panic_at != Some(index), "index {index} is cursed");
        let (seed, epoch) = match view {
            View::Train { seed, epoch } => (seed, epoch),
            View::Eval => (0, 0),
        };
        let mut rng = sample_rng(seed, epoch, index);
        image.fill_with(|| rng.uniform(-1.0, 1.0) as f32);
        Ok(if self.label_at == Some(index) { 7 } else { index as u32 % 7 })
    }
}

fn noise(len: usize) -> Noise {
    Noise { len, ..Noise::default() }
}

fn batches(data: Noise, config: LoaderConfig) -> Vec<Batch> {
    Loader::new(Arc::new(data), config).unwrap().map(Result::unwrap).collect()
}

fn wait_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(600), "nothing happened for ten minutes");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let config = |workers, prefetch| LoaderConfig { workers, prefetch, ..LoaderConfig::train(8, 3, 1) };
    let one = batches(noise(100), config(1, 1));
    assert_eq!(one.len(), 12);
    for (workers, prefetch) in [(0, 0), (2, 1), (5, 20), (40, 3)] {
        assert_eq!(batches(noise(100), config(workers, prefetch)), one, "{workers} workers");
    }
}

#[test]
fn batches_follow_the_permutation() {
    let order = permutation(3, 1, 100);
    for (number, batch) in batches(noise(100), LoaderConfig::train(8, 3, 1)).into_iter().enumerate() {
        assert_eq!((batch.number, batch.shape), (number, [8, 1, 2, 3]));
        for (slot, label) in batch.labels.into_iter().enumerate() {
            let index = order[number * 8 + slot];
            assert_eq!(label, index as u32 % 7);
            let first = sample_rng(3, 1, index).uniform(-1.0, 1.0) as f32;
            assert_eq!(batch.images[slot * 6], first);
        }
    }
}

#[test]
fn evaluation_sees_every_image_once_in_order() {
    let all = batches(noise(30), LoaderConfig::eval(8));
    let labels: Vec<u32> = all.iter().flat_map(|batch| batch.labels.clone()).collect();
    assert_eq!(labels, (0..30).map(|index| index % 7).collect::<Vec<_>>());
    assert_eq!(all.last().unwrap().shape, [6, 1, 2, 3]);
    assert_eq!(batches(noise(3), LoaderConfig::eval(8)).len(), 1);
    assert_eq!(batches(noise(32), LoaderConfig { drop_last: true, ..LoaderConfig::eval(8) }).len(), 4);
}

#[test]
fn a_late_start_gives_the_tail_and_reads_nothing_else() {
    let config = |first_batch| LoaderConfig { first_batch, workers: 3, ..LoaderConfig::train(8, 3, 1) };
    let all = batches(noise(100), config(0));
    for first in [1, 5, 11, 12] {
        let data = Arc::new(noise(100));
        let loader = Loader::new(Arc::<Noise>::clone(&data), config(first)).unwrap();
        assert_eq!(loader.batches(), 12);
        let tail: Vec<Batch> = loader.map(Result::unwrap).collect();
        assert_eq!(tail, all[first..]);
        assert_eq!(data.reads.load(Ordering::SeqCst), (12 - first) * 8);
    }
}

#[test]
fn an_early_drop_stops_the_threads() {
    let data = Arc::new(Noise { delay: Duration::from_millis(1), ..noise(100_000) });
    let config = LoaderConfig { workers: 4, prefetch: 4, ..LoaderConfig::train(8, 0, 0) };
    let mut loader = Loader::new(Arc::<Noise>::clone(&data), config).unwrap();
    assert_eq!(loader.next().unwrap().unwrap().number, 0);
    drop(loader);
    // All clones held by the threads are gone, so nothing reads any more.
    assert_eq!(Arc::strong_count(&data), 1);
    // One batch taken, and per worker one ready, one in hand and one begun.
    assert!(data.reads.load(Ordering::SeqCst) <= (1 + 3 * 4) * 8);
}

#[test]
fn a_drop_does_not_wait_for_the_batch_in_hand() {
    // Minutes of reading, most of which the drop must spare.
    const LEN: usize = 1_000_000;
    let data = Arc::new(Noise { delay: Duration::from_millis(1), ..noise(LEN) });
    let loader = Loader::new(Arc::<Noise>::clone(&data), LoaderConfig::eval(LEN)).unwrap();
    wait_until(|| data.reads.load(Ordering::SeqCst) > 0);
    drop(loader);
    assert!(data.reads.load(Ordering::SeqCst) < LEN);
}

#[test]
fn prefetch_is_bounded() {
    let data = Arc::new(noise(100_000));
    let config = LoaderConfig { workers: 2, prefetch: 6, ..LoaderConfig::train(10, 0, 0) };
    let _loader = Loader::new(Arc::<Noise>::clone(&data), config).unwrap();
    wait_until(|| data.reads.load(Ordering::SeqCst) >= (6 + 2) * 10);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(data.reads.load(Ordering::SeqCst), (6 + 2) * 10);
}

#[test]
fn waiting_is_counted_only_when_nothing_is_ready() {
    // Whether the worker is behind is the machine's choice each time; it cannot always be ahead.
    let waits = || {
        let slow = Noise { delay: Duration::from_millis(5), ..noise(16) };
        let mut loader =
            Loader::new(Arc::new(slow), LoaderConfig { workers: 1, ..LoaderConfig::eval(8) }).unwrap();
        assert_eq!(loader.by_ref().count(), 2);
        loader.waited() > Duration::ZERO
    };
    assert!((0..100).any(|_| waits()));
    let config = LoaderConfig { workers: 1, prefetch: 2, ..LoaderConfig::eval(8) };
    let data = Arc::new(noise(16));
    let mut loader = Loader::new(Arc::<Noise>::clone(&data), config).unwrap();
    // The worker lets go of the data set when all its batches are ready.
    wait_until(|| Arc::strong_count(&data) == 1);
    assert_eq!(loader.by_ref().count(), 2);
    assert_eq!(loader.waited(), Duration::ZERO);
}

/// The outcomes of a sequential pass over 40 images in batches of 4: good batches, then one error, then the end.
fn failing(data: Noise) -> (usize, Error) {
    let config = LoaderConfig { workers: 3, ..LoaderConfig::eval(4) };
    let mut loader = Loader::new(Arc::new(data), config).unwrap();
    let mut good = 0;
    loop {
        match loader.next().expect("an error should have come") {
            Ok(_) => good += 1,
            Err(error) => {
                assert!(loader.next().is_none());
                return (good, error);
            }
        }
    }
}

#[test]
fn errors_and_panics_arrive_in_order_and_end_the_pass() {
    let (good, error) = failing(Noise { fail_at: Some(22), ..noise(40) });
    assert_eq!(good, 5);
    assert!(matches!(error, Error::Custom { index: 22, .. }), "{error}");
    let (good, error) = failing(Noise { panic_at: Some(13), ..noise(40) });
    assert_eq!(good, 3);
    assert!(matches!(error, Error::Panicked { index: 13, .. }), "{error}");
    assert!(error.to_string().contains("index 13 is cursed"), "{error}");
    let (good, error) = failing(Noise { label_at: Some(39), ..noise(40) });
    assert_eq!(good, 9);
    assert!(matches!(error, Error::Label { label: 7, classes: 7, .. }), "{error}");
}

/// Panics outside `read`, where no index is known.
struct BadClasses;

impl Dataset for BadClasses {
    fn len(&self) -> usize {
        4
    }

    fn classes(&self) -> usize {
        panic!("no classes")
    }

    fn image_shape(&self) -> [usize; 3] {
        [1, 1, 1]
    }

    fn read(&self, _: usize, _: View, _: &mut [f32]) -> Result<u32> {
        Ok(0)
    }
}

#[test]
fn a_lost_thread_is_an_error_not_a_hang() {
    let mut loader = Loader::new(Arc::new(BadClasses), LoaderConfig::eval(2)).unwrap();
    assert!(matches!(loader.next(), Some(Err(Error::Thread { .. }))));
    assert!(loader.next().is_none());
}

#[test]
fn impossible_settings_say_what_to_do() {
    let fault = |len, config| Loader::new(Arc::new(noise(len)), config).unwrap_err();
    let error = fault(10, LoaderConfig::train(11, 0, 0));
    assert!(matches!(error, Error::BatchSize { batch_size: 11, len: 10 }));
    assert!(error.to_string().contains("from 1 to 10"), "{error}");
    assert!(matches!(fault(10, LoaderConfig::eval(0)), Error::BatchSize { batch_size: 0, .. }));
    assert!(matches!(fault(0, LoaderConfig::eval(1)), Error::Empty { .. }));
    let late = LoaderConfig { first_batch: 6, order: Order::Sequential, ..LoaderConfig::eval(2) };
    assert!(matches!(fault(10, late), Error::FirstBatch { first_batch: 6, batches: 5 }));
}
