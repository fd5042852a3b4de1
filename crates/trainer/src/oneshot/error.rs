//! What can go wrong when a network is pruned by data.

use std::path::PathBuf;

/// Why a network cannot be pruned by data.
#[derive(Debug, thiserror::Error)]
pub enum OneshotError {
    /// A layer cannot be pruned.
    #[error("{layer} cannot be pruned: {source}")]
    Layer {
        /// Its parameter.
        layer: String,
        /// Why.
        source: sparse_oneshot::Error,
    },
    /// Nothing that a layer reads ever changes, also in the dense network.
    #[error(
        "{layer} reads the same of all images, so its weights cannot be chosen by them: give images that differ, or leave the layer out \
         (prune.exclude)"
    )]
    AllAlike {
        /// Its parameter.
        layer: String,
    },
    /// Too little is left of the layers before.
    #[error(
        "so little is left of the layers before {layer} that it reads the same of all images: a lower --ratio, or --allocate error, leaves \
         more"
    )]
    NothingLeft {
        /// Its parameter.
        layer: String,
    },
    /// Two layers have one weight.
    #[error(
        "{first} and {second} are one and the same weight, and what is best for one use of it is not for the other: leave both out, \
         --set 'prune.exclude=[\"^{}$\", \"^{}$\"]'",
        escaped(first),
        escaped(second)
    )]
    SharedWeight {
        /// The parameter of the first use.
        first: String,
        /// The parameter of the second.
        second: String,
    },
    /// No layer may be pruned.
    #[error(
        "the network has no layer that may be pruned: see --prune_params_type, prune.include and prune.exclude; its layers are {found}"
    )]
    NothingToPrune {
        /// The layers there are.
        found: String,
    },
    /// A name to include or exclude is no regular expression.
    #[error("prune.include or prune.exclude: {reason}")]
    Pattern {
        /// What is wrong with it.
        reason: String,
    },
    /// Whole blocks cannot give the wanted ratio.
    #[error("blocks of {}x{} can give a ratio of {nearest:.4} at the nearest, and not {wanted}: set --ratio {nearest:.4}, or smaller blocks", block[0], block[1])]
    Ratio {
        /// Rows and columns of a block.
        block: [usize; 2],
        /// The ratio asked for.
        wanted: f64,
        /// What is possible.
        nearest: f64,
    },
    /// A speed-up that no allocation reaches.
    #[error(
        "{wanted} times as fast is out of reach: with nearly all weights that may be pruned zero it is {most:.2} times on this machine (--speedup)"
    )]
    Speedup {
        /// The speed-up asked for.
        wanted: f64,
        /// The most there is.
        most: f64,
    },
    /// A file of timings is not one of this network.
    #[error("{}: {reason}; measure again with another --timings, or delete it", path.display())]
    Timings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The images are not those that a network takes.
    #[error(
        "the network takes images of {expected:?} (channels, height, width) and the data gives {got:?}: set data.crop or data.image_size"
    )]
    OtherShape {
        /// `[C, H, W]` of the network.
        expected: [usize; 3],
        /// `[C, H, W]` of the data.
        got: [usize; 3],
    },
    /// None of the images can be used.
    #[error("none of the images in {} can be used, and without images no layer can be pruned by data", path.display())]
    NoUsableImages {
        /// Where they lie.
        path: PathBuf,
    },
    /// ONNX is not packed.
    #[error("{} is ONNX, and only weights are packed: leave --to out, and the result is ONNX", path.display())]
    PackedOnnx {
        /// The file.
        path: PathBuf,
    },
    /// The memory does not suffice.
    #[error(
        "{what} need {needed} MB, and --memory leaves {left} MB: give --memory {}MB, or less to do (--images, prune.exclude)",
        total.saturating_add(needed.saturating_sub(*left))
    )]
    Memory {
        /// What needs it.
        what: String,
        /// Megabytes that it takes.
        needed: usize,
        /// Megabytes that are left for it.
        left: usize,
        /// Megabytes that are allowed.
        total: usize,
    },
}

impl OneshotError {
    /// Whether it is a setting that cannot be followed, rather than something that went wrong.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Pattern { .. }
                | Self::NothingToPrune { .. }
                | Self::Ratio { .. }
                | Self::Speedup { .. }
                | Self::PackedOnnx { .. }
                | Self::Memory { .. }
        )
    }
}

/// A name as a regular expression.
fn escaped(name: &str) -> String {
    regex::escape(name)
}
