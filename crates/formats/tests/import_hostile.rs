//! Damaged and hostile weights of other programs: an answer or a typed error, never a panic, never more than a few times
//! the size of the file in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail the test")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use sparse_formats::import::{Choice, Contents, EXPANSION, import_bytes, import_bytes_with};
use sparse_formats::{Error, import};

const SAMPLES: [&str; 7] = [
    "pd/static_mobilenet_s0125.pdparams",
    "pd/dygraph_mobilenet_v1_s025.pdparams",
    "torch/clas_2020.pdparams",
    "torch/timm.pth",
    "torch/sparseml.pth",
    "torch/str.pt",
    "torch/slim.safetensors",
];

fn golden(name: &str) -> PathBuf {
    env::var_os("GOLDEN_DIR").map_or_else(|| PathBuf::from("../../tests/golden"), PathBuf::from).join(name)
}

fn sample(index: usize) -> Vec<u8> {
    let name = SAMPLES[index];
    let path =
        if name.starts_with("torch/") { PathBuf::from("../../tests").join(name) } else { golden(name) };
    fs::read(path).unwrap()
}

/// Whatever was accepted is consistent and no larger than promised.
fn check(bytes: &[u8]) -> bool {
    // Everything of the first dictionary, and the only one if there is one.
    let first = |contents: &Contents<'_>| -> Result<Choice, Error> {
        let dictionary = contents.dictionaries.first().into_iter().flat_map(|first| first.tensors.keys());
        Ok(Choice {
            dictionary: 0,
            names: dictionary.map(|name| name.clone().into_owned()).collect(),
            beside: BTreeMap::new(),
        })
    };
    drop(import_bytes_with("hostile".as_ref(), bytes, first));
    let Ok(imported) = import_bytes("hostile", bytes) else { return false };
    let total: usize = imported.tensors.values().map(|tensor| tensor.data.len()).sum();
    assert!(total <= EXPANSION * bytes.len() + (1 << 20), "{total} bytes of {}", bytes.len());
    for (name, tensor) in &imported.tensors {
        assert_eq!(tensor.shape.iter().product::<usize>() * tensor.dtype.size(), tensor.data.len(), "{name}");
    }
    true
}

#[test]
fn a_cut_file_is_an_error() {
    for (index, name) in SAMPLES.iter().enumerate() {
        let bytes = sample(index);
        let parts = [1, 2, 3, 5, 10, 20, 50, 90, 99].map(|percent| bytes.len() * percent / 100);
        for length in parts.into_iter().chain([0, 1, 2, 3, 8, 15, 16, bytes.len() - 1]) {
            assert!(!check(&bytes[..length]), "{name} cut at {length} of {}", bytes.len());
        }
        assert!(check(&bytes), "{name}");
    }
}

#[test]
fn a_variable_that_is_cut_or_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(golden("pd/vars_s0125/conv1_weights")).unwrap();
    fs::write(folder.path().join("a_good_one"), &bytes).unwrap();
    for length in 0..bytes.len() {
        fs::write(folder.path().join("b_cut"), &bytes[..length]).unwrap();
        let error = import(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::BadWeights { tensor, .. } if tensor == "b_cut"), "{length}: {error}");
    }
    fs::write(folder.path().join("b_cut"), [bytes.as_slice(), &[0]].concat()).unwrap();
    assert!(matches!(import(folder.path()), Err(Error::BadWeights { .. })), "a byte more");
    for position in 0..40 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[position] = value;
            fs::write(folder.path().join("b_cut"), &changed).unwrap();
            if let Ok(imported) = import(folder.path()) {
                assert!(imported.tensors["b_cut"].data.len() <= bytes.len());
            }
        }
    }
}

#[test]
fn a_function_that_attacks_is_named_wherever_it_hides() {
    for (index, from, to, class) in [
        (
            5,
            b"ccollections\nOrderedDict".as_slice(),
            b"csubprocess\nPopen-------".as_slice(),
            "subprocess.Popen-------",
        ),
        (2, b"numpy._core.multiarray", b"os.-------------------", "os.-------------------._reconstruct"),
        (0, b"numpy.core.multiarray", b"posix.---------------", "posix.---------------._reconstruct"),
    ] {
        let error = import_bytes("evil", &replaced(&sample(index), from, to)).map(drop).unwrap_err();
        assert!(matches!(&error, Error::ForbiddenClass { class: found, .. } if found == class), "{error}");
        assert!(error.to_string().contains("nothing from the file was run"), "{error}");
    }
    let error = import_bytes("evil.pth", &replaced(&sample(3), b"OrderedDict", b"OrderedDikt"))
        .map(drop)
        .unwrap_err();
    // The archive's checksum finds the edit first.
    assert!(error.to_string().contains("data.pkl") && error.to_string().contains("checksum"), "{error}");
}

#[test]
fn what_an_unknown_function_makes_is_no_tensor() {
    for (index, name) in
        [(2, "numpy._core.multiarray._reconstrukt"), (0, "numpy.core.multiarray._reconstrukt")]
    {
        let bytes = replaced(&sample(index), b"_reconstruct", b"_reconstrukt");
        let all = |contents: &Contents<'_>| -> Result<Choice, Error> {
            let names = contents.dictionaries[0].tensors.keys().map(|name| name.clone().into_owned());
            Ok(Choice { dictionary: 0, names: names.collect(), beside: BTreeMap::new() })
        };
        let error = import_bytes_with("odd".as_ref(), &bytes, all).map(drop).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("not read"), "{error}");
    }
}

/// Dictionaries in dictionaries, in themselves, and the same one under a million keys: each is looked at once, and none
/// deeper than is promised.
#[test]
fn the_search_for_dictionaries_is_bounded() {
    let array =
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\ntcnumpy\ndtype\n\
        (S'u1'\nI00\nI01\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'0'\ntb";
    let count = |bytes: &[u8]| {
        let mut keys = Vec::new();
        let looked = import_bytes_with("x".as_ref(), bytes, |contents| {
            keys = contents.dictionaries.iter().map(|one| one.key.clone()).collect();
            contents.only()
        });
        (looked.map(|imported| imported.tensors.len()).map_err(|error| error.to_string()), keys)
    };
    // {"w": array, "d": {"w": array, "d": ...}}, a hundred thousand deep.
    let mut deep = [b"\x80\x02".as_slice(), array, b"q\x010}q\x00"].concat();
    for _ in 0..100_000 {
        deep.extend(b"U\x01wh\x01s}q\x02U\x01dh\x00sq\x000h\x02");
    }
    deep.extend(b"U\x01wh\x01s.");
    let (result, keys) = count(&deep);
    assert!(result.unwrap_err().contains("several dictionaries"));
    assert_eq!((keys.len(), keys[0].as_str(), keys[2].as_str()), (65, "", "d.d"));
    // A dictionary in itself, and in a list in itself.
    let cycle =
        [b"\x80\x02}q\x00U\x01dh\x00sU\x01l]q\x01h\x01ah\x00asU\x01w".as_slice(), array, b"s."].concat();
    assert_eq!(count(&cycle), (Ok(1), vec![String::new()]));
    // One dictionary under many keys.
    let mut wide = [b"\x80\x02}}U\x01w".as_slice(), array, b"sq\x000"].concat();
    for n in 0..50_000 {
        wide.extend([b"V".as_slice(), n.to_string().as_bytes(), b"\nh\x00s"].concat());
    }
    wide.extend(b".");
    assert_eq!(count(&wide), (Ok(1), vec!["0".to_owned()]));
    // Modules in modules, and a module in itself.
    let module = b"cm\nM\n)R}(U\x0b_parameters}U\x01w";
    let cyclic = [
        b"\x80\x02".as_slice(),
        array,
        b"q\x010cm\nM\n)Rq\x00}(U\x0b_parameters}U\x01wh\x01sU\x08_buffers}U\x08_modules}U\x01mh\x00sub.",
    ]
    .concat();
    assert_eq!(count(&cyclic), (Ok(1), vec![String::new()]));
    let mut nested = [b"\x80\x02".as_slice(), array, b"q\x010}q\x02"].concat();
    for _ in 0..10_000 {
        nested.extend(
            [module.as_slice(), b"h\x01sU\x08_buffers}U\x08_modulesh\x02ubq\x000}U\x01mh\x00sq\x02"].concat(),
        );
    }
    nested.extend(b"0h\x00.");
    assert!(count(&nested).0.unwrap_err().contains("nest deeper"), "{:?}", count(&nested));
}

#[test]
fn a_name_that_is_there_twice_is_an_error() {
    let bytes = replaced(&sample(0), b"conv2_2_dw_bn_mean", b"conv2_1_dw_bn_mean");
    let error = import_bytes("twice", &bytes).unwrap_err().to_string();
    assert!(error.contains("conv2_1_dw_bn_mean") && error.contains("twice"), "{error}");
}

/// Every place where `from` stands, replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    for start in 0..=bytes.len() - from.len() {
        if bytes[start..].starts_with(from) {
            bytes[start..start + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

/// A tensor of 2^40 elements over a storage of one, and a thousand tensors over one storage.
#[test]
fn views_cannot_ask_for_more_than_a_few_times_the_file() {
    let rebuild = |shape: &str, stride: &str| {
        format!(
            "ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI65536\ntQI0\n({shape}t({stride}tI00\nNt"
        ) + "R"
    };
    let file = |object: &str| {
        let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".as_slice();
        let storage = [&65536_i64.to_le_bytes()[..], &[0; 4 * 65536]].concat();
        [magic, b"I1001\n.(d.", object.as_bytes(), b"(lV0\na.", &storage].concat()
    };
    let one = file(&format!("(dVw\n{}s.", rebuild("I65536\n", "I1\n")));
    assert!(check(&one), "{:?}", import_bytes("x", &one).err());
    let huge = file(&format!("(dVw\n{}s.", rebuild("I1099511627776\n", "I0\n")));
    assert!(matches!(import_bytes("x", &huge), Err(Error::TooLarge { .. })));
    let beyond = file(&format!("(dVw\n{}s.", rebuild("I65537\n", "I1\n")));
    assert!(import_bytes("x", &beyond).unwrap_err().to_string().contains("beyond its storage"));
    let many: String = (0..100).map(|n| format!("Vw{n}\n{}s", rebuild("I65536\n", "I1\n"))).collect();
    assert!(matches!(import_bytes("x", &file(&format!("(d{many}."))), Err(Error::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn random_edits_never_panic(
        index in 0..SAMPLES.len(),
        // Most of a file is numbers: edits near its start and end hit its structure.
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample(index);
        let length = bytes.len();
        for (place, near_the_ends, value) in edits {
            let place = if near_the_ends {
                let place = place.index(2000.min(length));
                if place % 2 == 0 { place } else { length - place }
            } else {
                place.index(length)
            };
            bytes[place] = value;
        }
        check(&bytes);
        bytes.truncate(cut.index(length) + 1);
        check(&bytes);
    }

    #[test]
    fn random_opcodes_never_panic(opcodes in prop::collection::vec(opcode(), 0..60)) {
        let bytes = [b"\x80\x02".as_slice(), &opcodes.concat(), b"."].concat();
        check(&bytes);
    }
}

/// An opcode with an argument that fits it.
fn opcode() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"(",
        b".",
        b"0",
        b"1",
        b"2",
        b"N",
        b"]",
        b"}",
        b")",
        b"t",
        b"l",
        b"d",
        b"a",
        b"e",
        b"s",
        b"u",
        b"R",
        b"b",
        b"Q",
        b"\x81",
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x88",
        b"\x89",
        b"\x90",
        b"\x91",
        b"\x93",
        b"\x94",
        b"\x8f",
        b"K\x00",
        b"K\x03",
        b"J\xff\xff\xff\xff",
        b"q\x00",
        b"q\x01",
        b"h\x00",
        b"h\x01",
        b"X\x01\0\0\0a",
        b"X\x07\0\0\0storage",
        b"X\x06\0\0\0latin1",
        b"C\x04abcd",
        b"X\x02\0\0\0f4",
        b"X\x01\0\0\0<",
        b"cnumpy\ndtype\n",
        b"cnumpy\nndarray\n",
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b"ctorch\nFloatStorage\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ccollections\nOrderedDict\n",
        b"c_codecs\nencode\n",
        b"cnumpy.core.numeric\n_frombuffer\n",
        b"cbuiltins\ntuple\n",
        b"ctorch._utils\n_rebuild_tensor_v3\n",
        b"ctorch._tensor\n_rebuild_from_type_v2\n",
        b"ctorch\nTensor\n",
        b"ctorch\nfloat32\n",
        b"cm\nC\n",
        b"icollections\ndefaultdict\n",
        b"o",
        b"\x92",
        b"P('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 3)\n",
        b"X\x08\0\0\0_modules",
        b"X\x08\0\0\0_buffers",
        b"X\x0b\0\0\0_parameters",
    ];
    prop::sample::select(pieces.iter().map(|piece| piece.to_vec()).collect::<Vec<_>>())
}
