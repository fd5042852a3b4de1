//! What the value of a key may be: the check of a value, and the rule in words.

use std::ops::{Bound, RangeBounds};

use toml::Value;

/// What the value of a key may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// True or false.
    Truth,
    /// A whole number between two bounds, both allowed.
    Whole {
        /// The least one.
        from: i64,
        /// The greatest one; `i64::MAX` is no bound of its own.
        to: i64,
    },
    /// A finite number between two bounds.
    Number {
        /// The lower bound.
        from: Bound<f64>,
        /// The upper bound.
        to: Bound<f64>,
    },
    /// One of some names.
    Names {
        /// The names.
        names: &'static [&'static str],
        /// Other spellings that are read.
        also: &'static [&'static str],
    },
    /// A text, such as a path, that is not empty.
    Text,
    /// True, false, or a text that is not empty.
    TruthOrText,
    /// A table of fractions below 1 under names that are not empty.
    Shares,
    /// A list.
    List {
        /// What each entry may be.
        of: &'static Values,
        /// The least number of entries.
        least: usize,
        /// The greatest number of entries.
        most: usize,
        /// Whether one value may stand for a list of one.
        or_one: bool,
    },
}

impl Values {
    /// Any finite number.
    pub(super) const FINITE: Self = Self::Number { from: Bound::Unbounded, to: Bound::Unbounded };
    /// A number above 0.
    pub(super) const ABOVE_ZERO: Self = Self::Number { from: Bound::Excluded(0.0), to: Bound::Unbounded };
    /// A number, 0 or more.
    pub(super) const NOT_NEGATIVE: Self = Self::Number { from: Bound::Included(0.0), to: Bound::Unbounded };
    /// A fraction below 1.
    pub(super) const FRACTION: Self = Self::Number { from: Bound::Included(0.0), to: Bound::Excluded(1.0) };
    /// A fraction that may be 1.
    pub(super) const SHARE: Self = Self::Number { from: Bound::Included(0.0), to: Bound::Included(1.0) };

    /// Whole numbers from `from` on.
    pub(super) const fn whole(from: i64) -> Self {
        Self::Whole { from, to: i64::MAX }
    }

    /// Lists of any length, none included.
    pub(super) const fn list(of: &'static Self) -> Self {
        Self::List { of, least: 0, most: usize::MAX, or_one: false }
    }

    /// Whether a value is one of these.
    #[must_use]
    pub fn allow(&self, value: &Value) -> bool {
        match (*self, value) {
            (Self::Truth | Self::TruthOrText, Value::Boolean(_)) => true,
            (Self::Whole { from, to }, Value::Integer(number)) => (from..=to).contains(number),
            (Self::Number { from, to }, Value::Integer(number)) => (from, to).contains(&(*number as f64)),
            (Self::Number { from, to }, Value::Float(number)) => {
                number.is_finite() && (from, to).contains(number)
            }
            (Self::Names { names, also }, Value::String(name)) => {
                names.contains(&name.as_str()) || also.contains(&name.as_str())
            }
            (Self::Text | Self::TruthOrText, Value::String(text)) => !text.is_empty(),
            (Self::Shares, Value::Table(entries)) => {
                entries.iter().all(|(name, share)| !name.is_empty() && Self::FRACTION.allow(share))
            }
            (Self::List { of, least, most, .. }, Value::Array(entries)) => {
                (least..=most).contains(&entries.len()) && entries.iter().all(|entry| of.allow(entry))
            }
            (Self::List { of, or_one: true, .. }, single) => of.allow(single),
            _ => false,
        }
    }

    /// What a refused value was probably meant to be; `None` if there is no telling.
    pub(super) fn meant(&self, value: &Value) -> Option<String> {
        let fits = |value: Value| self.allow(&value).then(|| value.to_string());
        let listed =
            matches!(self, Self::List { .. }).then(|| fits(Value::Array(vec![value.clone()]))).flatten();
        if let Some(list) = listed {
            return Some(format!("write {list}"));
        }
        match (self, value) {
            (Self::Names { names, .. }, Value::String(text)) => {
                let likeness = |name: &&&str| {
                    strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &text.to_lowercase())
                };
                let nearest = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
                (likeness(&nearest) > 0.6).then(|| format!("the nearest is \"{nearest}\""))
            }
            (_, Value::String(text)) => {
                let read = toml::from_str::<toml::Table>(&format!("value = {}", text.trim().to_lowercase()));
                fits(read.ok()?.get("value")?.clone()).map(|read| format!("write {read}, without quotes"))
            }
            (Self::Whole { .. }, Value::Float(number)) if number.fract() == 0.0 && number.abs() < 1e15 => {
                fits(Value::Integer(*number as i64)).map(|whole| format!("write {whole}"))
            }
            (Self::Number { to: Bound::Included(1.0) | Bound::Excluded(1.0), .. }, _) => {
                let percent = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))?;
                let fraction = (percent / 100.0 * 1e9).round() / 1e9;
                if percent <= 1.0 {
                    None
                } else {
                    fits(fraction.into()).map(|_| format!("{percent} % is {fraction}"))
                }
            }
            _ => None,
        }
    }

    /// The rule in words, as in "must be …"; `unit` is what a number counts, or empty.
    pub(super) fn words(&self, unit: &str) -> String {
        let of = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
        match self {
            Self::Truth => "true or false".to_owned(),
            Self::Whole { from, to: i64::MAX } => format!("a whole number{of}, {from} or more"),
            Self::Whole { from, to } => format!("a whole number{of} from {from} to {to}"),
            Self::Number { from: Bound::Included(from), to: Bound::Excluded(to) } => {
                format!("a fraction{of}, at least {from} and below {to}")
            }
            Self::Number { from: Bound::Included(from), to: Bound::Included(to) } => {
                format!("a fraction{of}, at least {from} and at most {to}")
            }
            Self::Number { from: Bound::Excluded(from), to: Bound::Included(to) } => {
                format!("a fraction{of} above {from}, at most {to}")
            }
            Self::Number { from: Bound::Excluded(from), .. } => format!("a number{of} above {from}"),
            Self::Number { from: Bound::Included(from), .. } => format!("a number{of}, {from} or more"),
            Self::Number { .. } => format!("a finite number{of}"),
            Self::Names { names, .. } => alternatives(names.iter().map(|name| format!("\"{name}\""))),
            Self::Text => "a text".to_owned(),
            Self::TruthOrText => "true, false or a text".to_owned(),
            Self::Shares => {
                "a table of fractions below 1 by regexes, such as { \"_sep_weights$\" = 0.9 }".to_owned()
            }
            Self::List { of: entries, .. } => format!("a list, each {}", entries.words(unit)),
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn alternatives(words: impl IntoIterator<Item = String>) -> String {
    joined(words, "or")
}

/// `a`, `a and b`, `a, b and c`, with another word for "and".
pub(super) fn joined(words: impl IntoIterator<Item = String>, last: &str) -> String {
    let mut words: Vec<String> = words.into_iter().collect();
    match words.pop() {
        None => String::new(),
        Some(only) if words.is_empty() => only,
        Some(end) => format!("{} {last} {end}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        toml::from_str::<toml::Table>(&format!("value = {text}")).unwrap()["value"].clone()
    }

    fn check(values: Values, allowed: &[&str], refused: &[&str]) {
        for text in allowed {
            assert!(values.allow(&value(text)), "{text} is {}", values.words(""));
        }
        for text in refused {
            assert!(!values.allow(&value(text)), "{text} is not {}", values.words(""));
        }
    }

    #[test]
    fn bounds_types_and_lengths_are_checked() {
        check(Values::Truth, &["true", "false"], &["1", "\"true\""]);
        check(Values::whole(1), &["1", "9223372036854775807"], &["0", "-1", "1.0", "\"1\"", "true"]);
        check(Values::Whole { from: 0, to: 10 }, &["0", "10"], &["-1", "11"]);
        check(Values::FINITE, &["-1e300", "7"], &["nan", "inf", "-inf", "\"7\""]);
        check(Values::ABOVE_ZERO, &["1e-300", "1"], &["0", "-0.0", "0.0", "nan", "inf"]);
        check(Values::NOT_NEGATIVE, &["0", "-0.0", "1e300"], &["-1e-9", "inf"]);
        check(Values::FRACTION, &["0", "0.999999"], &["1", "1.0", "-0.1", "nan"]);
        check(Values::SHARE, &["0", "1"], &["1.0000001", "-0.1", "nan"]);
        check(Values::Text, &["\"a\""], &["\"\"", "1", "[\"a\"]"]);
        check(
            Values::Shares,
            &["{}", "{ a = 0.5, \"b.*\" = 0 }"],
            &["{ a = 1.0 }", "{ \"\" = 0.5 }", "0.5", "[0.5]"],
        );
        check(Values::TruthOrText, &["true", "\"a\""], &["\"\"", "1"]);
        let names = Values::Names { names: &["none", "all"], also: &["None"] };
        check(names, &["\"none\"", "\"None\"", "\"all\""], &["\"NONE\"", "\"\"", "true"]);
    }

    #[test]
    fn a_list_has_so_many_entries_and_one_may_stand_for_it_where_that_is_said() {
        const ENTRY: Values = Values::whole(1);
        check(Values::list(&ENTRY), &["[]", "[1, 2]"], &["1", "[0]", "[1, \"a\"]"]);
        let two = Values::List { of: &ENTRY, least: 2, most: 2, or_one: false };
        check(two, &["[1, 2]"], &["[1]", "[1, 2, 3]", "1"]);
        let some = Values::List { of: &ENTRY, least: 1, most: 9, or_one: true };
        check(some, &["1", "[1]"], &["[]", "0"]);
    }

    #[test]
    fn what_was_probably_meant_is_said() {
        const ENTRY: Values = Values::whole(1);
        let meant = |values: Values, text: &str| values.meant(&value(text)).unwrap_or_default();
        assert_eq!(meant(Values::FRACTION, "55"), "55 % is 0.55");
        assert_eq!(meant(Values::SHARE, "7.5"), "7.5 % is 0.075");
        assert_eq!(meant(Values::FRACTION, "\"0.5\""), "write 0.5, without quotes");
        assert_eq!(meant(Values::Truth, "\"True\""), "write true, without quotes");
        assert_eq!(meant(Values::whole(1), "64.0"), "write 64");
        assert_eq!(meant(Values::list(&ENTRY), "3"), "write [3]");
        assert_eq!(meant(Values::list(&Values::Text), "\"a\""), "write [\"a\"]");
        for (values, text) in [
            (Values::FRACTION, "1"),
            (Values::FRACTION, "-0.5"),
            (Values::FRACTION, "200"),
            (Values::FRACTION, "nan"),
            (Values::whole(1), "0.5"),
            (Values::whole(1), "\"many\""),
            (Values::Text, "1"),
        ] {
            assert_eq!(meant(values, text), "", "{text}");
        }
    }

    #[test]
    fn rules_are_said_in_words() {
        let words = |values: Values| values.words("");
        assert_eq!(Values::whole(1).words("steps"), "a whole number of steps, 1 or more");
        assert_eq!(Values::Whole { from: 0, to: 10 }.words(""), "a whole number from 0 to 10");
        assert_eq!(words(Values::ABOVE_ZERO), "a number above 0");
        assert_eq!(words(Values::NOT_NEGATIVE), "a number, 0 or more");
        assert_eq!(words(Values::FRACTION), "a fraction, at least 0 and below 1");
        assert_eq!(words(Values::SHARE), "a fraction, at least 0 and at most 1");
        let names = Values::Names { names: &["a", "b", "c"], also: &["A"] };
        assert_eq!(words(names), "\"a\", \"b\" or \"c\"");
        assert_eq!(joined(["a", "b"].map(str::to_owned), "and"), "a and b");
        assert_eq!(joined(["a".to_owned()], "and"), "a");
    }
}
