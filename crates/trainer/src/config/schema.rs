//! The keys as a JSON schema, for editors and for programs that write configs.

use std::ops::Bound;

use serde_json::{Map, Value, json};

use super::{DataKind, Key, Values, known_keys};

/// The schema of a config file, draft 2020-12; TOML's tables, lists and values are JSON's.
#[must_use]
pub fn schema() -> Value {
    let mut sections = Map::new();
    for key in known_keys() {
        let section = sections
            .entry(key.section)
            .or_insert_with(|| json!({ "type": "object", "additionalProperties": false, "properties": {} }));
        section["properties"][key.name] = of_key(key);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A config of sparse-train",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
    })
}

fn of_key(key: &Key) -> Value {
    let mut schema = of_values(&key.values);
    schema["description"] = format!("{}: {}.", key.summary(), key.expects()).into();
    let defaults = DataKind::ALL.map(|data| key.default(data));
    if let Some(default) = &defaults[0]
        && defaults.iter().all(|other| other.as_ref() == Some(default))
        && let Ok(default) = serde_json::to_value(default)
    {
        schema["default"] = default;
    }
    schema
}

fn of_values(values: &Values) -> Value {
    match *values {
        Values::Truth => json!({ "type": "boolean" }),
        Values::Whole { from, to: i64::MAX } => json!({ "type": "integer", "minimum": from }),
        Values::Whole { from, to } => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Values::Number { from, to } => {
            let mut schema = json!({ "type": "number" });
            for (bound, closed, open) in
                [(from, "minimum", "exclusiveMinimum"), (to, "maximum", "exclusiveMaximum")]
            {
                match bound {
                    Bound::Included(number) => schema[closed] = number.into(),
                    Bound::Excluded(number) => schema[open] = number.into(),
                    Bound::Unbounded => {}
                }
            }
            schema
        }
        Values::Names { names, also } => json!({ "enum": ([names, also].concat()) }),
        Values::Text => json!({ "type": "string", "minLength": 1 }),
        Values::TruthOrText => json!({ "anyOf": [of_values(&Values::Truth), of_values(&Values::Text)] }),
        Values::Shares => json!({ "type": "object", "additionalProperties": of_values(&Values::FRACTION) }),
        Values::List { of, least, most, or_one } => {
            let mut list = json!({ "type": "array", "items": of_values(of), "minItems": least });
            if most < usize::MAX {
                list["maxItems"] = most.into();
            }
            if or_one { json!({ "anyOf": [of_values(of), list] }) } else { list }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_every_key_with_its_bounds() {
        let schema = schema();
        let property = |section: &str, name: &str| schema["properties"][section]["properties"][name].clone();
        for key in known_keys() {
            assert!(property(key.section, key.name)["description"].is_string(), "{}", key.path());
        }
        assert_eq!(property("train", "batch_size")["minimum"], 1);
        assert_eq!(property("prune", "initial_ratio")["exclusiveMaximum"], 1.0);
        assert_eq!(
            property("prune", "pruning_mode")["enum"],
            json!(["ratio", "threshold", "pattern", "none", "None"])
        );
        assert_eq!(property("prune", "sparse_block")["maxItems"], 2);
        assert_eq!(property("data", "mean")["anyOf"][0]["type"], "number");
        assert_eq!(
            (&property("data", "path")["default"], &property("train", "lr")["default"]),
            (&Value::Null, &json!(0.1))
        );
    }
}
