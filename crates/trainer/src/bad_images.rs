//! What a run says of images that cannot be used.

use crate::error::Result;
use crate::run_folder::{BAD_IMAGES, RunFolder};
use sparse_data::Dataset;

/// Lists the strays of a data set, and its bad images that were found so far, in the run folder, one line each: the split, where it
/// lies and why it cannot be used, with tabs between. Gives the number of bad images.
///
/// # Errors
/// If the list cannot be written.
pub(crate) fn list(folder: &RunFolder, split: &str, dataset: &dyn Dataset) -> Result<usize> {
    let bad = dataset.bad_images();
    let place = |place: &str| place.replace(char::is_control, " ");
    let strays = dataset.strays().first().iter().map(|stray| (&stray.place, &stray.reason));
    let lines: Vec<String> = strays
        .chain(bad.iter().map(|bad| (&bad.place, &bad.reason)))
        .map(|(where_it_lies, reason)| format!("{split}\t{}\t{}", place(where_it_lies), place(reason)))
        .collect();
    folder.list_bad_images(&lines)?;
    Ok(bad.len())
}

/// Lists the bad images of a pass and warns of them.
///
/// # Errors
/// If the list cannot be written.
pub(crate) fn list_and_warn(
    folder: &RunFolder,
    split: &str,
    dataset: &dyn Dataset,
    what_happened: &str,
) -> Result<()> {
    let (bad, len) = (list(folder, split, dataset)?, dataset.len());
    if bad > 0 {
        let path = folder.path().join(BAD_IMAGES);
        tracing::warn!(
            "{bad} of {len} {split} images cannot be used and were {what_happened}; {} lists them",
            path.display()
        );
    }
    Ok(())
}
