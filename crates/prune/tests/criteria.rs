//! Criteria that look at the steps, against plain loops over sorted lists.

#[cfg(test)]
mod criteria {
    use std::collections::BTreeMap;

    use candle_core::{DType, Device, Tensor, Var};
    use candle_nn::VarMap;
    use sparse_prune::{Criterion, Error, Facts, GmpConfig, Mode, Pruner, PrunerConfig, Ranking, Strategy};
    use sparse_sparsity::Mask;

    const SHAPES: [(&str, &[usize]); 3] = [("a", &[6, 5, 1, 1]), ("b", &[4, 9]), ("c", &[3, 2, 3, 3])];

    /// Numbers in (-1, 1) that follow from the seed alone.
    fn noise(seed: usize, len: usize) -> Vec<f32> {
        let at = |index: usize| ((index * 7919 + seed * 104_729 + 13) % 10_007) as f32 / 5003.5 - 1.0;
        (0..len).map(at).collect()
    }

    fn len(shape: &[usize]) -> usize {
        shape.iter().product()
    }

    fn network() -> VarMap {
        let vars = VarMap::new();
        for (seed, (name, shape)) in SHAPES.into_iter().enumerate() {
            let tensor = Tensor::from_vec(noise(seed, len(shape)), shape, &Device::Cpu).unwrap();
            vars.data().lock().unwrap().insert(name.to_owned(), Var::from_tensor(&tensor).unwrap());
        }
        vars
    }

    fn values(vars: &VarMap, name: &str) -> Vec<f32> {
        vars.data().lock().unwrap()[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    fn gradients(step: usize) -> BTreeMap<String, Tensor> {
        let tensor = |(seed, (name, shape)): (usize, (&str, &[usize]))| {
            let values = noise(100 + 10 * step + seed, len(shape));
            (name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        };
        SHAPES.into_iter().enumerate().map(tensor).collect()
    }

    /// One step of training: pruned weights become zero, the criterion looks, plain gradient descent with the gradients of
    /// kept weights, and the pruner's step.
    fn train(vars: &VarMap, pruner: &mut Pruner, step: usize) {
        pruner.update_params().unwrap();
        let gradients = gradients(step);
        pruner.observe(&gradients).unwrap();
        for (name, _) in SHAPES {
            let gradient: Vec<f32> = gradients[name].flatten_all().unwrap().to_vec1().unwrap();
            let mask = pruner.masks()[name].clone();
            let moved = values(vars, name).into_iter().zip(gradient).enumerate();
            let moved = moved.map(|(at, (w, g))| if mask.get(at) { w - 0.1 * g } else { w }).collect();
            let var = vars.data().lock().unwrap()[name].clone();
            var.set(&Tensor::from_vec::<_, f32>(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
        }
        pruner.step().unwrap();
    }

    fn gmp(updates: u64) -> Strategy {
        Strategy::Gmp(GmpConfig {
            stable_steps: 3,
            pruning_steps: 12,
            tunning_steps: 0,
            updates,
            initial_ratio: 0.2,
            resume_step: 0,
        })
    }

    /// The training of [`train`] without a pruner: plain lists, and masks of the lowest scores by a sort.
    struct Plain {
        weights: Vec<f64>,
        kept: Vec<bool>,
        sums: Vec<f64>,
        steps: f64,
    }

    impl Plain {
        fn new() -> Self {
            let all = SHAPES.into_iter().enumerate().flat_map(|(seed, (_, shape))| noise(seed, len(shape)));
            let weights: Vec<f64> = all.map(f64::from).collect();
            let len = weights.len();
            Self { weights, kept: vec![true; len], sums: vec![0.0; len], steps: 0.0 }
        }

        fn step(&mut self, step: usize, movement: bool) {
            let mut at = 0;
            self.steps += 1.0;
            for (seed, (_, shape)) in SHAPES.into_iter().enumerate() {
                for gradient in noise(100 + 10 * step + seed, len(shape)) {
                    if self.kept[at] {
                        let product = self.weights[at] * f64::from(gradient);
                        self.sums[at] += if movement { -product } else { product.abs() };
                        self.weights[at] = f64::from(self.weights[at] as f32 - 0.1 * gradient);
                    } else {
                        self.weights[at] = 0.0;
                    }
                    at += 1;
                }
            }
        }

        fn prune(&mut self, ratio: f64, movement: bool) {
            let count = (ratio * self.weights.len() as f64).round() as usize;
            let score = |at: usize| if movement { self.sums[at] } else { self.sums[at] / self.steps };
            let mut order: Vec<usize> = (0..self.weights.len()).collect();
            order.sort_by(|&a, &b| (score(a) as f32).partial_cmp(&(score(b) as f32)).unwrap());
            self.kept.fill(true);
            order[..count].iter().for_each(|&at| self.kept[at] = false);
            // A weight that came back begins at zero.
            if !movement {
                self.sums.fill(0.0);
                self.steps = 0.0;
            }
        }
    }

    fn kept(pruner: &Pruner) -> Vec<bool> {
        pruner.masks().values().flat_map(|mask| (0..mask.len()).map(|at| mask.get(at))).collect()
    }

    #[test]
    fn masks_are_those_of_plain_loops() {
        for (ranking, movement) in [(Ranking::Taylor, false), (Ranking::Movement, true)] {
            let vars = network();
            let config = PrunerConfig { ranking, strategy: gmp(4), ..PrunerConfig::new(Mode::Ratio(0.7)) };
            let mut pruner = Pruner::new(&vars, config).unwrap();
            let mut plain = Plain::new();
            let (mut before, mut changes, mut returned) = (0.0, 0, 0);
            for step in 0..20 {
                train(&vars, &mut pruner, step);
                plain.step(step, movement);
                let was = plain.kept.clone();
                if pruner.ratio() != before {
                    plain.prune(pruner.ratio(), movement);
                    (before, changes) = (pruner.ratio(), changes + 1);
                }
                let back = |(was, is): (&bool, &bool)| !was && *is;
                returned += was.iter().zip(&plain.kept).filter(|&pair| back(pair)).count();
                assert_eq!(kept(&pruner), plain.kept, "{ranking:?} after step {step}");
            }
            assert_eq!(changes, 5);
            assert_eq!(returned > 0, movement, "{returned} came back by {ranking:?}");
            let pruned = plain.kept.iter().filter(|kept| !**kept).count();
            assert_eq!(pruned, (0.7 * plain.kept.len() as f64).round() as usize);
        }
    }

    #[test]
    fn scores_below_zero_are_thresholds_and_means_of_blocks() {
        let vars = network();
        let config = PrunerConfig { ranking: Ranking::Movement, ..PrunerConfig::new(Mode::Ratio(0.05)) };
        let mut pruner = Pruner::new(&vars, config.clone()).unwrap();
        pruner.observe(&gradients(0)).unwrap();
        let report = pruner.step().unwrap();
        let mut scores: Vec<f32> = pruner.sums().values().flatten().map(|&sum| sum as f32).collect();
        scores.sort_by(f32::total_cmp);
        let smallest_kept = scores[(scores.len() as f64 * 0.05).round() as usize];
        let threshold = report.threshold.unwrap() as f32;
        assert_eq!((threshold, threshold < 0.0), (smallest_kept, true), "{scores:?}");
        let mut blocks =
            Pruner::new(&vars, PrunerConfig { block: [1, 3], mode: Mode::Ratio(0.25), ..config }).unwrap();
        blocks.observe(&gradients(0)).unwrap();
        blocks.step().unwrap();
        // Of b, [4, 9], no block that goes has a greater mean than one that stays.
        let mean = |block: usize| blocks.sums()["b"][3 * block..][..3].iter().sum::<f64>() / 3.0;
        let (mask, all) = (&blocks.masks()["b"], 0..12);
        let (stay, go): (Vec<usize>, Vec<usize>) = all.partition(|&block| mask.get(3 * block));
        assert!(!go.is_empty() && go.iter().all(|&block| mask.kept_in(3 * block..3 * block + 3) == 0));
        let least = stay.iter().map(|&block| mean(block)).fold(f64::INFINITY, f64::min);
        assert!(go.iter().all(|&block| mean(block) <= least));
    }

    #[test]
    fn a_pruner_goes_on_from_saved_sums_to_the_same_bits() {
        for ranking in [Ranking::Taylor, Ranking::Movement] {
            let config = PrunerConfig { ranking, strategy: gmp(3), ..PrunerConfig::new(Mode::Ratio(0.6)) };
            let vars = network();
            let mut through = Pruner::new(&vars, config.clone()).unwrap();
            for step in 0..20 {
                let saved = serde_json::to_string(&through.state()).unwrap();
                let others = network();
                for (name, _) in SHAPES {
                    let tensor = vars.data().lock().unwrap()[name].as_tensor().copy().unwrap();
                    others.data().lock().unwrap()[name].set(&tensor).unwrap();
                }
                let mut resumed = Pruner::new(&others, config.clone()).unwrap();
                resumed.restore(serde_json::from_str(&saved).unwrap(), through.masks().clone()).unwrap();
                resumed.restore_sums(through.sums().clone()).unwrap();
                train(&vars, &mut through, step);
                train(&others, &mut resumed, step);
                assert_eq!(through.masks(), resumed.masks(), "{ranking:?}, step {step}");
                assert_eq!(through.sums(), resumed.sums(), "{ranking:?}, step {step}");
                assert_eq!(through.state(), resumed.state(), "{ranking:?}, step {step}");
            }
        }
    }

    /// Makes every kept weight 1.
    struct Ones;

    impl Criterion for Ones {
        fn score(&self, facts: &Facts<'_>, scores: &mut [f64]) {
            scores.iter_mut().zip(facts.weights.iter()).for_each(|(score, weight)| *score = weight.abs());
        }

        fn solve(&self, facts: &Facts<'_>, mask: &Mask) -> Option<Vec<f64>> {
            assert_eq!(mask.len(), facts.weights.len());
            (facts.name != "c").then(|| (0..mask.len()).map(|at| f64::from(u8::from(mask.get(at)))).collect())
        }
    }

    #[test]
    fn a_criterion_may_solve_for_the_weights_that_stay() {
        let vars = network();
        let before = values(&vars, "c");
        let config = PrunerConfig::new(Mode::Ratio(0.5));
        let mut pruner = Pruner::new(&vars, config).unwrap().with_criterion(Ones).unwrap();
        pruner.step().unwrap();
        for name in ["a", "b"] {
            let mask = &pruner.masks()[name];
            let wanted: Vec<f32> = (0..mask.len()).map(|at| f32::from(u8::from(mask.get(at)))).collect();
            assert_eq!(values(&vars, name), wanted);
        }
        assert_eq!(values(&vars, "c"), before);
    }

    #[test]
    fn what_a_criterion_needs_and_has_not_is_refused() {
        let taylor = || {
            let config = PrunerConfig { ranking: Ranking::Taylor, ..PrunerConfig::new(Mode::Ratio(0.5)) };
            Pruner::new(&network(), config).unwrap()
        };
        assert!(
            taylor().watches()
                && !Pruner::new(&network(), PrunerConfig::new(Mode::Ratio(0.5))).unwrap().watches()
        );
        assert!(matches!(taylor().step(), Err(Error::NothingObserved)));
        let mut without = gradients(0);
        without.remove("b");
        assert!(
            matches!(taylor().observe(&without), Err(Error::Gradient { name, got: None, .. }) if name == "b")
        );
        without.insert("b".to_owned(), Tensor::zeros((9, 4), DType::F32, &Device::Cpu).unwrap());
        assert!(matches!(taylor().observe(&without), Err(Error::Gradient { got: Some(_), .. })));
        let threshold =
            PrunerConfig { ranking: Ranking::Movement, ..PrunerConfig::new(Mode::Threshold(0.5)) };
        assert!(matches!(Pruner::new(&network(), threshold), Err(Error::SignedNeedsRatio)));
        let compat = PrunerConfig {
            ranking: Ranking::Taylor,
            paddle_compat: true,
            ..PrunerConfig::new(Mode::Ratio(0.5))
        };
        assert!(matches!(Pruner::new(&network(), compat), Err(Error::CriterionWithCompat)));
        let mut pruner = taylor();
        pruner.observe(&gradients(0)).unwrap();
        let mut sums = pruner.sums().clone();
        sums.insert("a".to_owned(), vec![0.0]);
        assert!(matches!(pruner.restore_sums(sums), Err(Error::RestoreLength { expected: 30, got: 1, .. })));
    }
}
