//! `sparse-train predict IMAGE... --weights PATH`.

use crate::args::PredictArgs;
use crate::run;
use crate::tables::{aligned, percent};
use crate::talk::tell;
use sparse_trainer::{Guess, ImageGuesses, Predictor, UnusableImage};
use std::process::ExitCode;

/// Looks at images and prints what may be in them; an image that cannot be used is named, and the exit code is 1 then.
///
/// # Errors
/// If the network cannot be read or run.
pub(crate) fn predict(arguments: &PredictArgs) -> anyhow::Result<ExitCode> {
    let predictor = Predictor::open(&arguments.weights, arguments.options())?;
    let found = predictor.predict(&arguments.images)?;
    if arguments.json || !found.images.is_empty() {
        run::print(&found.images, arguments.json, |images| rows(images))?;
    }
    found.unusable.iter().for_each(report);
    Ok(if found.unusable.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// It belongs to the result, whatever the log level.
fn report(image: &UnusableImage) {
    tell(&format!("error: {} cannot be used: {}\n", image.file, image.reason));
}

/// A row for each class of each image; the file is named once.
fn rows(images: &[ImageGuesses]) -> String {
    let row = |file: &str, rank: usize, guess: &Guess| {
        let name = guess.name.clone().unwrap_or_else(|| "-".to_owned());
        let file = if rank == 0 { file.to_owned() } else { String::new() };
        vec![file, (rank + 1).to_string(), percent(guess.probability), guess.class.to_string(), name]
    };
    let rows = images.iter().flat_map(|image| {
        image.top.iter().enumerate().map(move |(rank, guess)| row(&image.file, rank, guess))
    });
    aligned(&["image", "rank", "probability", "class", "name"], rows, 4)
}
