//! From planes of samples to red, green and blue: smooth upsampling and libjpeg's colour equations.

use super::Window;
use super::header::{Colour, Component, Header};
use super::scan::Plane;
use crate::geometry::Rectangle;

/// Numbers with 16 bits of fraction, rounded as libjpeg's `FIX`.
const fn fixed(value: f64) -> i32 {
    (value * 65536.0 + 0.5) as i32
}

/// Writes the pixels of `area`, column after column, each of `stride` bytes: the columns of one channel after those of
/// the other. Inks are inverted, as Pillow does with what Adobe's programs store.
#[inline(always)]
pub(super) fn convert(
    header: &Header,
    window: &Window,
    planes: &[Plane],
    area: Rectangle,
    stride: usize,
    output: &mut [u8],
) {
    let (left, top) = (area.left as usize, area.top as usize);
    let (width, height) = (area.width as usize, area.height as usize);
    let channel = width * stride;
    let mut smooth: [Vec<u8>; 4] = Default::default();
    let mut sums = Vec::new();
    let count = header.components.len();
    let (components, planes) = (&header.components[..count], &planes[..count]);
    let whole: [bool; 4] = std::array::from_fn(|at| {
        components.get(at).is_some_and(|component| (component.pixels_across, component.pixels_down) == (1, 1))
    });
    // Where the samples of the full resolution begin.
    let origin = (8 * header.across * window.columns.start, 8 * header.down * window.rows.start);
    for x in 0..width {
        for at in (0..count).filter(|&at| !whole[at]) {
            let source = Source { plane: &planes[at], component: &components[at], header, window };
            source.column(left + x, top..top + height, &mut sums, &mut smooth[at]);
        }
        let column = |at: usize| {
            if !whole[at] {
                return &smooth[at][..height];
            }
            let start = (left + x - origin.0) * planes[at].height + top - origin.1;
            &planes[at].samples[start..start + height]
        };
        let place = |at: usize| at * channel + x * stride..at * channel + x * stride + height;
        match header.colour {
            Colour::Grey => output[place(0)].copy_from_slice(column(0)),
            Colour::Rgb => (0..3).for_each(|at| output[place(at)].copy_from_slice(column(at))),
            Colour::Cmyk => (0..4).for_each(|at| invert(column(at), &mut output[place(at)])),
            Colour::YCbCr | Colour::Ycck => {
                let places = [place(0), place(1), place(2)];
                let Ok(colours) = output.get_disjoint_mut(places) else { return };
                equations(column(0), column(1), column(2), colours);
                if header.colour == Colour::Ycck {
                    // The colours are the inverted inks already.
                    invert(column(3), &mut output[place(3)]);
                }
            }
        }
    }
}

fn invert(source: &[u8], target: &mut [u8]) {
    for (target, &value) in target.iter_mut().zip(source) {
        *target = 255 - value;
    }
}

/// The colour equations of JFIF in whole numbers (`jdcolor.c`).
#[inline(always)]
fn equations(luma: &[u8], blue_difference: &[u8], red_difference: &[u8], output: [&mut [u8]; 3]) {
    let [red, green, blue] = output;
    let count = luma.len();
    let (cb, cr) = (&blue_difference[..count], &red_difference[..count]);
    let (red, green, blue) = (&mut red[..count], &mut green[..count], &mut blue[..count]);
    let half = 1 << 15;
    for at in 0..count {
        let y = i32::from(luma[at]);
        let (cb, cr) = (i32::from(cb[at]) - 128, i32::from(cr[at]) - 128);
        let r = y + ((fixed(1.402) * cr + half) >> 16);
        let g = y + ((half - fixed(0.344_14) * cb - fixed(0.714_14) * cr) >> 16);
        let b = y + ((fixed(1.772) * cb + half) >> 16);
        red[at] = r.clamp(0, 255) as u8;
        green[at] = g.clamp(0, 255) as u8;
        blue[at] = b.clamp(0, 255) as u8;
    }
}

/// A plane of samples at less than full resolution.
struct Source<'data> {
    plane: &'data Plane,
    component: &'data Component,
    header: &'data Header<'data>,
    window: &'data Window,
}

impl Source<'_> {
    /// Writes column `x` of the image from row `rows.start` on, upsampled as libjpeg does (`jdsample.c`): from a half by a
    /// triangle filter, which takes three parts of the nearer sample and one of the farther in each direction, with its
    /// roundings; from less by repeating samples.
    #[inline(always)]
    fn column(&self, x: usize, rows: std::ops::Range<usize>, sums: &mut Vec<u16>, output: &mut Vec<u8>) {
        let (across, down) = (self.component.pixels_across, self.component.pixels_down);
        let (samples_across, samples_down) =
            (self.header.width.div_ceil(across), self.header.height.div_ceil(down));
        let x_near = x / across;
        let x_far = if x % 2 == 1 { (x_near + 1).min(samples_across - 1) } else { x_near.saturating_sub(1) };
        let left = 8 * self.component.across * self.window.columns.start;
        let top = 8 * self.component.down * self.window.rows.start;
        let height = self.plane.height;
        // Samples from one above the first row to one below the last, where there are such.
        let first = (rows.start / down).saturating_sub(1).max(top);
        let last = ((rows.end - 1) / down + 1).min(samples_down - 1);
        let column = |x: usize| &self.plane.samples[(x - left) * height..][first - top..=last - top];
        let near = column(x_near);
        if across > 2 || down > 2 || across == 2 && samples_across <= 2 {
            // Also of a plane that is so narrow.
            output.clear();
            output.extend(rows.map(|y| near[y / down - first]));
            return;
        }
        sums.clear();
        if across == 2 {
            let far = column(x_far);
            sums.resize(near.len(), 0);
            for (sum, (&near, &far)) in sums.iter_mut().zip(near.iter().zip(far)) {
                *sum = 3 * u16::from(near) + u16::from(far);
            }
        } else {
            sums.resize(near.len(), 0);
            for (sum, &near) in sums.iter_mut().zip(near) {
                *sum = u16::from(near);
            }
        }
        output.clear();
        if down == 1 {
            let bias = if x % 2 == 1 { 2 } else { 1 };
            output.resize(rows.len(), 0);
            for (value, &sum) in output.iter_mut().zip(&sums[rows.start - first..]) {
                *value = ((sum + bias) >> 2) as u8;
            }
            return;
        }
        // Both rows of each sample, the first of the window's perhaps without its upper one.
        let (upper, lower, shift) = match (across, x % 2) {
            (2, 0) => (8, 8, 4),
            (2, _) => (7, 7, 4),
            _ => (1, 2, 2),
        };
        let (begin, end) = (rows.start / 2, (rows.end - 1) / 2);
        output.resize(2 * (end + 1 - begin), 0);
        let at = |sample: usize| sums[sample.clamp(first, last) - first];
        let pair = |sample: usize| {
            let near = 3 * at(sample);
            let above = at(sample.saturating_sub(1));
            [((near + above + upper) >> shift) as u8, ((near + at(sample + 1) + lower) >> shift) as u8]
        };
        let inner = begin.max(first + 1)..(end + 1).min(last);
        for sample in (begin..=end).filter(|sample| !inner.contains(sample)) {
            output[2 * (sample - begin)..][..2].copy_from_slice(&pair(sample));
        }
        if inner.start < inner.end {
            let count = inner.len();
            let sums = &sums[inner.start - 1 - first..][..count + 2];
            let pairs = output[2 * (inner.start - begin)..].as_chunks_mut::<2>().0;
            for (at, pair) in pairs[..count].iter_mut().enumerate() {
                let near = 3 * sums[at + 1];
                pair[0] = ((near + sums[at] + upper) >> shift) as u8;
                pair[1] = ((near + sums[at + 2] + lower) >> shift) as u8;
            }
        }
        if rows.start % 2 == 1 {
            output.remove(0);
        }
    }
}
