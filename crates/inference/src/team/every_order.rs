//! The team in every order in which its threads may run, as far as `loom` gets within a bound of preemptions.

use super::super::crew::{Counter, Crew};
use super::*;

/// Tries every order, with at most so many places where a thread is stopped against its will.
fn explore(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(preemptions));
    model.check(run);
}

/// Pieces of work that only one thread may touch at a time: two threads in one cell without an order between them
/// are an error of loom.
struct Pieces(Vec<UnsafeCell<usize>>);

// SAFETY: who touches a piece is what the test is about; loom watches.
unsafe impl Sync for Pieces {}
// SAFETY: as above.
unsafe impl Send for Pieces {}

impl Pieces {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    /// Adds one to a piece.
    fn add(&self, index: usize) {
        // SAFETY: loom ends the test if another thread is here.
        self.0[index].with_mut(|piece| unsafe { *piece += 1 });
    }

    fn get(&self, index: usize) -> usize {
        // SAFETY: loom ends the test if a thread writes here.
        self.0[index].with(|piece| unsafe { *piece })
    }
}

/// Two steps over pieces that the threads share: the second reads what the first wrote, wherever.
fn two_steps(threads: usize, runs: usize) {
    let mut team = Team::new(threads).unwrap();
    let (first, second) = (Pieces::new(threads + 1), Pieces::new(threads + 1));
    for run in 1..=runs {
        let counters: Vec<Counter> = (0..2 * threads).map(|_| Counter::default()).collect();
        team.run(&|member| {
            let crew = Crew::of(member, &counters);
            crew.share(threads + 1, |item| first.add(item));
            crew.share(threads + 1, |item| {
                assert_eq!(first.get(threads - item), run);
                second.add(item);
            });
        });
        // The caller may use everything again.
        (0..=threads).for_each(|item| assert_eq!((first.get(item), second.get(item)), (run, run)));
    }
}

#[test]
fn two_threads_share_two_steps() {
    explore(3, || two_steps(2, 1));
}

#[test]
fn a_second_run_finds_the_workers_awake_or_asleep() {
    explore(2, || two_steps(2, 2));
}

#[test]
fn three_threads_do_one_job() {
    explore(1, || {
        let mut team = Team::new(3).unwrap();
        let pieces = Pieces::new(3);
        team.run(&|member| pieces.add(member.index));
        (0..3).for_each(|index| assert_eq!(pieces.get(index), 1));
    });
}

#[test]
fn a_team_that_never_ran_ends() {
    explore(3, || drop(Team::new(3).unwrap()));
}
