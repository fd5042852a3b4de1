//! Every file of `configs/` opens a stand-in data folder and has a plan for it; without the folder it says what to do.

#![allow(clippy::unwrap_used)]

use sparse_trainer::Datasets;
use sparse_trainer::config::{DataKind, Layers, Phase, TrainConfig};
use sparse_trainer::plan::{TrainPlan, data_path_check};
use std::fs;
use std::path::{Path, PathBuf};

/// Images in each stand-in: a few batches of the largest batch size.
const IMAGES: usize = 4096;

fn configs() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    // `configs/results` holds tables of runs, not configs.
    let folders = ["", "fashion", "photos"].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    folders.into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

fn config(path: &Path, data: &Path) -> TrainConfig {
    let mut layers = Layers::new();
    layers.file(path).unwrap();
    layers.set(&format!("data.path={}", data.display())).unwrap();
    layers.resolve().unwrap()
}

fn idx(dimensions: &[usize]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    bytes.extend(dimensions.iter().flat_map(|&size| (size as u32).to_be_bytes()));
    bytes.resize(bytes.len() + dimensions.iter().product::<usize>(), 1);
    bytes
}

fn write_stand_in(config: &TrainConfig, folder: &Path) {
    let write = |name: &str, bytes: Vec<u8>| fs::write(folder.join(name), bytes).unwrap();
    match config.data.data {
        DataKind::Mnist => {
            for split in ["train", "t10k"] {
                write(&format!("{split}-images-idx3-ubyte"), idx(&[IMAGES, 28, 28]));
                write(&format!("{split}-labels-idx1-ubyte"), idx(&[IMAGES]));
            }
        }
        DataKind::Cifar10 => {
            for name in
                ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
            {
                write(&format!("{name}.bin"), vec![3; IMAGES / 4 * 3073]);
            }
        }
        DataKind::Cifar100 => {
            write("train.bin", vec![3; IMAGES * 3074]);
            write("test.bin", vec![3; IMAGES * 3074]);
        }
        DataKind::Imagenet => {
            for name in ["train_list.txt", "val_list.txt"] {
                let classes = config.data.classes.clone().unwrap_or_else(|| (0..1000).collect());
                let lines: String = (0..IMAGES)
                    .map(|i| format!("n01440764/{i}.JPEG {}\n", classes[i % classes.len()]))
                    .collect();
                write(name, lines.into_bytes());
            }
        }
    }
}

#[test]
fn every_config_plans_against_a_stand_in_folder() {
    let configs = configs();
    assert!(configs.len() >= 19, "{configs:?}");
    for path in configs {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&path, folder.path());
        write_stand_in(&config, folder.path());
        data_path_check(&config.data, Phase::Train).unwrap();
        let datasets = Datasets::open(&config).unwrap();
        let plan = TrainPlan::resolve(&config, &datasets.size()).unwrap();
        assert!(plan.total_steps >= config.train.num_epochs, "{}", path.display());
        // The recipes of `prune.criterion = "obs"` climb as well, and that of CIFAR-100.
        let climbs = ["gmp", "obs", "cifar100"].iter().any(|name| path.to_string_lossy().contains(name));
        assert_eq!(plan.gmp.is_some(), climbs, "{}", path.display());
    }
}

#[test]
fn without_the_data_the_missing_path_and_its_setting_are_named() {
    for path in configs() {
        let config = config(&path, Path::new("no-such-folder"));
        let message = data_path_check(&config.data, Phase::Train).unwrap_err().to_string();
        assert!(message.contains("no-such-folder") && message.contains("data.path"), "{message}");
    }
}
