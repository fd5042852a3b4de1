//! `sparse-train predict`: what a network sees in image files, through the engine.

mod files;
mod names;
mod network;
mod top;

use crate::advice::warn_of_slow;
use crate::config::Precision;
use crate::error::Result;
use network::Network;
use serde::Serialize;
use sparse_data::Transform;
use sparse_engine::{Engine, Products};
use std::path::{Path, PathBuf};

/// Most images that are decoded and computed at a time.
const BATCH: usize = 16;
/// Most numbers of their inputs together, if it is more than one image.
const BATCH_NUMBERS: usize = 1 << 24;
/// Images from which on it pays to measure how zeros are treated best.
const MEASURE_FROM: usize = 100;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictOptions {
    /// The network to take of a file of weights that holds several, see [`crate::WeightsAt`].
    pub key: Option<String>,
    /// Classes to name for each image, the most probable first.
    pub top: usize,
    /// A file with a name for each class, one a line; `None`: ImageNet's, if these are its classes.
    pub classes: Option<PathBuf>,
    /// Height and width of the input, in pixels; `None`: as the file says.
    pub size: Option<usize>,
    /// Short side to which images are resized, in pixels; 0: not resized; `None`: as the file says.
    pub resize: Option<usize>,
    /// Subtracted from pixels between 0 and 1; `None`: as the file says.
    pub mean: Option<Vec<f64>>,
    /// Divides what is left; `None`: as the file says.
    pub std: Option<Vec<f64>>,
    /// Threads that decode and compute.
    pub threads: usize,
    /// What products are computed in that are not in integers.
    pub precision: Precision,
    /// Name of the output with the scores, for an ONNX file with several.
    pub output: Option<String>,
}

impl Default for PredictOptions {
    /// Five classes, everything else as the file says, as many threads as there are processors.
    fn default() -> Self {
        let threads = sparse_engine::Options::default().threads;
        Self {
            key: None,
            top: 5,
            classes: None,
            size: None,
            resize: None,
            mean: None,
            std: None,
            threads,
            precision: Precision::F32,
            output: None,
        }
    }
}

/// A class that an image may be of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    /// Number of the class, from 0.
    pub class: usize,
    /// Its name, if that is known.
    pub name: Option<String>,
    /// Between 0 and 1.
    pub probability: f64,
}

/// What a network sees in an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageGuesses {
    /// The file, as it was given.
    pub file: String,
    /// The most probable classes, the first first.
    pub top: Vec<Guess>,
}

/// An image that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableImage {
    /// The file, as it was given.
    pub file: String,
    /// Why not.
    pub reason: String,
}

/// What a network sees in images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// For each image that can be used, in their order.
    pub images: Vec<ImageGuesses>,
    /// The others.
    pub unusable: Vec<UnusableImage>,
}

/// A network that is ready to look at images.
pub struct Predictor {
    engine: Engine,
    transform: Transform,
    names: Option<Vec<String>>,
    /// Whether the engine's results are probabilities already.
    gives_probabilities: bool,
    options: PredictOptions,
}

impl Predictor {
    /// Reads weights of any known program, as [`crate::Pretrained::read`] does, or an ONNX file. Images become input as
    /// in a test of the run that made the file.
    ///
    /// # Errors
    /// What reading the file reports, [`crate::Error::NoPhotoInput`] for a network that takes something else,
    /// [`crate::Error::ImageInput`] for a size or normalisation that cannot be, [`crate::Error::ClassFile`] and
    /// [`crate::Error::ClassCount`] of names.
    pub fn open(weights: &Path, options: PredictOptions) -> Result<Self> {
        let network = Network::open(weights, &options)?;
        let (transform, gives_probabilities) = (network.transform()?, network.gives_probabilities());
        let facts = network.facts.clone();
        let precision = match options.precision {
            Precision::F32 => sparse_engine::Precision::F32,
            Precision::Bf16 => sparse_engine::Precision::Bf16,
        };
        warn_of_slow(precision);
        let engine = network.engine(options.threads, precision)?;
        let names = names::of(engine.outputs(), &facts, options.classes.as_deref())?;
        Ok(Self { engine, transform, names, gives_probabilities, options })
    }

    /// Looks at images; `-` is one that comes through the standard input. What cannot be used is among
    /// [`Predictions::unusable`].
    ///
    /// # Errors
    /// [`crate::Error::Engine`] if the system gives no more threads.
    pub fn predict(&self, images: &[PathBuf]) -> Result<Predictions> {
        let engine = self.engine(images.len())?;
        let (pixels, classes) = (engine.input_shape().iter().product::<usize>(), engine.outputs());
        let mut session = engine.session()?;
        let (mut found, mut scores) = (Predictions::default(), Vec::new());
        for paths in images.chunks((BATCH_NUMBERS / pixels.max(1)).clamp(1, BATCH)) {
            let (inputs, faults) = files::read(paths, &self.transform, pixels, self.options.threads);
            scores.resize(paths.len() * classes, 0.0);
            session.run(&inputs, &mut scores)?;
            for ((path, fault), scores) in paths.iter().zip(faults).zip(scores.chunks_exact(classes)) {
                let file = path.display().to_string();
                match fault.map_or_else(|| self.guesses(scores), Err) {
                    Err(reason) => found.unusable.push(UnusableImage { file, reason }),
                    Ok(top) => found.images.push(ImageGuesses { file, top }),
                }
            }
        }
        Ok(found)
    }

    /// The engine for so many images; how its zeros are treated changes no result.
    fn engine(&self, images: usize) -> Result<Engine> {
        if images < MEASURE_FROM {
            return Ok(self.engine.clone());
        }
        Ok(self.engine.with_products(Products::Measured)?)
    }

    /// The first classes by the scores of an image, or why there are none.
    fn guesses(&self, scores: &[f32]) -> Result<Vec<Guess>, String> {
        let name = |class: usize| self.names.as_ref().and_then(|names| names.get(class)).cloned();
        let Some(top) = top::top(scores, self.options.top, self.gives_probabilities) else {
            return Err("the network gives it scores that are no numbers (NaN or infinite): its weights or its input are \
                        out of bounds; `sparse-train inspect` shows the weights"
                .to_owned());
        };
        Ok(top
            .into_iter()
            .map(|(class, probability)| Guess { class, name: name(class), probability })
            .collect())
    }
}
