//! Threads that go through the steps of a run together.
//!
//! A run has dozens of steps of some microseconds, with a barrier after each. Waking threads for every step would take
//! longer than the step, so the team is called once for a run, waits at barriers by looking, and sleeps only when no
//! run has come for a while, or when one of them got no processor.

#![allow(unsafe_code)]

use super::sync::thread::{self, JoinHandle, Thread};
use super::sync::{Arc, AtomicBool, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, UnsafeCell, hint};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

/// Looks between two pauses. A pause tells the processor that a thread waits; where the processor is a virtual one, many of
/// them in a row let the host take it away for a while, unless other work lies between.
const LOOKS: usize = if cfg!(loom) { 1 } else { 100 };
/// Rounds of looks at the next job before a thread sleeps: about a tenth of a millisecond.
const ROUNDS_AWAKE: usize = if cfg!(loom) { 1 } else { 600 };
/// Rounds of looks at a barrier before a thread sleeps: longer than threads with a processor each wait for one another. Who still waits then has one
/// that another process uses as well, and gets that of the sleeper.
const PATIENCE: usize = if cfg!(loom) { 1 } else { 600 };

/// What every thread of a team is asked to do.
type Job = dyn Fn(&Member<'_>) + Sync;

/// Threads that take part in every run of one caller; the caller is the first of them.
pub(super) struct Team {
    workers: Vec<(JoinHandle<()>, Thread)>,
    shared: Arc<Shared>,
}

struct Shared {
    barrier: Barrier,
    /// Wakes the caller when it waits for the workers.
    finished: Bell,
    /// Counts jobs; a change calls the workers.
    number: AtomicUsize,
    /// Workers that are done with the job.
    done: AtomicUsize,
    stop: AtomicBool,
    job: UnsafeCell<Option<*const Job>>,
}

// SAFETY: `job` is written by the caller while every worker waits for `number` to change, and read by workers after
// that; the orderings of `number` and `done` make the one happen before the other.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is used only during `Team::run`, while what it points to is borrowed.
unsafe impl Send for Shared {}

/// One thread of a team, during a run.
pub(super) struct Member<'a> {
    /// From 0, which is the caller.
    pub(super) index: usize,
    /// Threads of the team.
    pub(super) threads: usize,
    barrier: &'a Barrier,
}

impl Member<'_> {
    /// Waits until every member waits here.
    pub(super) fn wait(&self) {
        self.barrier.wait(self.threads);
    }
}

impl Team {
    /// A team of `threads`, the caller among them.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub(super) fn new(threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            barrier: Barrier::new(),
            finished: Bell::new(),
            number: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            job: UnsafeCell::new(None),
        });
        let mut team = Self { workers: Vec::new(), shared };
        for index in 1..threads.max(1) {
            let shared = Arc::clone(&team.shared);
            #[cfg(test)]
            let level = sparse_vectors::level::Level::here();
            let handle = thread::Builder::new().name(format!("sparse-{index}")).spawn(move || {
                #[cfg(test)]
                level.adopt();
                work(&shared, index, threads);
            })?;
            let thread = handle.thread().clone();
            team.workers.push((handle, thread));
        }
        Ok(team)
    }

    /// Threads, the caller among them.
    pub(super) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `job` on every thread of the team and waits for all.
    ///
    /// # Panics
    /// If the job does, on any thread.
    pub(super) fn run(&mut self, job: &(dyn Fn(&Member<'_>) + Sync)) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime is taken off; the pointer is used until `done` says that every worker has left the job,
        // which is waited for below.
        let job_pointer = unsafe { std::mem::transmute::<&(dyn Fn(&Member<'_>) + Sync), *const Job>(job) };
        // SAFETY: the workers wait for `number` to change and do not look at `job`.
        shared.job.with_mut(|job| unsafe { *job = Some(job_pointer) });
        shared.done.store(0, Ordering::Relaxed);
        shared.number.fetch_add(1, Ordering::Release);
        for (_, thread) in &self.workers {
            thread.unpark();
        }
        let member = Member { index: 0, threads: self.threads(), barrier: &shared.barrier };
        let own = catch_unwind(AssertUnwindSafe(|| job(&member)));
        if own.is_err() {
            shared.barrier.break_off();
        }
        shared.finished.wait(|| shared.done.load(Ordering::Acquire) == self.workers.len());
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!shared.barrier.broken.load(Ordering::Acquire), "a thread of the team panicked");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.number.fetch_add(1, Ordering::Release);
        for (handle, thread) in self.workers.drain(..) {
            thread.unpark();
            // A worker ends by itself; a panic of its was told in `run`.
            let _ = handle.join();
        }
    }
}

/// The life of a worker: waits for a job, does it, says so.
fn work(shared: &Shared, index: usize, threads: usize) {
    let mut seen = 0;
    loop {
        let called = || shared.number.load(Ordering::Acquire) != seen;
        if !(0..ROUNDS_AWAKE).any(|_| look(called)) {
            while !called() {
                thread::park();
            }
        }
        seen = seen.wrapping_add(1);
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: `number` has changed, so the caller has written the job and keeps it alive until `done` is counted up.
        let job = shared.job.with(|job| unsafe { (*job).map(|job| &*job) });
        let member = Member { index, threads, barrier: &shared.barrier };
        if let Some(job) = job
            && catch_unwind(AssertUnwindSafe(|| job(&member))).is_err()
        {
            shared.barrier.break_off();
        }
        shared.done.fetch_add(1, Ordering::Release);
        shared.finished.ring();
    }
}

/// Where threads wait for each other.
struct Barrier {
    arrived: AtomicUsize,
    /// Counts how often the barrier opened.
    opened: AtomicUsize,
    /// A thread has panicked and will not come.
    broken: AtomicBool,
    bell: Bell,
}

impl Barrier {
    fn new() -> Self {
        Self {
            arrived: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            bell: Bell::new(),
        }
    }

    /// Lets all go who wait, now and later: a thread will not come.
    fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
        self.bell.ring();
    }

    fn wait(&self, threads: usize) {
        let opened = self.opened.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.opened.store(opened.wrapping_add(1), Ordering::Release);
            self.bell.ring();
            return;
        }
        self.bell
            .wait(|| self.opened.load(Ordering::Acquire) != opened || self.broken.load(Ordering::Acquire));
        assert!(!self.broken.load(Ordering::Acquire), "another thread of the team panicked");
    }
}

/// Wakes threads that have waited too long for something to go on looking.
struct Bell {
    /// Those that sleep.
    sleepers: Mutex<usize>,
    rings: Condvar,
}

impl Bell {
    fn new() -> Self {
        Self { sleepers: Mutex::new(0), rings: Condvar::new() }
    }

    /// Waits until `ready`, which looks at what others set before they ring.
    fn wait(&self, ready: impl Fn() -> bool) {
        if (0..PATIENCE).any(|_| look(&ready)) {
            return;
        }
        let mut sleepers = self.lock();
        *sleepers += 1;
        while !ready() {
            sleepers = self.rings.wait(sleepers).unwrap_or_else(PoisonError::into_inner);
        }
        *sleepers -= 1;
    }

    /// Wakes those who sleep; who is about to has not looked yet, and sees what was set.
    fn ring(&self) {
        if *self.lock() > 0 {
            self.rings.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        // Nobody panics with the lock in hand.
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A round of looks.
fn look(ready: impl Fn() -> bool) -> bool {
    if (0..LOOKS).any(|_| ready()) {
        return true;
    }
    hint::spin_loop();
    false
}

#[cfg(all(test, loom))]
mod every_order;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn members_take_every_step_together() {
        for threads in [1, 2, 5] {
            let mut team = Team::new(threads).unwrap();
            assert_eq!(team.threads(), threads);
            let counts: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            for run in 1..=3 {
                team.run(&|member| {
                    for (step, count) in counts.iter().enumerate() {
                        if let Some(before) = step.checked_sub(1) {
                            assert_eq!(counts[before].load(Ordering::Relaxed), run * threads);
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                        member.wait();
                    }
                });
                // Long enough for the others to sleep.
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_nobody_hangs() {
        for culprit in 0..3 {
            let mut team = Team::new(3).unwrap();
            let run = AssertUnwindSafe(|| {
                team.run(&|member| {
                    assert_ne!(member.index, culprit);
                    member.wait();
                });
            });
            assert!(catch_unwind(run).is_err());
        }
    }
}
