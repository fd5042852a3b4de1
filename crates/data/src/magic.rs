//! Names of image formats that are not read, told by their first bytes.

/// The first bytes, where they begin, and the format.
const FORMATS: [(&[u8], usize, &str); 26] = [
    (b"GIF8", 0, "GIF"),
    (b"BM", 0, "BMP"),
    (b"WEBP", 8, "WebP"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"II+\0", 0, "BigTIFF"),
    (b"MM\0+", 0, "BigTIFF"),
    (b"ftypavif", 4, "AVIF"),
    (b"ftypavis", 4, "AVIF"),
    (b"ftyphe", 4, "HEIC"),
    (b"ftypmif1", 4, "HEIF"),
    (b"ftypmsf1", 4, "HEIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", 0, "JPEG 2000"),
    (b"\xff\x4f\xff\x51", 0, "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", 0, "JPEG XL"),
    (b"\xff\x0a", 0, "JPEG XL"),
    (b"8BPS", 0, "PSD (Photoshop)"),
    (b"\0\0\x01\0", 0, "ICO"),
    (b"qoif", 0, "QOI"),
    (b"DDS ", 0, "DDS"),
    (b"\x76\x2f\x31\x01", 0, "OpenEXR"),
    (b"#?RADIANCE", 0, "Radiance HDR"),
    (b"\x8bJNG", 0, "JNG"),
    (b"\x8aMNG", 0, "MNG"),
    (b"<svg", 0, "SVG"),
    (b"%PDF", 0, "PDF"),
];

/// The format of a file that is neither JPEG nor PNG; none if it is not known.
pub(crate) fn format(bytes: &[u8]) -> Option<&'static str> {
    if let [b'P', b'1'..=b'7', b' ' | b'\t' | b'\n' | b'\r', ..] = bytes {
        return Some("PNM");
    }
    let known = |&&(magic, at, _): &&(&[u8], usize, &str)| {
        bytes.get(at..).is_some_and(|rest| rest.starts_with(magic))
    };
    FORMATS.iter().find(known).map(|&(_, _, name)| name)
}
