//! Which variable loses how much, where variables have ratios of their own.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, Mode, PrunerConfig, Result, Scope};

/// How a ratio is spread over the variables where each is ranked on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allocation {
    /// The same for each.
    #[default]
    Uniform,
    /// Less of small variables: the Erdős–Rényi kernel.
    Erk,
}

/// A prunable variable: its name and shape.
pub(crate) type Named<'a> = (&'a str, &'a [usize]);

/// Variables that are ranked together, in the order of the ranking, and their ratio where it is one of their own.
pub(crate) struct Ranked<'a> {
    pub(crate) names: Vec<&'a str>,
    pub(crate) own: Option<f64>,
}

/// The ratios of variables that have one of their own, by name.
///
/// # Errors
/// [`Error::Regex`], [`Error::Ratio`], [`Error::LayerUnmatched`], [`Error::LayerTwice`] for entries of
/// [`PrunerConfig::layers`].
pub(crate) fn own_ratios(config: &PrunerConfig, variables: &[Named<'_>]) -> Result<BTreeMap<String, f64>> {
    let Mode::Ratio(ratio) = config.mode else { return Ok(BTreeMap::new()) };
    let mut ratios: BTreeMap<String, f64> = BTreeMap::new();
    let mut matched: BTreeMap<&str, &str> = BTreeMap::new();
    for (pattern, &own) in &config.layers {
        if !(0.0..1.0).contains(&own) {
            return Err(Error::Ratio { got: own });
        }
        let regex =
            regex::Regex::new(pattern).map_err(|source| Error::Regex { pattern: pattern.clone(), source })?;
        let mut names =
            variables.iter().map(|(name, _)| *name).filter(|name| regex.is_match(name)).peekable();
        if names.peek().is_none() {
            return Err(Error::LayerUnmatched { pattern: pattern.clone() });
        }
        for name in names {
            if let Some(other) = matched.insert(name, pattern) {
                let [first, second] = [other, pattern].map(str::to_owned);
                return Err(Error::LayerTwice { name: name.to_owned(), first, second });
            }
            ratios.insert(name.to_owned(), own);
        }
    }
    if config.scope == Scope::LayerWise && config.allocation == Allocation::Erk {
        let others: Vec<Named<'_>> =
            variables.iter().filter(|(name, _)| !matched.contains_key(name)).copied().collect();
        ratios.extend(erk(&others, ratio));
    }
    Ok(ratios)
}

/// The ratio of each variable, so that all together lose the fraction `ratio`: the density of one of sides n¹ × n² × … is proportional to
/// (n¹ + n² + …) / (n¹ · n² · …). Those whose density would be above 1 stay dense, and the others make up for it.
///
/// Source: Evci et al. 2020, arXiv:1911.11134, section 3.1, and its appendix on the kernel's dimensions; Mocanu et al. 2018,
/// arXiv:1707.04780.
fn erk(variables: &[Named<'_>], ratio: f64) -> BTreeMap<String, f64> {
    let len = |shape: &[usize]| shape.iter().product::<usize>() as f64;
    let raw = |shape: &[usize]| shape.iter().sum::<usize>() as f64 / len(shape);
    let mut dense: BTreeSet<&str> = BTreeSet::new();
    loop {
        let (mut kept, mut weight, mut largest) = (0.0, 0.0, 0.0_f64);
        for &(name, shape) in variables {
            if dense.contains(name) {
                kept -= ratio * len(shape);
            } else {
                kept += (1.0 - ratio) * len(shape);
                weight += raw(shape) * len(shape);
                largest = largest.max(raw(shape));
            }
        }
        let scale = if weight > 0.0 { (kept / weight).max(0.0) } else { 0.0 };
        if scale * largest > 1.0 {
            dense.extend(variables.iter().filter(|(_, shape)| raw(shape) == largest).map(|(name, _)| *name));
            continue;
        }
        let of = |&(name, shape): &Named<'_>| {
            let own = if dense.contains(name) { 0.0 } else { 1.0 - scale * raw(shape) };
            (name.to_owned(), own)
        };
        return variables.iter().map(of).collect();
    }
}
