//! Ratios by layer against plain loops.

#[cfg(test)]
mod allocation {
    use std::collections::BTreeMap;

    use candle_core::{Device, Tensor, Var};
    use candle_nn::VarMap;
    use sparse_prune::{Allocation, Error, GmpConfig, Mode, Pruner, PrunerConfig, Scope, Strategy};

    const SHAPES: [(&str, &[usize]); 5] = [
        ("conv1_weights", &[8, 3, 3, 3]),
        ("conv2_dw_weights", &[8, 1, 3, 3]),
        ("conv2_sep_weights", &[64, 32, 1, 1]),
        ("conv3_sep_weights", &[96, 64, 1, 1]),
        ("fc_weights", &[96, 10]),
    ];

    fn network() -> VarMap {
        let vars = VarMap::new();
        for (seed, (name, shape)) in SHAPES.into_iter().enumerate() {
            let value = |at: usize| (((at + 977 * seed) * 7919) % 10_007) as f32 / 5003.5 - 1.0;
            let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
            vars.data().lock().unwrap().insert(name.to_owned(), Var::from_tensor(&tensor).unwrap());
        }
        vars
    }

    fn layers(entries: &[(&str, f64)]) -> BTreeMap<String, f64> {
        entries.iter().map(|&(pattern, ratio)| (pattern.to_owned(), ratio)).collect()
    }

    fn pruned(pruner: &Pruner) -> BTreeMap<&str, usize> {
        pruner.masks().iter().map(|(name, mask)| (name.as_str(), mask.pruned())).collect()
    }

    fn count(share: f64, len: usize) -> usize {
        (share * len as f64).round() as usize
    }

    fn by_layer(ratio: f64) -> PrunerConfig {
        PrunerConfig { scope: Scope::LayerWise, ..PrunerConfig::new(Mode::Ratio(ratio)) }
    }

    /// The densities of the paper's own program: raise epsilon until nothing is above 1.
    fn erk_densities(ratio: f64) -> Vec<f64> {
        let mut dense = vec![false; SHAPES.len()];
        loop {
            let (mut rhs, mut divisor) = (0.0, 0.0);
            let mut raw = Vec::new();
            for (at, (_, shape)) in SHAPES.into_iter().enumerate() {
                let n_param = shape.iter().product::<usize>() as f64;
                let probability = shape.iter().sum::<usize>() as f64 / n_param;
                raw.push(probability);
                let (n_zeros, n_ones) = (n_param * ratio, n_param * (1.0 - ratio));
                if dense[at] {
                    rhs -= n_zeros;
                } else {
                    rhs += n_ones;
                    divisor += probability * n_param;
                }
            }
            let epsilon = rhs / divisor;
            let open = (0..SHAPES.len()).filter(|&at| !dense[at]);
            let highest = open.map(|at| raw[at]).fold(0.0, f64::max);
            if highest * epsilon <= 1.0 {
                return (0..SHAPES.len()).map(|at| if dense[at] { 1.0 } else { epsilon * raw[at] }).collect();
            }
            (0..SHAPES.len()).filter(|&at| raw[at] == highest).for_each(|at| dense[at] = true);
        }
    }

    #[test]
    fn erk_gives_the_densities_of_the_paper() {
        for ratio in [0.3, 0.5, 0.75, 0.9] {
            let config = PrunerConfig { allocation: Allocation::Erk, ..by_layer(ratio) };
            let mut pruner = Pruner::new(&network(), config).unwrap();
            pruner.step().unwrap();
            let densities = erk_densities(ratio);
            let (mut zeros, mut all) = (0, 0);
            for ((name, shape), density) in SHAPES.into_iter().zip(&densities) {
                let len: usize = shape.iter().product();
                assert_eq!(pruned(&pruner)[name], count(1.0 - density, len), "{name} at {ratio}");
                (zeros, all) = (zeros + pruned(&pruner)[name], all + len);
            }
            assert!(count(ratio, all).abs_diff(zeros) <= SHAPES.len(), "{zeros} of {all} at {ratio}");
            assert!(densities[1] > densities[3], "{densities:?}");
        }
    }

    #[test]
    fn layers_have_ratios_of_their_own_and_all_others_that_of_all() {
        for scope in [Scope::Global, Scope::LayerWise] {
            let own = layers(&[("_sep_", 0.9), ("^fc", 0.25)]);
            let config = PrunerConfig { scope, layers: own, ..by_layer(0.5) };
            let mut pruner = Pruner::new(&network(), config).unwrap();
            let report = pruner.step().unwrap();
            let pruned = pruned(&pruner);
            assert_eq!(
                (pruned["conv2_sep_weights"], pruned["conv3_sep_weights"]),
                (count(0.9, 2048), count(0.9, 6144))
            );
            assert_eq!(pruned["fc_weights"], 240);
            assert_eq!(pruned["conv1_weights"] + pruned["conv2_dw_weights"], (216 + 72) / 2);
            assert_eq!(report.threshold, None);
            assert_eq!(pruned["conv1_weights"] == 108, scope == Scope::LayerWise);
        }
    }

    #[test]
    fn a_ramp_takes_the_same_share_of_its_way_in_each_layer() {
        let gmp = GmpConfig {
            stable_steps: 0,
            pruning_steps: 6,
            tunning_steps: 0,
            updates: 3,
            initial_ratio: 0.2,
            resume_step: 0,
        };
        let config =
            PrunerConfig { layers: layers(&[("^fc", 0.8)]), strategy: Strategy::Gmp(gmp), ..by_layer(0.5) };
        let mut pruner = Pruner::new(&network(), config).unwrap();
        for _ in 0..8 {
            let ratio = pruner.step().unwrap().ratio;
            assert_eq!(pruned(&pruner)["fc_weights"], count(0.8 * (ratio / 0.5), 960));
            assert_eq!(pruned(&pruner)["conv3_sep_weights"], count(ratio, 6144));
        }
        assert_eq!(pruned(&pruner)["fc_weights"], 768);
    }

    #[test]
    fn entries_that_cannot_be_followed_are_named() {
        let refused = |entries: &[(&str, f64)]| {
            let config = PrunerConfig { layers: layers(entries), ..by_layer(0.5) };
            Pruner::new(&network(), config).err().unwrap()
        };
        assert!(
            matches!(refused(&[("conv9", 0.5)]), Error::LayerUnmatched { pattern } if pattern == "conv9")
        );
        assert!(
            matches!(refused(&[("conv", 0.5), ("_dw_", 0.6)]), Error::LayerTwice { name, .. } if name == "conv2_dw_weights")
        );
        assert!(matches!(refused(&[("conv(", 0.5)]), Error::Regex { .. }));
        assert!(matches!(refused(&[("fc", 1.0)]), Error::Ratio { .. }));
        let said = refused(&[("_dw_", 0.999)]).to_string();
        assert!(said.contains("all 72 weights of `conv2_dw_weights`"), "{said}");
    }
}
