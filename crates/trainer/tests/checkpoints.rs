//! The network in checkpoints of every shape, against the same weights in a plain file.
//!
//! The weights are those of files that `tests/torch/make.py` made; the checkpoints around them are pickled here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use sparse_formats::{Dtype, Tensor, Tensors, import};
use sparse_trainer::{Pretrained, WeightsAt, convert, inspect};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn made(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/torch").join(name)
}

/// The tensors of timm's file without what stands before their names.
fn timm() -> Tensors {
    let tensors = import(made("timm.pth")).unwrap().tensors;
    tensors
        .into_iter()
        .map(|(name, tensor)| (name.strip_prefix("module.").unwrap().to_owned(), tensor))
        .collect()
}

fn clas() -> Tensors {
    import(made("clas.pdparams")).unwrap().tensors
}

/// A pickle in the making: protocol 2 and the bytes of protocol 3.
struct Pickle(Vec<u8>);

/// What stands in a dictionary.
enum Item<'a> {
    Array(&'a Tensor),
    Dict(Vec<(String, Item<'a>)>),
    /// As it is.
    Opcodes(&'static [u8]),
}

fn dict<'a>(tensors: &'a Tensors, prefix: &str) -> Item<'a> {
    Item::Dict(
        tensors.iter().map(|(name, tensor)| (format!("{prefix}{name}"), Item::Array(tensor))).collect(),
    )
}

fn entries<'a, const N: usize>(items: [(&str, Item<'a>); N]) -> Vec<(String, Item<'a>)> {
    items.into_iter().map(|(name, item)| (name.to_owned(), item)).collect()
}

impl Pickle {
    fn of(item: &Item<'_>) -> Vec<u8> {
        let mut pickle = Self(b"\x80\x02".to_vec());
        pickle.put(item);
        pickle.0.push(b'.');
        pickle.0
    }

    fn put(&mut self, item: &Item<'_>) {
        match item {
            Item::Array(tensor) => self.array(tensor),
            Item::Opcodes(opcodes) => self.0.extend(*opcodes),
            Item::Dict(items) => {
                self.0.extend(b"}(");
                for (name, item) in items {
                    self.0.push(b'X');
                    self.0.extend((name.len() as u32).to_le_bytes());
                    self.0.extend(name.as_bytes());
                    self.put(item);
                }
                self.0.push(b'u');
            }
        }
    }

    fn array(&mut self, tensor: &Tensor) {
        let name = match tensor.dtype {
            Dtype::F32 => "f4",
            Dtype::F64 => "f8",
            Dtype::U16 => "u2",
            Dtype::I64 => "i8",
            Dtype::Bool => "b1",
            other => panic!("{other}"),
        };
        self.0.extend(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR(I1\n(");
        for length in &tensor.shape {
            self.0.extend(format!("I{length}\n").as_bytes());
        }
        let element = format!("tcnumpy\ndtype\n(U\x02{name}I00\nI01\ntR(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\nB");
        self.0.extend(element.as_bytes());
        self.0.extend((tensor.data.len() as u32).to_le_bytes());
        self.0.extend(&tensor.data);
        self.0.extend(b"tb");
    }
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn pickle(&self, item: &Item<'_>) -> PathBuf {
        let path = self.0.path().join("checkpoint");
        fs::write(&path, Pickle::of(item)).unwrap();
        path
    }

    fn safetensors(&self, tensors: &Tensors) -> PathBuf {
        let path = self.0.path().join("checkpoint.safetensors");
        sparse_formats::write(&path, tensors, None).unwrap();
        path
    }

    fn converted<'a>(&self, from: impl Into<WeightsAt<'a>>) -> Tensors {
        let to = self.0.path().join("converted");
        convert(from, &to).unwrap_or_else(|error| panic!("{error}"));
        sparse_formats::read(&to).unwrap().0
    }

    fn refused(&self, from: &Path, key: Option<&str>) -> String {
        convert(WeightsAt::from(from).under(key), &self.0.path().join("converted")).unwrap_err().to_string()
    }
}

fn scalar() -> &'static Tensor {
    Box::leak(Box::new(Tensor::from_f32([], &[71.5])))
}

/// Every number times `factor`.
fn scaled(tensors: &Tensors, factor: f32) -> Tensors {
    let scaled = |tensor: &Tensor| match tensor.dtype {
        Dtype::F32 => {
            let values: Vec<f32> = tensor.to_f32().unwrap().iter().map(|value| factor * value).collect();
            Tensor::from_f32(tensor.shape.clone(), &values)
        }
        _ => tensor.clone(),
    };
    tensors.iter().map(|(name, tensor)| (name.clone(), scaled(tensor))).collect()
}

/// Zeros and ones for each weight of four axes whose name ends so.
fn masks(tensors: &Tensors, end: &str) -> Tensors {
    let weights = tensors.iter().filter(|(name, tensor)| tensor.shape.len() == 4 && name.ends_with(end));
    let mask = |(name, tensor): (&String, &Tensor)| {
        let count = tensor.shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|index| f32::from(u8::from(index % 3 > 0))).collect();
        (name.clone(), Tensor::from_f32(tensor.shape.clone(), &values))
    };
    weights.map(mask).collect()
}

/// The weights times their masks.
fn masked(tensors: &Tensors, masks: &Tensors) -> Tensors {
    let product = |(name, tensor): (&String, &Tensor)| {
        let Some(mask) = masks.get(name) else { return (name.clone(), tensor.clone()) };
        let (values, mask) = (tensor.to_f32().unwrap(), mask.to_f32().unwrap());
        let values: Vec<f32> =
            values.iter().zip(mask).map(|(value, keep)| if keep == 0.0 { 0.0 } else { *value }).collect();
        (name.clone(), Tensor::from_f32(tensor.shape.clone(), &values))
    };
    tensors.iter().map(product).collect()
}

#[test]
fn the_network_is_found_wherever_it_is_and_whatever_is_beside_it() {
    let (files, weights) = (Files::new(), timm());
    let reference = files.converted(&made("timm.pth"));
    let average =
        |item: Item<'static>| Item::Dict(entries([("n_averaged", Item::Array(scalar())), ("x", item)]));
    let weights: &'static Tensors = Box::leak(Box::new(weights));
    let mut counted = match dict(weights, "module.") {
        Item::Dict(items) => items,
        _ => panic!(),
    };
    counted.push(("n_averaged".to_owned(), Item::Array(scalar())));
    let arguments = Item::Opcodes(b"cargparse\nNamespace\n)R}U\x02lrG?\xb9\x99\x99\x99\x99\x99\x9asb");
    let checkpoints = [
        Item::Dict(entries([
            ("best_acc1", Item::Array(scalar())),
            ("args", arguments),
            ("state_dict", dict(weights, "")),
            ("epoch", Item::Opcodes(b"I3\n")),
            ("rng", Item::Opcodes(b"cnumpy.random\n__RandomState_ctor\n)R")),
        ])),
        Item::Dict(entries([
            ("net", dict(weights, "")),
            ("acc", Item::Opcodes(b"G?\xb9\x99\x99\x99\x99\x99\x9a")),
        ])),
        Item::Dict(entries([("model", Item::Dict(entries([("state_dict", dict(weights, "backbone."))])))])),
        Item::Dict(entries([("model_ema", average(dict(weights, "_orig_mod.module.")))])),
        Item::Dict(entries([("model_ema", Item::Dict(counted))])),
    ];
    for (index, checkpoint) in checkpoints.iter().enumerate() {
        assert!(files.converted(&files.pickle(checkpoint)) == reference, "checkpoint {index}");
    }
    for prefix in ["module.", "model.module.", "net.backbone.encoder."] {
        let named =
            weights.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect();
        assert!(files.converted(&files.safetensors(&named)) == reference, "{prefix}");
    }
}

#[test]
fn of_two_networks_the_key_decides() {
    let (files, weights) = (Files::new(), timm());
    let double = scaled(&weights, 2.0);
    let (weights, double): (&'static Tensors, &'static Tensors) =
        (Box::leak(Box::new(weights)), Box::leak(Box::new(double)));
    let both = files
        .pickle(&Item::Dict(entries([("model", dict(weights, "")), ("model_ema", dict(double, "module."))])));
    let message = files.refused(&both, None);
    assert!(
        message.contains("several networks (model, model_ema.module)") && message.contains("--key"),
        "{message}"
    );
    let reference = files.converted(&made("timm.pth"));
    let under = |key| WeightsAt::from(&both).under(Some(key));
    assert!(files.converted(under("model")) == reference);
    assert!(files.converted(under("model_ema")) == scaled(&reference, 2.0));
    assert!(files.refused(&both, Some("ema")).contains("no network under ema"));
    assert_eq!(Pretrained::read(under("model_ema")).unwrap().key, "model_ema.module");
    let layers = inspect(under("model_ema")).unwrap().layers;
    assert!(layers.iter().any(|layer| layer.name == "conv1_weights" && layer.shape == [2, 3, 3, 3]));
}

#[test]
fn masks_are_multiplied_into_the_weights_and_it_is_said() {
    let files = Files::new();
    // PaddleSlim: NAME and NAME_mask.
    let weights = clas();
    let cut = masks(&weights, "");
    let mut both = weights.clone();
    both.extend(cut.iter().map(|(name, mask)| (format!("{name}_mask"), mask.clone())));
    let path = files.pickle(&dict(&both, ""));
    let pretrained = Pretrained::read(&path).unwrap();
    assert_eq!((pretrained.masked, pretrained.ignored.len()), (27, 0));
    assert!(pretrained.notes[0].contains("masks of 27 tensors"), "{:?}", pretrained.notes);
    let expected = files.converted(&files.pickle(&dict(&masked(&weights, &cut), "")));
    let path = files.pickle(&dict(&both, ""));
    assert!(files.converted(&path) == expected);
    // Weights that are zero already: the same, and nothing to say.
    let mut done = masked(&weights, &cut);
    done.extend(cut.iter().map(|(name, mask)| (format!("{name}_mask"), mask.clone())));
    assert!(Pretrained::read(&files.pickle(&dict(&done, ""))).unwrap().notes.is_empty());
    // torch.nn.utils.prune: NAME_orig and NAME_mask.
    let weights = timm();
    let cut = masks(&weights, "conv_pw.weight");
    let mut parts = weights.clone();
    for (name, mask) in &cut {
        let weight = parts.remove(name).unwrap();
        parts.insert(format!("{name}_orig"), weight);
        parts.insert(format!("{name}_mask"), mask.clone());
    }
    let expected = files.converted(&files.pickle(&dict(&masked(&weights, &cut), "")));
    assert!(files.converted(&files.pickle(&dict(&parts, "module."))) == expected);
    let name = cut.keys().next().unwrap();
    parts.insert(format!("{name}_mask"), scaled(&cut, 0.5)[name].clone());
    let message = files.refused(&files.pickle(&dict(&parts, "")), None);
    assert!(message.contains(&format!("{name}_mask")) && message.contains("0.5"), "{message}");
}

#[test]
fn masks_in_a_dictionary_of_their_own_are_multiplied_in_as_well() {
    let files = Files::new();
    let weights = timm();
    let cut = masks(&weights, "conv_pw.weight");
    let expected = files.converted(&files.pickle(&dict(&masked(&weights, &cut), "")));
    for (key, prefix) in [("masks", ""), ("mask", "module.")] {
        let both =
            Item::Dict(entries([("state_dict", dict(&weights, "module.")), (key, dict(&cut, prefix))]));
        let path = files.pickle(&both);
        let pretrained = Pretrained::read(&path).unwrap();
        assert_eq!(pretrained.masked, cut.len());
        assert!(pretrained.notes[0].contains("masks of 13 tensors"), "{:?}", pretrained.notes);
        assert!(files.converted(&path) == expected, "{key}");
    }
    let renamed: Tensors = cut.iter().map(|(name, mask)| (format!("x{name}"), mask.clone())).collect();
    let both = Item::Dict(entries([("state_dict", dict(&weights, "")), ("masks", dict(&renamed, ""))]));
    let notes = Pretrained::read(&files.pickle(&both)).unwrap().notes;
    assert!(notes[0].contains("belong to no weights") && notes[0].contains("masks.xblocks"), "{notes:?}");
}

#[test]
fn element_types_are_widened_or_refused_by_name() {
    let files = Files::new();
    // bf16 as Paddle writes it: the upper halves of f32 as whole numbers of 16 bits.
    let weights = clas();
    let half = |tensor: &Tensor, keep: bool| {
        let upper = tensor.data.as_chunks::<4>().0.iter().map(|number| [number[2], number[3]]);
        let shape = tensor.shape.clone();
        if keep {
            let data = upper.flat_map(|[low, high]| [0, 0, low, high]).collect();
            Tensor { dtype: Dtype::F32, shape, data }
        } else {
            Tensor { dtype: Dtype::U16, shape, data: upper.flatten().collect() }
        }
    };
    let each = |keep| -> Tensors {
        weights.iter().map(|(name, tensor)| (name.clone(), half(tensor, keep))).collect()
    };
    let expected = files.converted(&files.pickle(&dict(&each(true), "")));
    assert!(files.converted(&files.pickle(&dict(&each(false), ""))) == expected);
    assert!(files.converted(&files.safetensors(&each(false))) == expected);
    // f64, and whole numbers under a name of torch.
    let mut weights = timm();
    let reference = files.converted(&made("timm.pth"));
    let wide: Vec<f64> = weights["classifier.bias"].to_f32().unwrap().into_iter().map(f64::from).collect();
    weights.insert("classifier.bias".into(), Tensor::from_f64([10], &wide));
    assert!(files.converted(&files.pickle(&dict(&weights, ""))) == reference);
    weights
        .insert("classifier.bias".into(), Tensor { dtype: Dtype::I64, shape: vec![10], data: vec![0; 80] });
    for path in [files.pickle(&dict(&weights, "")), files.safetensors(&weights)] {
        let message = files.refused(&path, None);
        assert!(message.contains("classifier.bias") && message.contains("whole numbers (I64)"), "{message}");
        assert!(!message.contains("model.scale"), "{message}");
    }
}

#[test]
fn what_is_odd_about_the_numbers_is_told_by_name() {
    let files = Files::new();
    let mut weights = timm();
    weights.insert("conv_stem.weight".into(), Tensor::from_f32([2, 3, 3, 3], &[f32::NAN; 54]));
    weights.insert("bn1.running_var".into(), Tensor::from_f32([2], &[-1.0, 1.0]));
    let notes = Pretrained::read(&files.pickle(&dict(&weights, ""))).unwrap().notes;
    assert!(notes[0].contains("NaN or infinite, in conv1_weights"), "{notes:?}");
    assert!(notes[1].contains("below zero, in conv1_bn_variance"), "{notes:?}");
    let mut beside: Tensors =
        timm().into_iter().map(|(name, tensor)| (format!("1.{name}"), tensor)).collect();
    beside.insert("0.mean".into(), Tensor::from_f32([3], &[0.5; 3]));
    let notes = Pretrained::read(&files.pickle(&dict(&beside, ""))).unwrap().notes;
    assert!(notes[0].contains("under 1; they are not read: 0.mean"), "{notes:?}");
}

#[test]
fn a_file_without_tensors_says_so() {
    let files = Files::new();
    for path in [
        files.safetensors(&Tensors::new()),
        files.pickle(&Item::Dict(entries([("epoch", Item::Opcodes(b"I3\n"))]))),
    ] {
        let message = files.refused(&path, None);
        assert!(message.contains("no tensors under names"), "{message}");
    }
}

#[test]
fn inspect_measures_what_convert_reads() {
    let files = Files::new();
    let reference = files.converted(&made("timm.pth"));
    for name in ["timm.pth", "str.pt", "clas.pdparams"] {
        let inspection = inspect(&made(name)).unwrap();
        assert_eq!(inspection.layers.len(), 137, "{name}");
    }
    let inspection = inspect(&made("timm.pth")).unwrap();
    let numbers: usize = reference.values().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    assert_eq!(inspection.parameters, numbers as u64);
    // Counters are whole numbers and no part of the measure.
    assert!(
        inspect(&made("hugging_face.safetensors"))
            .unwrap()
            .layers
            .iter()
            .all(|layer| !layer.name.contains("num_batches"))
    );
}
