//! The processes of one run that a launcher of MPI programs (`mpirun`, `srun`) started.

use crate::args::{Action, UsageError};
use sparse_trainer::Ranks;
use sparse_trainer::collectives::{Launch, launched, place_on_this_machine};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a rank but the first waits before it reports an error: most errors are those of all ranks, and the launcher ends the
/// others when the first has ended.
const AFTER_THE_FIRST: Duration = Duration::from_secs(3);
/// Between two looks whether it was ended meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// With which a launcher ends its processes.
#[cfg(unix)]
const ASKED: [i32; 2] = [signal_hook::consts::SIGCONT, signal_hook::consts::SIGTERM];
#[cfg(not(unix))]
const ASKED: [i32; 1] = [signal_hook::consts::SIGTERM];

/// What the launcher says, if it started several processes.
pub(crate) fn launch() -> Option<Launch> {
    launched(|name| std::env::var_os(name))
}

/// Which rank this is, if the launcher started several.
pub(crate) fn rank() -> Option<usize> {
    launch().map(|launch| launch.rank)
}

/// Whether this is the first of the processes that the launcher started on this machine.
pub(crate) fn is_first_here() -> bool {
    place_on_this_machine(|name| std::env::var_os(name)) == 0
}

/// Joins the ranks of the run; alone if no launcher started several.
///
/// # Errors
/// A usage error from a build that cannot share a run; what MPI reports.
pub(crate) fn join() -> anyhow::Result<Ranks> {
    match launch() {
        None => Ok(Ranks::alone()),
        Some(launch) => shared(&launch),
    }
}

/// Refuses several processes for what one does.
///
/// # Errors
/// [`UsageError::RanksOfOne`].
pub(crate) fn refuse_several(action: &Action) -> Result<(), UsageError> {
    let what = match action {
        Action::Run(_) | Action::Bench(_) => return Ok(()),
        Action::Inspect(_) => "`inspect`",
        Action::Compare(_) => "`compare`",
        Action::Sweep(_) => "a sweep",
        Action::Convert(_) => "`convert`",
        Action::Export(_) => "`export`",
        Action::Predict(_) => "`predict`",
        Action::Prune(_) => "`prune`",
        Action::Quantize(_) => "`quantize`",
        Action::Sensitivity(_) => "`sensitivity`",
    };
    launch().map_or(Ok(()), |Launch { ranks, variable, .. }| {
        Err(UsageError::RanksOfOne { what, ranks, variable })
    })
}

#[cfg(feature = "mpi")]
fn shared(launch: &Launch) -> anyhow::Result<Ranks> {
    use sparse_trainer::collectives::{Communicator, mpi};
    let world = mpi()?;
    let (size, Launch { ranks, variable, .. }) = (world.size(), launch);
    anyhow::ensure!(
        size == *ranks,
        "{ranks} processes were started ({variable}), and the MPI of this program sees {size}: it was built with another MPI \
         than that of the launcher; build it anew with the mpicc of that MPI on the path"
    );
    tracing::info!("one of {size} processes that share this run");
    Ok(Ranks::new(Box::new(world)))
}

#[cfg(not(feature = "mpi"))]
fn shared(launch: &Launch) -> anyhow::Result<Ranks> {
    let Launch { ranks, variable, .. } = *launch;
    Err(UsageError::RanksWithoutMpi { ranks, variable }.into())
}

/// Before an error is reported: gives the first rank the time to do so. Gives what stands before the message; `None` if the
/// launcher ends this rank meanwhile, because another has failed and said why.
pub(crate) fn before_report() -> Option<String> {
    match rank() {
        None | Some(0) => Some(String::new()),
        Some(rank) => (!ends_within(AFTER_THE_FIRST)).then(|| format!("rank {rank}: ")),
    }
}

/// Waits; whether this process was asked to end meanwhile. Open MPI wakes its processes (SIGCONT) before it asks them to end, which
/// may be long before.
fn ends_within(time: Duration) -> bool {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in ASKED {
        if signal_hook::flag::register(signal, Arc::clone(&asked)).is_err() {
            std::thread::sleep(time);
            return false;
        }
    }
    let start = Instant::now();
    while start.elapsed() < time && !asked.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
    }
    asked.load(Ordering::Relaxed)
}
