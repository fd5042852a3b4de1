//! What a file is by the end of its name.

/// What an extension says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    /// JPEG or PNG; of several images of one sample the one with the smallest number counts.
    Image(u8),
    /// An image of another format.
    Unread,
    /// None or another.
    Other,
}

/// The extension of a name, without its dot and as it is written; empty if there is none.
pub(super) fn of(name: &[u8]) -> &[u8] {
    let base = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    base.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0).map_or(b"", |dot| &base[dot + 1..])
}

/// What an extension in any case says.
pub(super) fn kind(extension: &[u8]) -> Extension {
    const UNREAD: [&str; 22] = [
        "webp", "gif", "bmp", "dib", "tif", "tiff", "heic", "heif", "avif", "jp2", "j2k", "jxl", "ppm",
        "pgm", "pbm", "pnm", "tga", "svg", "ico", "psd", "dng", "exr",
    ];
    match extension.to_ascii_lowercase().as_slice() {
        b"jpg" => Extension::Image(0),
        b"jpeg" => Extension::Image(1),
        b"jpe" | b"jfif" => Extension::Image(2),
        b"png" => Extension::Image(3),
        other if UNREAD.iter().any(|known| known.as_bytes() == other) => Extension::Unread,
        _ => Extension::Other,
    }
}

/// Whether a file is one that systems leave behind, `._1.jpg`, `.DS_Store` or `Thumbs.db`, or lies in a folder of such.
pub(super) fn is_junk(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(is_junk_name)
}

/// Whether a file or folder is one that systems and editors leave behind: names with a dot in front, and a few more.
pub(super) fn is_junk_name(name: &[u8]) -> bool {
    const FOLDERS: [&[u8]; 5] =
        [b"__MACOSX", b"@eaDir", b"lost+found", b"$RECYCLE.BIN", b"System Volume Information"];
    let hidden = name.starts_with(b".") && name != b"." && name != b"..";
    hidden
        || FOLDERS.contains(&name)
        || name.eq_ignore_ascii_case(b"thumbs.db")
        || name.eq_ignore_ascii_case(b"desktop.ini")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_told_in_any_case() {
        let told = |name: &str| kind(of(name.as_bytes()));
        assert_eq!(told("a/b.c/1.JPG"), Extension::Image(0));
        assert_eq!(told("1.tar.Jpeg"), Extension::Image(1));
        assert_eq!(told("1.jfif"), Extension::Image(2));
        assert_eq!(told("1.WebP"), Extension::Unread);
        for name in ["1", ".jpg", "a.jpg/1", "1.txt", "", "1."] {
            assert_eq!(told(name), Extension::Other, "{name}");
        }
    }

    #[test]
    fn what_systems_leave_behind_is_junk() {
        for path in ["._1.jpg", "a/.DS_Store", "__MACOSX/a/1.jpg", ".ipynb_checkpoints/1.jpg", "a/THUMBS.DB"]
        {
            assert!(is_junk(path.as_bytes()), "{path}");
        }
        for path in ["./1.jpg", "../a/1.jpg", "a.b/1.jpg", "__macosx", "db"] {
            assert!(!is_junk(path.as_bytes()), "{path}");
        }
    }
}
