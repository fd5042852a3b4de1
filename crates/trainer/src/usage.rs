//! Which errors are settings that cannot be followed, rather than something that went wrong.

use crate::error::Error;

impl Error {
    /// True when the request itself is wrong, so that the command line exits with 2 (usage) rather than 1.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Error::Shared(error) => return error.is_usage(),
            Error::Prune(error) => return error.is_usage(),
            Error::Oneshot(error) => return error.is_usage(),
            _ => {}
        }
        matches!(
            self,
            Error::Config(_)
                | Error::BatchTooLarge { .. }
                | Error::TooFewOutputs { .. }
                | Error::GmpTooShort { .. }
                | Error::GmpPastEnd { .. }
                | Error::NoCuda
                | Error::NotOnDevice(_)
                | Error::Strategy(_)
                | Error::NoTeacher
                | Error::NotWeights { .. }
                | Error::NotEnoughMemory { .. }
                | Error::ThresholdPrunesAll { .. }
                | Error::BenchSetting { .. }
                | Error::NoImages { .. }
                | Error::OtherNetwork { .. }
                | Error::OtherWidth { .. }
                | Error::OntoInput { .. }
                | Error::KeyOfOnnx { .. }
                | Error::ImageInput { .. }
        )
    }
}
