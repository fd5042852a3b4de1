//! What was pruned so far, beside the file that is to be written: a run that ended early goes on from there.

use super::OneshotError;
use super::layers::{Found, Layer};
use crate::error::{Error, Result};
use crate::file_lock::{FileLock, Taken};
use serde::{Deserialize, Serialize};
use sparse_engine::graph::Graph;
use sparse_formats::{Tensor, Tensors, atomic};
use std::path::{Path, PathBuf};

/// Layers that are pruned, in a file next to the result.
pub(super) struct Partial {
    path: PathBuf,
    /// Of what was asked for; another is not gone on with.
    asked: u64,
    tensors: Tensors,
    state: State,
    _lock: FileLock,
}

/// What was saved of a step.
pub(super) struct Step {
    pub(super) kept: usize,
    pub(super) relative_error: f64,
    pub(super) values: Vec<Vec<f32>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    asked: u64,
    /// Weights that each layer keeps.
    kept: Vec<usize>,
    /// Layers that stay f32, once more do than were asked for.
    #[serde(default)]
    f32: Option<Vec<usize>>,
    /// By layer that is done: its weights that are kept, and its error.
    done: Vec<(usize, f64)>,
    /// Of all tensors and of the numbers above.
    checksum: u32,
}

impl Partial {
    /// What lies next to `to`, if it was asked for the same and is whole; else nothing. Until this is dropped no other process prunes
    /// into `to`.
    ///
    /// # Errors
    /// [`OneshotError::InUse`] if another process does, [`Error::Formats`] and [`Error::Io`] if nothing can be written there.
    pub(super) fn open(to: &Path, asked: u64) -> Result<Self> {
        atomic::check_target(to)?;
        let beside = |end: &str| {
            let mut name = to.file_name().unwrap_or_default().to_owned();
            name.push(end);
            to.with_file_name(name)
        };
        let (path, lock) = (beside(".partial"), beside(".lock"));
        let lock = match FileLock::take(&lock) {
            Ok(Taken::Ours(lock)) => lock,
            Ok(Taken::Theirs(holder)) => {
                return Err(OneshotError::InUse { path: to.to_owned(), holder }.into());
            }
            Err(source) => return Err(Error::io("create", &lock, source)),
        };
        for path in [to, &path] {
            atomic::remove_stale_temps_of(path)?;
        }
        let mut new = Self { path, asked, tensors: Tensors::new(), state: State::default(), _lock: lock };
        if !new.path.exists() {
            return Ok(new);
        }
        match whole(&new.path) {
            Some((tensors, state)) if state.asked == asked => {
                (new.tensors, new.state) = (tensors, state);
                tracing::info!("{}: going on after {} layers", new.path.display(), new.state.done.len());
            }
            Some(_) => tracing::warn!(
                "{} was begun with other settings, weights or data, and is written anew",
                new.path.display()
            ),
            None => tracing::warn!("{} is damaged, and is written anew", new.path.display()),
        }
        Ok(new)
    }

    /// Weights that each layer keeps, if that is known.
    pub(super) fn kept(&self) -> Option<Vec<usize>> {
        (!self.state.kept.is_empty()).then(|| self.state.kept.clone())
    }

    /// Takes what each layer keeps.
    pub(super) fn set_kept(&mut self, kept: Vec<usize>) {
        self.state.kept = kept;
    }

    /// Layers that stay f32, if that was decided.
    pub(super) fn f32(&self) -> Option<&[usize]> {
        self.state.f32.as_deref()
    }

    /// Forgets what is done, as other layers stay f32.
    pub(super) fn restart(&mut self, f32: Vec<usize>) {
        self.tensors.clear();
        let kept = std::mem::take(&mut self.state.kept);
        self.state = State { asked: self.asked, kept, f32: Some(f32), ..State::default() };
    }

    /// Puts what is done of a layer into the graph; gives what became of it.
    pub(super) fn take(&self, index: usize, layer: &Layer, graph: &mut Graph) -> Option<Found> {
        let Step { kept, relative_error, values } =
            self.step(index, &layer.name, &["weight", "bias", "spread"])?;
        let [weight, bias] = layer.parameters(graph)?;
        let Ok([found_weight, found_bias, spread]) = <[Vec<f32>; 3]>::try_from(values) else { return None };
        (found_weight.len() == weight.len() && found_bias.len() == bias.len()).then(|| {
            (*weight, *bias) = (found_weight, found_bias);
            Found { kept, relative_error, spread: spread.as_chunks().0.to_vec() }
        })
    }

    /// What was saved of a step under these names.
    pub(super) fn step(&self, index: usize, name: &str, parts: &[&str]) -> Option<Step> {
        let &(kept, relative_error) = self.state.done.get(index)?;
        let value = |part: &&str| self.tensors.get(&format!("{name}.{part}"))?.to_f32().ok();
        let values = parts.iter().map(value).collect::<Option<Vec<_>>>()?;
        Some(Step { kept, relative_error, values })
    }

    /// Saves one more layer. A file that cannot be written is a warning: the result may still have room.
    ///
    /// # Errors
    /// If what is to be saved is no JSON: never.
    pub(super) fn add(&mut self, layer: &Layer, graph: &mut Graph, found: &Found) -> Result<()> {
        let Some([weight, bias]) = layer.parameters(graph) else { return Ok(()) };
        let parts = [("weight", &weight[..]), ("bias", &bias[..]), ("spread", found.spread.as_flattened())];
        self.note(&layer.name, (found.kept, found.relative_error), &parts);
        self.save()
    }

    /// Takes one more step, which is saved with the next.
    pub(super) fn note(&mut self, name: &str, done: (usize, f64), parts: &[(&str, &[f32])]) {
        for (part, values) in parts {
            self.tensors.insert(format!("{name}.{part}"), Tensor::from_f32(vec![values.len()], values));
        }
        self.state.done.push(done);
    }

    /// Saves all that was taken. A file that cannot be written is a warning: the result may still have room.
    ///
    /// # Errors
    /// If what is to be saved is no JSON: never.
    pub(super) fn save(&mut self) -> Result<()> {
        self.state.asked = self.asked;
        self.state.checksum = checksum(&self.tensors, &self.state);
        let state = serde_json::to_string(&self.state).map_err(|source| Error::Json { source })?;
        if let Err(error) = sparse_formats::write(&self.path, &self.tensors, Some(&state)) {
            tracing::warn!("what was pruned so far is not saved: {error}");
        }
        Ok(())
    }

    /// Nothing is left to go on with.
    pub(super) fn remove(&self) {
        if self.path.exists()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("{}: {error}; it is of no more use", self.path.display());
        }
    }
}

/// The tensors and the state of a file, if nothing is missing and nothing has changed since it was written.
fn whole(path: &Path) -> Option<(Tensors, State)> {
    let (tensors, state) = sparse_formats::read(path).ok()?;
    let state: State = serde_json::from_str(&state?).ok()?;
    (state.checksum == checksum(&tensors, &state)).then_some((tensors, state))
}

fn checksum(tensors: &Tensors, state: &State) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(format!("{} {:?} {:?} {:?}", state.asked, state.kept, state.f32, state.done).as_bytes());
    for (name, tensor) in tensors {
        hash.update(name.as_bytes());
        hash.update(&tensor.data);
    }
    hash.finalize()
}

/// A number for what was asked for.
pub(super) fn asked_for(parts: &[&str], graph: &Graph) -> u64 {
    let mut hash = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hash.update(part.as_bytes()));
    for node in &graph.nodes {
        hash.update(node.name.as_bytes());
        hash.update(bytemuck::cast_slice(super::layers::weight(&node.op).unwrap_or_default()));
    }
    u64::from(hash.finalize())
}
