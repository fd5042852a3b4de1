//! Full training states on disk: written atomically, checked when read, the newest few kept.
//!
//! A checkpoint is a folder `step-00000300` with the weights, the velocity, the masks (one bit per weight), what a pruning criterion has
//! added up if it looks at gradients, the averages of the weights if some are kept, the variables to go back to if the strategy does, and
//! `state.json` (step, pruner state, recipe, what tells the training images from others, and a CRC-32 of each other file). It appears under its name only when
//! every byte of it is on disk.

mod error;
mod store;

pub use error::CheckpointError;
pub use store::{CHECKPOINTS_FOLDER, Found, Store};

use crate::config::TrainConfig;
use crate::ema::Ema;
use crate::error::Result;
use crate::learner::Learner;
use crate::recipe::Recipe;
use crate::rewind::Rewind;
use crate::weights::{set_variables, to_tensors};
use serde::{Deserialize, Serialize};
use sparse_data::Fingerprint;
use sparse_formats::{Tensor, Tensors, open_regular};
use sparse_prune::PrunerState;
use sparse_sparsity::Mask;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

const WEIGHTS: &str = "weights.safetensors";
const VELOCITY: &str = "velocity.safetensors";
const MASKS: &str = "masks.safetensors";
/// What a criterion has added up; only there if it has one.
const SUMS: &str = "sums.safetensors";
const EMA: &str = "ema.safetensors";
/// The variables to go back to; only there while a strategy does.
const REWIND: &str = "rewind.safetensors";
const STATE: &str = "state.json";
/// Layout of the folder; a reader refuses others.
const VERSION: u32 = 1;

/// What `state.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    version: u32,
    step: usize,
    recipe: Recipe,
    pruner: PrunerState,
    mask_lengths: BTreeMap<String, usize>,
    crc32: BTreeMap<String, u32>,
    /// What tells the training images from others; earlier versions did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Fingerprint>,
    /// Steps that went into the averages of the weights, if some are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ema_updates: Option<u64>,
}

/// What of a state says how it is laid out.
#[derive(Deserialize)]
struct Layout {
    version: u32,
}

/// A state read from disk and checked.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Optimizer updates done.
    pub step: usize,
    /// The recipe of the run that wrote it.
    pub recipe: Recipe,
    /// What tells the training images from others, if it was noted.
    pub data: Option<Fingerprint>,
    pruner: PrunerState,
    masks: BTreeMap<String, Mask>,
    weights: Tensors,
    velocity: Tensors,
    sums: BTreeMap<String, Vec<f64>>,
    /// The averages of the weights, and how many steps went into them.
    ema: Option<(u64, Tensors)>,
    /// The variables to go back to.
    rewind: Option<Tensors>,
}

impl Checkpoint {
    /// The names that files of a checkpoint may have, in the order in which they are written.
    pub(crate) const FILES: [&'static str; 7] = [WEIGHTS, VELOCITY, MASKS, SUMS, EMA, REWIND, STATE];

    /// The files of a checkpoint of `learner` after `step` updates.
    ///
    /// # Errors
    /// If a tensor cannot be read or encoded.
    pub(crate) fn files(
        learner: &mut Learner,
        config: &TrainConfig,
        data: Fingerprint,
        step: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let recipe = learner.recipe(config);
        let held = learner.state()?;
        let masks = held.pruner().masks();
        let packed = |mask: &Mask| {
            let bytes = mask.to_bytes();
            Tensor::from_u8([bytes.len()], &bytes)
        };
        let mask_tensors: Tensors = masks.iter().map(|(name, mask)| (name.clone(), packed(mask))).collect();
        let summed = |sums: &Vec<f64>| Tensor::from_f64([sums.len()], sums);
        let sums: Tensors =
            held.pruner().sums().iter().map(|(name, sums)| (name.clone(), summed(sums))).collect();
        let mut files = Vec::new();
        let averages = held.ema().map(|ema| to_tensors(ema.model().variables())).transpose()?;
        for (name, tensors) in [
            (WEIGHTS, Some(to_tensors(held.model().variables())?)),
            (VELOCITY, Some(to_tensors(held.optimizer().velocities())?)),
            (MASKS, Some(mask_tensors)),
            (SUMS, Some(sums).filter(|sums| !sums.is_empty())),
            (EMA, averages),
            (REWIND, held.rewind().and_then(Rewind::early).cloned()),
        ] {
            let Some(tensors) = tensors else { continue };
            files.push((name.to_owned(), sparse_formats::encode(name, &tensors, None)?));
        }
        let state = State {
            version: VERSION,
            step,
            recipe,
            pruner: held.pruner().state(),
            mask_lengths: masks.iter().map(|(name, mask)| (name.clone(), mask.len())).collect(),
            crc32: files.iter().map(|(name, bytes)| (name.clone(), crc32fast::hash(bytes))).collect(),
            data: Some(data),
            ema_updates: held.ema().map(Ema::updates),
        };
        files.push((STATE.to_owned(), sealed(&state)?));
        Ok(files)
    }

    /// Reads a checkpoint folder and checks every byte of it.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] saying what is wrong, [`CheckpointError::Unreadable`], and
    /// [`CheckpointError::OtherVersion`].
    pub fn read(folder: &Path) -> Result<Self, CheckpointError> {
        Self::of(folder, |name| {
            let path = folder.join(name);
            let damaged = |reason: String| CheckpointError::Damaged { folder: folder.to_path_buf(), reason };
            let opened = open_regular(&path).map_err(|error| match error {
                sparse_formats::Error::Io { source, .. } => Ok(source),
                sparse_formats::Error::NoPlainFile { what, .. } => Err(format!("{name} is {what}")),
                other => Err(other.to_string()),
            });
            let mut bytes = Vec::new();
            match opened.and_then(|mut file| file.read_to_end(&mut bytes).map_err(Ok)) {
                Ok(_) => Ok(bytes),
                Err(Ok(source))
                    if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    Err(damaged(format!("{name} is missing")))
                }
                Err(Ok(source)) => Err(CheckpointError::Unreadable { path, source }),
                Err(Err(reason)) => Err(damaged(reason)),
            }
        })
    }

    /// As [`Checkpoint::read`], from the bytes of each file; `folder` is for messages.
    pub(crate) fn of(
        folder: &Path,
        bytes_of: impl Fn(&str) -> Result<Vec<u8>, CheckpointError>,
    ) -> Result<Self, CheckpointError> {
        let damaged = |reason: String| CheckpointError::Damaged { folder: folder.to_path_buf(), reason };
        let state = unsealed(&bytes_of(STATE)?).map_err(&damaged)?.map_err(|got| {
            CheckpointError::OtherVersion { folder: folder.to_path_buf(), expected: VERSION, got }
        })?;
        let tensors_of = |name: &str| {
            let bytes = bytes_of(name)?;
            if state.crc32.get(name) != Some(&crc32fast::hash(&bytes)) {
                return Err(damaged(format!("the checksum of {name} is wrong")));
            }
            let (tensors, _) = sparse_formats::decode(folder.join(name), &bytes)
                .map_err(|error| damaged(error.to_string()))?;
            Ok(tensors)
        };
        let (weights, velocity, packed) = (tensors_of(WEIGHTS)?, tensors_of(VELOCITY)?, tensors_of(MASKS)?);
        let mut masks = BTreeMap::new();
        for (name, &len) in &state.mask_lengths {
            let bytes = packed.get(name).map(|tensor| tensor.data.as_slice()).unwrap_or_default();
            let mask =
                Mask::from_bytes(len, bytes).map_err(|error| damaged(format!("mask {name}: {error}")))?;
            masks.insert(name.clone(), mask);
        }
        let mut sums = BTreeMap::new();
        if state.crc32.contains_key(SUMS) {
            for (name, tensor) in tensors_of(SUMS)? {
                sums.insert(name, tensor.to_f64().map_err(|error| damaged(format!("{SUMS}: {error}")))?);
            }
        }
        let ema = state.ema_updates.map(|updates| Ok((updates, tensors_of(EMA)?))).transpose()?;
        let rewind = state.crc32.contains_key(REWIND).then(|| tensors_of(REWIND)).transpose()?;
        let State { step, recipe, data, pruner, .. } = state;
        Ok(Self { step, recipe, data, pruner, masks, weights, velocity, sums, ema, rewind })
    }

    /// Checks that the training images are those that the saved run had. Test images may be others.
    ///
    /// # Errors
    /// [`CheckpointError::OtherData`] saying what differs.
    pub(crate) fn check_data(&self, now: &Fingerprint, folder: &Path) -> Result<(), CheckpointError> {
        let folder = folder.to_path_buf();
        let Some(saved) = &self.data else {
            tracing::warn!(
                "{} does not say which images it was trained on, since it is of an earlier version: see to it that they are \
                 the same",
                folder.display()
            );
            return Ok(());
        };
        saved
            .difference(now)
            .map_or(Ok(()), |difference| Err(CheckpointError::OtherData { folder, difference }))
    }

    /// Puts the state into a learner of the same architecture.
    ///
    /// # Errors
    /// Naming the tensor or mask that does not fit; the learner is then not to be used.
    pub(crate) fn restore(self, learner: &mut Learner, folder: &Path) -> Result<()> {
        let held = learner.state_mut();
        set_variables(held.model().variables(), &self.weights, &folder.join(WEIGHTS))?;
        set_variables(held.optimizer().velocities(), &self.velocity, &folder.join(VELOCITY))?;
        let pruner = held.pruner_mut();
        pruner
            .restore(self.pruner, self.masks)
            .and_then(|()| pruner.restore_sums(self.sums))
            .map_err(|source| CheckpointError::OtherPruning { folder: folder.to_path_buf(), source })?;
        if let Some(rewind) = &mut held.rewind {
            rewind.restore(self.step as u64, self.rewind)?;
        }
        match ((held.ema.as_mut(), &held.model), self.ema) {
            ((Some(ema), _), Some((updates, averages))) => ema.restore(updates, &averages, &folder.join(EMA)),
            ((Some(ema), model), None) => {
                tracing::warn!(
                    "{} holds no averages of the weights: they begin at its weights, as of step {}",
                    folder.display(),
                    self.step
                );
                ema.restart(model)
            }
            ((None, _), _) => Ok(()),
        }
    }
}

/// The state as JSON, with its own checksum on a first line.
fn sealed(state: &State) -> Result<Vec<u8>> {
    let json = serde_json::to_vec_pretty(state).map_err(|source| CheckpointError::State { source })?;
    Ok([format!("{:08x}\n", crc32fast::hash(&json)).into_bytes(), json].concat())
}

/// The reverse of [`sealed`]; the version where it is another one.
fn unsealed(bytes: &[u8]) -> Result<Result<State, u32>, String> {
    let damaged = || format!("{STATE} is cut or altered");
    let (seal, json) = bytes.split_at_checked(9).ok_or_else(damaged)?;
    if seal != format!("{:08x}\n", crc32fast::hash(json)).as_bytes() {
        return Err(damaged());
    }
    // Another layout may have other fields.
    let Layout { version } = serde_json::from_slice(json).map_err(|error| format!("{STATE}: {error}"))?;
    if version != VERSION {
        return Ok(Err(version));
    }
    serde_json::from_slice(json).map(Ok).map_err(|error| format!("{STATE}: {error}"))
}
