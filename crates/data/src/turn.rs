//! Which pixel stands where when an image is turned.

/// For each pixel of an image of `width` × `height` that was turned by `degrees` against the clock around its centre, row
/// by row, the place (x, y) from where it comes; none outside of the image.
///
/// Pillow's `rotate` with its default filter, the nearest pixel, in its fixed-point numbers (`affine_fixed`).
pub(crate) fn turned(
    degrees: f64,
    width: usize,
    height: usize,
) -> impl Iterator<Item = Option<(usize, usize)>> {
    let radians = -degrees.to_radians();
    let round = |value: f64| (value * 1e15).round() / 1e15;
    let (cos, sin) = (round(radians.cos()), round(radians.sin()));
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let (across, down) = (-cos * x - sin * y + x, sin * x - cos * y + y);
    let start = (fixed(across + cos * 0.5 + sin * 0.5), fixed(down - sin * 0.5 + cos * 0.5));
    let (cos, sin) = (fixed(cos), (fixed(sin), fixed(-sin)));
    (0..height as i64).flat_map(move |row| {
        let start = (start.0 + row * sin.0, start.1 + row * cos);
        (0..width as i64).map(move |column| {
            let (x, y) = (start.0 + column * cos, start.1 + column * sin.1);
            let (x, y) = (usize::try_from(x >> 16).ok()?, usize::try_from(y >> 16).ok()?);
            (x < width && y < height).then_some((x, y))
        })
    })
}
