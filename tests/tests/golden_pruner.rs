//! The pruner against data from PaddleSlim: thresholds, masks, sparsities and schedules, bit for bit.
//!
//! The folder named by `GOLDEN_DIR` is read if it is set, else `golden/` beside this crate's manifest. Which
//! cases there are, and over which parameters, is up to the files. Keys that begin with `dy_` describe another
//! pruner and are not read.

#[cfg(test)]
mod golden {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use candle_core::{Device, Tensor, Var};
    use candle_nn::VarMap;
    use safetensors::{Dtype, SafeTensors};
    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use sparse_prune::{GmpConfig, Mode, ParamsType, Pruner, PrunerConfig, Scope, StepReport, Strategy};
    use sparse_sparsity::Mask;
    use sparse_sparsity::schedule::PaddleGmp;

    #[derive(Deserialize)]
    struct PrunerCases {
        param_order: Vec<Param>,
        mask_layout: Vec<Slot>,
        cases: Vec<PrunerCase>,
    }

    #[derive(Deserialize)]
    struct Param {
        name: String,
        shape: Vec<usize>,
    }

    #[derive(Deserialize)]
    struct Slot {
        name: String,
        offset: usize,
        len: usize,
    }

    #[derive(Deserialize)]
    struct PrunerCase {
        set: String,
        mode: String,
        value: f64,
        prune_params_type: Option<String>,
        local_sparsity: bool,
        sparse_block: [usize; 2],
        static_error: Option<String>,
        total_sparse_before: f64,
        threshold: Option<Threshold>,
        thresholds: Option<BTreeMap<String, Threshold>>,
        static_mask_row: usize,
        total_sparse: f64,
        total_sparse_conv1x1: f64,
        sparse_by_layer: BTreeMap<String, f64>,
        second_step_same_masks: bool,
        second_step_mask_row: Option<usize>,
        second_step_threshold: Option<Threshold>,
        second_step_thresholds: Option<BTreeMap<String, Threshold>>,
    }

    /// A threshold by its `f32` bits, in hexadecimal.
    #[derive(Deserialize)]
    struct Threshold {
        bits: String,
    }

    #[derive(Deserialize)]
    struct Schedules {
        cases: Vec<ScheduleCase>,
        edge_cases: Vec<EdgeCase>,
    }

    #[derive(Deserialize)]
    struct ScheduleCase {
        name: String,
        ratio: f64,
        configs: Configs,
        n_steps: u64,
        increment_period: u64,
        stack_after_init_in_pop_order: Vec<f64>,
        ratio_after_init: f64,
        need_prune_once: bool,
        ratio_changes: Vec<(u64, f64)>,
        update_iterations: Vec<u64>,
        final_ratio: f64,
        ratios_full: Option<Vec<f64>>,
    }

    #[derive(Deserialize)]
    struct EdgeCase {
        name: String,
        ratio: f64,
        configs: serde_json::Value,
        ok: bool,
        period: Option<u64>,
        ratio_after_init: Option<f64>,
        stack: Option<Vec<f64>>,
    }

    /// The settings under PaddleSlim's names; every one is required, and none is negative.
    #[derive(Deserialize)]
    struct Configs {
        stable_iterations: u64,
        pruning_iterations: u64,
        tunning_iterations: u64,
        resume_iteration: u64,
        pruning_steps: u64,
        initial_ratio: f64,
    }

    impl From<&Configs> for GmpConfig {
        fn from(configs: &Configs) -> Self {
            Self {
                stable_steps: configs.stable_iterations,
                pruning_steps: configs.pruning_iterations,
                tunning_steps: configs.tunning_iterations,
                updates: configs.pruning_steps,
                initial_ratio: configs.initial_ratio,
                resume_step: configs.resume_iteration,
            }
        }
    }

    fn golden_path(file: &str) -> PathBuf {
        let folder = std::env::var_os("GOLDEN_DIR").map(PathBuf::from);
        folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")).join(file)
    }

    fn golden_bytes(file: &str) -> Vec<u8> {
        let path = golden_path(file);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn golden_json<T: DeserializeOwned>(file: &str) -> T {
        let exact: f64 = serde_json::from_str("0.44279999999999986").unwrap();
        assert_eq!(
            exact.to_bits(),
            0.442_799_999_999_999_86_f64.to_bits(),
            "serde_json needs float_roundtrip"
        );
        serde_json::from_slice(&golden_bytes(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// The rows of packed masks: 8 weights per byte, the first in the most significant bit.
    struct MaskRows<'a> {
        bytes: &'a [u8],
        row_bytes: usize,
    }

    impl MaskRows<'_> {
        fn mask(&self, row: usize, slot: &Slot) -> Mask {
            let row = &self.bytes[row * self.row_bytes..(row + 1) * self.row_bytes];
            Mask::from_fn(slot.len, |index| {
                let bit = slot.offset + index;
                row[bit / 8] >> (7 - bit % 8) & 1 == 1
            })
        }
    }

    fn tensor(tensors: &SafeTensors<'_>, name: &str) -> Tensor {
        let view = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let shape = view.shape();
        match view.dtype() {
            Dtype::F32 => {
                let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                Tensor::from_vec(values.collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
            }
            Dtype::F64 => {
                let values = view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
                Tensor::from_vec(values.collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
            }
            other => panic!("{name} holds {other:?}"),
        }
    }

    fn variables(tensors: &SafeTensors<'_>, set: &str, params: &[Param]) -> VarMap {
        let vars = VarMap::new();
        let mut data = vars.data().lock().unwrap();
        for param in params {
            let tensor = tensor(tensors, &format!("{set}/{}", param.name));
            assert_eq!(tensor.dims(), param.shape, "{}", param.name);
            data.insert(param.name.clone(), Var::from_tensor(&tensor).unwrap());
        }
        drop(data);
        vars
    }

    fn config(case: &PrunerCase) -> PrunerConfig {
        let mode = match case.mode.as_str() {
            "ratio" => Mode::Ratio(case.value),
            "threshold" => Mode::Threshold(case.value),
            other => panic!("mode {other}"),
        };
        let params_type = match case.prune_params_type.as_deref() {
            None => ParamsType::All,
            Some("conv1x1_only") => ParamsType::Conv1x1Only,
            Some(other) => panic!("prune_params_type {other}"),
        };
        PrunerConfig {
            params_type,
            scope: if case.local_sparsity { Scope::LayerWise } else { Scope::Global },
            block: case.sparse_block,
            paddle_compat: true,
            ..PrunerConfig::new(mode)
        }
    }

    fn check_thresholds(
        pruner: &Pruner,
        report: &StepReport,
        one: Option<&Threshold>,
        by_layer: Option<&BTreeMap<String, Threshold>>,
    ) {
        let bits = |threshold: f64| format!("{:08x}", (threshold as f32).to_bits());
        if let Some(wanted) = one {
            assert_eq!(report.threshold.map(bits).as_ref(), Some(&wanted.bits), "threshold");
        }
        if let Some(wanted) = by_layer {
            let got: BTreeMap<&String, String> =
                pruner.thresholds().iter().map(|(name, &value)| (name, bits(value))).collect();
            let wanted = wanted.iter().map(|(name, wanted)| (name, wanted.bits.clone())).collect();
            assert_eq!(got, wanted, "thresholds");
        }
    }

    fn check_masks(pruner: &Pruner, layout: &[Slot], wanted: impl Fn(&Slot) -> Mask) {
        for slot in layout {
            let all_kept = Mask::all_kept(slot.len);
            let got = pruner.masks().get(&slot.name).unwrap_or(&all_kept);
            assert_eq!(got, &wanted(slot), "mask of {}", slot.name);
        }
        let known = |name: &String| layout.iter().any(|slot| &slot.name == name);
        assert!(pruner.masks().keys().all(known), "a mask that PaddleSlim does not have");
    }

    fn check_sparsities(pruner: &Pruner, case: &PrunerCase) {
        assert_eq!(pruner.total_sparse().unwrap(), case.total_sparse, "total_sparse");
        assert_eq!(pruner.total_sparse_conv1x1().unwrap(), case.total_sparse_conv1x1, "total_sparse_conv1x1");
        let mut by_layer = pruner.sparse_by_layer().unwrap();
        by_layer.retain(|_, sparsity| *sparsity != 0.0);
        assert_eq!(by_layer, case.sparse_by_layer, "sparse_by_layer");
    }

    fn check_pruner_case(file: &PrunerCases, case: &PrunerCase, vars: &VarMap, rows: &MaskRows<'_>) {
        let mut pruner = Pruner::new(vars, config(case)).unwrap();
        assert_eq!(pruner.total_sparse().unwrap(), case.total_sparse_before, "total_sparse before");
        let report = pruner.step().unwrap();
        check_thresholds(&pruner, &report, case.threshold.as_ref(), case.thresholds.as_ref());
        check_masks(&pruner, &file.mask_layout, |slot| rows.mask(case.static_mask_row, slot));
        pruner.update_params().unwrap();
        check_sparsities(&pruner, case);
        let first = pruner.masks().clone();
        let report = pruner.step().unwrap();
        let (one, by_layer) = (&case.second_step_threshold, &case.second_step_thresholds);
        check_thresholds(&pruner, &report, one.as_ref(), by_layer.as_ref());
        assert_eq!(&first == pruner.masks(), case.second_step_same_masks, "second step");
        assert_eq!(report.masks_changed, !case.second_step_same_masks);
        if let Some(row) = case.second_step_mask_row {
            check_masks(&pruner, &file.mask_layout, |slot| rows.mask(row, slot));
        }
    }

    /// Runs a check and adds to its panic which case it was.
    fn in_case(label: String, check: impl FnOnce()) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err() {
            panic!("in case {label}");
        }
    }

    #[test]
    fn pruner_cases_match_bit_for_bit() {
        let file: PrunerCases = golden_json("pruner_cases.json");
        let bytes = golden_bytes("pruner_cases.safetensors");
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let packed = tensors.tensor("masks_packed").unwrap();
        let rows = MaskRows { bytes: packed.data(), row_bytes: packed.shape()[1] };
        assert!(!file.cases.is_empty());
        for (number, case) in file.cases.iter().enumerate() {
            let PrunerCase { set, mode, value, sparse_block, local_sparsity, .. } = case;
            let label =
                format!("{number}: {set} {mode} {value} block {sparse_block:?} local {local_sparsity}");
            in_case(label, || {
                let vars = variables(&tensors, set, &file.param_order);
                match case.static_error {
                    None => check_pruner_case(&file, case, &vars, &rows),
                    Some(_) => {
                        let outcome = Pruner::new(&vars, config(case)).and_then(|mut pruner| pruner.step());
                        assert!(outcome.is_err(), "PaddleSlim refuses this");
                    }
                }
            });
        }
    }

    fn one_weight() -> VarMap {
        let vars = VarMap::new();
        let tensor = Tensor::ones((4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        vars.data().lock().unwrap().insert("weight".into(), Var::from_tensor(&tensor).unwrap());
        vars
    }

    fn gradual_pruner(gmp: GmpConfig, ratio: f64) -> sparse_prune::Result<Pruner> {
        let config = PrunerConfig {
            strategy: Strategy::Gmp(gmp),
            paddle_compat: true,
            ..PrunerConfig::new(Mode::Ratio(ratio))
        };
        Pruner::new(&one_weight(), config)
    }

    fn check_schedule(case: &ScheduleCase) {
        let gmp = GmpConfig::from(&case.configs);
        let schedule = PaddleGmp::new(&gmp, case.ratio).unwrap();
        assert_eq!(schedule.period(), case.increment_period, "period");
        assert_eq!(schedule.remaining().collect::<Vec<_>>(), case.stack_after_init_in_pop_order, "stack");
        assert_eq!(schedule.recompute_due(), case.need_prune_once, "need_prune_once");
        let mut pruner = gradual_pruner(gmp, case.ratio).unwrap();
        assert_eq!(pruner.ratio(), case.ratio_after_init, "ratio after init");
        let (mut changes, mut updates, mut full) = (Vec::new(), Vec::new(), Vec::new());
        for iteration in (case.configs.resume_iteration..).take(case.n_steps as usize) {
            let report = pruner.step().unwrap();
            if changes.last().is_none_or(|&(_, ratio)| ratio != report.ratio) {
                changes.push((iteration, report.ratio));
            }
            if report.masks_recomputed {
                updates.push(iteration);
            }
            full.push(report.ratio);
        }
        assert_eq!(changes, case.ratio_changes, "ratio changes");
        assert_eq!(updates, case.update_iterations, "updates");
        assert_eq!(pruner.ratio(), case.final_ratio, "final ratio");
        if let Some(wanted) = &case.ratios_full {
            assert_eq!(&full, wanted, "ratios");
        }
    }

    #[test]
    fn gmp_schedules_match_step_for_step() {
        let file: Schedules = golden_json("gmp_schedule.json");
        assert!(!file.cases.is_empty());
        for case in &file.cases {
            in_case(case.name.clone(), || check_schedule(case));
        }
    }

    fn check_edge_case(case: &EdgeCase) {
        let configs: Configs = match serde_json::from_value(case.configs.clone()) {
            Ok(configs) => configs,
            Err(_) => {
                // A missing setting cannot be written in our types, and neither can a negative step, which
                // PaddleSlim takes for 0.
                let negative = case.configs.get("resume_iteration").and_then(|value| value.as_i64());
                assert!(!case.ok || negative.is_some_and(|value| value < 0), "settings are refused");
                return;
            }
        };
        let gmp = GmpConfig::from(&configs);
        let schedule = PaddleGmp::new(&gmp, case.ratio);
        assert_eq!(schedule.is_ok(), case.ok, "{schedule:?}");
        assert_eq!(gradual_pruner(gmp, case.ratio).is_ok(), case.ok);
        let Ok(schedule) = schedule else { return };
        if let Some(period) = case.period {
            assert_eq!(schedule.period(), period, "period");
        }
        if let Some(ratio) = case.ratio_after_init {
            assert_eq!(schedule.ratio(), ratio, "ratio after init");
        }
        if let Some(stack) = &case.stack {
            assert_eq!(&schedule.remaining().collect::<Vec<_>>(), stack, "stack");
        }
    }

    #[test]
    fn gmp_edge_cases_are_refused_where_paddleslim_fails() {
        let file: Schedules = golden_json("gmp_schedule.json");
        assert!(!file.edge_cases.is_empty());
        for case in &file.edge_cases {
            in_case(case.name.clone(), || check_edge_case(case));
        }
    }
}
