//! The pruner over maps of small variables: every setting, and what it refuses.

#[cfg(test)]
mod pruner {
    use std::collections::BTreeMap;

    use candle_core::{DType, Device, Tensor, Var};
    use candle_nn::VarMap;
    use sparse_prune::{
        Criterion, Error, Facts, GmpConfig, GradientMode, Mode, ParamsType, Phase, Pruner, PrunerConfig,
        PrunerState, Scope, Strategy,
    };
    use sparse_sparsity::Mask;

    fn map(tensors: &[(&str, Tensor)]) -> VarMap {
        let vars = VarMap::new();
        for (name, tensor) in tensors {
            vars.data().lock().unwrap().insert((*name).to_owned(), Var::from_tensor(tensor).unwrap());
        }
        vars
    }

    fn f32s(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    /// A value in (-1, 1) for every index; no two indices below 10,000 give the same magnitude.
    fn value(index: usize) -> f32 {
        let magnitude = (index * 7919 % 10_007) as f32 / 10_007.0;
        if index.is_multiple_of(3) { -magnitude } else { magnitude }
    }

    fn spread(from: usize, shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (1..=shape.iter().product()).map(|index| value(from + index)).collect();
        f32s(&values, shape)
    }

    /// A small network: two kernels, a head, a bias, a running statistic with zeros, and a counter.
    fn network() -> VarMap {
        map(&[
            ("conv.weight", spread(0, &[8, 3, 3, 3])),
            ("pointwise.weight", spread(1000, &[16, 8, 1, 1])),
            ("head.weight", spread(2000, &[10, 16])),
            ("head.bias", spread(3000, &[10])),
            ("norm.running_mean", Tensor::zeros(16, DType::F32, &Device::Cpu).unwrap()),
            ("norm.steps", Tensor::new(&[0_i64, 3], &Device::Cpu).unwrap()),
        ])
    }

    const PRUNABLE: usize = 8 * 3 * 3 * 3 + 16 * 8 + 10 * 16;

    fn values(vars: &VarMap, name: &str) -> Vec<f32> {
        vars.data().lock().unwrap()[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    fn set(vars: &VarMap, name: &str, tensor: &Tensor) {
        vars.data().lock().unwrap()[name].set(tensor).unwrap();
    }

    fn ratio(ratio: f64) -> PrunerConfig {
        PrunerConfig::new(Mode::Ratio(ratio))
    }

    fn stepped(vars: &VarMap, config: PrunerConfig) -> Pruner {
        let mut pruner = Pruner::new(vars, config).unwrap();
        pruner.step().unwrap();
        pruner
    }

    fn pruned(pruner: &Pruner) -> usize {
        pruner.masks().values().map(Mask::pruned).sum()
    }

    fn gmp() -> GmpConfig {
        GmpConfig {
            stable_steps: 5,
            pruning_steps: 40,
            tunning_steps: 10,
            updates: 3,
            initial_ratio: 0.1,
            resume_step: 0,
        }
    }

    #[test]
    fn a_ratio_is_hit_exactly_over_all_and_by_layer() {
        let vars = network();
        for share in [0.0, 0.001, 0.33, 0.5, 0.987] {
            let count = |total: usize| (share * total as f64).round() as usize;
            let pruner = stepped(&vars, ratio(share));
            assert_eq!(pruned(&pruner), count(PRUNABLE), "{share}");
            let pruner = stepped(&vars, PrunerConfig { scope: Scope::LayerWise, ..ratio(share) });
            assert!(pruner.masks().values().all(|mask| mask.pruned() == count(mask.len())), "{share}");
        }
    }

    #[test]
    fn a_global_ratio_keeps_the_largest_and_reports_the_threshold_between() {
        let vars = network();
        let mut pruner = Pruner::new(&vars, ratio(0.5)).unwrap();
        let report = pruner.step().unwrap();
        let threshold = report.threshold.unwrap() as f32;
        assert!(report.masks_changed && report.masks_recomputed);
        for (name, mask) in pruner.masks() {
            for (index, weight) in values(&vars, name).into_iter().enumerate() {
                assert_eq!(mask.get(index), weight.abs() >= threshold, "{name} {index}");
            }
        }
        assert!(!pruner.step().unwrap().masks_changed);
    }

    #[test]
    fn ties_are_pruned_in_the_order_of_names_and_indices() {
        let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let vars = map(&[("b", ones(&[300, 300])), ("a", ones(&[10, 10])), ("c", ones(&[10, 10]))]);
        let pruner = stepped(&vars, ratio(0.75));
        let total = 90_200;
        let wanted = total * 3 / 4;
        assert_eq!(pruner.masks()["a"].kept(), 0);
        assert_eq!(pruner.masks()["b"], Mask::from_fn(90_000, |index| index >= wanted - 100));
        assert_eq!(pruner.masks()["c"].pruned(), 0);
    }

    #[test]
    fn pruned_weights_become_zero_in_place_and_others_keep_their_bits() {
        let vars = network();
        let before = values(&vars, "conv.weight");
        let pruner = stepped(&vars, ratio(0.5));
        assert_eq!(values(&vars, "conv.weight"), before);
        pruner.update_params().unwrap();
        let mask = &pruner.masks()["conv.weight"];
        for (index, (after, before)) in values(&vars, "conv.weight").iter().zip(&before).enumerate() {
            let wanted = if mask.get(index) { *before } else { 0.0 };
            assert_eq!(after.to_bits(), wanted.to_bits());
        }
        assert_eq!(pruner.sparsity().unwrap().prunable, 0.5);
    }

    #[test]
    fn double_precision_and_mixed_maps_are_ranked_alike() {
        let single = stepped(&network(), ratio(0.6));
        for widen in [vec!["conv.weight"], vec!["conv.weight", "pointwise.weight", "head.weight"]] {
            let vars = network();
            for name in widen {
                let wide = vars.data().lock().unwrap()[name].to_dtype(DType::F64).unwrap();
                vars.data().lock().unwrap().insert(name.to_owned(), Var::from_tensor(&wide).unwrap());
            }
            let pruner = stepped(&vars, ratio(0.6));
            assert_eq!(pruner.masks(), single.masks());
            pruner.update_params().unwrap();
            assert_eq!(
                pruner.sparsity().unwrap().prunable,
                1.0 - (PRUNABLE - pruned(&pruner)) as f64 / PRUNABLE as f64
            );
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let vars =
            map(&[("a", spread(0, &[300, 331])), ("b", spread(7, &[65, 900])), ("c", spread(7, &[9, 9]))]);
        let configs = [
            ratio(0.4),
            PrunerConfig { block: [3, 2], ..ratio(0.4) },
            PrunerConfig { paddle_compat: true, block: [2, 1], ..ratio(0.4) },
        ];
        for config in configs {
            let masks_on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| stepped(&vars, config.clone()).masks().clone())
            };
            assert_eq!(masks_on(1), masks_on(5));
        }
    }

    /// The masks by sorting (magnitude, position) over all variables in the order of their names.
    fn masks_by_sorting(vars: &VarMap, names: &[&str], count: usize) -> Vec<Mask> {
        let all: Vec<Vec<f32>> = names.iter().map(|name| values(vars, name)).collect();
        let mut order: Vec<(u32, usize, usize)> = Vec::new();
        for (variable, weights) in all.iter().enumerate() {
            order.extend(
                weights.iter().enumerate().map(|(at, weight)| (weight.abs().to_bits(), variable, at)),
            );
        }
        order.sort_unstable();
        let mut keep: Vec<Vec<bool>> = all.iter().map(|weights| vec![true; weights.len()]).collect();
        for &(_, variable, at) in &order[..count] {
            keep[variable][at] = false;
        }
        keep.iter().map(|keep| Mask::from_fn(keep.len(), |index| keep[index])).collect()
    }

    #[test]
    fn many_weights_are_ranked_as_by_sorting() {
        // More weights than a sample, with ties in the thousands, zeros, and an order that misleads a sample.
        let total = 300 * 700 + 100 * 100;
        for kind in 0..4 {
            let weight = |index: usize| match kind {
                0 => value(index),
                1 => (value(index) * 8.0).round(),
                2 => {
                    if index.is_multiple_of(4) {
                        value(index)
                    } else {
                        0.0
                    }
                }
                _ => {
                    if index.is_multiple_of((total / (1 << 14)) | 1) {
                        9.0
                    } else {
                        value(index)
                    }
                }
            };
            let weights: Vec<f32> = (0..total).map(weight).collect();
            let (a, b) = weights.split_at(300 * 700);
            let vars = map(&[("a", f32s(a, &[300, 700])), ("b", f32s(b, &[100, 100]))]);
            for share in [0.0, 0.001, 0.5, 0.75, 0.999] {
                let count = (share * total as f64).round() as usize;
                let pruner = stepped(&vars, ratio(share));
                let wanted = masks_by_sorting(&vars, &["a", "b"], count);
                assert!(pruner.masks().values().eq(&wanted), "kind {kind} share {share}");
            }
        }
    }

    #[test]
    fn weights_come_back_only_if_they_may() {
        for regrow in [true, false] {
            let vars = map(&[("a", f32s(&[0.1, 0.2, 0.3, 0.4], &[2, 2]))]);
            let mut pruner = stepped(&vars, PrunerConfig { regrow, ..ratio(0.5) });
            assert_eq!((pruner.masks()["a"].to_bytes(), pruner.regrow()), (vec![0b1100], regrow));
            set(&vars, "a", &f32s(&[9.0, 0.0, 0.3, 0.4], &[2, 2]));
            pruner.step().unwrap();
            let wanted = if regrow { 0b1001 } else { 0b1100 };
            assert_eq!(pruner.masks()["a"].to_bytes(), [wanted], "regrow {regrow}");
        }
    }

    #[test]
    fn without_regrowth_the_pruned_count_first_and_masks_only_shrink() {
        for (block, largest) in [([1, 1], 1), ([2, 1], 18)] {
            let vars = network();
            let strategy = Strategy::Gmp(gmp());
            let config = PrunerConfig { strategy, regrow: false, block, ..ratio(0.8) };
            let mut pruner = Pruner::new(&vars, config).unwrap();
            let mut before = pruner.masks().clone();
            for step in 0..60 {
                // Other weights become the smallest at every step, the pruned ones included.
                set(&vars, "head.weight", &spread(5000 + 37 * step, &[10, 16]));
                let report = pruner.step().unwrap();
                for (name, mask) in pruner.masks() {
                    let mut both = mask.clone();
                    both.intersect(&before[name]).unwrap();
                    assert_eq!(&both, mask, "{name} at step {step}");
                }
                let asked = (report.ratio * PRUNABLE as f64).round() as usize;
                let missing = asked.checked_sub(pruned(&pruner));
                assert!(
                    missing.is_some_and(|missing| missing < largest),
                    "{block:?} step {step}: {missing:?}"
                );
                before = pruner.masks().clone();
            }
        }
    }

    #[test]
    fn without_regrowth_many_weights_are_ranked_among_those_left() {
        let vars = map(&[("a", spread(0, &[300, 700]))]);
        let config = PrunerConfig { regrow: false, ..ratio(0.5) };
        let mut pruner = stepped(&vars, config.clone());
        let half = pruner.masks()["a"].clone();
        let with_pruned = |weight: fn(usize) -> f32| {
            let weights = values(&vars, "a").into_iter().enumerate();
            let weights = weights.map(|(at, kept)| if half.get(at) { kept } else { weight(at) });
            f32s(&weights.collect::<Vec<f32>>(), &[300, 700])
        };
        let large = with_pruned(|_| 9.0);
        let mixed = with_pruned(|at| if at.is_multiple_of(4000) { 0.0 } else { 9.0 });
        set(&vars, "a", &large);
        let mut wanted = masks_by_sorting(&vars, &["a"], 52_500).remove(0);
        wanted.intersect(&half).unwrap();
        // Whatever the weights that are pruned have become, they stay so, and the smallest of the others follow.
        set(&vars, "a", &mixed);
        pruner.step().unwrap();
        assert_eq!(pruner.masks()["a"], half);
        let config = PrunerConfig { mode: Mode::Ratio(0.75), ..config };
        let mut next = Pruner::new(&vars, config).unwrap();
        next.restore(pruner.state(), pruner.masks().clone()).unwrap();
        next.step().unwrap();
        assert_eq!(next.masks()["a"], wanted);
    }

    #[test]
    fn a_threshold_prunes_below_it_in_every_scope() {
        let vars = network();
        for scope in [Scope::Global, Scope::LayerWise] {
            let config = PrunerConfig { scope, ..PrunerConfig::new(Mode::Threshold(0.25)) };
            let mut pruner = Pruner::new(&vars, config).unwrap();
            let report = pruner.step().unwrap();
            assert_eq!(report.threshold, Some(0.25));
            assert_eq!(report.ratio, pruned(&pruner) as f64 / PRUNABLE as f64);
            for (name, mask) in pruner.masks() {
                let kept = values(&vars, name).iter().filter(|weight| weight.abs() >= 0.25).count();
                assert_eq!(mask.kept(), kept, "{name}");
            }
        }
    }

    #[test]
    fn blocks_go_as_a_whole_and_never_more_than_asked() {
        let vars = network();
        for block in [[2, 1], [3, 2], [16, 16]] {
            let pruner = stepped(&vars, PrunerConfig { block, ..ratio(0.5) });
            let asked = PRUNABLE / 2;
            assert!(
                pruned(&pruner) <= asked && pruned(&pruner) + block[0] * block[1] * 9 > asked,
                "{block:?}"
            );
            let blocks = sparse_sparsity::block::Blocks::new(&[8, 3, 3, 3], block).unwrap();
            let mask = &pruner.masks()["conv.weight"];
            for index in 0..blocks.len() {
                let kept: usize = blocks.runs(index).map(|run| mask.kept_in(run)).sum();
                assert!(kept == 0 || kept == blocks.size(index), "{block:?} {index}");
            }
        }
    }

    #[test]
    fn tied_blocks_are_pruned_in_their_order() {
        let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let vars = map(&[("a", ones(&[4, 4])), ("b", ones(&[3, 4]))]);
        let pruner = stepped(&vars, PrunerConfig { block: [2, 2], ..ratio(0.85) });
        // 24 of 28 weights are asked for: the four blocks of a and the two whole ones of b.
        assert_eq!(pruner.masks()["a"].kept(), 0);
        assert_eq!(pruner.masks()["b"], Mask::from_fn(12, |index| index >= 8));
        let pruner = stepped(&vars, PrunerConfig { block: [2, 2], ..ratio(0.5) });
        assert_eq!(pruner.masks()["a"].to_bytes(), [0, 0b1100_1100]);
    }

    #[test]
    fn signed_values_cancel_in_the_scores_of_paddleslim_only() {
        let vars = map(&[("a", f32s(&[5.0, -5.0, 1.0, 1.0, 2.0, 2.0], &[3, 2]))]);
        let config = PrunerConfig { block: [1, 2], ..PrunerConfig::new(Mode::Threshold(1.5)) };
        let ours = stepped(&vars, config.clone());
        assert_eq!(ours.masks()["a"].to_bytes(), [0b11_00_11]);
        let theirs = stepped(&vars, PrunerConfig { paddle_compat: true, ..config });
        assert_eq!(theirs.masks()["a"].to_bytes(), [0b11_00_00]);
    }

    /// Ranks the large weights first.
    struct Largest;

    impl Criterion for Largest {
        fn score(&self, facts: &Facts<'_>, scores: &mut [f64]) {
            for (score, weight) in scores.iter_mut().zip(facts.weights.iter()) {
                *score = 10.0 - weight.abs();
            }
        }
    }

    #[test]
    fn a_criterion_replaces_the_magnitude() {
        let tensors = [("a", f32s(&[0.0, 1.0, -4.0, 3.0], &[2, 2]))];
        let with = |config| Pruner::new(&map(&tensors), config).unwrap().with_criterion(Largest).unwrap();
        let mask = |mut pruner: Pruner| {
            pruner.step().unwrap();
            pruner.masks()["a"].to_bytes()
        };
        assert_eq!(mask(with(ratio(0.5))), [0b0011]);
        assert_eq!(mask(with(PrunerConfig { block: [1, 2], ..ratio(0.5) })), [0b0011]);
        // A zero weight is not kept by a threshold, whatever its score.
        assert_eq!(mask(with(PrunerConfig::new(Mode::Threshold(7.0)))), [0b1010]);
    }

    #[test]
    fn rules_choose_what_is_prunable() {
        let names = |pruner: &Pruner| pruner.masks().keys().cloned().collect::<Vec<_>>();
        let config = PrunerConfig { params_type: ParamsType::Conv1x1Only, ..ratio(0.5) };
        assert_eq!(names(&Pruner::new(&network(), config.clone()).unwrap()), ["pointwise.weight"]);
        let rule = |name: &str, _: &[usize]| name.starts_with("conv");
        let pruner = Pruner::new(&network(), ratio(0.5)).unwrap().with_skip_rule(rule).unwrap();
        assert_eq!(names(&pruner), ["head.weight", "pointwise.weight"]);
        let nothing = Pruner::new(&network(), PrunerConfig { exclude: vec!["point".into()], ..config });
        assert!(matches!(nothing, Err(Error::NothingToPrune { variables: 6 })));
    }

    #[test]
    fn gradual_pruning_follows_its_phases() {
        let config = PrunerConfig { strategy: Strategy::Gmp(gmp()), ..ratio(0.8) };
        let mut pruner = Pruner::new(&network(), config.clone()).unwrap();
        assert_eq!(pruner.phase(), Some(Phase::Dense));
        let reports: Vec<_> = (0..60).map(|_| pruner.step().unwrap()).collect();
        assert!(reports[..5].iter().all(|report| report.ratio == 0.0 && !report.masks_recomputed));
        let updates: Vec<usize> = (0..60).filter(|&step| reports[step].masks_recomputed).collect();
        assert_eq!(updates, [5, 18, 31, 44]);
        assert_eq!((reports[5].ratio, reports[44].ratio, reports[59].ratio), (0.1, 0.8, 0.8));
        assert_eq!(pruner.phase(), Some(Phase::FineTune));
        assert_eq!(pruned(&pruner), (0.8 * PRUNABLE as f64).round() as usize);
        let late = GmpConfig { resume_step: 20, ..gmp() };
        let mut pruner =
            Pruner::new(&network(), PrunerConfig { strategy: Strategy::Gmp(late), ..config }).unwrap();
        assert_eq!(pruner.ratio(), reports[19].ratio);
        assert!(pruner.step().unwrap().masks_recomputed && !pruner.step().unwrap().masks_recomputed);
    }

    #[test]
    fn stopping_and_restoring_changes_nothing() {
        for paddle_compat in [false, true] {
            for strategy in [Strategy::Base, Strategy::Gmp(gmp())] {
                let config = PrunerConfig { strategy, paddle_compat, ..ratio(0.8) };
                let vars = network();
                let mut straight = Pruner::new(&vars, config.clone()).unwrap();
                for _ in 0..20 {
                    straight.step().unwrap();
                }
                let saved = serde_json::to_string(&straight.state()).unwrap();
                let state: PrunerState = serde_json::from_str(&saved).unwrap();
                assert_eq!(state, straight.state());
                let mut resumed = Pruner::new(&vars, config).unwrap();
                resumed.restore(state, straight.masks().clone()).unwrap();
                assert_eq!(resumed.thresholds(), straight.thresholds());
                for _ in 0..40 {
                    assert_eq!(resumed.step().unwrap(), straight.step().unwrap());
                    assert_eq!(resumed.masks(), straight.masks());
                    assert_eq!(resumed.state(), straight.state());
                }
            }
        }
    }

    #[test]
    fn masks_and_states_of_others_are_refused() {
        let mut pruner = Pruner::new(&network(), ratio(0.5)).unwrap();
        let good = pruner.masks().clone();
        let mut renamed = good.clone();
        let mask = renamed.remove("head.weight").unwrap();
        renamed.insert("tail.weight".into(), mask);
        let refused = pruner.restore(pruner.state(), renamed);
        assert!(
            matches!(&refused, Err(Error::RestoreNames { missing, unknown })
                if missing == &["head.weight"] && unknown == &["tail.weight"]),
            "{refused:?}"
        );
        let mut longer = good.clone();
        longer.insert("head.weight".into(), Mask::all_kept(161));
        let refused = pruner.restore(pruner.state(), longer);
        assert!(matches!(refused, Err(Error::RestoreLength { expected: 160, got: 161, .. })), "{refused:?}");
        let config = PrunerConfig { strategy: Strategy::Gmp(gmp()), ..ratio(0.5) };
        let gradual = Pruner::new(&network(), config).unwrap();
        let refused = pruner.restore(gradual.state(), good);
        assert!(
            matches!(refused, Err(Error::RestoreSchedule { expected: "base", got: "gmp" })),
            "{refused:?}"
        );
    }

    #[test]
    fn static_masks_keep_what_is_not_zero() {
        let vars = network();
        stepped(&vars, ratio(0.5)).update_params().unwrap();
        let mut fresh = Pruner::new(&vars, ratio(0.5)).unwrap();
        assert_eq!(pruned(&fresh), 0);
        fresh.set_static_masks().unwrap();
        assert_eq!(pruned(&fresh), PRUNABLE / 2);
        assert_eq!(fresh.gradient(), GradientMode::Masked);
    }

    #[test]
    fn sparsities_say_what_they_are_over() {
        let vars = network();
        let pruner = stepped(&vars, PrunerConfig { params_type: ParamsType::Conv1x1Only, ..ratio(0.75) });
        pruner.update_params().unwrap();
        let sparsity = pruner.sparsity().unwrap();
        // Zeros: the pruned weights, the running mean, and one of the two counters.
        let total = PRUNABLE + 10 + 16 + 2;
        assert_eq!(sparsity.all_parameters, 1.0 - (total - 96 - 16 - 1) as f64 / total as f64);
        assert_eq!(sparsity.prunable, 1.0 - (PRUNABLE - 96) as f64 / PRUNABLE as f64);
        assert_eq!(sparsity.pointwise, 0.75);
        assert_eq!(pruner.total_sparse().unwrap(), sparsity.all_parameters);
        assert_eq!(pruner.total_sparse_conv1x1().unwrap(), 0.75);
        let by_layer = pruner.sparse_by_layer().unwrap();
        let zeros: BTreeMap<&str, f64> = by_layer
            .iter()
            .map(|(name, &sparsity)| (name.as_str(), sparsity))
            .filter(|&(_, sparsity)| sparsity > 0.0)
            .collect();
        let wanted = [("norm.running_mean", 1.0), ("norm.steps", 0.5), ("pointwise.weight", 0.75)];
        assert_eq!(zeros, BTreeMap::from(wanted));
    }

    #[test]
    fn the_summary_names_the_threshold_that_a_ratio_leads_to() {
        let vars = network();
        let mut pruner = Pruner::new(&vars, ratio(0.6)).unwrap();
        let summary = pruner.summarize_weights(0.6).unwrap();
        let report = pruner.step().unwrap();
        assert_eq!(Some(summary.all.rows[0].threshold), report.threshold);
        assert_eq!(summary.all.count.total, PRUNABLE as u64);
        assert_eq!(summary.by_layer.keys().collect::<Vec<_>>(), pruner.masks().keys().collect::<Vec<_>>());
        let threshold = PrunerConfig::new(Mode::Threshold(summary.all.rows[0].threshold));
        assert_eq!(stepped(&vars, threshold).masks(), pruner.masks());
    }

    #[test]
    fn nan_is_named_and_leaves_the_pruner_as_it_was() {
        let broken = |config: PrunerConfig, criterion: bool| {
            let vars = network();
            let mut pruner = Pruner::new(&vars, config).unwrap();
            if criterion {
                pruner = pruner.with_criterion(Largest).unwrap();
            }
            pruner.step().unwrap();
            let (masks, state) = (pruner.masks().clone(), pruner.state());
            let mut weights = values(&vars, "head.weight");
            weights[7] = f32::NAN;
            set(&vars, "head.weight", &f32s(&weights, &[10, 16]));
            let refused = pruner.step();
            let named =
                matches!(&refused, Err(Error::NotANumber { name, index: 7 }) if name == "head.weight");
            assert!(named, "{refused:?}");
            assert_eq!((pruner.masks(), pruner.state()), (&masks, state));
        };
        broken(ratio(0.5), false);
        broken(ratio(0.5), true);
        broken(PrunerConfig { block: [2, 2], ..ratio(0.5) }, false);
        broken(PrunerConfig { paddle_compat: true, ..ratio(0.5) }, false);
        broken(PrunerConfig::new(Mode::Threshold(0.1)), false);
    }

    /// Scores that cannot be ranked.
    struct Negative;

    impl Criterion for Negative {
        fn score(&self, _facts: &Facts<'_>, scores: &mut [f64]) {
            scores[1] = -1.0;
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let new = |config| Pruner::new(&network(), config);
        let mut negative = new(ratio(0.5)).unwrap().with_criterion(Negative).unwrap();
        assert!(matches!(negative.step(), Err(Error::Score { index: 1, got: -1.0, .. })));
        let compat = new(PrunerConfig { paddle_compat: true, ..ratio(1.0) }).unwrap();
        assert!(matches!(compat.with_criterion(Largest), Err(Error::CriterionWithCompat)));
        assert!(matches!(new(ratio(1.0)), Err(Error::Ratio { .. })));
        let too_short = GmpConfig { pruning_steps: 30, ..gmp() };
        let config = PrunerConfig { strategy: Strategy::Gmp(too_short), paddle_compat: true, ..ratio(0.5) };
        assert!(matches!(new(config), Err(Error::Sparsity(_))));
        assert!(matches!(new(PrunerConfig { block: [0, 1], ..ratio(0.5) }), Err(Error::Sparsity(_))));
        let halves = map(&[("a", Tensor::ones((2, 2), DType::BF16, &Device::Cpu).unwrap())]);
        assert!(matches!(Pruner::new(&halves, ratio(0.5)), Err(Error::Dtype { got: "bf16", .. })));
    }
}
