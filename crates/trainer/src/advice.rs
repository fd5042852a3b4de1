//! What error messages advise.

/// What to do about what the operating system refuses.
pub(crate) fn io_advice(action: &str, error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::PermissionDenied if matches!(action, "read" | "list") => "make it readable for you",
        _ if matches!(action, "read" | "list") => "see to it that it can be read, or move it away",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room on that disk, or choose a run folder on another one (--model_path)"
        }
        ErrorKind::FileTooLarge => {
            "raise the limit on the size of files (ulimit -f), or find room on another file system (--model_path)"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "make it writable for you, or choose another run folder (--model_path)"
        }
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            "something else has that name: move it away, or choose another run folder (--model_path)"
        }
        _ => "see to it, or choose another run folder (--model_path)",
    }
}

/// Warns of a precision that makes nothing faster.
pub(crate) fn warn_of_slow(precision: sparse_engine::Precision) {
    if precision == sparse_engine::Precision::Bf16 && !precision.pays() {
        tracing::warn!(
            "products of bf16 are no faster than f32 on this processor, so rounded numbers are multiplied as f32; what is faster here is int8 \
             (sparse-train quantize)"
        );
    }
}

/// What to do where there is no device to compute on.
pub(crate) fn device_advice(error: &sparse_cuda::Error) -> &'static str {
    match error {
        sparse_cuda::Error::NoDevice { .. } | sparse_cuda::Error::TooOld { .. } => {
            "; docs/gpu.md says what is needed, --device cpu trains without"
        }
        sparse_cuda::Error::NoBf16 { .. } => "; train with --precision f32",
        _ => "",
    }
}

/// The advice to lower the number of updates, of all or of each of `epochs`, where any number is low enough.
pub(crate) fn lower_updates(most: usize, epochs: Option<usize>) -> String {
    let (name, most) = match epochs {
        None => ("pruning_steps", most),
        Some(epochs) => ("ratio_steps_per_epoch", most / epochs.max(1)),
    };
    match most {
        0 => String::new(),
        most => format!("lower prune.{name} (--{name}) to at most {most}, or "),
    }
}

/// Says what a diverged run leaves.
pub(crate) fn kept(checkpoint: Option<&std::path::Path>) -> String {
    match checkpoint {
        Some(folder) => {
            format!("the state before is in {} (--resume auto goes on from it)", folder.display())
        }
        None => "nothing had been saved yet".to_owned(),
    }
}

/// Some of a list of names.
pub(crate) fn some(names: &[String]) -> String {
    const MOST: usize = 5;
    let shown: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    match names.len().saturating_sub(MOST) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
