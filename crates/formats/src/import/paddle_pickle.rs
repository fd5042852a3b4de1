//! `.pdparams`: a pickled dictionary of numpy arrays.

use std::path::Path;

use super::{Budget, Format, Result, bad, numpy, pickle, state_dict};
use crate::Tensors;

/// Reads a `.pdparams` of a static graph or of a dynamic one.
///
/// # Errors
/// [`crate::Error::ForbiddenClass`], [`crate::Error::BadPickle`], [`crate::Error::BadWeights`],
/// [`crate::Error::TooLarge`].
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<(Format, Tensors)> {
    let pickle = pickle::unpickle(bytes).map_err(|fault| fault.in_file(path))?;
    let named = state_dict::named_tensors(path, &pickle)?;
    if let Some((name, _)) = named.iter().find(|(_, id)| matches!(pickle.get(**id), pickle::Value::Tensor(_)))
    {
        return Err(bad(path, name, "it is a view of a torch storage that is not in the file"));
    }
    let dygraph = state_dict::has_structured_names(&pickle);
    let format = if dygraph { Format::PaddleDygraph } else { Format::PaddleStatic };
    let mut budget = Budget::of_file(bytes.len());
    Ok((format, numpy::tensors(path, &pickle, &named, &mut budget)?))
}
