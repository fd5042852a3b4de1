//! Labels in members of their own.

use super::super::read;
use super::sample::Label;
use crate::{Error, Result};
use serde_json::Value;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// Longest `.cls` and `.json` member that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// The label of a `.cls`: a number in digits.
pub(super) fn class(file: &File, path: &Path, data: Range<u64>) -> Result<Label> {
    Ok(text(file, path, data)?.and_then(|text| number(text.trim_start_matches('\u{feff}').trim())))
}

/// The label of a `.json`: its `label`, a whole number or one in digits. None if it has no such key.
pub(super) fn json(file: &File, path: &Path, data: Range<u64>) -> Result<Option<Label>> {
    let text = match text(file, path, data)? {
        Ok(text) => text,
        Err(reason) => return Ok(Some(Err(reason))),
    };
    let json: Value = match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(json) => json,
        Err(error) => return Ok(Some(Err(format!("is no JSON: {error}")))),
    };
    Ok(json.get("label").map(|label| match label {
        Value::String(text) => number(text.trim()),
        Value::Number(label) => {
            let whole = label.as_f64().filter(|label| label.fract() == 0.0).map(|label| format!("{label}"));
            number(&whole.unwrap_or_else(|| label.to_string()))
        }
        other => number(&other.to_string()),
    }))
}

fn number(text: &str) -> Label {
    text.parse().map_err(|_| {
        let text: String = text.chars().take(50).collect();
        format!("holds `{text}`, which is no label: a whole number from 0 in digits belongs there")
    })
}

fn text(file: &File, path: &Path, data: Range<u64>) -> Result<std::result::Result<String, String>> {
    let len = data.end - data.start;
    if len > LIMIT {
        return Ok(Err(format!("has {len} bytes, too many for a label")));
    }
    let mut bytes = vec![0; len as usize];
    read::at(file, &mut bytes, data.start).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(Ok(String::from_utf8_lossy(&bytes).into_owned()))
}
