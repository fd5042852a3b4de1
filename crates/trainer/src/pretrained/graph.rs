//! A network as the graph that the engine runs.

use super::Pretrained;
use crate::error::Result;
use sparse_engine::bind;
use sparse_engine::graph::Graph;

impl Pretrained {
    /// The graph for images of height and width `size`, without the background class: from the normalised image,
    /// `[C, H, W]`, to a score for each class.
    ///
    /// # Errors
    /// [`crate::Error::Engine`] if the settings make no network.
    pub fn graph(&self, size: [usize; 2]) -> Result<Graph> {
        let mut kept = self.clone();
        kept.drop_background();
        let mut values = |name: &str| match kept.tensors.remove(name) {
            Some(tensor) => Ok(tensor.values),
            None => {
                Err(sparse_engine::Error::TensorMissing { path: self.path.clone(), name: name.to_owned() })
            }
        };
        Ok(bind(&kept.network.graph()?, size, &mut values)?)
    }
}
