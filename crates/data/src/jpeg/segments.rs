//! The coded bytes of a scan without stuffing, cut at the markers in them.

use memchr::memchr;
use std::ops::Range;

/// Zeros after each segment, so that its last codes are read as any others.
pub(super) const PADDING: usize = 16;

/// What lies between two markers.
pub(super) struct Segment {
    /// Where in the bytes.
    pub(super) range: Range<usize>,
    /// The marker that ends it.
    pub(super) marker: u8,
}

/// The coded bytes of a scan.
#[derive(Default)]
pub(super) struct Coded {
    pub(super) bytes: Vec<u8>,
    pub(super) segments: Vec<Segment>,
}

impl Coded {
    /// Takes the stuffing out, up to a marker that is no restart; what begins with that marker, none if there is no such
    /// marker.
    pub(super) fn read<'data>(&mut self, mut scan: &'data [u8]) -> Option<&'data [u8]> {
        self.bytes.clear();
        self.segments.clear();
        let mut start = 0;
        loop {
            let at = memchr(0xff, scan)?;
            self.bytes.extend_from_slice(&scan[..at]);
            let end = &scan[at..];
            scan = &end[1..];
            match *scan.first()? {
                0 => {
                    self.bytes.push(0xff);
                    scan = &scan[1..];
                }
                0xff => {}
                // Markers that do not exist do not end a scan either.
                marker @ (0x01..0xc0 | 0xd0..=0xd7) => {
                    start = self.cut(start, marker);
                    scan = &scan[1..];
                }
                marker => {
                    self.cut(start, marker);
                    return Some(end);
                }
            }
        }
    }

    /// Ends a segment; the start of the next.
    fn cut(&mut self, start: usize, marker: u8) -> usize {
        self.segments.push(Segment { range: start..self.bytes.len(), marker });
        self.bytes.resize(self.bytes.len() + PADDING, 0);
        self.bytes.len()
    }

    /// Whether there are as many restarts as so many units need, in order.
    pub(super) fn regular(&self, units: usize, restart: usize) -> bool {
        let intervals = if restart == 0 { 1 } else { units.div_ceil(restart) };
        let markers =
            self.segments[..self.segments.len().saturating_sub(1)].iter().zip((0xd0..=0xd7).cycle());
        self.segments.len() == intervals
            && markers.into_iter().all(|(segment, expected): (&Segment, u8)| segment.marker == expected)
    }

    /// The bytes of a segment and the zeros after it, from the start of the scan on.
    pub(super) fn up_to(&self, segment: usize) -> &[u8] {
        &self.bytes[..self.segments[segment].range.end + PADDING]
    }

    /// The segment for the restart with the number `expected` (0 to 7) after segment `at`, none to read nothing up to the
    /// next restart, and where to go on from; an error if the coded data are at their end.
    ///
    /// Where markers are lost, repeated or out of order it does what libjpeg does (`jpeg_resync_to_restart`): it leaves a
    /// restart that comes up to two too early for its turn, passes over one that comes up to two too late, and takes any
    /// other as the one that is due.
    pub(super) fn resume(&self, mut at: usize, expected: u8) -> Option<(usize, bool)> {
        loop {
            let marker = self.segments.get(at)?.marker;
            match marker {
                0xd0..=0xd7 => match marker.wrapping_sub(expected) & 7 {
                    1 | 2 => return Some((at, false)),
                    6 | 7 => at += 1,
                    _ => return Some((at + 1, true)),
                },
                0xc0.. => return None,
                _ => at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(bytes: &[u8]) -> Coded {
        let mut coded = Coded::default();
        coded.read(bytes).unwrap();
        coded
    }

    #[test]
    fn stuffing_goes_and_markers_cut() {
        let bytes = [1, 0xff, 0, 2, 0xff, 0xff, 0xd0, 3, 0xff, 0xd1, 0xff, 0xd9, 9];
        let mut coded = Coded::default();
        assert_eq!(coded.read(&bytes), Some(&[0xff, 0xd9, 9][..]));
        let parts =
            coded.segments.iter().map(|segment| (&coded.bytes[segment.range.clone()], segment.marker));
        assert_eq!(parts.collect::<Vec<_>>(), [(&[1, 0xff, 2][..], 0xd0), (&[3], 0xd1), (&[], 0xd9)]);
        assert_eq!(Coded::default().read(&bytes[..10]), None);
    }

    #[test]
    fn restarts_are_counted_and_in_order() {
        let three = [1, 0xff, 0xd0, 1, 0xff, 0xd1, 1, 0xff, 0xd9];
        assert!(coded(&three).regular(6, 2) && coded(&three).regular(5, 2));
        assert!(!coded(&three).regular(4, 2) && !coded(&three).regular(6, 0));
        assert!(!coded(&[1, 0xff, 0xd1, 1, 0xff, 0xd9]).regular(2, 1));
        assert!(coded(&[1, 0xff, 0xd9]).regular(100, 0));
    }

    #[test]
    fn lost_and_repeated_restarts_are_found_again() {
        let lost = coded(&[1, 0xff, 0xd0, 1, 0xff, 0xd2, 1, 0xff, 0xd9]);
        assert_eq!(lost.resume(0, 0), Some((1, true)));
        assert_eq!(lost.resume(1, 1), Some((1, false)));
        assert_eq!(lost.resume(1, 2), Some((2, true)));
        assert_eq!(lost.resume(2, 3), None);
        let twice = coded(&[1, 0xff, 0xd0, 0xff, 0xd0, 1, 0xff, 0x20, 1, 0xff, 0xd1, 1, 0xff, 0xd9]);
        assert_eq!(twice.resume(1, 1), Some((4, true)));
    }
}
