//! The tensors of a model as a file, and back.

use crate::checkpoint::Store;
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use crate::run_folder::run_beside;
use candle_core::{Device, Tensor, Var};
use sparse_formats::{Dtype, Tensors};
use sparse_model::Model;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the weights in a run folder.
pub const WEIGHTS_FILE: &str = "weights.safetensors";

/// The file that a path to weights means: itself, or `weights.safetensors` in a run folder. The config in a run folder
/// stands for that folder.
///
/// # Errors
/// [`Error::NoWeights`] if it is not there, [`Error::UnfinishedRun`] if a run has not come so far, [`Error::NotWeights`] if
/// the path is a config.
pub fn weights_file(path: &Path) -> Result<PathBuf> {
    let path = run_meant(path)?;
    let file = if path.is_dir() { path.join(WEIGHTS_FILE) } else { path };
    if file.exists() { Ok(file) } else { Err(Error::NoWeights { path: file }) }
}

/// What a path to weights of any program means: `weights.safetensors` in a run folder, else the file or folder itself. The
/// config in a run folder stands for that folder.
///
/// # Errors
/// As [`weights_file`].
pub(crate) fn weights_path(path: &Path) -> Result<PathBuf> {
    let path = run_meant(path)?;
    let own = path.join(WEIGHTS_FILE);
    // A pipe is refused where it is opened, by what it is.
    if own.exists() && !own.is_dir() {
        return Ok(own);
    }
    if path.exists() { Ok(path) } else { Err(Error::NoWeights { path }) }
}

/// The run folder that a path to its config means, else the path itself.
fn run_meant(path: &Path) -> Result<PathBuf> {
    let run = run_beside(path);
    if run.is_none() && path.is_file() && path.extension().is_some_and(|extension| extension == "toml") {
        return Err(Error::NotWeights { path: path.to_path_buf() });
    }
    let path = run.unwrap_or_else(|| path.to_path_buf());
    let store = Store::of_run(&path);
    let newest = store.list().ok().and_then(|mut found| found.pop());
    match newest.filter(|_| !path.join(WEIGHTS_FILE).exists()) {
        Some(newest) => Err(Error::UnfinishedRun { path, newest: newest.folder }),
        None => Ok(path),
    }
}

/// Gives the model of every rank the weights of the first.
///
/// # Errors
/// If a rank is gone, or its model is another one.
pub(crate) fn share(model: &Model, ranks: &Ranks) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    let mine = || Ok(sparse_formats::encode(WEIGHTS_FILE, &to_tensors(model.variables())?, None)?);
    let bytes = ranks.bytes_of_first(mine)?;
    if ranks.place().is_first() {
        return Ok(());
    }
    let (tensors, _) = sparse_formats::decode(WEIGHTS_FILE, &bytes)?;
    set_variables(model.variables(), &tensors, Path::new(WEIGHTS_FILE))
}

/// Copies f32 variables into tensors.
///
/// # Errors
/// Candle's, if a variable is not f32.
pub(crate) fn to_tensors(variables: &BTreeMap<String, Var>) -> Result<Tensors> {
    let tensor = |(name, variable): (&String, &Var)| {
        let values = variable.as_tensor().flatten_all()?.to_vec1::<f32>()?;
        Ok((name.clone(), sparse_formats::Tensor::from_f32(variable.dims(), &values)))
    };
    variables.iter().map(tensor).collect()
}

/// CRC-32 of the names and values of tensors.
pub(crate) fn checksum(tensors: &Tensors) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(name.as_bytes());
        hasher.update(&tensor.data);
    }
    hasher.finalize()
}

/// Sets every variable from the tensor of its name.
///
/// # Errors
/// [`Error::TensorMissing`], [`Error::TensorExtra`] or [`Error::TensorShape`] naming the tensor; nothing is set then.
pub(crate) fn set_variables(variables: &BTreeMap<String, Var>, tensors: &Tensors, path: &Path) -> Result<()> {
    check_names(variables, tensors, path)?;
    for (name, variable) in variables {
        let values = tensors[name].to_f32()?;
        let tensor = Tensor::from_vec(values, variable.shape(), &Device::Cpu)?.to_dtype(variable.dtype())?;
        variable.set(&tensor)?;
    }
    Ok(())
}

/// Checks that names, shapes and types agree.
fn check_names(variables: &BTreeMap<String, Var>, tensors: &Tensors, path: &Path) -> Result<()> {
    let path = || path.to_path_buf();
    for (name, variable) in variables {
        let Some(tensor) = tensors.get(name) else {
            return Err(Error::TensorMissing {
                path: path(),
                name: name.clone(),
                expected: variable.dims().to_vec(),
            });
        };
        if tensor.shape != variable.dims() || tensor.dtype != Dtype::F32 {
            return Err(Error::TensorShape {
                path: path(),
                name: name.clone(),
                expected: format!("{} {:?}", Dtype::F32, variable.dims()),
                got: format!("{} {:?}", tensor.dtype, tensor.shape),
            });
        }
    }
    match tensors.keys().find(|name| !variables.contains_key(*name)) {
        Some(name) => Err(Error::TensorExtra { path: path(), name: name.clone() }),
        None => Ok(()),
    }
}
