//! Are the files of the data set where the config says?

use std::path::{Path, PathBuf};

use crate::{
    config::{DataKind, DataSection, Phase},
    datasets::source_config,
    error::{Error, Result},
};

/// So many levels of folders are looked through to find where the data lie.
const LEVELS: usize = 2;
/// No more files and folders of one folder are looked at.
const MOST_LOOKED_AT: usize = 100;

/// The files of a data set: those for training, and those for testing.
struct Files {
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// A file may also be there with `.gz` after its name, or with a dot before `idx`.
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
const CIFAR100: Files = Files { train: &["train.bin"], test: &["test.bin"], gzipped: false };

/// Checks that the folder `data.path` is there with the files the phase reads: all of them for training, those of
/// the test set for testing. Of ImageNet it checks that the folder holds one layout.
///
/// # Errors
/// [`Error::DataMissing`] with the first path that is not there; the message names the setting that moves it. What
/// [`sparse_data::check_layout`] reports.
pub fn data_path_check(data: &DataSection, phase: Phase) -> Result<()> {
    let missing = |path, hint| Err(Error::DataMissing { path, data: data.data.name(), hint });
    data_folder_check(data)?;
    let files = match data.data {
        DataKind::Mnist => &MNIST,
        DataKind::Cifar10 => &CIFAR10,
        DataKind::Cifar100 => &CIFAR100,
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
        if !files.is_there(&data.path, name) {
            return missing(data.path.join(name), hint(data, files, name));
        }
    }
    Ok(())
}

/// Checks that the folder `data.path` is there.
///
/// # Errors
/// [`Error::DataMissing`], which names the setting that moves it.
pub fn data_folder_check(data: &DataSection) -> Result<()> {
    let missing = |path, hint| Err(Error::DataMissing { path, data: data.data.name(), hint });
    match data.path.is_dir() {
        true => Ok(()),
        false if data.path.exists() => {
            let unpacked =
                if is_archive(&data.path) { ": unpack it and give the folder that comes out" } else { "" };
            missing(data.path.join(""), format!("; {} is no folder{unpacked}", data.path.display()))
        }
        false => missing(data.path.clone(), String::new()),
    }
}

impl Files {
    /// Whether a folder holds a file of this name in any of its forms. What is no regular file is refused when it is opened.
    fn is_there(&self, folder: &Path, name: &str) -> bool {
        let there = |name: &str| folder.join(name).metadata().is_ok_and(|found| !found.is_dir());
        let dotted = name.replace("-idx", ".idx");
        let gzipped = |name: &str| there(&format!("{name}.gz"));
        there(name) || self.gzipped && (gzipped(name) || there(&dotted) || gzipped(&dotted))
    }
}

/// What people have in place of a missing file.
fn hint(data: &DataSection, files: &Files, name: &str) -> String {
    let holds = |name: &str| data.path.join(name).exists();
    let told = match data.data {
        DataKind::Cifar10 if holds("data_batch_1") => {
            "; the files there are the Python version, and the binary one is read (cifar-10-binary.tar.gz)"
        }
        DataKind::Cifar100 if holds("train") && holds("meta") => {
            "; the files there are the Python version, and the binary one is read (cifar-100-binary.tar.gz)"
        }
        DataKind::Cifar10 if holds("train.bin") => "; train.bin is of CIFAR-100: --data cifar100 reads it",
        DataKind::Cifar100 if holds("data_batch_1.bin") => {
            "; data_batch_1.bin is of CIFAR-10: --data cifar10 reads it"
        }
        _ => "",
    };
    if !told.is_empty() {
        return told.to_owned();
    }
    if let Some(found) = find_below(&data.path, LEVELS, &|folder| files.is_there(folder, name)) {
        return format!("; it lies in {0}: --set data.path={0}", found.display());
    }
    match entries(&data.path).iter().find(|path| is_archive(path)) {
        Some(archive) if is_cifar(data.data) && archive.to_string_lossy().ends_with("-python.tar.gz") => {
            format!("; {} is the Python version, and the binary one is read", archive.display())
        }
        Some(archive) => format!("; unpack {}, which lies there", archive.display()),
        None => String::new(),
    }
}

fn is_archive(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    [".tar.gz", ".tgz", ".tar", ".zip"].iter().any(|end| name.ends_with(end))
}

fn is_cifar(data: DataKind) -> bool {
    matches!(data, DataKind::Cifar10 | DataKind::Cifar100)
}

/// The first folder of some levels below that fits.
fn find_below(folder: &Path, levels: usize, fits: &impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = entries(folder).into_iter().filter(|path| path.is_dir()).collect();
    let found = folders.iter().find(|path| fits(path));
    found.cloned().or_else(|| {
        let deeper = folders.iter().filter(|_| levels > 1);
        deeper.into_iter().find_map(|path| find_below(path, levels - 1, fits))
    })
}

/// What lies in a folder, sorted; of very many a part.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.take(MOST_LOOKED_AT).map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        for (data, files) in
            [(DataKind::Mnist, &MNIST), (DataKind::Cifar10, &CIFAR10), (DataKind::Cifar100, &CIFAR100)]
        {
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
        let dotted = tempfile::tempdir().unwrap();
        for name in ["t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte.gz"] {
            fs::write(dotted.path().join(name), b"").unwrap();
        }
        assert!(check(DataKind::Mnist, dotted.path(), Phase::Test).is_ok());
        assert!(check(DataKind::Mnist, folder.path(), Phase::Test).is_ok());
        assert!(check(DataKind::Cifar10, folder.path(), Phase::Test).is_err());
    }

    #[test]
    fn what_lies_nearby_is_told() {
        let hint = |data: DataKind, files: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            for name in files {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, b"").unwrap();
            }
            check(data, folder.path(), Phase::Train).unwrap_err().to_string()
        };
        let below = hint(DataKind::Mnist, &["MNIST/raw/train-images.idx3-ubyte.gz"]);
        assert!(below.contains("it lies in") && below.ends_with("MNIST/raw"), "{below}");
        assert!(hint(DataKind::Cifar10, &["data_batch_1"]).contains("Python version"));
        assert!(hint(DataKind::Cifar10, &["train.bin"]).contains("--data cifar100"));
        assert!(hint(DataKind::Cifar100, &["data_batch_1.bin"]).contains("--data cifar10 "));
        assert!(hint(DataKind::Cifar100, &["train", "test", "meta"]).contains("Python version"));
        assert!(hint(DataKind::Cifar100, &["cifar-100-python.tar.gz"]).contains("Python version"));
        assert!(hint(DataKind::Cifar100, &["cifar-100-binary/train.bin"]).ends_with("cifar-100-binary"));
        assert!(hint(DataKind::Cifar100, &["cifar-100-binary.tar.gz"]).contains("; unpack"));
        assert!(
            hint(DataKind::Cifar10, &["cifar-10-binary.tar.gz"])
                .contains("cifar-10-binary.tar.gz, which lies there")
        );
        assert!(hint(DataKind::Mnist, &[]).ends_with("(--set data.path=FOLDER)"));
        let file = tempfile::NamedTempFile::new().unwrap();
        for data in [DataKind::Mnist, DataKind::Imagenet] {
            let error = check(data, file.path(), Phase::Train).unwrap_err().to_string();
            assert!(error.contains("no folder"), "{error}");
        }
        let archive = tempfile::Builder::new().suffix("binary.tar.gz").tempfile().unwrap();
        let error = check(DataKind::Cifar100, archive.path(), Phase::Train).unwrap_err().to_string();
        assert!(error.contains("no folder: unpack it"), "{error}");
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
