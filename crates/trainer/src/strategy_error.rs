//! What can be wrong with the phases of a strategy.

/// What can be wrong with the phases of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// Weights that are chosen by data, by several processes.
    #[error(
        "prune.criterion = \"obs\" works in one process, and here are {ranks}: start it without mpirun, or rank by another criterion \
         (--criterion magnitude, or taylor)"
    )]
    ObsAlone {
        /// Processes.
        ranks: usize,
    },
    /// No room to go back.
    #[error(
        "rewinding goes back {rounds} times (prune.rewind_rounds) to step {rewind_step} (prune.rewind_epoch), and the {total_steps} \
         steps of the run leave no step to repeat: raise train.num_epochs (--num_epochs), or lower --rewind_epoch or --rewind_rounds"
    )]
    RewindTooShort {
        /// Rounds.
        rounds: usize,
        /// The step to go back to.
        rewind_step: usize,
        /// Steps of the run.
        total_steps: usize,
    },
    /// The weights to go back to are not there.
    #[error(
        "the weights to go back to (prune.pruning_strategy = \"rewind\") are not there: they are part of the checkpoints of such a run; resume \
         from one (--resume auto), or begin anew"
    )]
    NothingToRewindTo,
    /// Phases of AC/DC that do not fit into the run.
    #[error(
        "AC/DC takes {needed} epochs: {warm_up} of warm-up (prune.stable_epochs), a sparse and a dense phase of {phase} each \
         (prune.phase_epochs), and {last} of the last sparse phase (prune.tunning_epochs), but training ends after {num_epochs}: raise \
         train.num_epochs (--num_epochs), or lower --phase_epochs, --tunning_epochs or --stable_epochs"
    )]
    AcdcTooShort {
        /// Epochs of warm-up.
        warm_up: usize,
        /// Epochs of each phase.
        phase: usize,
        /// Epochs of the last sparse phase.
        last: usize,
        /// Epochs of all.
        needed: usize,
        /// `train.num_epochs`.
        num_epochs: usize,
    },
}
