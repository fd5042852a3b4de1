//! Values as PaddleSlim's flags take them.

/// A boolean in any case; the words are those of Python's `strtobool`.
pub(super) fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("it must be true or false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_come_in_many_words_and_any_case() {
        for text in ["true", "True", "TRUE", "1", "yes", "Yes", "on", "t"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["false", "False", "0", "no", "NO", "off", "f"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "2", "maybe", "None"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }
}
