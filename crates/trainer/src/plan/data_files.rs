//! Are the files of the data set where the config says?

use crate::{
    config::{DataKind, DataSection, Phase},
    datasets::source_config,
    error::{Error, Result},
};

/// The files of a data set: those for training, and those for testing.
struct Files {
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// A file may also be there with `.gz` after its name.
    gzipped: bool,
}

const MNIST: Files = Files {
    train: &["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
    test: &["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
    gzipped: true,
};
const CIFAR10: Files = Files {
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    gzipped: false,
};

/// Checks that the folder `data.path` is there with the files the phase reads: all of them for training, those of
/// the test set for testing. Of ImageNet it checks that the folder holds one layout.
///
/// # Errors
/// [`Error::DataMissing`] with the first path that is not there; the message names the setting that moves it. What
/// [`sparse_data::check_layout`] reports.
pub fn data_path_check(data: &DataSection, phase: Phase) -> Result<()> {
    let missing = |path| Err(Error::DataMissing { path, data: data.data.name() });
    if !data.path.is_dir() {
        return missing(data.path.clone());
    }
    let files = match data.data {
        DataKind::Mnist => &MNIST,
        DataKind::Cifar10 => &CIFAR10,
        DataKind::Imagenet => {
            sparse_data::check_layout(&data.path, &source_config(data))?;
            return Ok(());
        }
    };
    let train = match phase {
        Phase::Train => files.train,
        Phase::Test => &[],
    };
    for name in train.iter().chain(files.test) {
        let path = data.path.join(name);
        let there = path.is_file() || files.gzipped && data.path.join(format!("{name}.gz")).is_file();
        if !there {
            return missing(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn check(data: DataKind, path: &Path, phase: Phase) -> Result<()> {
        data_path_check(&DataSection { path: path.to_owned(), ..DataSection::defaults(data) }, phase)
    }

    #[test]
    fn a_missing_folder_is_named_with_the_setting_that_moves_it() {
        let error = check(DataKind::Mnist, Path::new("no/such/folder"), Phase::Train).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no/such/folder is missing: put the mnist files there, or set data.path to their folder \
             (--set data.path=FOLDER)"
        );
        assert!(!error.is_usage());
    }

    #[test]
    fn every_file_is_needed_and_testing_needs_the_test_files_only() {
        for (data, files) in [(DataKind::Mnist, &MNIST), (DataKind::Cifar10, &CIFAR10)] {
            let folder = tempfile::tempdir().unwrap();
            for name in files.test.iter().chain(files.train) {
                let error = check(data, folder.path(), Phase::Train).unwrap_err();
                assert!(matches!(error, Error::DataMissing { .. }));
                fs::write(folder.path().join(name), b"").unwrap();
            }
            assert!(check(data, folder.path(), Phase::Train).is_ok());
            fs::remove_file(folder.path().join(files.train[0])).unwrap();
            assert!(check(data, folder.path(), Phase::Test).is_ok());
            let error = check(data, folder.path(), Phase::Train).unwrap_err().to_string();
            assert!(error.contains(files.train[0]), "{error}");
        }
    }

    #[test]
    fn mnist_may_be_gzipped_and_the_others_may_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in MNIST.test.iter().chain(CIFAR10.test) {
            fs::write(folder.path().join(format!("{name}.gz")), b"").unwrap();
        }
        assert!(check(DataKind::Mnist, folder.path(), Phase::Test).is_ok());
        assert!(check(DataKind::Cifar10, folder.path(), Phase::Test).is_err());
    }

    #[test]
    fn a_folder_without_a_layout_says_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let error = check(DataKind::Imagenet, folder.path(), Phase::Train).unwrap_err().to_string();
        assert!(error.contains("train_list.txt") && error.contains("data.format"), "{error}");
        fs::write(folder.path().join("val_list.txt"), b"").unwrap();
        assert!(check(DataKind::Imagenet, folder.path(), Phase::Train).is_ok());
    }
}
