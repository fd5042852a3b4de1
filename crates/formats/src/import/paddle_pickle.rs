//! `.pdparams`: a pickled dictionary of numpy arrays.

use std::path::Path;

use super::choice::{Choice, Contents};
use super::{Budget, Format, bad, dictionaries, numpy, pickle};
use crate::{Error, Tensors};

/// Reads the chosen tensors of a `.pdparams` of a static graph or of a dynamic one.
///
/// # Errors
/// What `choose` reports, [`Error::ForbiddenClass`], [`Error::BadPickle`], [`Error::BadWeights`], [`Error::TooLarge`].
pub(super) fn read<E: From<Error>>(
    path: &Path,
    bytes: &[u8],
    choose: impl FnOnce(&Contents<'_>) -> Result<Choice, E>,
) -> Result<(Format, Tensors), E> {
    let pickle = pickle::unpickle(bytes).map_err(|fault| fault.in_file(path))?;
    let dygraph = dictionaries::has_structured_names(&pickle);
    let format = if dygraph { Format::PaddleDygraph } else { Format::PaddleStatic };
    let named = dictionaries::chosen(path, format, &pickle, bytes.len(), choose)?;
    if let Some((name, _)) = named.iter().find(|(_, id)| matches!(pickle.get(**id), pickle::Value::Tensor(_)))
    {
        return Err(bad(path, name, "it is a view of a torch storage that is not in the file").into());
    }
    let mut budget = Budget::of_file(bytes.len());
    Ok((format, numpy::tensors(path, &pickle, &named, &mut budget)?))
}
