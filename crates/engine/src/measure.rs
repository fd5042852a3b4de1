//! Dense or sparse: measured layer by layer on this machine.

use crate::compile::compile;
use crate::error::Result;
use crate::lower::Lowered;
use sparse_inference::Runner;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// Turns of each program.
const TURNS: usize = 8;
/// Runs of a turn; the first, after the other program's, does not count.
const RUNS: usize = 4;

/// Which units are faster without their zeros. Both programs run in turn, so that what disturbs one disturbs the other.
///
/// # Errors
/// [`crate::Error::Run`] if the units do not fit together.
pub(crate) fn choose(lowered: &Lowered, threads: usize) -> Result<Vec<bool>> {
    let with_zeros: Vec<bool> =
        lowered.units.iter().map(|unit| unit.left_out(lowered.precision) > 0).collect();
    if !with_zeros.contains(&true) {
        return Ok(with_zeros);
    }
    let [mut dense, mut sparse] = typical_times(lowered, &with_zeros, threads)?;
    let doubtful = |(unit, (dense, sparse)): (usize, (&Duration, &Duration))| {
        lowered.units[unit].left_out(lowered.precision) > lowered.units[unit].weights() / 2 && sparse >= dense
    };
    if dense.iter().zip(&sparse).enumerate().take(with_zeros.len()).any(doubtful) {
        // More likely that something disturbed the measurement than that so many zeros do not pay.
        for (times, again) in
            [&mut dense, &mut sparse].into_iter().zip(typical_times(lowered, &with_zeros, threads)?)
        {
            times.iter_mut().zip(again).for_each(|(time, again)| *time = again.min(*time));
        }
    }
    Ok((0..with_zeros.len()).map(|unit| with_zeros[unit] && sparse[unit] < dense[unit]).collect())
}

/// The median time of each unit, dense and sparse. (Not the least: the thread with the clock may be late to look at it, and
/// what another thread did meanwhile seems to take no time.)
fn typical_times(lowered: &Lowered, sparse: &[bool], threads: usize) -> Result<[Vec<Duration>; 2]> {
    let programs = [compile(lowered, threads, &|_| false)?, compile(lowered, threads, &|unit| sparse[unit])?]
        .map(Arc::new);
    let mut taken = [(); 2].map(|()| vec![Vec::new(); programs[0].parts()]);
    let [first, second] = &programs;
    let mut runners = [Runner::new(Arc::clone(first))?, Runner::new(Arc::clone(second))?];
    let image = image(programs[0].inputs());
    let mut outputs = vec![0.0; programs[0].outputs()];
    let mut times = vec![Duration::ZERO; programs[0].parts()];
    for _ in 0..TURNS {
        for (runner, taken) in runners.iter_mut().zip(&mut taken) {
            sleep(Runner::SETTLING);
            for run in 0..RUNS {
                times.fill(Duration::ZERO);
                runner.run_timed(&image, &mut outputs, &mut times)?;
                if run > 0 {
                    taken.iter_mut().zip(&times).for_each(|(taken, &time)| taken.push(time));
                }
            }
        }
    }
    Ok(taken.map(|parts| parts.into_iter().map(median).collect()))
}

/// The median, the upper one of two.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// An image of numbers between −1 and 1, as normalised photos have; the values do not matter for the time.
fn image(len: usize) -> Vec<f32> {
    (0..len).map(|index| (index * 37 % 64) as f32 / 32.0 - 1.0).collect()
}
