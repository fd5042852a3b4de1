//! Who does a run: one thread alone, or a team that shares every piece of work.

use super::team::Member;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A thread's view of those who do a run.
pub(super) struct Crew<'a> {
    team: Option<(&'a Member<'a>, &'a [AtomicUsize])>,
    /// Pieces of work that were shared out before: which counter is next.
    phase: Cell<usize>,
}

impl<'a> Crew<'a> {
    /// One thread.
    pub(super) fn alone() -> Self {
        Self { team: None, phase: Cell::new(0) }
    }

    /// A member of a team, with a counter at 0 for each call of [`Crew::share`] that is to come.
    pub(super) fn of(member: &'a Member<'a>, counters: &'a [AtomicUsize]) -> Self {
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
        let counter = &counters[self.phase.get()];
        self.phase.set(self.phase.get() + 1);
        loop {
            let item = counter.fetch_add(1, Ordering::Relaxed);
            if item >= items {
                break;
            }
            work(item);
        }
        member.wait();
    }
}
