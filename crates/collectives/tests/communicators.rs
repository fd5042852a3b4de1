//! Every operation over every communicator: threads, threads with a thread of their own for it, and processes under `mpirun`.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sparse_collectives::{Background, Communicator, Error, Numbers, Single, Slice, threads};

/// Numbers whose sum depends on the order in which they are added.
fn numbers(rank: usize, len: usize) -> Vec<f32> {
    (0..len).map(|at| ((rank * 7919 + at * 104_729) % 1000) as f32 * 1.7 - 800.3).collect()
}

/// The sum in the order of ranks.
fn folded(size: usize, len: usize) -> Vec<f32> {
    let mut sum = numbers(0, len);
    for rank in 1..size {
        sum.iter_mut().zip(numbers(rank, len)).for_each(|(sum, value)| *sum += value);
    }
    sum
}

/// What every rank must find, whatever the communicator.
fn check(mut ranks: Box<dyn Communicator + '_>, lens: &[usize]) {
    let (rank, size) = (ranks.rank(), ranks.size());
    for &len in lens {
        let mut values = numbers(rank, len);
        ranks.sum(Slice::F32(&mut values)).unwrap();
        assert_eq!(values, folded(size, len), "{len} numbers");
        let mut counts: Vec<u64> = vec![u64::MAX / 1000 + rank as u64; len];
        ranks.sum(Slice::U64(&mut counts)).unwrap();
        let expected = u64::MAX / 1000 * size as u64 + (size * (size - 1) / 2) as u64;
        assert!(counts.iter().all(|&count| count == expected));
        // Two on their way at once, and another operation in between.
        ranks.begin_sum(Numbers::F32(numbers(rank, len))).unwrap();
        ranks.begin_sum(Numbers::F64(vec![0.5 + rank as f64; len])).unwrap();
        assert!(ranks.any(rank + 1 == size).unwrap());
        assert_eq!(ranks.end_sum().unwrap(), Numbers::F32(folded(size, len)));
        let Numbers::F64(sums) = ranks.end_sum().unwrap() else { unreachable!() };
        assert!(sums.iter().all(|&sum| sum == (size * size) as f64 / 2.0));
        assert_eq!(ranks.end_sum(), Err(Error::NotBegun));
        let mine = vec![rank as u8; len * rank];
        let gathered = ranks.gather(&mine).unwrap();
        assert!(gathered.iter().enumerate().all(|(rank, bytes)| *bytes == vec![rank as u8; len * rank]));
        let told = ranks.broadcast(vec![rank as u8 + 3; len + rank]).unwrap();
        assert_eq!(told, vec![3; len]);
    }
    assert!(!ranks.any(false).unwrap());
    ranks.barrier().unwrap();
    ranks.finish().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn threads_agree(size in 1usize..6, lens in prop::collection::vec(0usize..40, 1..4), background: bool) {
        std::thread::scope(|scope| {
            for rank in threads(size) {
                let lens = &lens;
                scope.spawn(move || {
                    if background {
                        check(Box::new(Background::start(|_| Ok(Boxed(rank))).unwrap()), lens);
                    } else {
                        check(rank, lens);
                    }
                });
            }
        });
    }
}

/// A communicator in a box, as one.
struct Boxed(Box<dyn Communicator + Send>);

impl Communicator for Boxed {
    fn rank(&self) -> usize {
        self.0.rank()
    }
    fn size(&self) -> usize {
        self.0.size()
    }
    fn sum(&mut self, values: Slice<'_>) -> sparse_collectives::Result<()> {
        self.0.sum(values)
    }
    fn begin_sum(&mut self, values: Numbers) -> sparse_collectives::Result<()> {
        self.0.begin_sum(values)
    }
    fn end_sum(&mut self) -> sparse_collectives::Result<Numbers> {
        self.0.end_sum()
    }
    fn gather(&mut self, bytes: &[u8]) -> sparse_collectives::Result<Vec<Vec<u8>>> {
        self.0.gather(bytes)
    }
    fn broadcast(&mut self, bytes: Vec<u8>) -> sparse_collectives::Result<Vec<u8>> {
        self.0.broadcast(bytes)
    }
    fn finish(self: Box<Self>) -> sparse_collectives::Result<()> {
        self.0.finish()
    }
}

#[test]
fn one_process_needs_nobody() {
    check(Box::new(Single::default()), &[0, 1, 17]);
}

#[test]
fn a_rank_that_ends_is_missed() {
    let mut ranks = threads(2);
    drop(ranks.pop());
    let error = ranks[0].barrier().unwrap_err();
    assert!(error.to_string().starts_with("rank 1 has not answered"), "{error}");
}

#[test]
fn a_rank_that_sums_other_numbers_is_named() {
    let mut ranks = threads(2);
    let (mut second, mut first) = (ranks.pop().unwrap(), ranks.pop().unwrap());
    let other = std::thread::spawn(move || second.sum(Slice::F32(&mut [0.0; 10])));
    let error = first.sum(Slice::F32(&mut [0.0; 20])).unwrap_err();
    assert_eq!(error, Error::Disagree { rank: 1, got: 20, expected: 40 });
    assert!(other.join().unwrap().is_err());
}

#[cfg(feature = "mpi")]
mod processes {
    use super::check;
    use std::process::Command;

    /// Runs a test of this file in so many processes.
    fn mpirun(ranks: usize, test: &str) {
        let mpirun =
            ["mpirun", "-n", &ranks.to_string(), "--oversubscribe", "--allow-run-as-root"].map(str::to_owned);
        let status = Command::new(&mpirun[0])
            .args(&mpirun[1..])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    }

    #[test]
    fn agree() {
        for ranks in [1, 2, 3, 4] {
            mpirun(ranks, "processes::one_of_them");
        }
    }

    /// What [`mpirun`] runs in each process; nothing without it.
    #[test]
    fn one_of_them() {
        if std::env::var_os("OMPI_COMM_WORLD_SIZE").is_none() && std::env::var_os("PMI_SIZE").is_none() {
            return;
        }
        check(Box::new(sparse_collectives::mpi().unwrap()), &[0, 1, 2, 3, 1000, 3_000_001]);
    }
}
