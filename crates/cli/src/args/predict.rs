//! The flags of `sparse-train predict`.

use std::path::PathBuf;

use clap::Args;
use sparse_trainer::PredictOptions;

use super::values::{PrecisionFlag, threads, warn_if_crowded, whole};

/// `sparse-train predict`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", args_override_self = true)]
pub(crate) struct PredictArgs {
    /// JPEG or PNG files; - reads one from the standard input
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// Weights of any known program as for convert, a packed file, a run folder, or an ONNX file
    #[arg(long, value_name = "PATH")]
    pub(crate) weights: PathBuf,
    /// Name of the output with the scores, for an ONNX file with several
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// The network of a checkpoint with several, such as model_ema.module; . is the top
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Classes to name for each image
    #[arg(long, value_name = "N", default_value = "5", value_parser = whole, allow_negative_numbers = true)]
    top: usize,
    /// File with the name of each class, one a line [default: ImageNet's, if these are its classes]
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Height and width of the input [default: as in training, else 224, or 28 in grey]
    #[arg(long, value_name = "PIXELS", value_parser = whole, allow_negative_numbers = true)]
    size: Option<usize>,
    /// Short side to which an image is resized before its centre is cut out; 0: as it is [default: as in training, else
    /// size / 0.875]
    #[arg(long, value_name = "PIXELS")]
    resize_short: Option<usize>,
    /// Subtracted from pixels between 0 and 1, one number or one per channel [default: as in training, else ImageNet's]
    #[arg(long, value_name = "MEAN,..", value_parser = mean, value_delimiter = ',', action = clap::ArgAction::Set, allow_negative_numbers = true)]
    mean: Option<Vec<f64>>,
    /// Divides what is left, likewise
    #[arg(long, value_name = "STD,..", value_parser = deviation, value_delimiter = ',', action = clap::ArgAction::Set, allow_negative_numbers = true)]
    std: Option<Vec<f64>>,
    /// What products are computed in that are not in integers
    #[arg(long, value_name = "NAME", default_value = "f32")]
    precision: PrecisionFlag,
    /// Threads [default: cores]
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    threads: Option<usize>,
    /// Print a JSON list with an object per image instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl PredictArgs {
    /// What is asked for.
    pub(crate) fn options(&self) -> PredictOptions {
        let defaults = PredictOptions::default();
        warn_if_crowded(self.threads);
        PredictOptions {
            key: self.key.clone(),
            top: self.top,
            classes: self.classes.clone(),
            size: self.size,
            resize: self.resize_short,
            mean: self.mean.clone(),
            std: self.std.clone(),
            threads: self.threads.unwrap_or(defaults.threads),
            precision: self.precision.into(),
            output: self.output.clone(),
        }
    }
}

fn mean(text: &str) -> Result<f64, &'static str> {
    let fits = |mean: &f64| (0.0..=1.0).contains(mean);
    text.parse().ok().filter(fits).ok_or("it must be a fraction of white, from 0 to 1 (127.5 of 255 is 0.5)")
}

fn deviation(text: &str) -> Result<f64, &'static str> {
    let fits = |deviation: &f64| *deviation > 0.0 && *deviation <= 1.0;
    let advice = "it must be a fraction of white, above 0 and at most 1 (127.5 of 255 is 0.5)";
    text.parse().ok().filter(fits).ok_or(advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: PredictArgs,
    }

    fn options(flags: &str) -> Result<PredictOptions, String> {
        let line = format!("predict --weights w a.png {flags}");
        let parsed = Line::try_parse_from(line.split_whitespace());
        parsed.map(|line| line.args.options()).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_library_and_every_flag_reaches_its_setting() {
        assert_eq!(options("").unwrap(), PredictOptions::default());
        let flags = "--precision bf16 --key ema --top 2 --classes c --size 32 --resize_short 0 --mean 0.5 --std 0.1,0.2,0.3 --threads 3 --output o";
        let expected = PredictOptions {
            precision: sparse_trainer::config::Precision::Bf16,
            key: Some("ema".into()),
            top: 2,
            classes: Some("c".into()),
            size: Some(32),
            resize: Some(0),
            mean: Some(vec![0.5]),
            std: Some(vec![0.1, 0.2, 0.3]),
            threads: 3,
            output: Some("o".into()),
        };
        assert_eq!(options(flags).unwrap(), expected);
        assert!(options("--mean 127.5").unwrap_err().contains("127.5 of 255 is 0.5"));
        assert!(options("--std 0").is_err() && options("--top 0").is_err());
    }
}
