//! N:M patterns against plain loops.

#[cfg(test)]
mod patterns {
    use candle_core::{DType, Device, Tensor, Var};
    use candle_nn::VarMap;
    use sparse_prune::{Error, GmpConfig, Mode, Pattern, Pruner, PrunerConfig, Ranking, Scope, Strategy};
    use sparse_sparsity::Mask;

    const TWO_OF_FOUR: Pattern = Pattern { n: 2, m: 4, linear_inputs: 0 };

    fn value(index: usize) -> f32 {
        ((index * 7919 + 5) % 10_007) as f32 / 5003.5 - 1.0
    }

    fn map(tensors: &[(&str, &[usize])]) -> VarMap {
        let vars = VarMap::new();
        for (name, shape) in tensors {
            let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
            let tensor = Tensor::from_vec(values, *shape, &Device::Cpu).unwrap();
            vars.data().lock().unwrap().insert((*name).to_owned(), Var::from_tensor(&tensor).unwrap());
        }
        vars
    }

    fn network() -> VarMap {
        map(&[("conv", &[3, 8, 3, 2]), ("pointwise", &[5, 12, 1, 1]), ("head", &[8, 5])])
    }

    fn values(vars: &VarMap, name: &str) -> Vec<f32> {
        vars.data().lock().unwrap()[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    fn by(pattern: Pattern) -> PrunerConfig {
        PrunerConfig::new(Mode::Pattern(pattern))
    }

    /// Which of a weight `[out, in, kh, kw]` (or `[in, out]`) are kept: each group sorted, the greatest first.
    fn plain(
        values: &[f32],
        [outputs, inputs, area]: [usize; 3],
        head: bool,
        n: usize,
        m: usize,
    ) -> Vec<bool> {
        let at =
            |o: usize, i: usize, p: usize| if head { i * outputs + o } else { (o * inputs + i) * area + p };
        let mut kept = vec![false; values.len()];
        for o in 0..outputs {
            for p in 0..area {
                for group in 0..inputs / m {
                    let mut members: Vec<usize> = (group * m..(group + 1) * m).map(|i| at(o, i, p)).collect();
                    members.sort_by(|&a, &b| values[b].abs().partial_cmp(&values[a].abs()).unwrap());
                    members[..n].iter().for_each(|&at| kept[at] = true);
                }
            }
        }
        kept
    }

    fn bits(mask: &Mask) -> Vec<bool> {
        (0..mask.len()).map(|at| mask.get(at)).collect()
    }

    #[track_caller]
    fn check(vars: &VarMap, pruner: &Pruner, n: usize, m: usize) {
        for (name, sizes, head) in
            [("conv", [3, 8, 6], false), ("pointwise", [5, 12, 1], false), ("head", [5, 8, 1], true)]
        {
            let expected = plain(&values(vars, name), sizes, head, n, m);
            assert_eq!(bits(&pruner.masks()[name]), expected, "{n}:{m} of {name}");
        }
    }

    #[test]
    fn the_greatest_of_each_group_of_inputs_are_kept() {
        for (n, m) in [(2, 4), (1, 4), (1, 2), (3, 4)] {
            let vars = network();
            let mut pruner = Pruner::new(&vars, by(Pattern { n, m, linear_inputs: 0 })).unwrap();
            let report = pruner.step().unwrap();
            assert_eq!((report.ratio, report.threshold), (1.0 - n as f64 / m as f64, None));
            check(&vars, &pruner, n, m);
            pruner.update_params().unwrap();
            assert_eq!(pruner.sparsity().unwrap().prunable, report.ratio);
        }
    }

    #[test]
    fn of_equal_weights_the_first_stay() {
        let vars = map(&[("a", &[1, 8, 1, 1])]);
        let ones = Tensor::ones((1, 8, 1, 1), DType::F32, &Device::Cpu).unwrap();
        vars.data().lock().unwrap()["a"].set(&ones).unwrap();
        let mut pruner = Pruner::new(&vars, by(TWO_OF_FOUR)).unwrap();
        pruner.step().unwrap();
        assert_eq!(pruner.masks()["a"].to_bytes(), [0b0011_0011]);
    }

    #[test]
    fn a_ramp_takes_one_of_each_group_after_the_other() {
        let gmp = GmpConfig {
            stable_steps: 2,
            pruning_steps: 12,
            tunning_steps: 0,
            updates: 6,
            initial_ratio: 0.1,
            resume_step: 0,
        };
        let config =
            PrunerConfig { strategy: Strategy::Gmp(gmp), scope: Scope::LayerWise, ..by(TWO_OF_FOUR) };
        let vars = network();
        let mut pruner = Pruner::new(&vars, config).unwrap();
        let mut kept = Vec::new();
        for _ in 0..20 {
            let report = pruner.step().unwrap();
            let n = ((1.0 - report.ratio) * 4.0).round() as usize;
            assert_eq!(1.0 - report.ratio, n as f64 / 4.0);
            if n < 4 {
                check(&vars, &pruner, n, 4);
            }
            kept.push(n);
        }
        assert!(kept.is_sorted_by(|a, b| a >= b), "{kept:?}");
        kept.dedup();
        assert_eq!(kept, [4, 3, 2]);
    }

    #[test]
    fn without_regrowth_what_is_pruned_stays_so() {
        let vars = network();
        let mut pruner = Pruner::new(&vars, PrunerConfig { regrow: false, ..by(TWO_OF_FOUR) }).unwrap();
        pruner.step().unwrap();
        let before = pruner.masks().clone();
        let grown = values(&vars, "head").into_iter().enumerate();
        let grown = grown.map(|(at, w)| if before["head"].get(at) { w } else { 9.0 }).collect::<Vec<f32>>();
        vars.data().lock().unwrap()["head"]
            .set(&Tensor::from_vec(grown, (8, 5), &Device::Cpu).unwrap())
            .unwrap();
        pruner.step().unwrap();
        assert_eq!(pruner.masks(), &before);
    }

    #[test]
    fn scores_of_a_criterion_rank_the_groups() {
        let vars = map(&[("a", &[1, 4, 1, 1])]);
        let config = PrunerConfig { ranking: Ranking::Movement, ..by(TWO_OF_FOUR) };
        let mut pruner = Pruner::new(&vars, config).unwrap();
        let gradient: Vec<f32> =
            [1.0, -2.0, 3.0, -4.0].iter().zip(values(&vars, "a")).map(|(g, w)| g / w).collect();
        let gradient = Tensor::from_vec(gradient, (1, 4, 1, 1), &Device::Cpu).unwrap();
        pruner.observe(&[("a".to_owned(), gradient)].into()).unwrap();
        pruner.step().unwrap();
        assert_eq!(pruner.masks()["a"].to_bytes(), [0b1010]);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_nearest_that_does() {
        let refused = |shape: &[usize]| {
            Pruner::new(&map(&[("stem", shape)]), by(TWO_OF_FOUR)).err().unwrap().to_string()
        };
        let said = refused(&[8, 6, 3, 3]);
        assert!(
            said.contains("2:4 does not divide the 6 inputs of `stem`: the nearest that does is 2:3"),
            "{said}"
        );
        let said = refused(&[8, 1, 3, 3]);
        assert!(said.contains("1 inputs of `stem`: leave it dense (prune.exclude"), "{said}");
        // Of a weight of two dimensions the inputs are those that are said to be.
        assert!(refused(&[6, 4]).contains("6 inputs"));
        let outputs_first = Pattern { linear_inputs: 1, ..TWO_OF_FOUR };
        assert!(Pruner::new(&map(&[("stem", &[6, 4])]), by(outputs_first)).is_ok());
        for pattern in [Pattern { n: 0, ..TWO_OF_FOUR }, Pattern { n: 4, ..TWO_OF_FOUR }] {
            assert!(matches!(Pruner::new(&network(), by(pattern)), Err(Error::Pattern { .. })));
        }
        let blocks = PrunerConfig { block: [2, 1], ..by(TWO_OF_FOUR) };
        assert!(matches!(Pruner::new(&network(), blocks), Err(Error::PatternAlone { with: "blocks" })));
        let compat = PrunerConfig { paddle_compat: true, ..by(TWO_OF_FOUR) };
        assert!(matches!(Pruner::new(&network(), compat), Err(Error::PatternAlone { .. })));
    }
}
