//! Who does a run: one thread alone, or a team that shares every piece of work.
//!
//! Pieces lie next to each other in memory, and those of the next step are cut alike. So each thread has a run of
//! neighbouring pieces for its own, and mostly reads what it has written before: moving results between processors that
//! share no cache can take longer than computing them. Who has finished helps the others.

use super::sync::{AtomicUsize, Ordering};
use super::team::Member;
use std::cell::Cell;

/// Counts the pieces of one thread that are taken, in a cache line of its own.
#[repr(align(64))]
pub(super) struct Counter(AtomicUsize);

impl Default for Counter {
    fn default() -> Self {
        Self(AtomicUsize::new(0))
    }
}

impl Counter {
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// A thread's view of those who do a run.
pub(super) struct Crew<'a> {
    team: Option<(&'a Member<'a>, &'a [Counter])>,
    /// Pieces of work that were shared out before: which counters are next.
    phase: Cell<usize>,
}

impl<'a> Crew<'a> {
    /// One thread.
    pub(super) fn alone() -> Self {
        Self { team: None, phase: Cell::new(0) }
    }

    /// A member of a team, with a counter at 0 for each thread and each call of [`Crew::share`] that is to come.
    pub(super) fn of(member: &'a Member<'a>, counters: &'a [Counter]) -> Self {
        Self { team: Some((member, counters)), phase: Cell::new(0) }
    }

    /// Threads.
    pub(super) fn threads(&self) -> usize {
        self.team.map_or(1, |(member, _)| member.threads)
    }

    /// Whether this thread speaks for all.
    pub(super) fn leads(&self) -> bool {
        self.team.is_none_or(|(member, _)| member.index == 0)
    }

    /// Does `items` pieces of work, each on one thread, and waits until all are done.
    pub(super) fn share(&self, items: usize, mut work: impl FnMut(usize)) {
        let Some((member, counters)) = self.team else {
            return (0..items).for_each(work);
        };
        let threads = member.threads;
        let counters = &counters[self.phase.get() * threads..][..threads];
        self.phase.set(self.phase.get() + 1);
        for turn in 0..threads {
            let owner = (member.index + turn) % threads;
            let own = items * owner / threads..items * (owner + 1) / threads;
            loop {
                let taken = counters[owner].0.fetch_add(1, Ordering::Relaxed);
                if taken >= own.len() {
                    break;
                }
                work(own.start + taken);
            }
        }
        member.wait();
    }
}
