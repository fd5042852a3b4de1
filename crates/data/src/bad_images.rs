//! What happens with images that cannot be used: counted, listed once each, and too many end the run.

use crate::source::Strays;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What to do with an image that cannot be read or decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BadImages {
    /// The first one is an error.
    Refuse,
    /// Another one takes its place in training, and it is left out of evaluation, as long as bad images are at most
    /// this share of the data set, a fraction in [0, 1].
    Skip {
        /// The share.
        limit: f64,
    },
}

/// An image that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadImage {
    /// Its index in the data set.
    pub index: usize,
    /// Where its bytes lie: a file, or an archive and the name in it.
    pub place: String,
    /// Why it cannot be used, on one line.
    pub reason: String,
}

/// The bad images of a data set, found by any thread.
#[derive(Debug)]
pub(crate) struct BadList {
    policy: BadImages,
    len: usize,
    /// Number of strays, which are bad from the beginning.
    strays: usize,
    found: Mutex<BTreeMap<usize, (String, String)>>,
}

impl BadList {
    /// An empty list for a data set of `len` images, and strays beside them.
    ///
    /// # Errors
    ///
    /// When the limit is no fraction, or the strays alone are too many.
    pub(crate) fn new(policy: BadImages, len: usize, strays: &Strays) -> Result<Self> {
        if let BadImages::Skip { limit } = policy
            && !(0.0..=1.0).contains(&limit)
        {
            let reason = format!("{limit} cannot be used; give a fraction of the images, from 0 to 1");
            return Err(Error::Setting { setting: "data.bad_images_limit", reason });
        }
        check_strays(policy, len, strays)?;
        Ok(Self { policy, len, strays: strays.count(), found: Mutex::default() })
    }

    /// Notes that an image cannot be used.
    ///
    /// # Errors
    ///
    /// [`Error::Image`] when none may be bad, [`Error::TooManyBadImages`] when too many are.
    pub(crate) fn report(&self, index: usize, place: &str, reason: &str) -> Result<()> {
        let (place, reason) = (place.to_owned(), one_line(reason));
        let bad = {
            let mut found = self.found();
            found.entry(index).or_insert_with(|| (place.clone(), reason.clone()));
            found.len()
        };
        self.judge(bad, place, reason)
    }

    /// Refuses what several processes found together, if it is more than may be.
    ///
    /// # Errors
    ///
    /// As [`BadList::report`].
    pub(crate) fn check(&self, found: &[BadImage]) -> Result<()> {
        let Some(last) = found.last() else { return Ok(()) };
        self.judge(found.len(), last.place.clone(), last.reason.clone())
    }

    /// Whether so many may be bad; `place` and `reason` are of the last of them.
    fn judge(&self, found: usize, place: String, reason: String) -> Result<()> {
        let (bad, len) = (found + self.strays, self.len + self.strays);
        match self.policy {
            BadImages::Refuse => Err(Error::Image { place, reason }),
            BadImages::Skip { limit } if bad as f64 > limit * len as f64 => {
                Err(Error::TooManyBadImages { bad, len, limit, place, reason })
            }
            BadImages::Skip { .. } => Ok(()),
        }
    }

    /// All that were found so far, in order of their index.
    pub(crate) fn all(&self) -> Vec<BadImage> {
        let bad = |(&index, (place, reason)): (&usize, &(String, String))| BadImage {
            index,
            place: place.clone(),
            reason: reason.clone(),
        };
        self.found().iter().map(bad).collect()
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<usize, (String, String)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses strays where none or so many may not be; warns of those that may be.
fn check_strays(policy: BadImages, len: usize, strays: &Strays) -> Result<()> {
    let Some(first) = strays.first().first() else { return Ok(()) };
    let (count, all) = (strays.count(), strays.count() + len);
    match policy {
        BadImages::Refuse => Err(Error::Image { place: first.place.clone(), reason: first.reason.clone() }),
        BadImages::Skip { limit } if count as f64 > limit * all as f64 => {
            Err(Error::TooManyStrays { strays: count, all, limit, told: strays.told() })
        }
        BadImages::Skip { .. } => {
            tracing::warn!("{count} of {all} images cannot be used and are left out: {}", strays.told());
            Ok(())
        }
    }
}

/// The text without line ends and other control characters, cut to a length fit for a list.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    text.chars().take(LONGEST).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_counts_once_and_the_share_may_be_reached_but_not_exceeded() {
        let list = BadList::new(BadImages::Skip { limit: 0.2 }, 10, &Strays::NONE).unwrap();
        for _ in 0..5 {
            list.report(7, "seven", "cut").unwrap();
            list.report(2, "two", "empty\nfile").unwrap();
        }
        let bad = |index, place: &str, reason: &str| BadImage {
            index,
            place: place.to_owned(),
            reason: reason.to_owned(),
        };
        assert_eq!(list.all(), [bad(2, "two", "empty file"), bad(7, "seven", "cut")]);
        let error = list.report(0, "zero", "gone").unwrap_err();
        assert!(matches!(error, Error::TooManyBadImages { bad: 3, len: 10, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("zero: gone") && text.contains("data.bad_images_limit"), "{text}");
        assert_eq!(list.all().len(), 3);
    }

    #[test]
    fn what_several_found_is_judged_together() {
        let list = BadList::new(BadImages::Skip { limit: 0.2 }, 10, &Strays::NONE).unwrap();
        let bad = |index: usize| BadImage { index, place: index.to_string(), reason: "cut".to_owned() };
        list.check(&[]).unwrap();
        list.check(&[bad(1), bad(7)]).unwrap();
        let error = list.check(&[bad(1), bad(7), bad(8)]).unwrap_err();
        assert!(matches!(error, Error::TooManyBadImages { bad: 3, len: 10, .. }), "{error}");
    }

    #[test]
    fn none_may_be_bad_where_they_are_refused() {
        let list = BadList::new(BadImages::Refuse, 10, &Strays::NONE).unwrap();
        let error = list.report(0, "zero", "gone").unwrap_err();
        assert!(matches!(&error, Error::Image { place, .. } if place == "zero"), "{error}");
        assert_eq!(list.all().len(), 1);
    }

    #[test]
    fn the_limit_is_a_fraction() {
        for limit in [-0.1, 1.1, f64::NAN] {
            let error = BadList::new(BadImages::Skip { limit }, 10, &Strays::NONE).unwrap_err();
            assert!(error.to_string().contains("data.bad_images_limit"), "{error}");
        }
        assert!(BadList::new(BadImages::Skip { limit: 1.0 }, 10, &Strays::NONE).is_ok());
    }
}
