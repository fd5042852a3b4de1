//! Strategies against plain loops over lists.

#[cfg(test)]
mod strategies {
    use std::collections::BTreeMap;

    use candle_core::{Device, Tensor, Var};
    use candle_nn::VarMap;
    use sparse_prune::{
        AcdcConfig, DropGrowConfig, Error, Growth, Mode, Pattern, Pruner, PrunerConfig, Ranking,
        RewindConfig, Scope, Strategy,
    };

    const SHAPES: [(&str, &[usize]); 2] = [("a", &[12, 8, 1, 1]), ("b", &[40, 10])];
    const STEPS: usize = 40;

    /// Numbers in (-1, 1); those of different seeds have nothing in common.
    fn noise(seed: u64, len: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    fn len(shape: &[usize]) -> usize {
        shape.iter().product()
    }

    fn network() -> VarMap {
        let vars = VarMap::new();
        for (seed, (name, shape)) in SHAPES.into_iter().enumerate() {
            let tensor = Tensor::from_vec(noise(seed as u64, len(shape)), shape, &Device::Cpu).unwrap();
            vars.data().lock().unwrap().insert(name.to_owned(), Var::from_tensor(&tensor).unwrap());
        }
        vars
    }

    fn values(vars: &VarMap, name: &str) -> Vec<f32> {
        vars.data().lock().unwrap()[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    fn gradient(step: usize, place: usize, len: usize) -> Vec<f32> {
        noise(1000 + 10 * step as u64 + place as u64, len)
    }

    /// A step of training: zeros, the gradients, gradient descent on every weight, so that pruned ones drift, and the pruner.
    fn train(vars: &VarMap, pruner: &mut Pruner, step: usize) {
        pruner.update_params().unwrap();
        let mut gradients = BTreeMap::new();
        for (place, (name, shape)) in SHAPES.into_iter().enumerate() {
            let tensor = Tensor::from_vec(gradient(step, place, len(shape)), shape, &Device::Cpu).unwrap();
            gradients.insert(name.to_owned(), tensor);
        }
        pruner.observe(&gradients).unwrap();
        for (name, _) in SHAPES {
            let var = vars.data().lock().unwrap()[name].clone();
            var.set(&(var.as_tensor() - (&gradients[name] * 0.1).unwrap()).unwrap()).unwrap();
        }
        let due = pruner.is_update_due();
        assert_eq!(pruner.step().unwrap().masks_recomputed, due);
    }

    /// One variable of the plain training.
    struct Plain {
        weights: Vec<f32>,
        kept: Vec<bool>,
    }

    impl Plain {
        fn all() -> Vec<Self> {
            let one = |(seed, (_, shape)): (usize, (&str, &[usize]))| Self {
                weights: noise(seed as u64, len(shape)),
                kept: vec![true; len(shape)],
            };
            SHAPES.into_iter().enumerate().map(one).collect()
        }

        fn step(&mut self, gradient: &[f32]) {
            for ((weight, kept), gradient) in self.weights.iter_mut().zip(&self.kept).zip(gradient) {
                *weight = if *kept { *weight } else { 0.0 } - 0.1 * gradient;
            }
        }

        /// The places in the order of a value, the least first.
        fn order(&self, value: impl Fn(usize) -> f32, among: impl Fn(usize) -> bool) -> Vec<usize> {
            let mut places: Vec<usize> = (0..self.weights.len()).filter(|&at| among(at)).collect();
            places.sort_by(|&a, &b| value(a).partial_cmp(&value(b)).unwrap());
            places
        }

        fn prune(&mut self, ratio: f64) {
            let count = (ratio * self.weights.len() as f64).round() as usize;
            let order = self.order(|at| self.weights[at].abs(), |_| true);
            self.kept.fill(true);
            order[..count].iter().for_each(|&at| self.kept[at] = false);
        }
    }

    #[track_caller]
    fn is_the_same(vars: &VarMap, pruner: &Pruner, plain: &[Plain], step: usize) {
        pruner.update_params().unwrap();
        for ((name, _), plain) in SHAPES.into_iter().zip(plain) {
            let mask = &pruner.masks()[name];
            let kept: Vec<bool> = (0..mask.len()).map(|at| mask.get(at)).collect();
            assert!(kept == plain.kept, "mask of {name} after step {step}");
            let weights = plain.weights.iter().zip(&kept).map(|(w, kept)| if *kept { *w } else { 0.0 });
            assert!(weights.eq(values(vars, name)), "weights of {name} after step {step}");
        }
    }

    fn rigl() -> DropGrowConfig {
        DropGrowConfig {
            growth: Growth::Gradient,
            period: 5,
            until: 30,
            fraction: 0.4,
            seed: 3,
            resume_step: 0,
        }
    }

    fn by_layer(strategy: Strategy) -> PrunerConfig {
        PrunerConfig { scope: Scope::LayerWise, strategy, ..PrunerConfig::new(Mode::Ratio(0.75)) }
    }

    #[test]
    fn rigl_drops_the_smallest_and_grows_by_gradients() {
        let vars = network();
        let mut pruner = Pruner::new(&vars, by_layer(Strategy::DropGrow(rigl()))).unwrap();
        let mut plain = Plain::all();
        let mut exchanged = Vec::new();
        for step in 0..STEPS {
            let due = step > 0 && step < 30 && step % 5 == 0;
            assert_eq!(pruner.needs_dense_gradient(), due);
            train(&vars, &mut pruner, step);
            for (place, plain) in plain.iter_mut().enumerate() {
                let gradient = gradient(step, place, plain.weights.len());
                plain.step(&gradient);
                if step == 0 {
                    plain.prune(0.75);
                }
                if due {
                    let before = plain.kept.clone();
                    // What is pruned stands at zero, and so begins what grows.
                    (0..before.len()).filter(|&at| !before[at]).for_each(|at| plain.weights[at] = 0.0);
                    let kept = before.iter().filter(|kept| **kept).count();
                    let share = 0.4 / 2.0 * (1.0 + (std::f64::consts::PI * step as f64 / 30.0).cos());
                    let count = (share * kept as f64).floor() as usize;
                    let smallest = plain.order(|at| plain.weights[at].abs(), |at| before[at]);
                    smallest[..count].iter().for_each(|&at| plain.kept[at] = false);
                    let grown = plain.order(|at| -gradient[at].abs(), |at| !plain.kept[at]);
                    grown[..count].iter().for_each(|&at| plain.kept[at] = true);
                    exchanged.push(before.iter().zip(&plain.kept).filter(|(was, is)| !**was && **is).count());
                }
            }
            is_the_same(&vars, &pruner, &plain, step);
        }
        assert_eq!(exchanged.len(), 2 * 5);
        assert!(exchanged[0] > 0 && exchanged[1] > exchanged[9], "{exchanged:?}");
    }

    #[test]
    fn set_grows_at_random_by_the_seed() {
        let run = |seed| {
            let vars = network();
            let set = DropGrowConfig { growth: Growth::Random, seed, ..rigl() };
            let mut pruner = Pruner::new(&vars, by_layer(Strategy::DropGrow(set))).unwrap();
            let mut grown = vec![0; 400];
            for step in 0..STEPS {
                let before = pruner.masks().clone();
                let smallest_kept = {
                    train(&vars, &mut pruner, step);
                    let after = &pruner.masks()["b"];
                    (0..400).filter(|&at| before["b"].get(at) && after.get(at)).count()
                };
                if step > 0 {
                    let after = &pruner.masks()["b"];
                    (0..400)
                        .filter(|&at| !before["b"].get(at) && after.get(at))
                        .for_each(|at| grown[at] += 1);
                    assert_eq!(after.kept(), before["b"].kept());
                    let due = step < 30 && step % 5 == 0;
                    assert!(due || smallest_kept == 100, "{smallest_kept} at {step}");
                }
            }
            assert!(!pruner.needs_dense_gradient() && !pruner.watches());
            (pruner.masks().clone(), grown)
        };
        let (masks, grown) = run(3);
        assert_eq!(masks, run(3).0);
        assert_ne!(masks, run(4).0);
        // Spread over all places, not heaped at an end.
        let (first, second) = grown.split_at(200);
        let [first, second] = [first, second].map(|half| half.iter().sum::<i32>());
        assert!(first > 15 && second > 15 && first.abs_diff(second) < 40, "{first} {second}");
    }

    #[test]
    fn phases_alternate_between_dense_and_sparse() {
        let acdc = AcdcConfig { warmup_steps: 4, phase_steps: 6, last_from: 28, resume_step: 0 };
        let vars = network();
        let mut pruner = Pruner::new(&vars, by_layer(Strategy::Acdc(acdc))).unwrap();
        let mut plain = Plain::all();
        let mut was = false;
        let mut changes = 0;
        for step in 0..STEPS {
            let sparse = step >= 28 || step >= 4 && (step - 4) / 6 % 2 == 0;
            train(&vars, &mut pruner, step);
            for (place, plain) in plain.iter_mut().enumerate() {
                plain.step(&gradient(step, place, plain.weights.len()));
                match (was, sparse) {
                    (false, true) => plain.prune(0.75),
                    (true, false) => plain.kept.fill(true),
                    _ => {}
                }
            }
            assert_eq!(pruner.ratio(), if sparse { 0.75 } else { 0.0 });
            changes += usize::from(sparse != was);
            was = sparse;
            if sparse {
                is_the_same(&vars, &pruner, &plain, step);
            } else {
                assert!(pruner.masks().values().all(|mask| mask.pruned() == 0), "{step}");
            }
        }
        assert_eq!(changes, 5);
    }

    #[test]
    fn phases_alternate_with_patterns() {
        let acdc = AcdcConfig { warmup_steps: 2, phase_steps: 2, last_from: 9, resume_step: 0 };
        let mode = Mode::Pattern(Pattern { n: 1, m: 4, linear_inputs: 0 });
        let config = PrunerConfig { mode, ..by_layer(Strategy::Acdc(acdc)) };
        let vars = network();
        let mut pruner = Pruner::new(&vars, config).unwrap();
        let mut pruned = Vec::new();
        for step in 0..12 {
            train(&vars, &mut pruner, step);
            pruned.push(pruner.masks()["a"].pruned());
        }
        assert_eq!(pruned, [0, 0, 72, 72, 0, 0, 72, 72, 0, 72, 72, 72]);
    }

    fn rewind() -> RewindConfig {
        RewindConfig { rewind_step: 3, pass_steps: 13, rounds: 3, weights: true, resume_step: 0 }
    }

    #[test]
    fn each_round_prunes_a_share_of_what_is_left() {
        let config = PrunerConfig { regrow: false, ..by_layer(Strategy::Rewind(rewind())) };
        let vars = network();
        let mut pruner = Pruner::new(&vars, config).unwrap();
        let mut plain = Plain::all();
        let mut done = 0;
        for step in 0..STEPS {
            train(&vars, &mut pruner, step);
            // After 13, 23 and 33 steps.
            let round = [12, 22, 32].contains(&step);
            done += u32::from(round);
            for (place, plain) in plain.iter_mut().enumerate() {
                plain.step(&gradient(step, place, plain.weights.len()));
                if round {
                    let left = 0.25_f64.powf(f64::from(done) / 3.0);
                    let (was, len) = (plain.kept.clone(), plain.kept.len());
                    let count = ((1.0 - left) * len as f64).round() as usize;
                    let gone = was.iter().filter(|kept| !**kept).count();
                    let order = plain.order(|at| plain.weights[at].abs(), |at| was[at]);
                    order[..count - gone].iter().for_each(|&at| plain.kept[at] = false);
                }
            }
            if done > 0 {
                is_the_same(&vars, &pruner, &plain, step);
            }
        }
        assert_eq!((pruner.masks()["a"].kept(), pruner.masks()["b"].kept()), (24, 100));
    }

    #[test]
    fn a_pruner_goes_on_from_its_state_in_every_strategy() {
        let acdc = AcdcConfig { warmup_steps: 4, phase_steps: 6, last_from: 28, resume_step: 0 };
        let set = DropGrowConfig { growth: Growth::Random, ..rigl() };
        let strategies = [
            Strategy::Acdc(acdc),
            Strategy::DropGrow(rigl()),
            Strategy::DropGrow(set),
            Strategy::Rewind(rewind()),
        ];
        for strategy in strategies {
            let (vars, others) = (network(), network());
            let regrow = !matches!(strategy, Strategy::Rewind(_));
            let config = || PrunerConfig { regrow, ..by_layer(strategy.clone()) };
            let mut through = Pruner::new(&vars, config()).unwrap();
            for step in 0..STEPS {
                through.update_params().unwrap();
                for (name, _) in SHAPES {
                    let tensor = vars.data().lock().unwrap()[name].as_tensor().copy().unwrap();
                    others.data().lock().unwrap()[name].set(&tensor).unwrap();
                }
                let mut resumed = Pruner::new(&others, config()).unwrap();
                let saved = serde_json::to_string(&through.state()).unwrap();
                resumed.restore(serde_json::from_str(&saved).unwrap(), through.masks().clone()).unwrap();
                resumed.restore_sums(through.sums().clone()).unwrap();
                train(&vars, &mut through, step);
                train(&others, &mut resumed, step);
                assert_eq!(through.masks(), resumed.masks(), "{strategy:?}, step {step}");
                assert_eq!(through.state(), resumed.state(), "{strategy:?}, step {step}");
            }
        }
    }

    #[test]
    fn what_a_strategy_cannot_follow_is_refused() {
        let refused = |config: PrunerConfig| Pruner::new(&network(), config).err().unwrap();
        let grow = || by_layer(Strategy::DropGrow(rigl()));
        for config in [
            PrunerConfig { mode: Mode::Threshold(0.1), ..grow() },
            PrunerConfig { block: [2, 1], ..grow() },
            PrunerConfig { regrow: false, ..grow() },
            PrunerConfig { ranking: Ranking::Taylor, ..grow() },
            PrunerConfig { paddle_compat: true, ..grow() },
        ] {
            assert!(matches!(refused(config), Error::StrategyNeeds { strategy: "drop and grow", .. }));
        }
        let acdc = AcdcConfig { warmup_steps: 0, phase_steps: 1, last_from: 9, resume_step: 0 };
        let acdc = || by_layer(Strategy::Acdc(acdc.clone()));
        for config in [
            PrunerConfig { mode: Mode::Threshold(0.1), ..acdc() },
            PrunerConfig { regrow: false, ..acdc() },
            PrunerConfig { paddle_compat: true, ..acdc() },
        ] {
            assert!(matches!(refused(config), Error::StrategyNeeds { strategy: "AC/DC", .. }));
        }
        let back = |config| PrunerConfig { regrow: false, ..by_layer(Strategy::Rewind(config)) };
        for config in [
            PrunerConfig { mode: Mode::Threshold(0.1), ..back(rewind()) },
            PrunerConfig { regrow: true, ..back(rewind()) },
            PrunerConfig { paddle_compat: true, ..back(rewind()) },
            back(RewindConfig { rounds: 0, ..rewind() }),
            back(RewindConfig { pass_steps: 3, ..rewind() }),
        ] {
            assert!(matches!(refused(config), Error::StrategyNeeds { strategy: "rewinding", .. }));
        }
    }
}
