//! What can be wrong with a program.

/// Errors of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A step does not fit its places.
    #[error("step {index} of the program does not fit: {what}")]
    Step {
        /// Counted from 0; the number of steps for the features.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A layer does not fit what comes before it.
    #[error("layer {index} after the features does not take vectors of {inputs} numbers")]
    Layer {
        /// Counted from 0.
        index: usize,
        /// Length of what it gets.
        inputs: usize,
    },
    /// More memory than any machine here has.
    #[error("the activations of one image take {numbers} numbers; use smaller images")]
    TooLarge {
        /// Numbers.
        numbers: usize,
    },
    /// Not whole images.
    #[error("{numbers} numbers are no images of {image} numbers each")]
    Images {
        /// Numbers given.
        numbers: usize,
        /// Numbers of an image.
        image: usize,
    },
    /// No room for all results, or too much.
    #[error("room for {numbers} numbers where {images} images have {expected} results")]
    Outputs {
        /// Room given.
        numbers: usize,
        /// Images.
        images: usize,
        /// Room needed.
        expected: usize,
    },
    /// Not one time for each part of a program.
    #[error("room for {times} times where the program has {parts} parts")]
    Times {
        /// Room given.
        times: usize,
        /// Parts.
        parts: usize,
    },
    /// No more threads.
    #[error("the system gives no {threads} threads; ask for fewer")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;
