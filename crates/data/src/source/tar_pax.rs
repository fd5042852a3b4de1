//! Extended attributes of a member of a tar file, as pax and GNU tar write them before it.

/// What is known of a member before its own header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Its contents are stored without their holes.
    pub(super) sparse: bool,
}

/// Reads lines `LENGTH KEY=VALUE`; a value may hold any bytes, also line ends. None if they are malformed.
pub(super) fn parse(mut bytes: &[u8], mut known: Extended) -> Option<Extended> {
    let mut real_name = None;
    // Some programs fill the block with zeros.
    while bytes.first().is_some_and(|&byte| byte != 0) {
        let blank = bytes.iter().take(20).position(|&byte| byte == b' ')?;
        let len: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
        let line = bytes.get(blank + 1..len)?.strip_suffix(b"\n")?;
        let equals = line.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (&line[..equals], &line[equals + 1..]);
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => known.name = text(),
            b"linkpath" => known.link = text(),
            b"size" if value.is_empty() => known.size = None,
            b"size" => known.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            b"GNU.sparse.name" => real_name = text(),
            _ if key.starts_with(b"GNU.sparse.") => known.sparse = true,
            _ => {}
        }
        bytes = &bytes[len..];
    }
    known.name = real_name.or(known.name);
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let len = (1..).find(|len| format!("{len}").len() + rest.len() == *len).unwrap();
        [len.to_string().as_bytes(), &rest].concat()
    }

    #[test]
    fn values_may_hold_any_bytes() {
        let bytes = [
            line("SCHILY.xattr.user.note", b"two\nlines, a \0 and 12 path=no\n"),
            line("path", b"a\nb/\xe9.jpg"),
            line("size", b"77"),
            line("linkpath", b"c"),
        ];
        let found = parse(&bytes.concat(), Extended::default()).unwrap();
        let expected = Extended {
            name: Some(b"a\nb/\xe9.jpg".to_vec()),
            link: Some(b"c".to_vec()),
            size: Some(77),
            sparse: false,
        };
        assert_eq!(found, expected);
        // An empty value takes back what was said before.
        assert_eq!(parse(&line("path", b""), found).unwrap().name, None);
    }

    #[test]
    fn sparse_files_have_a_name_of_their_own() {
        let bytes = [
            line("GNU.sparse.name", b"real"),
            line("path", b"GNUSparseFile.1/real"),
            line("GNU.sparse.major", b"1"),
        ];
        let found = parse(&bytes.concat(), Extended::default()).unwrap();
        assert_eq!((found.name.as_deref(), found.sparse), (Some(b"real".as_slice()), true));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let malformed: [&[u8]; 8] = [
            b"x",
            b"5",
            b"99 path=a\n",
            b"3 \n",
            b"9 path=a",
            b"0 a=b\n",
            b"12 size=x12\n",
            b"18446744073709551615 a=b\n",
        ];
        for bytes in malformed {
            assert_eq!(parse(bytes, Extended::default()), None, "{bytes:?}");
        }
        let padded = [&line("path", b"a")[..], &[0; 30]].concat();
        assert_eq!(parse(&padded, Extended::default()).unwrap().name.unwrap(), b"a");
    }
}
