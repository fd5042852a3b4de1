//! Every file of `configs/` has a plan.

use std::{fs, path::PathBuf};

use super::{DataSize, TrainPlan};
use sparse_sparsity::schedule::Gmp;

use crate::config::{DataKind, Layers, PruningMode, PruningStrategy, TrainConfig};

fn stand_in(config: &TrainConfig) -> DataSize {
    let data = config.data.data;
    let (train_len, test_len, side) = match data {
        DataKind::Mnist => (60_000, 10_000, 28),
        DataKind::Cifar10 | DataKind::Cifar100 => (50_000, 10_000, 32),
        DataKind::Imagenet => (1_281_167, 50_000, 224),
    };
    let classes = config.data.classes.as_ref().map_or(data.classes(), Vec::len);
    DataSize { train_len, test_len, classes, image_shape: [data.channels(), side, side] }
}

/// The configs of runs, by their paths in `configs/`; what `configs/results` holds are tables of runs.
fn files() -> Vec<(String, PathBuf)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut files = Vec::new();
    for folder in ["", "fashion/", "photos/"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                files.push((format!("{folder}{}", entry.file_name().to_str().unwrap()), entry.path()));
            }
        }
    }
    files
}

fn config(name: &str, sets: &[&str]) -> TrainConfig {
    let (_, path) = files().into_iter().find(|(file, _)| file == name).unwrap();
    let mut layers = Layers::new();
    layers.file(&path).unwrap();
    for assignment in sets {
        layers.set(assignment).unwrap();
    }
    layers.resolve().unwrap()
}

#[test]
fn every_config_has_a_plan_and_opens_with_its_command() {
    let files = files();
    assert!(files.len() >= 19, "{files:?}");
    for (name, path) in files {
        let config = config(&name, &[]);
        let plan = TrainPlan::resolve(&config, &stand_in(&config)).unwrap();
        assert!(plan.total_steps > 0, "{name}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with('#') && text.contains(&format!("--config configs/{name}")), "{name}");
    }
}

#[test]
fn the_mnist_config_is_valid_for_any_number_of_epochs_and_any_mode() {
    for num_epochs in [1, 2, 3, 7, 120, 1000] {
        for mode in ["ratio", "threshold", "none"] {
            for name in ["mnist.toml", "mnist-long.toml"] {
                let sets = [format!("train.num_epochs={num_epochs}"), format!("prune.pruning_mode={mode}")];
                let config = config(name, &sets.each_ref().map(String::as_str));
                let plan = TrainPlan::resolve(&config, &stand_in(&config)).unwrap();
                assert_eq!(plan.total_steps, num_epochs * plan.steps_per_epoch);
            }
        }
    }
}

#[test]
fn the_imagenet_configs_hold_the_published_recipes() {
    let recipe = |name| {
        let config = config(name, &[]);
        let prune = &config.prune;
        let amount = if prune.pruning_mode == PruningMode::Ratio { prune.ratio } else { prune.threshold };
        (amount, config.train.lr, config.train.num_epochs, prune.pruning_strategy)
    };
    let (base, gmp) = (PruningStrategy::Base, PruningStrategy::Gmp);
    assert_eq!(recipe("mbv1.toml"), (1e-5, 0.05, 40, base));
    assert_eq!(recipe("mbv1-threshold-0.01.toml"), (0.01, 0.05, 93, base));
    assert_eq!(recipe("mbv1-ratio-0.55.toml"), (0.55, 0.005, 68, base));
    assert_eq!(recipe("mbv1-gmp-0.75.toml"), (0.75, 0.005, 108, gmp));
    assert_eq!(recipe("mbv1-gmp-0.80.toml"), (0.80, 0.005, 108, gmp));
}

#[test]
fn the_cifar_100_config_climbs_and_falls_as_the_demo_does() {
    let config = config("cifar100.toml", &[]);
    let plan = TrainPlan::resolve(&config, &stand_in(&config)).unwrap();
    // Of 50,000 images 390 whole batches, so that the ratio climbs every 195 steps.
    assert_eq!((plan.steps_per_epoch, plan.total_steps), (390, 117_000));
    let gmp = Gmp::new(&plan.gmp.unwrap(), config.prune.ratio).unwrap();
    assert_eq!(gmp.period(), 195);
    let ratio = |half_epochs: u64| gmp.at(half_epochs * 195);
    for half_epochs in 0..360 {
        let left = 1.0 - half_epochs as f64 / 360.0;
        assert!((ratio(half_epochs) - (0.9 - 0.8 * left.powi(3))).abs() < 1e-12, "{half_epochs}");
    }
    let (start, middle) = (ratio(0), ratio(180));
    assert!((start - 0.1).abs() < 1e-12 && (middle - 0.8).abs() < 1e-12, "{start} {middle}");
    assert_eq!([gmp.at(180 * 390 - 1), ratio(360), ratio(600)], [0.9; 3]);
    for (epoch, expected) in [(0, 0.01), (90, 0.01), (180, 0.01), (240, 0.005_05), (300, 0.0001)] {
        assert!((plan.lr.at(epoch * 390) - expected).abs() < 1e-15, "{epoch}");
    }
}
