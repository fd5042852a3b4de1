//! What a run says of images that cannot be used.

use crate::error::Result;
use crate::ranks::Ranks;
use crate::run_folder::{BAD_IMAGES, RunFolder};
use sparse_data::Dataset;
use std::collections::BTreeSet;

/// Lists the strays of a data set, and its bad images that any rank found so far, in the run folder, one line each: the split, where it
/// lies and why it cannot be used, with tabs between. The first rank alone has the folder. Gives the number of bad images.
///
/// # Errors
/// If the list cannot be written.
pub(crate) fn list(
    folder: Option<&RunFolder>,
    split: &str,
    dataset: &dyn Dataset,
    ranks: &Ranks,
) -> Result<usize> {
    let bad = dataset.bad_images();
    let place = |place: &str| place.replace(char::is_control, " ");
    let line =
        |where_it_lies: &str, reason: &str| format!("{split}\t{}\t{}", place(where_it_lies), place(reason));
    let mut lines: Vec<String> =
        dataset.strays().first().iter().map(|stray| line(&stray.place, &stray.reason)).collect();
    let mut found: Vec<String> = bad.iter().map(|bad| line(&bad.place, &bad.reason)).collect();
    if !ranks.is_alone() {
        let all = ranks.gather(found.join("\n").as_bytes())?;
        let all: Vec<String> = all.iter().map(|lines| String::from_utf8_lossy(lines).into_owned()).collect();
        found = all
            .iter()
            .flat_map(|lines| lines.lines())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(str::to_owned)
            .collect();
    }
    let count = found.len();
    lines.append(&mut found);
    if let Some(folder) = folder {
        folder.list_bad_images(&lines)?;
    }
    Ok(count)
}

/// Lists the bad images of a pass and warns of them.
///
/// # Errors
/// If the list cannot be written.
pub(crate) fn list_and_warn(
    folder: Option<&RunFolder>,
    split: &str,
    dataset: &dyn Dataset,
    what_happened: &str,
    ranks: &Ranks,
) -> Result<()> {
    let (bad, len) = (list(folder, split, dataset, ranks)?, dataset.len());
    if let Some(folder) = folder.filter(|_| bad > 0) {
        let path = folder.path().join(BAD_IMAGES);
        tracing::warn!(
            "{bad} of {len} {split} images cannot be used and were {what_happened}; {} lists them",
            path.display()
        );
    }
    Ok(())
}
