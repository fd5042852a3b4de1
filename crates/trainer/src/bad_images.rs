//! What a run says of images that cannot be used.

use crate::error::{Error, Result};
use crate::ranks::Ranks;
use crate::run_folder::{BAD_IMAGES, RunFolder};
use sparse_data::{BadImage, Dataset};
use std::collections::BTreeMap;

/// Lists the strays of a data set, and its bad images that any rank found so far, in the run folder, one line each: the split, where it
/// lies and why it cannot be used, with tabs between. The first rank alone has the folder. Gives the bad images.
///
/// # Errors
/// If the list cannot be written.
pub(crate) fn list(
    folder: Option<&RunFolder>,
    split: &str,
    dataset: &dyn Dataset,
    ranks: &Ranks,
) -> Result<Vec<BadImage>> {
    let bad = of_all(dataset.bad_images(), ranks)?;
    if let Some(folder) = folder {
        let place = |place: &str| place.replace(char::is_control, " ");
        let line = |where_it_lies: &str, reason: &str| {
            format!("{split}\t{}\t{}", place(where_it_lies), place(reason))
        };
        let strays = dataset.strays().first().iter().map(|stray| line(&stray.place, &stray.reason));
        let bad = bad.iter().map(|bad| line(&bad.place, &bad.reason));
        folder.list_bad_images(&strays.chain(bad).collect::<Vec<_>>())?;
    }
    Ok(bad)
}

/// The bad images that any rank found, once each, in the order of the data set.
fn of_all(mine: Vec<BadImage>, ranks: &Ranks) -> Result<Vec<BadImage>> {
    if ranks.is_alone() {
        return Ok(mine);
    }
    let json = |source| Error::Json { source };
    let mine: Vec<_> = mine.into_iter().map(|bad| (bad.index, (bad.place, bad.reason))).collect();
    let mut found = BTreeMap::new();
    // What several found is listed as the first of them has it.
    for bytes in ranks.gather(&serde_json::to_vec(&mine).map_err(json)?)?.iter().rev() {
        let of_one: BTreeMap<usize, (String, String)> =
            serde_json::from_slice::<Vec<_>>(bytes).map_err(json)?.into_iter().collect();
        found.extend(of_one);
    }
    let image = |(index, (place, reason))| BadImage { index, place, reason };
    Ok(found.into_iter().map(image).collect())
}

/// Lists the bad images of a pass and warns of them.
///
/// # Errors
/// If the list cannot be written, or all ranks together found more than may be.
pub(crate) fn list_and_warn(
    folder: Option<&RunFolder>,
    split: &str,
    dataset: &dyn Dataset,
    what_happened: &str,
    ranks: &Ranks,
) -> Result<()> {
    let (found, len) = (list(folder, split, dataset, ranks)?, dataset.len());
    let bad = found.len();
    if let Some(folder) = folder.filter(|_| bad > 0) {
        let path = folder.path().join(BAD_IMAGES);
        tracing::warn!(
            "{bad} of {len} {split} images cannot be used and were {what_happened}; {} lists them",
            path.display()
        );
    }
    // Each rank knows of those alone that it found itself.
    if ranks.is_alone() { Ok(()) } else { Ok(dataset.check_bad_images(&found)?) }
}
