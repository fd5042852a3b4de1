//! A weights file, read and written without the program's own code.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A tensor: shape and values.
pub(crate) type Values = (Vec<usize>, Vec<f32>);

/// A weights file.
#[derive(Clone)]
pub(crate) struct Weights {
    pub(crate) tensors: BTreeMap<String, Values>,
    pub(crate) metadata: HashMap<String, String>,
}

impl Weights {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::F32, "{name}");
            let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
            (name.to_owned(), (view.shape().to_vec(), view.data().chunks_exact(4).map(number).collect()))
        });
        Self { tensors: tensors.collect(), metadata: header.metadata().clone().unwrap_or_default() }
    }

    pub(crate) fn write(&self, path: &Path) {
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        let data: Vec<_> =
            self.tensors.iter().map(|(name, (shape, values))| (name, shape.clone(), bytes(values))).collect();
        let views = data
            .iter()
            .map(|(name, shape, data)| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
        safetensors::serialize_to_file(views, Some(self.metadata.clone()), path).unwrap();
    }

    /// Zeros and weights of the tensors whose name and shape are `counted`.
    pub(crate) fn zeros(&self, counted: impl Fn(&str, &[usize]) -> bool) -> (usize, usize) {
        let chosen = self.tensors.iter().filter(|(name, (shape, _))| counted(name, shape));
        chosen.fold((0, 0), |(zeros, total), (_, (_, values))| {
            (zeros + values.iter().filter(|&&value| value == 0.0).count(), total + values.len())
        })
    }

    /// Zeros over all tensors as a fraction.
    pub(crate) fn sparsity(&self, counted: impl Fn(&str, &[usize]) -> bool) -> f64 {
        let (zeros, total) = self.zeros(counted);
        zeros as f64 / total as f64
    }

    /// The fraction of weights whose magnitude is below a threshold.
    pub(crate) fn sparsity_below(&self, threshold: f64, counted: impl Fn(&str, &[usize]) -> bool) -> f64 {
        let mut weights = self.clone();
        for value in weights.tensors.values_mut().flat_map(|(_, values)| values) {
            if f64::from(value.abs()) < threshold {
                *value = 0.0;
            }
        }
        weights.sparsity(counted)
    }
}

/// All tensors.
pub(crate) fn any(_: &str, _: &[usize]) -> bool {
    true
}

/// The tensors that a pruner takes by default.
pub(crate) fn prunable(_: &str, shape: &[usize]) -> bool {
    shape.len() >= 2
}

/// Kernels of 1x1 convolutions.
pub(crate) fn pointwise(_: &str, shape: &[usize]) -> bool {
    matches!(shape, [_, _, 1, 1])
}

/// The number of weights a ratio asks for.
pub(crate) fn pruned_of(ratio: f64, total: usize) -> usize {
    (ratio * total as f64).round() as usize
}
