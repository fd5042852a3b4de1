//! The flags of `sparse-train sweep`.

use super::UsageError;
use super::flags::ConfigFlags;
use super::resolve::check;
use clap::{Args, ValueEnum};
use sparse_trainer::config::{Layers, Phase, TrainConfig};
use sparse_trainer::sweep::{From, Search, SweepConfig};
use sparse_trainer::{Pretrained, WeightsAt};

/// `sparse-train sweep`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", args_override_self = true)]
pub(crate) struct SweepArgs {
    /// Largest loss of top-1 against the dense network, a fraction
    #[arg(long, value_name = "FRACTION", default_value = "0.001", value_parser = fraction)]
    loss: f64,
    /// Bisection: lowest ratio, taken to be within the loss
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    low: f64,
    /// Bisection: highest ratio, taken to be beyond it
    #[arg(long, value_name = "FRACTION", default_value = "1", value_parser = up_to_one)]
    high: f64,
    /// Bisection: points to try
    #[arg(long, value_name = "N", default_value = "6")]
    steps: usize,
    /// Try these ratios upwards instead, with commas between, up to the first that loses too much
    #[arg(
        long,
        conflicts_with_all = ["low", "high", "steps"],
        value_name = "FRACTION,..",
        value_parser = fraction,
        value_delimiter = ',',
        action = clap::ArgAction::Set
    )]
    ladder: Option<Vec<f64>>,
    /// Where each point begins: from the dense weights, or from the last good point below
    #[arg(long, value_name = "NAME", default_value = "dense")]
    from: FromFlag,
    /// Print the result as one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

/// The value of `--from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FromFlag {
    Dense,
    LastGood,
}

impl SweepArgs {
    /// What to do.
    ///
    /// # Errors
    /// [`UsageError`], for which the program exits with 2; if the weights cannot be read or do not fit an explicit setting.
    pub(crate) fn into_config(self) -> anyhow::Result<SweepConfig> {
        if self.low >= self.high {
            let conflict = UsageError::Conflict {
                flag: format!("--low {}", self.low),
                other: format!("--high {}", self.high),
                advice: "the sweep looks for a ratio between them",
            };
            return Err(conflict.into());
        }
        let mut layers = self.config.layers()?;
        let (low, high, steps) = (self.low, self.high, self.steps);
        // The recipe must do for the highest ratio that may be tried; one of all weights is none.
        let ladder = self.ladder.iter().flatten().copied().reduce(f64::max);
        layers.fix("the sweep", "prune.pruning_mode", "ratio");
        layers.fix("the sweep", "prune.ratio", ladder.unwrap_or(high).min(0.999));
        let search = self.ladder.map_or(Search::Bisection { low, high, steps }, Search::Ladder);
        let from = match self.from {
            FromFlag::Dense => From::Dense,
            FromFlag::LastGood => From::LastGood,
        };
        let base = settled(&layers)?;
        check(&layers, &base, Phase::Train)?;
        Ok(SweepConfig { base, loss: self.loss, search, from })
    }
}

/// The config, which takes from the file of the dense weights what it leaves open.
fn settled(layers: &Layers) -> anyhow::Result<TrainConfig> {
    let config = layers.resolve().map_err(UsageError::from)?;
    match WeightsAt::start(&config) {
        Some(weights) => Ok(Pretrained::read(weights)?.settle(layers)?),
        None => Ok(config),
    }
}

fn fraction(text: &str) -> Result<f64, &'static str> {
    let fits = |fraction: &f64| (0.0..1.0).contains(fraction);
    text.parse().ok().filter(fits).ok_or("it must be a fraction, at least 0 and below 1")
}

fn up_to_one(text: &str) -> Result<f64, &'static str> {
    let fits = |fraction: &f64| (0.0..=1.0).contains(fraction);
    text.parse().ok().filter(fits).ok_or("it must be a fraction, at least 0 and at most 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use sparse_trainer::config::PruningMode;

    #[derive(Parser)]
    #[command(rename_all = "snake_case")]
    struct Line {
        #[command(flatten)]
        args: SweepArgs,
    }

    fn config(flags: &str) -> Result<SweepConfig, String> {
        let line = format!("sweep {flags}");
        let line = Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        line.args.into_config().map_err(|error| error.to_string())
    }

    #[test]
    fn flags_become_a_search_and_a_recipe_with_a_ratio() {
        let found = config("--threshold 0.1 --loss 0.01 --low 0.5 --high 0.9 --steps 3 --lr 0.3").unwrap();
        assert_eq!((found.loss, found.from), (0.01, From::Dense));
        assert_eq!(found.search, Search::Bisection { low: 0.5, high: 0.9, steps: 3 });
        assert_eq!((found.base.prune.pruning_mode, found.base.train.lr), (PruningMode::Ratio, 0.3));
        let found = config("--ladder 0.5,0.7 --from last-good").unwrap();
        assert_eq!((found.search, found.from), (Search::Ladder(vec![0.5, 0.7]), From::LastGood));
        assert!(config("--ladder 0.5,1").unwrap_err().contains("below 1"));
        assert!(config("--low 0.5 --high 0.5").unwrap_err().contains("--high 0.5"));
    }
}
