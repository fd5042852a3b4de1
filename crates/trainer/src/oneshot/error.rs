//! What can go wrong when a network is pruned by data.

use crate::config::DataKind;
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
    /// A pattern does not fit a layer.
    #[error(
        "{layer} does not fit the pattern: {source}; leave the layer out, --set 'prune.exclude=[\"^{}$\"]', or give another --pattern",
        escaped(layer)
    )]
    PatternOfLayer {
        /// Its parameter.
        layer: String,
        /// Why.
        source: sparse_oneshot::Error,
    },
    /// A layer has weights that are no numbers.
    #[error(
        "{what} {index} of {layer} is NaN or infinite, with its batch norm multiplied in: the file is damaged, or its training has come to \
         nothing"
    )]
    NotFinite {
        /// Its parameter.
        layer: String,
        /// `weight` or `bias`.
        what: &'static str,
        /// Place in the weight or bias.
        index: usize,
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
        "the network takes images of {expected:?} (channels, height, width) and --data {data} gives {got:?}: {}",
        remedy(*expected, data)
    )]
    OtherShape {
        /// `[C, H, W]` of the network.
        expected: [usize; 3],
        /// `[C, H, W]` of the data.
        got: [usize; 3],
        /// Name of the data set.
        data: &'static str,
    },
    /// All images are one and the same.
    #[error(
        "the {count} images from {} are all the same and say no more than one of them: give images that differ, or choose weights without \
         images (--method magnitude)", path.display()
    )]
    SameImages {
        /// Images that were read.
        count: usize,
        /// Where they lie.
        path: PathBuf,
    },
    /// Another process prunes into the same file.
    #[error("{} is being written by {holder}: wait until it is done, or give another -o", path.display())]
    InUse {
        /// The file to write.
        path: PathBuf,
        /// Who writes it, in words.
        holder: String,
    },
    /// None of the images can be used.
    #[error("none of the images in {} can be used, and without images no layer can be pruned by data", path.display())]
    NoUsableImages {
        /// Where they lie.
        path: PathBuf,
    },
    /// None of the training images can be used.
    #[error(
        "none of the training images can be used, and without images no weight is chosen by them (prune.criterion)"
    )]
    NoneToLookAt,
    /// ONNX is not packed.
    #[error("{} is ONNX, and only weights are packed: leave --to out, and the result is ONNX", path.display())]
    PackedOnnx {
        /// The file.
        path: PathBuf,
    },
    /// A name of `--keep` is no regular expression.
    #[error("--keep: {reason}")]
    KeepPattern {
        /// What is wrong with it.
        reason: String,
    },
    /// A name of `--keep` is that of no layer.
    #[error("--keep {pattern} names no layer; the layers are {found}")]
    NothingKept {
        /// The expression.
        pattern: String,
        /// The layers there are.
        found: String,
    },
    /// No layer is left to be rounded.
    #[error("no layer is left to be rounded to 8 bits: name fewer with --keep; the layers are {found}")]
    NothingToQuantize {
        /// The layers there are.
        found: String,
    },
    /// What a layer makes is no number.
    #[error("what {node} makes of an image is NaN or infinite, and has no range")]
    NotFiniteActivation {
        /// The node.
        node: String,
    },
    /// Scores are farther off than they may be as long as a layer is rounded.
    #[error(
        "--loss {wanted} leaves no layer to be rounded; with the last of them the scores are off by {found:.4} of their variance: give a greater --loss, or          more --images"
    )]
    LossOutOfReach {
        /// What was asked for.
        wanted: f64,
        /// The last that was found.
        found: f64,
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
                | Self::PatternOfLayer { .. }
                | Self::NothingToPrune { .. }
                | Self::Ratio { .. }
                | Self::Speedup { .. }
                | Self::PackedOnnx { .. }
                | Self::KeepPattern { .. }
                | Self::NothingKept { .. }
                | Self::NothingToQuantize { .. }
                | Self::LossOutOfReach { .. }
                | Self::Memory { .. }
        )
    }
}

/// How the data could give what the network takes.
fn remedy([channels, height, width]: [usize; 3], data: &str) -> String {
    if height != width {
        return format!(
            "images are cut to squares, so the network must take squares: export it for {0}x{0} or {1}x{1} pixels",
            height.min(width),
            height.max(width)
        );
    }
    match channels {
        1 if height == 28 => "give grey images with --data mnist".to_owned(),
        1 => "grey images are those of --data mnist alone, 28x28 pixels, so the network must take these"
            .to_owned(),
        3 if data == DataKind::Imagenet.name() => format!("give --set data.image_size={height}"),
        3 => {
            format!("give photos with --data imagenet --set data.path=FOLDER --set data.image_size={height}")
        }
        _ => "images have 1 channel or 3, so the network must take these".to_owned(),
    }
}

/// A name as a regular expression.
fn escaped(name: &str) -> String {
    regex::escape(name)
}
