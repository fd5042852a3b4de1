//! What a sum costs that is added in the order of ranks, against the all-reduce of the MPI, which promises no order.
//!
//! ```sh
//! cargo build --release --workspace --features sparse-collectives/mpi,sparse-train/mpi --example all_reduce
//! mpirun -n 2 target/release/examples/all_reduce sum      # one bucket after the other
//! mpirun -n 2 target/release/examples/all_reduce begun    # all begun, then all taken, as a training step does
//! mpirun -n 2 target/release/examples/all_reduce mpi      # MPI_Allreduce, one bucket after the other
//! ```

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use mpi::collective::SystemOperation;
use mpi::traits::{Communicator as _, CommunicatorCollectives};
use sparse_collectives::{Communicator, Numbers, Slice};
use std::error::Error;
use std::time::Instant;

/// Numbers in a bucket: 4 MB.
const BUCKET: usize = 1 << 20;
/// Numbers in all: the gradients and running averages of MobileNetV1.
const NUMBERS: usize = 4_253_864;
/// Sums that are timed, after some that are not.
const ROUNDS: usize = 15;
const WARM_UP: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("mpi") => of_the_library(),
        Some("begun") => folded(begin_all_and_take_all),
        Some("sum") => {
            folded(|ranks, buckets| buckets.iter_mut().try_for_each(|bucket| ranks.sum(Slice::F32(bucket))))
        }
        _ => Err("say which: sum, begun or mpi".into()),
    }
}

fn begin_all_and_take_all(
    ranks: &mut dyn Communicator,
    buckets: &mut [Vec<f32>],
) -> sparse_collectives::Result<()> {
    for bucket in buckets.iter_mut() {
        ranks.begin_sum(Numbers::F32(std::mem::take(bucket)))?;
    }
    for bucket in buckets {
        if let Numbers::F32(values) = ranks.end_sum()? {
            *bucket = values;
        }
    }
    Ok(())
}

/// What a rank gives.
fn buckets(rank: usize) -> Vec<Vec<f32>> {
    let value = |at: usize| ((rank * 7919 + at * 104_729) % 1000) as f32 * 1e-3 - 0.4;
    let starts = (0..NUMBERS).step_by(BUCKET);
    starts.map(|start| (start..NUMBERS.min(start + BUCKET)).map(value).collect()).collect()
}

fn folded(
    sum: impl Fn(&mut dyn Communicator, &mut [Vec<f32>]) -> sparse_collectives::Result<()>,
) -> Result<(), Box<dyn Error>> {
    let mut ranks = sparse_collectives::mpi()?;
    let mut seconds = Vec::new();
    for _ in 0..WARM_UP + ROUNDS {
        let mut buckets = buckets(ranks.rank());
        ranks.barrier()?;
        let start = Instant::now();
        sum(&mut ranks, &mut buckets)?;
        seconds.push(start.elapsed().as_secs_f64());
        check(&buckets, ranks.size())?;
    }
    if ranks.rank() == 0 {
        tell(ranks.size(), seconds);
    }
    Ok(Box::new(ranks).finish()?)
}

fn of_the_library() -> Result<(), Box<dyn Error>> {
    let universe = mpi::initialize().ok_or("MPI was initialised before")?;
    let world = universe.world();
    let (rank, size) = (world.rank() as usize, world.size() as usize);
    let (mut seconds, mut sums) = (Vec::new(), buckets(rank));
    for _ in 0..WARM_UP + ROUNDS {
        let buckets = buckets(rank);
        world.barrier();
        let start = Instant::now();
        for (bucket, sum) in buckets.iter().zip(&mut sums) {
            world.all_reduce_into(&bucket[..], &mut sum[..], SystemOperation::sum());
        }
        seconds.push(start.elapsed().as_secs_f64());
        check(&sums, size)?;
    }
    if rank == 0 {
        tell(size, seconds);
    }
    Ok(())
}

/// Whether the sums are those of all ranks, but for their rounding.
fn check(sums: &[Vec<f32>], ranks: usize) -> Result<(), String> {
    let all: Vec<Vec<f32>> = (0..ranks).map(|rank| buckets(rank).concat()).collect();
    for (at, &sum) in sums.concat().iter().enumerate() {
        let expected: f32 = all.iter().map(|values| values[at]).sum();
        if (sum - expected).abs() > 1e-4 {
            return Err(format!("number {at} is {sum} and not {expected}"));
        }
    }
    Ok(())
}

/// The median, and the bytes per second that each rank sent.
fn tell(ranks: usize, mut seconds: Vec<f64>) {
    seconds.drain(..WARM_UP);
    seconds.sort_by(f64::total_cmp);
    let median = seconds[ROUNDS / 2];
    let sent = 2.0 * (ranks - 1) as f64 / ranks as f64 * NUMBERS as f64 * 4.0;
    println!(
        "{ranks} ranks: {:.1} ms ({:.1} to {:.1}), {:.0} MB/s out of each",
        median * 1e3,
        seconds[0] * 1e3,
        seconds[ROUNDS - 1] * 1e3,
        sent / median / 1e6
    );
}
