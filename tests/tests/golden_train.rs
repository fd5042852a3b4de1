//! Training against traces of the original: loss, masks and gradients, step by step.

#![allow(clippy::unwrap_used, clippy::panic)]

mod golden {
    use candle_core::{DType, Device, Tensor, Var};
    use serde_json::Value;
    use sparse_formats::{Dtype, Tensors};
    use sparse_model::{Mode as Pass, Model, NetworkConfig, Precision};
    use sparse_ops::{SgdConfig, cross_entropy};
    use sparse_prune::{GmpConfig, GradientMode, Mode, PrunerConfig, Strategy};
    use sparse_tests::{golden_json, golden_tensors};
    use sparse_trainer::{Learner, LearnerConfig};
    use std::collections::BTreeMap;

    fn number(value: &Value) -> f64 {
        value.as_f64().unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(number).collect()
    }

    fn relative_error(got: f64, expected: f64) -> f64 {
        (got - expected).abs() / expected.abs()
    }

    /// The traces with everything needed to run them again.
    struct Traces {
        json: Value,
        tensors: Tensors,
        dtype: DType,
    }

    impl Traces {
        fn load(dtype: DType) -> Self {
            Self {
                json: golden_json("train_trace.json"),
                tensors: golden_tensors("train_trace.safetensors"),
                dtype,
            }
        }

        fn hyper(&self, key: &str) -> f64 {
            number(&self.json["hyper"][key])
        }

        /// A constant as the original holds it, a rounded f32.
        fn constant(&self, key: &str) -> f64 {
            number(&self.json["hyper"]["effective_constants_f64"][key])
        }

        fn runs(&self, precision: &str) -> BTreeMap<String, Value> {
            serde_json::from_value(self.json[precision]["traces"].clone()).unwrap()
        }

        fn model(&self) -> Model {
            let input = &self.tensors["x_u8"].shape;
            let classes = self.hyper("num_classes") as usize;
            // The share that training keeps of running statistics is that of the original, which has it in f32.
            assert_eq!(self.constant("bn_momentum") as f32, sparse_model::BN_MOMENTUM as f32);
            let config = NetworkConfig {
                bn_epsilon: self.constant("bn_eps"),
                ..NetworkConfig::mobilenet(self.hyper("scale"), input[2], classes)
            };
            let model = Model::new(config, 0, self.dtype, &Device::Cpu).unwrap();
            for (name, variable) in model.variables() {
                let tensor = &self.tensors[&format!("init/{name}")];
                assert_eq!(tensor.shape, variable.dims(), "{name}");
                let values =
                    Tensor::from_vec(tensor.to_f32().unwrap(), variable.shape(), &Device::Cpu).unwrap();
                variable.set(&values.to_dtype(self.dtype).unwrap()).unwrap();
            }
            model
        }

        /// Images, `[N, C, H, W]`, and labels of batch `number`.
        fn batch(&self, number: usize) -> (Tensor, Vec<u32>) {
            let pixels = &self.tensors["x_u8"];
            let (shape, size) = (&pixels.shape[1..], pixels.shape[1..].iter().product::<usize>());
            let bytes = &pixels.data[number * size..][..size];
            let images: Vec<f32> = bytes.iter().map(|&byte| (f32::from(byte) - 127.5) / 127.5).collect();
            let images = Tensor::from_vec(images, shape, &Device::Cpu).unwrap().to_dtype(self.dtype).unwrap();
            (images, self.labels(number))
        }

        fn labels(&self, number: usize) -> Vec<u32> {
            let labels = &self.tensors["label"];
            assert_eq!(labels.dtype, Dtype::I64);
            let integer = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap());
            let all: Vec<u32> =
                labels.data.chunks_exact(8).map(|bytes| integer(bytes).try_into().unwrap()).collect();
            let batch = self.hyper("batch") as usize;
            all[number * batch..][..batch].to_vec()
        }

        fn learner(&self, run: &Value) -> Learner {
            let sgd =
                SgdConfig { momentum: self.constant("mu"), l2_decay: self.constant("l2"), clip_norm: None };
            let pruner = run["pruner"].as_bool().unwrap().then(|| pruner_config(run));
            Learner::new(
                self.model(),
                LearnerConfig { sgd, label_smoothing: 0.0, precision: Precision::Full, pruner },
            )
            .unwrap()
        }

        fn final_masks(&self, run: &str) -> BTreeMap<String, Vec<bool>> {
            let packed = &self.tensors[&format!("f64/{run}/final_masks_packed")].data;
            let bits: Vec<bool> =
                packed.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1)).collect();
            let mut at = 0;
            let mut masks = BTreeMap::new();
            for row in self.json["mask_layout"].as_array().unwrap() {
                let len = numbers(&row["shape"]).iter().product::<f64>() as usize;
                masks.insert(row["name"].as_str().unwrap().to_owned(), bits[at..at + len].to_vec());
                at += len;
            }
            masks
        }
    }

    fn pruner_config(run: &Value) -> PrunerConfig {
        let mode = match run["mode"].as_str().unwrap() {
            "ratio" => Mode::Ratio(number(&run["ratio"])),
            _ => Mode::Threshold(number(&run["threshold"])),
        };
        let mut config = PrunerConfig::new(mode);
        config.paddle_compat = true;
        if run["order"] == "readme" {
            config.gradient = GradientMode::Dense;
        }
        if let Value::Object(gmp) = &run["gmp"] {
            config.strategy = Strategy::Gmp(GmpConfig {
                stable_steps: gmp["stable_iterations"].as_u64().unwrap(),
                pruning_steps: gmp["pruning_iterations"].as_u64().unwrap(),
                tunning_steps: gmp["tunning_iterations"].as_u64().unwrap(),
                updates: gmp["pruning_steps"].as_u64().unwrap(),
                initial_ratio: number(&gmp["initial_ratio"]),
                resume_step: gmp["resume_iteration"].as_u64().unwrap(),
            });
        }
        config
    }

    /// Steps over which a run has to follow the trace: rates above 0.01 diverge within a few steps.
    fn followed_steps(run: &Value) -> usize {
        let steps = run["loss"].as_array().unwrap().len();
        if number(&run["lr"]) > 0.01 { steps.min(8) } else { steps }
    }

    #[test]
    fn f64_runs_follow_the_original() {
        let traces = Traces::load(DType::F64);
        let runs = traces.runs("float64");
        assert!(!runs.is_empty());
        for (name, run) in &runs {
            let mut learner = traces.learner(run);
            let (losses, masked) = (numbers(&run["loss"]), numbers(&run["masked"]));
            for (step, &expected) in losses.iter().take(followed_steps(run)).enumerate() {
                let (images, labels) = traces.batch(step % traces.hyper("n_batches") as usize);
                learner.step(&images, &labels, number(&run["lr"])).unwrap();
                let loss = learner.results().unwrap().loss;
                let tolerance = if step < 5 { 1e-8 } else { 1e-5 };
                let error = relative_error(loss, expected);
                assert!(
                    error < tolerance,
                    "{name} step {step}: loss {loss}, the original {expected}, {error:e}"
                );
                if let Some(&expected) = masked.get(step) {
                    let pruned: usize =
                        learner.state().unwrap().pruner().masks().values().map(|mask| mask.pruned()).sum();
                    assert_eq!(pruned as f64, expected, "{name} step {step}: weights pruned");
                }
            }
            if followed_steps(run) == losses.len() && learner.state().unwrap().prunes() {
                check_final_masks(&traces, name, &mut learner);
            }
        }
    }

    /// Masks equal the original's but for weights within 1e-6 of the threshold.
    fn check_final_masks(traces: &Traces, run: &str, learner: &mut Learner) {
        let held = learner.state().unwrap();
        for (name, expected) in traces.final_masks(run) {
            let mask = &held.pruner().masks()[&name];
            let threshold = held.pruner().thresholds()[&name];
            let weights = held.model().variables()[&name].as_tensor().flatten_all().unwrap();
            let weights = weights.to_vec1::<f64>().unwrap();
            for (i, &weight) in weights.iter().enumerate() {
                let near = (weight.abs() - threshold).abs() <= 1e-6;
                assert!(
                    mask.get(i) == expected[i] || near,
                    "{run}: mask of {name} differs at {i}: |{weight}| {threshold}"
                );
            }
        }
    }

    #[test]
    fn gradients_of_the_first_step_equal_the_original() {
        let traces = Traces::load(DType::F64);
        let model = traces.model();
        let (images, labels) = traces.batch(0);
        let logits = model.forward(&images, Pass::TRAIN).unwrap();
        let gradients = cross_entropy(&logits, &labels, 0.0).unwrap().backward().unwrap();
        let of = |variable: &Var| {
            gradients.get(variable.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        let prefix = "f64/grad0/";
        let stored: Vec<&String> = traces.tensors.keys().filter(|name| name.starts_with(prefix)).collect();
        assert!(!stored.is_empty());
        for key in stored {
            let tensor = &traces.tensors[key];
            let expected: Vec<f64> = match tensor.to_f64() {
                Ok(values) => values,
                Err(_) => tensor.to_f32().unwrap().into_iter().map(f64::from).collect(),
            };
            // The file rounds to f32, which alone costs up to 6e-8 of a value.
            let rounding = if tensor.to_f64().is_ok() { 0.0 } else { 6e-8 };
            let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            for (i, (got, expected)) in
                of(&model.variables()[&key[prefix.len()..]]).iter().zip(&expected).enumerate()
            {
                let allowed = 1e-9 * largest + rounding * expected.abs();
                assert!((got - expected).abs() <= allowed, "{key} {i}: {got}, the original {expected}");
            }
        }
        for (name, norm) in traces.json["float64"]["grad0_l2"].as_object().unwrap() {
            let got = of(&model.variables()[name]).iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!(relative_error(got, number(norm)) < 1e-9, "{name}: norm {got}, the original {norm}");
        }
    }

    #[test]
    fn f32_runs_begin_like_the_original() {
        let traces = Traces::load(DType::F32);
        for (name, run) in traces.runs("float32") {
            let mut learner = traces.learner(&run);
            for (step, tolerance) in [(0, 1e-5), (1, 1e-3)] {
                let (images, labels) = traces.batch(step % traces.hyper("n_batches") as usize);
                learner.step(&images, &labels, number(&run["lr"])).unwrap();
                let loss = learner.results().unwrap().loss;
                let expected = numbers(&run["loss"])[step];
                assert!(
                    relative_error(loss, expected) < tolerance,
                    "{name} step {step}: {loss}, the original {expected}"
                );
            }
        }
    }

    #[test]
    fn evaluation_before_training_equals_the_original() {
        for (precision, dtype, tolerance) in [("float64", DType::F64, 1e-9), ("float32", DType::F32, 1e-5)] {
            let traces = Traces::load(dtype);
            let (images, labels) = traces.batch(0);
            let logits = traces.model().forward(&images, Pass::Eval).unwrap();
            let loss = cross_entropy(&logits, &labels, 0.0).unwrap().to_dtype(DType::F64).unwrap();
            let loss = loss.to_scalar::<f64>().unwrap();
            let expected = number(&traces.json[precision]["eval_loss_batch0"]);
            assert!(
                relative_error(loss, expected) < tolerance,
                "{precision}: {loss}, the original {expected}"
            );
        }
    }
}
