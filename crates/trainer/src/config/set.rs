//! `--set SECTION.KEY=VALUE`: one value, in TOML notation or as a bare string.

use toml::{Table, Value};

use super::ConfigError;

/// Parses one assignment into a table that holds just this value.
///
/// # Errors
/// [`ConfigError::BadSet`] when there is no `=` or no key before it.
pub(super) fn parse_assignment(assignment: &str) -> Result<Table, ConfigError> {
    let bad = || ConfigError::BadSet { assignment: assignment.to_owned() };
    let (path, value) = assignment.split_once('=').ok_or_else(bad)?;
    let path = path.trim();
    if path.is_empty() {
        return Err(bad());
    }
    Ok(nested(path, parse_value(value.trim())))
}

/// The table in which `path` (`section.name`, or a bare name) has `value`.
pub(super) fn nested(path: &str, value: Value) -> Table {
    let mut table = Table::new();
    match path.split_once('.') {
        Some((section, name)) => {
            let entries = Table::from_iter([(name.to_owned(), value)]);
            table.insert(section.to_owned(), Value::Table(entries));
        }
        None => {
            table.insert(path.to_owned(), value);
        }
    }
    table
}

/// A TOML value if the text is one; a number as Rust writes it (`.5`); else the text itself as a string.
fn parse_value(text: &str) -> Value {
    let one_value = |mut table: Table| if table.len() == 1 { table.remove("value") } else { None };
    if let Some(value) = toml::from_str(&format!("value = {text}")).ok().and_then(one_value) {
        return value;
    }
    match text.parse::<f64>() {
        Ok(number) => Value::Float(number),
        Err(_) => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(assignment: &str) -> Value {
        parse_assignment(assignment).unwrap()["a"]["b"].clone()
    }

    #[test]
    fn values_are_toml_values() {
        assert_eq!(value_of("a.b=3"), Value::Integer(3));
        assert_eq!(value_of("a.b = -1e-5"), Value::Float(-1e-5));
        assert_eq!(value_of("a.b=true"), Value::Boolean(true));
        assert_eq!(value_of("a.b=\"x y\""), Value::String("x y".to_owned()));
        assert_eq!(value_of("a.b=[71, 88]"), Value::from(vec![71, 88]));
    }

    #[test]
    fn anything_else_is_a_bare_string_or_a_plain_number() {
        assert_eq!(value_of("a.b=data/fashion-mnist"), Value::String("data/fashion-mnist".to_owned()));
        assert_eq!(value_of("a.b=x=y"), Value::String("x=y".to_owned()));
        assert_eq!(value_of("a.b="), Value::String(String::new()));
        assert_eq!(value_of("a.b=1\nc=2"), Value::String("1\nc=2".to_owned()));
        assert_eq!(value_of("a.b=.5"), Value::Float(0.5));
    }

    #[test]
    fn a_key_without_a_section_stays_at_the_top() {
        assert_eq!(parse_assignment("ratio=1").unwrap()["ratio"], Value::Integer(1));
    }

    #[test]
    fn an_assignment_needs_a_key_and_an_equals_sign() {
        for assignment in ["prune.ratio", "", "=3"] {
            assert!(matches!(parse_assignment(assignment), Err(ConfigError::BadSet { .. })), "{assignment}");
        }
    }
}
