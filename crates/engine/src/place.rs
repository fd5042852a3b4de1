//! Which values lie together: what is concatenated is written where it belongs, and a range of channels is read where it
//! is.
//!
//! Channels of one height and width lie at equal distances, with zeros between them, so that some of them are planes as
//! good as all. A room is memory for the channels of one concatenation, or of one value that is in none; concatenations
//! of concatenations, and of the same values and more, share a room. What cannot be written into its place (the image, a
//! part of another value, what lies in another room already) is copied there as soon as it is made.

use crate::int8::Int8;
use crate::lower::{Unit, Work};
use sparse_inference::Planes;
use std::collections::{BTreeMap, BTreeSet};

/// A value that consists of others.
#[derive(Clone, Debug)]
pub(crate) enum Alias {
    /// Channels of another value from `first` on.
    Part { of: usize, first: usize },
    /// All channels of these values, one behind the other.
    Whole(Vec<usize>),
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) room: usize,
    /// Its first channel there.
    pub(crate) first: usize,
}

/// Where all values lie but the image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placed {
    /// By node; copies have numbers behind those of nodes.
    pub(crate) spots: BTreeMap<usize, Spot>,
    pub(crate) rooms: Vec<Planes>,
    /// By node, and for copies, how it lies there.
    pub(crate) planes: BTreeMap<usize, Planes>,
}

/// Places the values of units, and adds units that copy. `planes` are those of all nodes.
pub(crate) fn place(
    units: Vec<Unit>,
    planes: &[Option<Planes>],
    aliases: &BTreeMap<usize, Alias>,
) -> (Vec<Unit>, Placed) {
    let mut apart = BTreeSet::new();
    loop {
        let mut placing =
            Placing { planes, aliases, apart: &apart, placed: Placed::default(), copies: Vec::new() };
        placing.concatenations();
        placing.values(&units);
        let clash = units.iter().find(|unit| placing.clashes(unit));
        match clash {
            Some(unit) => apart.insert(unit.value),
            None => return placing.finish(units),
        };
    }
}

struct Placing<'a> {
    planes: &'a [Option<Planes>],
    aliases: &'a BTreeMap<usize, Alias>,
    /// Values that must not lie where their readers want them.
    apart: &'a BTreeSet<usize>,
    placed: Placed,
    /// Values that are copied, and where to.
    copies: Vec<(usize, Spot)>,
}

impl Placing<'_> {
    fn planes_of(&self, node: usize) -> Planes {
        self.planes[node].unwrap_or(Planes::padded(0, 1, 1))
    }

    fn room(&mut self, planes: Planes) -> Spot {
        self.placed.rooms.push(planes);
        Spot { room: self.placed.rooms.len() - 1, first: 0 }
    }

    /// Gives a place to each concatenation and its parts. Later ones come first: they hold the earlier ones.
    fn concatenations(&mut self) {
        let aliases = self.aliases;
        for (&whole, alias) in aliases.iter().rev() {
            let Alias::Whole(parts) = alias else { continue };
            if !self.placed.spots.contains_key(&whole)
                && let Some(spot) = self.lie_together(parts)
            {
                self.placed.spots.insert(whole, spot);
                continue;
            }
            let spot = match self.placed.spots.get(&whole) {
                Some(&spot) => spot,
                None => self.room(self.planes_of(whole)),
            };
            self.placed.spots.insert(whole, spot);
            let mut wanted = spot;
            for &part in parts {
                self.bring(part, wanted);
                wanted.first += self.planes_of(part).channels;
            }
        }
    }

    /// Where the first of some values lies, if the others lie behind it.
    fn lie_together(&self, parts: &[usize]) -> Option<Spot> {
        self.places(*parts.first()?).find(|&start| {
            let mut wanted = start;
            parts.iter().all(|&part| {
                let is_there = self.places(part).any(|place| place == wanted);
                wanted.first += self.planes_of(part).channels;
                is_there
            })
        })
    }

    /// All places of a value that are known so far.
    fn places(&self, value: usize) -> impl Iterator<Item = Spot> {
        let copies = self.copies.iter().filter(move |(copied, _)| *copied == value).map(|&(_, spot)| spot);
        self.placed.spots.get(&value).copied().into_iter().chain(copies)
    }

    /// Lets a value be written to a place, or copied if it cannot be.
    fn bring(&mut self, value: usize, wanted: Spot) {
        if self.places(value).any(|place| place == wanted) {
            return;
        }
        let is_free = value != 0
            && !self.placed.spots.contains_key(&value)
            && !self.apart.contains(&value)
            && !matches!(self.aliases.get(&value), Some(Alias::Part { .. }));
        if is_free {
            self.placed.spots.insert(value, wanted);
        } else {
            self.copies.push((value, wanted));
        }
    }

    /// Rooms for values that are in no concatenation, and the places of parts.
    fn values(&mut self, units: &[Unit]) {
        for unit in units {
            if !self.placed.spots.contains_key(&unit.value) {
                let spot = self.room(unit.planes);
                self.placed.spots.insert(unit.value, spot);
            }
        }
        let aliases = self.aliases;
        for (&node, alias) in aliases {
            if let &Alias::Part { of, first } = alias
                && let Some(&spot) = self.placed.spots.get(&of)
            {
                self.placed.spots.insert(node, Spot { first: spot.first + first, ..spot });
            }
        }
    }

    /// Whether a convolution would write right behind what it reads: vectors that are read reach past the last channel.
    fn clashes(&self, unit: &Unit) -> bool {
        let reads_beyond = match &unit.work {
            Work::Product { .. } | Work::Depthwise(_) => true,
            Work::Int8(work) => matches!(**work, Int8::Convolution { .. }),
            _ => false,
        };
        if !reads_beyond {
            return false;
        }
        let (Some(to), Some(from)) =
            (self.placed.spots.get(&unit.value), self.placed.spots.get(&unit.inputs[0]))
        else {
            return false;
        };
        let read = self.planes_of(unit.inputs[0]);
        // What planes take beyond their channels, in channels.
        let behind = (read.len() - read.channels * read.pitch()).div_ceil(read.pitch());
        to.room == from.room
            && to.first < from.first + read.channels + behind
            && from.first < to.first + unit.planes.channels
    }

    /// The units with those that copy, each as soon as what it copies is there.
    fn finish(self, units: Vec<Unit>) -> (Vec<Unit>, Placed) {
        let Self { planes, aliases, mut placed, mut copies, .. } = self;
        // Parts come before what they are parts of, which may be copied in turn.
        copies.sort_by_key(|&(from, _)| from);
        let made: BTreeMap<usize, usize> =
            units.iter().enumerate().map(|(index, unit)| (unit.value, index + 1)).collect();
        let mut due: BTreeMap<usize, Vec<Unit>> = BTreeMap::new();
        for (number, (from, spot)) in copies.into_iter().enumerate() {
            let Some(of) = planes[from] else { continue };
            let value = planes.len() + number;
            let of = Planes::padded(of.channels, of.height, of.width);
            placed.spots.insert(value, spot);
            placed.planes.insert(value, of);
            let order = (0..of.channels).map(|channel| (0, channel)).collect();
            let at = ready(from, &made, aliases);
            // The name is that of the unit that made it.
            let name = at.checked_sub(1).map_or("image", |unit| &units[unit].name);
            let name = format!("{name} (copy)");
            let work = Work::Channels(order);
            let unit = Unit { name, inputs: vec![from], value, planes: of, channels: of.channels, work };
            due.entry(at).or_default().push(unit);
        }
        placed.planes.extend(planes.iter().enumerate().filter_map(|(node, planes)| Some((node, (*planes)?))));
        let mut all = due.remove(&0).unwrap_or_default();
        for (index, unit) in units.into_iter().enumerate() {
            all.push(unit);
            all.extend(due.remove(&(index + 1)).unwrap_or_default());
        }
        (all, placed)
    }
}

/// How many units must have run before a value is there.
fn ready(value: usize, made: &BTreeMap<usize, usize>, aliases: &BTreeMap<usize, Alias>) -> usize {
    match aliases.get(&value) {
        Some(&Alias::Part { of, .. }) => ready(of, made, aliases),
        Some(Alias::Whole(parts)) => parts.iter().map(|&part| ready(part, made, aliases)).max().unwrap_or(0),
        None => made.get(&value).copied().unwrap_or(0),
    }
}
