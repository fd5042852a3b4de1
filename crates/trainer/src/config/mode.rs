//! Which pruning mode counts when several layers speak.

use toml::{Table, Value};

use super::{ConfigError, Origin};

/// The modes that have an amount of the same name.
const AMOUNTS: [&str; 3] = ["ratio", "threshold", "pattern"];

/// Goes through the layers, highest first: the first that gives `pruning_mode` decides, or that gives exactly one
/// of `ratio`, `threshold` and `pattern`. `None` when no layer says anything.
///
/// # Errors
/// [`ConfigError::TwoAmounts`] for a layer that gives two and no mode, when no layer above it decides.
pub(super) fn resolve_mode(layers: &[(&Table, Origin)]) -> Result<Option<Value>, ConfigError> {
    for (layer, origin) in layers {
        let Some(prune) = layer.get("prune") else { continue };
        if let Some(mode) = prune.get("pruning_mode") {
            return Ok(Some(mode.clone()));
        }
        let given: Vec<&str> = AMOUNTS.into_iter().filter(|amount| prune.get(amount).is_some()).collect();
        match given[..] {
            [] => {}
            [mode] => return Ok(Some(Value::from(mode))),
            [first, second, ..] => {
                return Err(ConfigError::TwoAmounts { first, second, origin: origin.named(first, second) });
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `layers` are the entries of `[prune]`, highest first.
    fn mode(layers: &[&str]) -> Result<Option<String>, String> {
        let tables: Vec<Table> =
            layers.iter().map(|entries| toml::from_str(&format!("[prune]\n{entries}")).unwrap()).collect();
        let stack: Vec<(&Table, Origin)> =
            tables.iter().map(|table| (table, Origin::File("x.toml".into()))).collect();
        match resolve_mode(&stack) {
            Ok(mode) => Ok(mode.map(|mode| mode.as_str().unwrap().to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_highest_layer_that_says_something_decides() {
        let text = |mode: &str| Ok(Some(mode.to_owned()));
        assert_eq!(mode(&[]), Ok(None));
        assert_eq!(mode(&["regrow = true", ""]), Ok(None));
        assert_eq!(mode(&["ratio = 0.5"]), text("ratio"));
        assert_eq!(mode(&["threshold = 0.5"]), text("threshold"));
        assert_eq!(mode(&["pattern = '2:4'", "ratio = 0.5"]), text("pattern"));
        assert!(
            mode(&["pattern = '2:4'\nratio = 0.5"])
                .unwrap_err()
                .starts_with("both ratio and pattern are given")
        );
        assert_eq!(mode(&["ratio = 0.5", "threshold = 0.5"]), text("ratio"));
        assert_eq!(mode(&["threshold = 0.5", "pruning_mode = 'ratio'"]), text("threshold"));
        assert_eq!(mode(&["", "pruning_mode = 'none'", "ratio = 0.5"]), text("none"));
        assert_eq!(mode(&["ratio = 1\nthreshold = 1\npruning_mode = 'ratio'"]), text("ratio"));
    }

    #[test]
    fn ratio_and_threshold_without_a_mode_is_an_error_unless_a_higher_layer_decides() {
        let both = "ratio = 0.5\nthreshold = 0.1";
        assert!(mode(&[both]).unwrap_err().starts_with("both ratio and threshold are given (in x.toml)"));
        assert!(mode(&[both, "pruning_mode = 'ratio'"]).is_err());
        assert_eq!(mode(&["pruning_mode = 'threshold'", both]), Ok(Some("threshold".to_owned())));
    }
}
