//! Tensors in every form in which torch and numpy pickle them, against what their own readers give.
//!
//! The files and `expected.safetensors` are made by `tests/torch/odd.py`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use sparse_formats::import::{Choice, Contents, import_with};
use sparse_formats::{Error, Tensors, import, read};

fn made(name: &str) -> PathBuf {
    PathBuf::from("../../tests/torch/odd").join(name)
}

/// The tensors of a dictionary of a file that can be read.
fn dictionary(file: &str, key: &str) -> Tensors {
    let choose = |contents: &Contents<'_>| -> Result<Choice, Error> {
        let keys: Vec<&str> = contents.dictionaries.iter().map(|one| one.key.as_str()).collect();
        let dictionary =
            keys.iter().position(|&one| one == key).unwrap_or_else(|| panic!("{file}: {key} of {keys:?}"));
        let tensors = &contents.dictionaries[dictionary].tensors;
        let readable = tensors.iter().filter(|(_, entry)| entry.refused.is_none());
        Ok(Choice {
            dictionary,
            names: readable.map(|(name, _)| name.clone().into_owned()).collect(),
            beside: BTreeMap::new(),
        })
    };
    import_with(made(file), choose).unwrap_or_else(|error| panic!("{file}: {error}")).tensors
}

#[test]
fn every_tensor_is_what_the_reader_of_its_program_gives() {
    let (expected, _) = read(made("expected.safetensors")).unwrap();
    let mut parts: BTreeMap<(&str, &str), Tensors> = BTreeMap::new();
    for (name, tensor) in &expected {
        let [file, key, name] = name.splitn(3, '|').collect::<Vec<_>>().try_into().unwrap();
        parts.entry((file, key)).or_default().insert(name.to_owned(), tensor.clone());
    }
    assert_eq!(parts.len(), 24, "files and dictionaries in them");
    for ((file, key), expected) in parts {
        let got = dictionary(file, key);
        for (name, tensor) in &expected {
            assert!(got.get(name) == Some(tensor), "{file} {key} {name}: {:?} {tensor:?}", got.get(name));
        }
        assert_eq!(got.len(), expected.len(), "{file} {key}: {:?}", got.keys());
    }
}

#[test]
fn what_is_not_read_is_refused_by_its_name_and_with_what_to_do() {
    let chosen = |file: &str, name: &str| {
        let choose = |_: &Contents<'_>| -> Result<Choice, Error> {
            Ok(Choice { dictionary: 0, names: [name.to_owned()].into(), beside: BTreeMap::new() })
        };
        import_with(made(file), choose)
            .map(|imported| imported.tensors.len())
            .map_err(|error| error.to_string())
    };
    assert_eq!(chosen("refused.pth", "good"), Ok(1));
    for (name, part) in [
        ("quantised", "dequantize()"),
        ("sparse", "to_dense()"),
        ("csr", "to_dense()"),
        ("complex", "complex numbers"),
        ("conjugated", "complex numbers"),
        ("meta", "no data"),
        ("float8", "8-bit"),
        ("subclass", "derived from torch.Tensor"),
    ] {
        let error = chosen("refused.pth", name).unwrap_err();
        assert!(error.contains(&format!("`{name}`")) && error.contains(part), "{error}");
    }
    for (name, part) in [
        ("objects", "objects"),
        ("fields", "plain numbers"),
        ("text", "plain numbers"),
        ("masked", "masked array"),
        ("date", "plain numbers"),
    ] {
        for protocol in 0..6 {
            let error = chosen(&format!("arrays_{protocol}.pdparams"), name).unwrap_err();
            assert!(error.contains(&format!("`{name}`")) && error.contains(part), "{protocol}: {error}");
        }
    }
    let error = chosen("by_pickle.pkl", "w").unwrap_err();
    assert!(error.contains("torch.save"), "{error}");
}

#[test]
fn the_dictionaries_of_a_checkpoint_are_told_by_their_keys() {
    for file in ["checkpoint.pth", "checkpoint_0.pt"] {
        let error = import(made(file)).unwrap_err().to_string();
        assert!(error.contains("net.weights") && error.contains("optimizer.state.0"), "{error}");
    }
}

#[test]
fn a_file_with_a_changed_byte_fails_its_checksum_and_says_so() {
    let mut bytes = fs::read(made("views.pth")).unwrap();
    let numbers = &read(made("expected.safetensors")).unwrap().0["views.pth||tied"].data;
    let place = bytes.windows(numbers.len()).position(|part| part == numbers).unwrap();
    bytes[place] ^= 1;
    let error = sparse_formats::import::import_bytes_with("x".as_ref(), &bytes, |_| {
        Ok::<_, Error>(Choice {
            dictionary: 0,
            names: ["transposed".to_owned()].into(),
            beside: BTreeMap::new(),
        })
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("views/data/0") && error.contains("checksum"), "{error}");
}
