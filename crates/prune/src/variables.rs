//! The variables of a map, and their values as slices.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Layout, Storage, StorageRef, Var};
use candle_nn::VarMap;
use rayon::prelude::*;
use sparse_sparsity::Weight;
use sparse_sparsity::report::Count;

use crate::skip::{is_pointwise, is_prunable_shape};
use crate::{Error, Result, Weights};

/// Weights that one task handles: a multiple of 64, so that tasks share no word of a mask.
pub(crate) const CHUNK: usize = 1 << 16;

/// A named variable.
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) var: Var,
    pub(crate) prunable: bool,
}

/// A variable that is locked for reading.
pub(crate) struct Reader<'a> {
    pub(crate) variable: &'a Variable,
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

/// The variables of a map in the order of their names.
pub(crate) fn sorted(vars: &VarMap) -> Vec<Variable> {
    let data = vars.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut variables: Vec<Variable> = data
        .iter()
        .map(|(name, var)| Variable { name: name.clone(), var: var.clone(), prunable: false })
        .collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    variables
}

impl Variable {
    pub(crate) fn len(&self) -> usize {
        self.var.elem_count()
    }

    pub(crate) fn is_prunable_by_default(&self) -> bool {
        is_prunable_shape(self.var.dims())
    }

    pub(crate) fn is_pointwise(&self) -> bool {
        is_pointwise(self.var.dims())
    }

    pub(crate) fn read(&self) -> Reader<'_> {
        let (storage, layout) = self.var.storage_and_layout();
        Reader { variable: self, storage, layout }
    }

    /// Counts the zeros, whatever the type and the place of the values.
    pub(crate) fn count(&self) -> Result<Count> {
        let reader = self.read();
        match reader.weights() {
            Ok(Weights::F32(weights)) => Ok(count(weights)),
            Ok(Weights::F64(weights)) => Ok(count(weights)),
            Err(_) => {
                drop(reader);
                let values = self.var.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
                Ok(count(&values))
            }
        }
    }
}

impl Reader<'_> {
    /// The values in C order.
    pub(crate) fn weights(&self) -> Result<Weights<'_>> {
        slice(&self.variable.name, &self.storage, self.layout)
    }
}

/// The values of a tensor in C order; `name` is for messages.
pub(crate) fn slice<'a>(name: &str, storage: &'a Storage, layout: &Layout) -> Result<Weights<'a>> {
    let name = || name.to_owned();
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::Placement { name: name() });
    };
    match storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(Weights::F32(&values[start..end])),
        Storage::Cpu(CpuStorage::F64(values)) => Ok(Weights::F64(&values[start..end])),
        Storage::Cpu(other) => Err(Error::Dtype { name: name(), got: other.dtype().as_str() }),
        _ => Err(Error::Placement { name: name() }),
    }
}

fn count<T: Weight>(values: &[T]) -> Count {
    values.par_chunks(CHUNK).map(Count::of).sum()
}

/// Index of the first NaN, if there is one.
pub(crate) fn first_nan(weights: Weights<'_>) -> Option<usize> {
    fn of<T: Weight>(values: &[T]) -> Option<usize> {
        let chunks = values.par_chunks(CHUNK).enumerate();
        chunks.find_map_first(|(chunk, values)| Some(chunk * CHUNK + sparse_sparsity::first_nan(values)?))
    }
    match weights {
        Weights::F32(values) => of(values),
        Weights::F64(values) => of(values),
    }
}
