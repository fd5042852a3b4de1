//! The prefetching loader.

use crate::dataset::{Batch, Dataset, View};
use crate::worker::{Indices, Job, Share};
use crate::{Error, Result, permutation};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The order in which images are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The [`permutation`] of (seed, epoch).
    Shuffled {
        /// Seed of the run.
        seed: u64,
        /// Epoch, from 0.
        epoch: u64,
    },
    /// 0, 1, 2, …
    Sequential,
}

/// What a [`Loader`] is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderConfig {
    /// Images per batch.
    pub batch_size: usize,
    /// Order of the images.
    pub order: Order,
    /// How the images are to be seen.
    pub view: View,
    /// Batch to start at, from 0: a run that stopped within an epoch goes on there, and what lies before is not
    /// read again.
    pub first_batch: usize,
    /// Whether the last batch is left out when it is not full on every rank.
    pub drop_last: bool,
    /// Which of the processes that share the data set this is, from 0.
    pub rank: usize,
    /// How many processes share the data set, 1 or more. Each has a part of every step: the images of a step are
    /// consecutive in the order of the epoch, and rank after rank takes the next `batch_size` of them.
    pub ranks: usize,
    /// Threads that read images; 0 counts as 1. The batches do not depend on it.
    pub workers: usize,
    /// Batches kept ready, over all workers (at least one each). Memory: this many and one more per worker.
    pub prefetch: usize,
}

impl LoaderConfig {
    /// One training epoch: shuffled, augmented, full batches only, a worker per core.
    pub fn train(batch_size: usize, seed: u64, epoch: u64) -> Self {
        let (order, view) = (Order::Shuffled { seed, epoch }, View::Train { seed, epoch });
        Self { order, view, drop_last: true, ..Self::eval(batch_size) }
    }

    /// Every image once, in order, plain, a worker per core.
    pub fn eval(batch_size: usize) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let (order, view) = (Order::Sequential, View::Eval);
        let (first_batch, prefetch, drop_last) = (0, 2 * workers, false);
        Self { batch_size, order, view, first_batch, drop_last, rank: 0, ranks: 1, workers, prefetch }
    }
}

/// One pass over a data set, read ahead by threads of its own.
///
/// An iterator over [`Batch`]es in a fixed order: worker `w` of `W` makes every `W`-th batch into its own
/// bounded channel, and the channels are read in turn, so the bytes are the same for any number of workers.
/// With several ranks each loader gives the same number of batches, and those with the same number, rank after
/// rank, hold the images that one loader with batches of `ranks * batch_size` would give; together the ranks see
/// every image once. A last step that is not full is shared out evenly, so that a rank's part may be empty.
/// After an error the iterator ends. Dropping the loader, early or not, stops and joins its threads, which takes
/// as long as the reading of one image.
#[derive(Debug)]
pub struct Loader {
    receivers: Vec<Receiver<Result<Batch>>>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    first: usize,
    next: usize,
    end: usize,
    batches: usize,
    waited: Duration,
}

impl Loader {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// When the data set is empty, the batch size is 0 or (with `drop_last`, over all ranks) larger than the data
    /// set, `rank` is not below `ranks`, `first_batch` lies after the end, or a thread cannot be started.
    pub fn new(dataset: Arc<dyn Dataset>, config: LoaderConfig) -> Result<Self> {
        let batches = count_batches(dataset.len(), &config)?;
        let stop = Arc::new(AtomicBool::new(false));
        let workers = config.workers.min(batches - config.first_batch).max(1);
        let job = Arc::new(Job {
            indices: match config.order {
                Order::Shuffled { seed, epoch } => Indices::Listed(permutation(seed, epoch, dataset.len())),
                Order::Sequential => Indices::Sequential(dataset.len()),
            },
            dataset,
            view: config.view,
            share: Share { batch_size: config.batch_size, rank: config.rank, ranks: config.ranks },
            stop: Arc::clone(&stop),
        });
        let (first, waited) = (config.first_batch, Duration::ZERO);
        let (receivers, threads) = (Vec::with_capacity(workers), Vec::with_capacity(workers));
        let mut loader = Self { receivers, threads, stop, first, next: first, end: batches, batches, waited };
        let depth = config.prefetch.div_ceil(workers).max(1);
        for worker in 0..workers {
            let (sender, receiver) = sync_channel(depth);
            let job = Arc::clone(&job);
            let numbers = (first + worker..batches).step_by(workers);
            let thread = std::thread::Builder::new().name(format!("data-{worker}"));
            let thread = thread.spawn(move || job.run(numbers, &sender));
            loader.threads.push(thread.map_err(|error| Error::Thread { reason: error.to_string() })?);
            loader.receivers.push(receiver);
        }
        Ok(loader)
    }

    /// Number of batches in a whole pass, those before `first_batch` included.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// How long [`Iterator::next`] has waited for a batch that was not ready, in total.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    fn receive(&mut self) -> Result<Batch> {
        let receiver = &self.receivers[(self.next - self.first) % self.receivers.len()];
        let received = match receiver.try_recv() {
            Ok(batch) => Some(batch),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                let start = Instant::now();
                let batch = receiver.recv().ok();
                self.waited += start.elapsed();
                batch
            }
        };
        received
            .unwrap_or_else(|| Err(Error::Thread { reason: "it ended before its work was done".to_owned() }))
    }
}

/// Number of batches in a pass, the configuration checked.
fn count_batches(len: usize, config: &LoaderConfig) -> Result<usize> {
    let LoaderConfig { batch_size, first_batch, drop_last, rank, ranks, .. } = *config;
    if len == 0 {
        return Err(Error::empty("the data set"));
    }
    if rank >= ranks {
        let reason = format!("{rank} of {ranks} ranks cannot be used; number the ranks from 0");
        return Err(Error::Setting { setting: "rank", reason });
    }
    let step = batch_size.saturating_mul(ranks);
    if step == 0 || drop_last && step > len {
        return Err(Error::BatchSize { batch_size: step, len });
    }
    let batches = if drop_last { len / step } else { len.div_ceil(step) };
    if first_batch > batches {
        return Err(Error::FirstBatch { first_batch, batches });
    }
    Ok(batches)
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let batch = self.receive();
        self.next += 1;
        if batch.is_err() {
            self.end = self.next;
            self.stop.store(true, Ordering::Relaxed);
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.next < self.end), Some(self.end.saturating_sub(self.next)))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Without receivers, a worker that waits to send wakes up with an error.
        self.receivers.clear();
        for thread in self.threads.drain(..) {
            // A worker's panic has already been reported by the iterator.
            let _ = thread.join();
        }
    }
}
