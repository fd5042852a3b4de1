//! Arguments of opcodes.

use std::borrow::Cow;

/// A place in the bytes of a pickle.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

type Read<T> = Result<T, String>;

impl<'a> Reader<'a> {
    /// The next `count` bytes; an error if the file has fewer, before anything is allocated.
    pub(super) fn take(&mut self, count: u64) -> Read<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let cut = || format!("it asks for {count} bytes and {} are left: the file was cut", rest.len());
        let count = usize::try_from(count).map_err(|_| cut())?;
        let taken = rest.get(..count).ok_or_else(cut)?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let taken = self.take(N as u64)?;
        taken.first_chunk().copied().ok_or_else(|| "the file was cut".to_owned())
    }

    pub(super) fn u8(&mut self) -> Read<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Read<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn f64_big_endian(&mut self) -> Read<f64> {
        self.array().map(f64::from_be_bytes)
    }

    /// A length of 4 bytes with a sign.
    pub(super) fn length(&mut self) -> Read<u64> {
        let length = self.i32()?;
        u64::try_from(length).map_err(|_| format!("a length is {length}"))
    }

    /// The bytes up to the next line feed, which is passed over.
    pub(super) fn line(&mut self) -> Read<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or("a line has no end: the file was cut")?;
        self.at += end + 1;
        Ok(rest.get(..end).unwrap_or_default())
    }

    pub(super) fn text_line(&mut self) -> Read<&'a str> {
        text(self.line()?)
    }

    pub(super) fn text(&mut self, count: u64) -> Read<&'a str> {
        text(self.take(count)?)
    }
}

fn text(bytes: &[u8]) -> Read<&str> {
    std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8".to_owned())
}

/// A whole number of any size, little-endian in two's complement; `None` beyond 64 bits.
pub(super) fn long(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut padded = [if negative { 0xff } else { 0 }; 8];
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(padded))
}

/// The text of a `UNICODE` line: `\uXXXX` and `\UXXXXXXXX` stand for characters, other bytes for themselves (Latin-1).
pub(super) fn raw_unicode(line: &[u8]) -> Read<Cow<'_, str>> {
    if line.is_ascii() && !line.contains(&b'\\') {
        return text(line).map(Cow::Borrowed);
    }
    let (mut out, mut rest) = (String::new(), line);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(byte));
                continue;
            }
        };
        let hex = after.get(1..=digits).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        out.push(code.ok_or("a text has an escape that is no character")?);
        rest = after.get(1 + digits..).unwrap_or_default();
    }
    Ok(Cow::Owned(out))
}

/// The bytes of a `STRING` line: quoted as Python quotes them.
pub(super) fn quoted(line: &[u8]) -> Read<Cow<'_, [u8]>> {
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err("a string is not quoted".to_owned()),
    };
    if !inner.contains(&b'\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let (mut out, mut rest) = (Vec::new(), inner);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escape, after) = rest.split_first().ok_or("a string ends in a backslash")?;
        rest = after;
        out.push(match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'\\' | b'\'' | b'"' => escape,
            b'x' => {
                let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                rest = rest.get(2..).unwrap_or_default();
                hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or("a string has a bad \\x escape")?
            }
            other => return Err(format!("a string has the escape \\{}", char::from(other))),
        });
    }
    Ok(Cow::Owned(out))
}
