//! The text of a config file.

use std::{fs::File, io::Read, path::Path};

use super::ConfigError;

/// The longest config that is read, in bytes; a config of every key has some four thousand.
const MOST_BYTES: u64 = 1 << 20;

/// Reads the text of a config file, or what comes through `/dev/stdin`.
///
/// # Errors
/// [`ConfigError::Unreadable`] and [`ConfigError::NotText`].
pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let refuse = |reason: String| Err(ConfigError::NotText { path: path.to_owned(), reason });
    if path.is_dir() {
        let inside = path.join("config.toml");
        let advice = if inside.is_file() {
            format!("it is a folder; the config of that run is {}", inside.display())
        } else {
            "it is a folder; name the file in it".to_owned()
        };
        return refuse(advice);
    }
    if is_named_pipe(path) {
        return refuse(
            "it is a pipe, and nobody may ever write to it; /dev/stdin reads what a command writes"
                .to_owned(),
        );
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return refuse(format!("it has more than {MOST_BYTES} bytes; check the path after --config"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error)
            if error.as_bytes().starts_with(&[0xff, 0xfe]) || error.as_bytes().starts_with(&[0xfe, 0xff]) =>
        {
            refuse("it is UTF-16; save it as UTF-8".to_owned())
        }
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count();
            refuse(format!("line {line} is not UTF-8; save it as UTF-8, or check the path after --config"))
        }
    }
}

/// Whether a pipe lies at the path itself; what `/dev/stdin` or a `<(command)` leads to has its writer already.
fn is_named_pipe(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        path.symlink_metadata().is_ok_and(|facts| facts.file_type().is_fifo())
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        std::fs::write(&path, bytes).unwrap();
        read_text(&path).map_or_else(|error| error.to_string(), |text| format!("read {text}"))
    }

    #[test]
    fn only_text_of_a_sensible_length_is_read() {
        assert_eq!(message("seed = 1 # ε\r\n".as_bytes()), "read seed = 1 # ε\r\n");
        assert!(message(b"a\nb\xff").contains("line 2 is not UTF-8"));
        assert!(message(b"\xff\xfea\0").contains("it is UTF-16"));
        assert!(message(&vec![b' '; 1 << 21]).contains("more than 1048576 bytes"));
    }

    #[test]
    fn a_folder_is_refused_and_the_config_in_it_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_text(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("it is a folder; name the file in it"), "{error}");
        std::fs::write(folder.path().join("config.toml"), "").unwrap();
        assert!(read_text(folder.path()).unwrap_err().to_string().contains("config.toml"));
    }
}
