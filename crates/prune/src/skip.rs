//! Which variables may be pruned.

use regex::RegexSet;

use crate::{Error, ParamsType, PrunerConfig, Result};

/// A rule of one's own that leaves variables alone, beside the settings of the pruner.
///
/// Every function `Fn(&str, &[usize]) -> bool` is a rule.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{VarBuilder, VarMap, linear};
/// use sparse_prune::{Mode, Pruner, PrunerConfig, SkipRule};
///
/// /// Leaves small layers dense: they cost little and lose much.
/// struct SmallLayers;
///
/// impl SkipRule for SmallLayers {
///     fn skips(&self, _name: &str, shape: &[usize]) -> bool {
///         shape.iter().product::<usize>() < 1000
///     }
/// }
///
/// let vars = VarMap::new();
/// let builder = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
/// let _hidden = linear(784, 64, builder.pp("hidden"))?;
/// let _output = linear(64, 10, builder.pp("output"))?;
/// let pruner = Pruner::new(&vars, PrunerConfig::new(Mode::Ratio(0.5)))?.with_skip_rule(SmallLayers)?;
/// assert_eq!(pruner.masks().keys().collect::<Vec<_>>(), ["hidden.weight"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait SkipRule {
    /// Whether the variable of this name and shape is left alone.
    fn skips(&self, name: &str, shape: &[usize]) -> bool;
}

impl<F: Fn(&str, &[usize]) -> bool> SkipRule for F {
    fn skips(&self, name: &str, shape: &[usize]) -> bool {
        self(name, shape)
    }
}

/// The rules that the settings ask for.
///
/// Variables of one dimension are never pruned: biases, and everything of a normalisation.
pub(crate) struct ConfiguredRule {
    params_type: ParamsType,
    include: Option<RegexSet>,
    exclude: RegexSet,
}

impl ConfiguredRule {
    pub(crate) fn new(config: &PrunerConfig) -> Result<Self> {
        Ok(Self {
            params_type: config.params_type,
            include: if config.include.is_empty() { None } else { Some(patterns(&config.include)?) },
            exclude: patterns(&config.exclude)?,
        })
    }
}

impl SkipRule for ConfiguredRule {
    fn skips(&self, name: &str, shape: &[usize]) -> bool {
        !is_prunable_shape(shape)
            || (self.params_type == ParamsType::Conv1x1Only && !is_pointwise(shape))
            || self.include.as_ref().is_some_and(|include| !include.is_match(name))
            || self.exclude.is_match(name)
    }
}

/// Whether this is the shape of weights, not of a bias or of normalisation: two dimensions or more.
pub(crate) fn is_prunable_shape(shape: &[usize]) -> bool {
    shape.len() >= 2
}

/// Whether this is the shape of a 1×1 convolution's kernel.
pub(crate) fn is_pointwise(shape: &[usize]) -> bool {
    matches!(shape, [_, _, 1, 1])
}

fn patterns(patterns: &[String]) -> Result<RegexSet> {
    // A set reports no position, so each pattern is compiled alone first to name the broken one.
    for pattern in patterns {
        regex::Regex::new(pattern).map_err(|source| Error::Regex { pattern: pattern.clone(), source })?;
    }
    RegexSet::new(patterns).map_err(|source| Error::Regex { pattern: patterns.join(" "), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;

    fn skipped(change: impl FnOnce(&mut PrunerConfig)) -> Vec<&'static str> {
        let mut config = PrunerConfig::new(Mode::Ratio(0.5));
        change(&mut config);
        let rule = ConfiguredRule::new(&config).unwrap();
        let shapes: [(&'static str, &[usize]); 4] = [
            ("conv1_weights", &[8, 3, 3, 3]),
            ("conv2_sep_weights", &[16, 8, 1, 1]),
            ("fc7_weights", &[16, 10]),
            ("fc7_offset", &[10]),
        ];
        shapes.into_iter().filter(|(name, shape)| rule.skips(name, shape)).map(|(name, _)| name).collect()
    }

    #[test]
    fn every_setting_narrows_the_choice() {
        assert_eq!(skipped(|_| {}), ["fc7_offset"]);
        assert_eq!(
            skipped(|config| config.params_type = ParamsType::Conv1x1Only),
            ["conv1_weights", "fc7_weights", "fc7_offset"]
        );
        assert_eq!(
            skipped(|config| config.include = vec!["^conv".into(), "offset$".into()]),
            ["fc7_weights", "fc7_offset"]
        );
        assert_eq!(
            skipped(|config| config.exclude = vec!["^conv1_".into(), "^fc".into()]),
            ["conv1_weights", "fc7_weights", "fc7_offset"]
        );
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let config =
            PrunerConfig { exclude: vec!["fine".into(), "(".into()], ..PrunerConfig::new(Mode::Ratio(0.5)) };
        let refused = ConfiguredRule::new(&config).err();
        assert!(matches!(refused, Some(Error::Regex { pattern, .. }) if pattern == "("));
    }
}
