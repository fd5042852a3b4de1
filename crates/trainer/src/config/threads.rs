//! How many threads are sensible on this machine.

use std::{num::NonZero, thread};

use sparse_collectives::on_this_machine;

use super::{ConfigError, Layers, TrainConfig};

/// The processors that this process may use, by its affinity and its control group, 1 or more. Processes of one run on a machine
/// share its processors, where the launcher did not bind each to its own.
#[must_use]
pub fn core_count() -> usize {
    let usable = thread::available_parallelism().map_or(1, NonZero::get);
    (usable / on_this_machine(|name| std::env::var_os(name))).max(1)
}

/// The most threads that a request may ask for: four for each processor, or 64 where that is more.
#[must_use]
pub fn most_threads() -> usize {
    (4 * core_count()).max(64)
}

/// Why so many threads are refused on this machine, as in "must be …"; `None` if they are not.
#[must_use]
pub fn too_many_threads(threads: usize) -> Option<String> {
    let (most, cores) = (most_threads(), core_count());
    (threads > most).then(|| format!("at most {most}: this process may use {cores} {}", processors(cores)))
}

/// A warning about more threads than there are processors; `setting` is what asks for them, with its value.
#[must_use]
pub fn crowded(setting: &str, threads: usize) -> Option<String> {
    let cores = core_count();
    (threads > cores).then(|| {
        format!(
            "{setting}: this process may use {cores} {}, and more threads than that wait for each other",
            processors(cores)
        )
    })
}

impl Layers {
    /// A sentence for each number of threads above that of processors; `config` is what [`Layers::resolve`] made.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`] for far more threads than there are processors, with the source of the number.
    pub fn check_threads(&self, config: &TrainConfig) -> Result<Vec<String>, ConfigError> {
        let mut warnings = Vec::new();
        for (key, threads) in
            [("train.threads", config.train.threads), ("data.num_workers", config.data.num_workers)]
        {
            let Some(threads) = threads else { continue };
            let origin = self.origin(key);
            if let Some(most) = too_many_threads(threads) {
                let (key, value, rule) = (key.to_owned(), threads.to_string(), format!("must be {most}"));
                return Err(ConfigError::BadValue { key, value, rule, origin });
            }
            warnings.extend(crowded(&format!("{key} = {threads}{origin}"), threads));
        }
        Ok(warnings)
    }
}

fn processors(count: usize) -> &'static str {
    if count == 1 { "processor" } else { "processors" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_config_are_measured_by_this_machine() {
        let check = |assignment: &str| {
            let mut layers = Layers::new();
            layers.set(assignment).unwrap();
            layers.check_threads(&layers.resolve().unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(check("train.threads=1"), Ok(Vec::new()));
        if core_count() < 60 {
            let warned = check("data.num_workers=60").unwrap();
            assert!(
                warned[0].starts_with("data.num_workers = 60 (--set data.num_workers=60): this"),
                "{warned:?}"
            );
        }
        if core_count() <= 200 {
            let error = check("train.threads=1000").unwrap_err();
            assert!(
                error.starts_with("train.threads = 1000 (--set train.threads=1000): must be at most"),
                "{error}"
            );
        }
    }

    #[test]
    fn more_threads_than_processors_are_pointed_out_and_far_more_are_refused() {
        let cores = core_count();
        assert!(crowded("--threads 1", 1).is_none() && crowded("x", cores).is_none());
        assert!(crowded("--threads 9", cores + 1).unwrap().starts_with("--threads 9: this process may use"));
        assert!(too_many_threads(64).is_none() && too_many_threads(4 * cores).is_none());
        assert!(too_many_threads(5000.max(cores * 5)).unwrap().starts_with("at most "));
    }
}
