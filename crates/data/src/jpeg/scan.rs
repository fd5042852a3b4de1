//! From coded bytes to planes of samples: Huffman codes, then the inverse transform, of one window.

use super::Window;
use super::header::{Component, Header};
use super::huffman::{Bits, Table};
use super::idct;
use super::segments::Coded;

/// The samples of one component within a window, column after column.
#[derive(Default)]
pub(super) struct Plane {
    pub(super) samples: Vec<u8>,
    /// Samples of a column.
    pub(super) height: usize,
}

impl Plane {
    /// Takes the size of a window.
    pub(super) fn fit(&mut self, component: &Component, window: &Window) {
        self.height = 8 * component.down * window.rows.len();
        self.samples.resize(8 * component.across * window.columns.len() * self.height, 0);
    }

    #[inline(always)]
    pub(super) fn put(&mut self, left: usize, top: usize, columns: [[u8; 8]; 8]) {
        let start = left * self.height + top;
        for (column, values) in columns.into_iter().enumerate() {
            let at = start + column * self.height;
            if let Some(place) = self.samples.get_mut(at..at + 8) {
                place.copy_from_slice(&values);
            }
        }
    }
}

/// What decoding one component needs.
struct Channel<'header> {
    component: &'header Component,
    constant: &'header Table,
    other: &'header Table,
    quantisation: &'header [i16; 64],
    /// The constant coefficient of the block before.
    before: i32,
}

/// Decodes the units of `window` into `planes`; none if the codes end too early or make no sense.
#[inline(always)]
pub(super) fn decode(header: &Header, coded: &Coded, window: &Window, planes: &mut [Plane]) -> Option<()> {
    let mut channels = Vec::with_capacity(4);
    let tables = &header.reader.tables;
    for ((component, part), plane) in header.components.iter().zip(&header.scan.parts).zip(&mut *planes) {
        let (constant, other) = tables.tables_of(part)?;
        let quantisation = tables.quantisation_of(component)?;
        channels.push(Channel { component, constant, other, quantisation, before: 0 });
        plane.fit(component, window);
    }
    let mut state = State { coded, restart: tables.restart, interval: 0, left: 0, bits: Bits::new(&[], 0) };
    for row in 0..window.rows.end {
        let inside = row >= window.rows.start;
        let last = row + 1 == window.rows.end;
        let columns = if last { window.columns.end } else { window.units_across };
        for column in 0..columns {
            state.advance(&mut channels)?;
            if inside && window.columns.contains(&column) {
                let corner = (column - window.columns.start, row - window.rows.start);
                keep(&mut state.bits, &mut channels, corner, planes);
            } else {
                pass_over(&mut state.bits, &mut channels);
            }
        }
        state.check()?;
    }
    Some(())
}

/// Where decoding is.
struct State<'data> {
    coded: &'data Coded,
    restart: usize,
    /// Intervals begun.
    interval: usize,
    /// Units left in this interval.
    left: usize,
    bits: Bits<'data>,
}

impl State<'_> {
    /// Before each unit: begins the next interval if it is time.
    #[inline(always)]
    fn advance(&mut self, channels: &mut [Channel]) -> Option<()> {
        if self.left == 0 {
            self.check()?;
            let interval = self.coded.segments.get(self.interval)?;
            self.bits = Bits::new(&self.coded.bytes, interval.range.start);
            self.interval += 1;
            self.left = if self.restart == 0 { usize::MAX } else { self.restart };
            channels.iter_mut().for_each(|channel| channel.before = 0);
        }
        self.left -= 1;
        Some(())
    }

    /// None if more was read than the interval has, or what was read makes no sense.
    fn check(&self) -> Option<()> {
        let Some(begun) = self.interval.checked_sub(1) else { return Some(()) };
        (!self.bits.bad && self.bits.position() <= 8 * self.coded.segments[begun].range.end).then_some(())
    }
}

/// Decodes a unit into the planes, at its place among the units of the window.
#[inline(always)]
fn keep(bits: &mut Bits, channels: &mut [Channel], (x, y): (usize, usize), planes: &mut [Plane]) {
    for (channel, plane) in channels.iter_mut().zip(planes) {
        let Component { across, down, .. } = *channel.component;
        for v in 0..down {
            for h in 0..across {
                let mut block = [0; 64];
                let (difference, last) = bits.block::<true>(channel.constant, channel.other, &mut block);
                channel.before = channel.before.wrapping_add(difference);
                block[0] = channel.before as i16;
                let columns = if last == 0 {
                    [[idct::constant(block[0], channel.quantisation[0]); 8]; 8]
                } else {
                    idct::inverse(&block, channel.quantisation)
                };
                plane.put(8 * (x * across + h), 8 * (y * down + v), columns);
            }
        }
    }
}

/// Reads a unit without keeping it.
#[inline(always)]
fn pass_over(bits: &mut Bits, channels: &mut [Channel]) {
    for channel in channels {
        for _ in 0..channel.component.across * channel.component.down {
            let (difference, _) = bits.block::<false>(channel.constant, channel.other, &mut [0; 64]);
            channel.before = channel.before.wrapping_add(difference);
        }
    }
}
