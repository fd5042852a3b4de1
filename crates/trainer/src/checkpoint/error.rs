//! What can be wrong with checkpoints.

use std::path::PathBuf;

/// Errors of checkpoints; each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A checkpoint is cut, altered or of another version.
    #[error(
        "checkpoint {} is damaged: {reason}; delete that folder and resume from an older one (--resume auto does)",
        .folder.display()
    )]
    Damaged {
        /// The checkpoint.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of a checkpoint cannot be read, whatever is in it.
    #[error("cannot read {}: {source}; make it readable, or delete its folder to go on without it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A checkpoint has a layout of another version.
    #[error(
        "{} was saved by another version of this program (layout {got}, this one reads {expected}): go on with that version, \
         or start anew from its weights (--pretrained_model {})", .folder.display(), .folder.display()
    )]
    OtherVersion {
        /// The checkpoint.
        folder: PathBuf,
        /// The layout that this program reads.
        expected: u32,
        /// Its layout.
        got: u32,
    },
    /// There are checkpoints, and none reads well.
    #[error(
        "none of the {count} checkpoints in {} can be used, as said above: bring one back, or start afresh, without \
         --resume", .folder.display()
    )]
    NoneGood {
        /// Where they lie.
        folder: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// A folder to take a checkpoint from has none.
    #[error(
        "{} holds no checkpoints (--checkpoint): name the folder of a run, or the one in it that holds step-... folders",
        .folder.display()
    )]
    NoCheckpoints {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no checkpoint of the epoch asked for.
    #[error(
        "no checkpoint of epoch {epoch} in {}: {}",
        .folder.display(), available_advice(.available)
    )]
    NoEpoch {
        /// Epochs done that were asked for.
        epoch: usize,
        /// Where it was looked for.
        folder: PathBuf,
        /// Steps of the checkpoints that are there, and the epochs they end, if they end one.
        available: Vec<(usize, Option<usize>)>,
    },
    /// A place that was named has no checkpoint that reads well.
    #[error(
        "{} holds no checkpoint to go on from: name the folder of a run, or leave --checkpoint out to go on from the one \
         of --model_path or to start afresh", .folder.display()
    )]
    NoneThere {
        /// What was named.
        folder: PathBuf,
    },
    /// The run would not be the one that was saved.
    #[error(
        "{} was saved with {key} = {saved}, this run has {given}: give the same value, or start afresh \
         (another --model_path)", .folder.display()
    )]
    OtherRun {
        /// The checkpoint.
        folder: PathBuf,
        /// The setting that differs.
        key: String,
        /// Its value in the checkpoint.
        saved: String,
        /// Its value now.
        given: String,
    },
    /// The run learned from other weights than it would now.
    #[error("{} {}, or start afresh (another --model_path)", .folder.display(), teacher_advice(*.saved, *.given))]
    OtherTeacher {
        /// The checkpoint.
        folder: PathBuf,
        /// Whether the run that was saved learned from a teacher.
        saved: bool,
        /// Whether this one would.
        given: bool,
    },
    /// The run would have ended before.
    #[error(
        "{} lies after the end of a run of {num_epochs} epochs, in epoch {epochs}: give --num_epochs {epochs} or more, or go \
         back with --resume_epoch N",
        .folder.display()
    )]
    PastEnd {
        /// The checkpoint.
        folder: PathBuf,
        /// Epochs done or begun in it.
        epochs: usize,
        /// `train.num_epochs`.
        num_epochs: usize,
    },
    /// The batches of the processes there are now do not make that of the run that was saved.
    #[error(
        "{} was saved with train.batch_size = {saved}, and {ranks} processes of --batch_size_per_card {per_card} have another: \
         {}", .folder.display(), remedy(*.saved, *.ranks)
    )]
    OtherBatch {
        /// The checkpoint.
        folder: PathBuf,
        /// The batch of all processes in the run that was saved.
        saved: usize,
        /// Processes now.
        ranks: usize,
        /// Images of each.
        per_card: usize,
    },
    /// The pruner cannot go on from the state that was saved.
    #[error(
        "{} cannot go on with these settings of pruning: {source}; config.toml of its run has those it was saved with",
        .folder.display()
    )]
    OtherPruning {
        /// The checkpoint.
        folder: PathBuf,
        /// What does not fit.
        source: sparse_prune::Error,
    },
    /// The training images are not those of the run that was saved.
    #[error(
        "{} was saved in a run on other training images: {difference}; bring back those it began with, or start afresh on \
         these (another --model_path; --pretrained_model {} begins with its weights)",
        .folder.display(), .folder.display()
    )]
    OtherData {
        /// The checkpoint.
        folder: PathBuf,
        /// What differs, in words.
        difference: String,
    },
    /// The state cannot be written as JSON.
    #[error("the training state cannot be written as JSON")]
    State {
        /// Why.
        source: serde_json::Error,
    },
}

/// What to do about another teacher.
fn teacher_advice(saved: bool, given: bool) -> &'static str {
    match (saved, given) {
        (true, true) => {
            "was saved in a run that learned from other weights: give those with --teacher (config.toml of that run names \
             them)"
        }
        (true, false) => {
            "was saved in a run that learned from a teacher: give --distill, and the weights it learned from with --teacher \
             (config.toml of that run names them)"
        }
        (false, _) => "was saved in a run without a teacher: leave train.distill out",
    }
}

/// Lists what is there.
fn available_advice(available: &[(usize, Option<usize>)]) -> String {
    if available.is_empty() {
        return "there are none; start without --resume_epoch, or name the run's folder with --checkpoint"
            .into();
    }
    let name = |(step, epoch): &(usize, Option<usize>)| match epoch {
        Some(epoch) => format!("epoch {epoch} (step {step})"),
        None => format!("step {step}, within an epoch"),
    };
    let list: Vec<String> = available.iter().map(name).collect();
    format!("there are {}; give one of those epochs, or --resume auto for the newest", list.join(", "))
}

/// How many images of each process make the batch that was saved.
fn remedy(saved: usize, ranks: usize) -> String {
    match saved.is_multiple_of(ranks) {
        true => format!("--batch_size_per_card {} keeps it", saved / ranks),
        false => format!("start a number of processes that divides {saved}"),
    }
}
