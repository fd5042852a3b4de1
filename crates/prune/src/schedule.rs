//! Which ratio holds at which step.

use serde::{Deserialize, Serialize};
use sparse_sparsity::schedule::{Gmp, PaddleGmp, PaddleGmpState, Phase, Update};

use crate::acdc::AcdcConfig;
use crate::rewind::RewindConfig;
use crate::{Error, Mode, PrunerConfig, Result, Strategy};

/// The schedule of a pruner, and where it stands.
#[derive(Debug, Clone)]
pub(crate) enum Schedule {
    /// The same settings at every step.
    Base,
    /// Gradual magnitude pruning.
    Gmp { gmp: Gmp, position: GmpPosition },
    /// Gradual pruning as PaddleSlim does it.
    Paddle(PaddleGmp),
    /// Dense and sparse phases in turn, sparse to this ratio.
    Acdc { acdc: AcdcConfig, target: f64, position: GmpPosition },
    /// In rounds, to this ratio in the last.
    Rewind { rewind: RewindConfig, target: f64, position: GmpPosition },
    /// Drop and grow.
    DropGrow(GmpPosition),
}

/// Where a schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GmpPosition {
    /// The step that comes next, counted from 0.
    pub step: u64,
    /// Whether the next step recomputes the masks whatever the ratio.
    pub recompute: bool,
}

/// Where the schedule of a pruner stands, to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleState {
    /// The same settings at every step: nothing to remember.
    Base,
    /// Gradual magnitude pruning.
    Gmp(GmpPosition),
    /// Gradual pruning as PaddleSlim does it.
    PaddleGmp(PaddleGmpState),
    /// Dense and sparse phases in turn.
    Acdc(GmpPosition),
    /// In rounds.
    Rewind(GmpPosition),
    /// Drop and grow.
    DropGrow(GmpPosition),
}

impl Schedule {
    pub(crate) fn new(config: &PrunerConfig) -> Result<Self> {
        Ok(match (&config.strategy, config.mode) {
            (Strategy::Base, _) => Self::Base,
            (Strategy::Acdc(acdc), mode) => {
                let target = target_of(mode)?;
                let position = GmpPosition { step: acdc.resume_step, recompute: acdc.resume_step > 0 };
                Self::Acdc { acdc: acdc.clone(), target, position }
            }
            (Strategy::Rewind(rewind), mode) => {
                let position = GmpPosition { step: rewind.resume_step, recompute: rewind.resume_step > 0 };
                Self::Rewind { rewind: rewind.clone(), target: target_of(mode)?, position }
            }
            (Strategy::DropGrow(config), _) => {
                Self::DropGrow(GmpPosition { step: config.resume_step, recompute: true })
            }
            (Strategy::Gmp(gmp), Mode::Ratio(target)) if config.paddle_compat => {
                Self::Paddle(PaddleGmp::new(gmp, target)?)
            }
            (Strategy::Gmp(gmp), mode) => {
                let target = target_of(mode)?;
                let position = GmpPosition { step: gmp.resume_step, recompute: gmp.resume_step > 0 };
                Self::Gmp { gmp: Gmp::new(gmp, target)?, position }
            }
        })
    }

    /// Does one step; none if there is no schedule.
    pub(crate) fn advance(&mut self) -> Option<Update> {
        match self {
            Self::Base => None,
            // Its steps are its own.
            Self::DropGrow(_) => None,
            Self::Acdc { acdc, target, position } => {
                let before = position.step.checked_sub(1).is_some_and(|done| acdc.is_sparse(done));
                let now = acdc.is_sparse(position.step);
                let update = Update {
                    ratio: if now { *target } else { 0.0 },
                    recompute: now != before || position.recompute,
                };
                *position = GmpPosition { step: position.step + 1, recompute: false };
                Some(update)
            }
            Self::Rewind { rewind, target, position } => {
                let (before, ratio) =
                    (rewind.ratio(*target, position.step), rewind.ratio(*target, position.step + 1));
                let recompute = ratio != before || position.recompute;
                *position = GmpPosition { step: position.step + 1, recompute: false };
                Some(Update { ratio, recompute })
            }
            Self::Paddle(schedule) => Some(schedule.advance()),
            Self::Gmp { gmp, position } => {
                let before = position.step.checked_sub(1).map_or(0.0, |done| gmp.at(done));
                let ratio = gmp.at(position.step);
                let recompute = ratio != before || position.recompute;
                *position = GmpPosition { step: position.step + 1, recompute: false };
                Some(Update { ratio, recompute })
            }
        }
    }

    /// The phase of the step that comes next; none without phases of a fixed length.
    pub(crate) fn phase(&self) -> Option<Phase> {
        match self {
            Self::Gmp { gmp, position } => Some(gmp.phase(position.step)),
            Self::Base | Self::Paddle(_) | Self::Acdc { .. } | Self::Rewind { .. } | Self::DropGrow(_) => {
                None
            }
        }
    }

    /// The ratio that holds now; none if there is no schedule.
    pub(crate) fn ratio(&self) -> Option<f64> {
        match self {
            Self::Base | Self::DropGrow(_) => None,
            Self::Acdc { acdc, target, position } => {
                let sparse = position.step.checked_sub(1).is_some_and(|done| acdc.is_sparse(done));
                Some(if sparse { *target } else { 0.0 })
            }
            Self::Rewind { rewind, target, position } => Some(rewind.ratio(*target, position.step)),
            Self::Gmp { gmp, position } => {
                Some(position.step.checked_sub(1).map_or(0.0, |done| gmp.at(done)))
            }
            Self::Paddle(schedule) => Some(schedule.ratio()),
        }
    }

    pub(crate) fn state(&self) -> ScheduleState {
        match self {
            Self::Base => ScheduleState::Base,
            Self::Gmp { position, .. } => ScheduleState::Gmp(*position),
            Self::Paddle(schedule) => ScheduleState::PaddleGmp(schedule.state()),
            Self::Acdc { position, .. } => ScheduleState::Acdc(*position),
            Self::Rewind { position, .. } => ScheduleState::Rewind(*position),
            Self::DropGrow(position) => ScheduleState::DropGrow(*position),
        }
    }

    pub(crate) fn restore(&mut self, state: ScheduleState) -> Result<()> {
        match (self, state) {
            (Self::Base, ScheduleState::Base) => {}
            (Self::Gmp { position, .. }, ScheduleState::Gmp(saved))
            | (Self::Acdc { position, .. }, ScheduleState::Acdc(saved))
            | (Self::Rewind { position, .. }, ScheduleState::Rewind(saved))
            | (Self::DropGrow(position), ScheduleState::DropGrow(saved)) => *position = saved,
            (Self::Paddle(schedule), ScheduleState::PaddleGmp(saved)) => schedule.restore(saved),
            (schedule, state) => {
                let (expected, got) = (schedule.state().name(), state.name());
                return Err(Error::RestoreSchedule { expected, got });
            }
        }
        Ok(())
    }
}

/// The ratio that a schedule ends at.
fn target_of(mode: Mode) -> Result<f64> {
    match mode {
        Mode::Ratio(target) => Ok(target),
        Mode::Pattern(pattern) => Ok(pattern.ratio()),
        Mode::Threshold(_) => Err(Error::GmpNeedsRatio),
    }
}

impl ScheduleState {
    /// Steps that are done, where they are counted.
    pub fn steps(self) -> Option<u64> {
        match self {
            Self::Base | Self::PaddleGmp(_) => None,
            Self::Gmp(position)
            | Self::Acdc(position)
            | Self::Rewind(position)
            | Self::DropGrow(position) => Some(position.step),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Gmp(_) => "gmp",
            Self::PaddleGmp(_) => "paddle gmp",
            Self::Acdc(_) => "acdc",
            Self::Rewind(_) => "rewinding",
            Self::DropGrow(_) => "drop and grow",
        }
    }
}
