//! The processes of one run that a launcher of MPI programs (`mpirun`, `srun`) started.

use crate::args::UsageError;
use sparse_trainer::Ranks;
use sparse_trainer::collectives::{Launch, launched};
use std::time::Duration;

/// How long a rank but the first waits before it reports an error: most errors are those of all ranks, and the launcher ends the
/// others when the first has ended.
const AFTER_THE_FIRST: Duration = Duration::from_secs(3);

/// What the launcher says, if it started several processes.
pub(crate) fn launch() -> Option<Launch> {
    launched(|name| std::env::var_os(name))
}

/// Which rank this is, if the launcher started several.
pub(crate) fn rank() -> Option<usize> {
    launch().map(|launch| launch.rank)
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
pub(crate) fn refuse(what: &'static str) -> Result<(), UsageError> {
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

/// Before an error is reported: gives the first rank the time to do so. Gives what stands before the message.
pub(crate) fn before_report() -> String {
    match rank() {
        None | Some(0) => String::new(),
        Some(rank) => {
            std::thread::sleep(AFTER_THE_FIRST);
            format!("rank {rank}: ")
        }
    }
}
