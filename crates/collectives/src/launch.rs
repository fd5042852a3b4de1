//! What a launcher of MPI programs says to the processes it starts.

use std::ffi::OsString;

/// Variables in which launchers give the number of processes: Open MPI, MPICH and Intel MPI (Hydra), Slurm's `srun`. What
/// `sbatch` sets for its script is not among them.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Variables in which they give the number of a process, in the same order.
const RANKS: [&str; 3] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"];
/// Variables in which they give the number of processes on this machine.
const LOCAL_SIZES: [&str; 2] = ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"];
/// Variables in which they give the number of a process among those of its machine, in the order of [`SIZES`].
const LOCAL_RANKS: [&str; 3] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];

/// A launcher started several processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// How many.
    pub ranks: usize,
    /// The variable that says so.
    pub variable: &'static str,
    /// Which of them this is.
    pub rank: usize,
}

/// Whether a launcher started this process as one of several; `get` reads a variable of the environment.
pub fn launched(get: impl Fn(&str) -> Option<OsString>) -> Option<Launch> {
    SIZES.into_iter().zip(RANKS).find_map(|(variable, rank)| {
        let ranks = number(&get, variable)?;
        (ranks > 1).then(|| Launch { ranks, variable, rank: number(&get, rank).unwrap_or(0) })
    })
}

/// How many processes of the run share this machine, as far as the launcher says; at least 1.
pub fn on_this_machine(get: impl Fn(&str) -> Option<OsString>) -> usize {
    LOCAL_SIZES.into_iter().find_map(|variable| number(&get, variable)).unwrap_or(1).max(1)
}

/// Which of the processes of the run on this machine this is, from 0; 0 where the launcher does not say.
pub fn place_on_this_machine(get: impl Fn(&str) -> Option<OsString>) -> usize {
    let several = |variable| number(&get, variable).is_some_and(|ranks| ranks > 1);
    let of_several = SIZES.into_iter().zip(LOCAL_RANKS).find(|&(ranks, _)| several(ranks));
    of_several.and_then(|(_, place)| number(&get, place)).unwrap_or(0)
}

fn number(get: impl Fn(&str) -> Option<OsString>, variable: &str) -> Option<usize> {
    get(variable)?.to_str()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_their_variables() {
        let with = |name: &'static str, value: &'static str| {
            launched(move |asked| (asked == name).then(|| value.into()))
        };
        for (variable, rank) in SIZES.into_iter().zip(RANKS) {
            assert_eq!(with(variable, "4"), Some(Launch { ranks: 4, variable, rank: 0 }));
            let second = |asked: &str| match asked {
                _ if asked == variable => Some("2".into()),
                _ => (asked == rank).then(|| "1".into()),
            };
            assert_eq!(launched(second), Some(Launch { ranks: 2, variable, rank: 1 }));
            assert_eq!(with(variable, "1"), None);
            assert_eq!(with(variable, "many"), None);
        }
        // The script of a batch job is one process, whatever it asked for.
        assert_eq!(with("SLURM_NTASKS", "4"), None);
        for (variable, place) in SIZES.into_iter().zip(LOCAL_RANKS) {
            let of = |ranks: &'static str| {
                let said = [(variable, ranks), (place, "3")];
                place_on_this_machine(move |asked| {
                    said.iter().find(|(name, _)| *name == asked).map(|(_, value)| value.into())
                })
            };
            assert_eq!((of("4"), of("1")), (3, 0), "{variable}");
        }
        let local = |value: &'static str| on_this_machine(move |_| Some(value.into()));
        assert_eq!((local("2"), local("0"), on_this_machine(|_| None)), (2, 1, 1));
    }
}
