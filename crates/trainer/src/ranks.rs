//! The processes that share a run, as the parts of this crate see them.

use crate::error::{Error, Result};
use crate::shared_error::SharedError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sparse_collectives::{Communicator, Numbers, Single, Slice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The ranks of a run. Clones share the communicator. Every rank must call the same in the same order.
#[derive(Clone)]
pub struct Ranks {
    communicator: Arc<Mutex<Option<Box<dyn Communicator + Send>>>>,
    place: Place,
}

/// Which of how many ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 0.
    pub rank: usize,
    /// At least 1.
    pub ranks: usize,
}

impl Default for Place {
    fn default() -> Self {
        Self { rank: 0, ranks: 1 }
    }
}

impl Place {
    /// Whether this rank writes and tells.
    #[must_use]
    pub fn is_first(self) -> bool {
        self.rank == 0
    }
}

impl Ranks {
    /// One process, which has the whole run.
    #[must_use]
    pub fn alone() -> Self {
        Self::new(Box::new(Single::default()))
    }

    /// Those of a communicator.
    #[must_use]
    pub fn new(communicator: Box<dyn Communicator + Send>) -> Self {
        let place = Place { rank: communicator.rank(), ranks: communicator.size() };
        Self { communicator: Arc::new(Mutex::new(Some(communicator))), place }
    }

    /// Which of them this is.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether there is no other.
    pub(crate) fn is_alone(&self) -> bool {
        self.place.ranks == 1
    }

    /// Takes leave of the others, at the end of a run that did not fail.
    ///
    /// # Errors
    /// [`SharedError::Ranks`] if one is gone.
    pub fn finish(self) -> Result<()> {
        match self.lock().take() {
            Some(communicator) => Ok(communicator.finish()?),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Communicator + Send>>> {
        self.communicator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut dyn Communicator) -> sparse_collectives::Result<T>,
    ) -> Result<T> {
        let mut communicator = self.lock();
        Ok(work(communicator.as_deref_mut().ok_or(sparse_collectives::Error::Ended)?)?)
    }

    /// Adds up in place.
    pub(crate) fn sum(&self, values: Slice<'_>) -> Result<()> {
        if self.is_alone() { Ok(()) } else { self.with(|ranks| ranks.sum(values)) }
    }

    /// Returns when every rank has come here.
    pub(crate) fn barrier(&self) -> Result<()> {
        self.with(|ranks| ranks.barrier())
    }

    pub(crate) fn begin_sum(&self, values: Numbers) -> Result<()> {
        self.with(|ranks| ranks.begin_sum(values))
    }

    pub(crate) fn end_sum(&self) -> Result<Numbers> {
        self.with(|ranks| ranks.end_sum())
    }

    /// The mean over ranks of what each has for its equal part of a batch.
    pub(crate) fn mean(&self, value: f64) -> Result<f64> {
        let mut values = [value / self.place.ranks as f64];
        self.sum(Slice::F64(&mut values))?;
        Ok(values[0])
    }

    /// The highest signal that asked any rank to stop.
    pub(crate) fn signal(&self, signal: Option<usize>) -> Result<Option<usize>> {
        if self.is_alone() {
            return Ok(signal);
        }
        let signals = self.gather(&[signal.unwrap_or(0) as u8])?;
        Ok(signals.into_iter().flatten().max().map(usize::from).filter(|&signal| signal > 0))
    }

    /// The bytes of every rank, in their order.
    pub(crate) fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.with(|ranks| ranks.gather(bytes))
    }

    /// What the first rank has; `mine` is asked there alone.
    pub(crate) fn of_first<T: Serialize + DeserializeOwned>(
        &self,
        mine: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let bytes = match self.place.is_first() {
            true if self.is_alone() => return mine(),
            true => serde_json::to_vec(&mine()?).map_err(|source| Error::Json { source })?,
            false => Vec::new(),
        };
        let bytes = self.with(|ranks| ranks.broadcast(bytes))?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { source })
    }

    /// The bytes that the first rank has; `mine` is asked there alone.
    pub(crate) fn bytes_of_first(&self, mine: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let bytes = if self.place.is_first() { mine()? } else { Vec::new() };
        self.with(|ranks| ranks.broadcast(bytes))
    }

    /// Checks that all ranks have the same of something.
    ///
    /// # Errors
    /// [`SharedError::Differ`] naming the first rank that has not.
    pub(crate) fn check_same(&self, what: &'static str, mine: &str) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let all = self.gather(mine.as_bytes())?;
        let first = all.first().cloned().unwrap_or_default();
        let Some(rank) = all.iter().position(|other| *other != first) else { return Ok(()) };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (first, other) = differing(&text(&first), &text(&all[rank]));
        Err(SharedError::Differ { what, rank, first, other }.into())
    }

    /// Asks whether another rank is known to be gone, while this one waits for something else.
    ///
    /// # Errors
    /// [`SharedError::Ranks`] if one is.
    pub(crate) fn idle(&self) -> Result<()> {
        self.with(|ranks| ranks.idle())
    }

    /// Time that this rank waited for others since the last call.
    pub(crate) fn take_waited(&self) -> Duration {
        self.lock().as_mut().map_or(Duration::ZERO, |ranks| ranks.take_waited())
    }
}

/// The first lines in which two texts differ.
fn differing(first: &str, other: &str) -> (String, String) {
    let (mut lines, mut others) = (first.lines(), other.lines());
    loop {
        match (lines.next(), others.next()) {
            (Some(line), Some(other)) if line == other => {}
            (line, other) => {
                let shown = |line: Option<&str>| line.unwrap_or("nothing").to_owned();
                return (shown(line), shown(other));
            }
        }
    }
}
