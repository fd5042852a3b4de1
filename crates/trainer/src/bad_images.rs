//! What a run says of images that cannot be used.

use crate::error::Result;
use crate::run_folder::{BAD_IMAGES, RunFolder};
use sparse_data::Dataset;

/// Lists the bad images of a data set that were found so far in the run folder, one line each: the split, where it
/// lies and why it cannot be used, with tabs between. Gives their number.
///
/// # Errors
/// If the list cannot be written.
pub(crate) fn list(folder: &RunFolder, split: &str, dataset: &dyn Dataset) -> Result<usize> {
    let bad = dataset.bad_images();
    let place = |place: &str| place.replace(char::is_control, " ");
    let lines: Vec<String> =
        bad.iter().map(|bad| format!("{split}\t{}\t{}", place(&bad.place), bad.reason)).collect();
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
