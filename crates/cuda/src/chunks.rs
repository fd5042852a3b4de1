//! All parameters in one run of memory, and what an operation works on as one table of chunks, a block each.

use super::{Queue, Result, Slice};
use bytemuck::{Pod, Zeroable};

/// Elements of a chunk; a multiple of 64.
const CHUNK: usize = 8192;
/// Elements that a tensor begins at a multiple of.
const ALIGNMENT: usize = 64;

/// Where a tensor lies in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First element; a multiple of 64.
    pub start: usize,
    /// Elements.
    pub len: usize,
}

impl Span {
    /// Bytes of its f32, as a part of `run`.
    pub fn of<'a>(&self, run: Slice<'a>) -> Slice<'a> {
        run.part(self.start * size_of::<f32>(), self.len * size_of::<f32>())
    }

    /// Bytes of its mask, as a part of `words`.
    pub fn mask_of<'a>(&self, words: Slice<'a>) -> Slice<'a> {
        words.part(self.start / 8, self.len.div_ceil(ALIGNMENT) * 8)
    }
}

/// Places tensors of these lengths behind each other; gives their spans and the elements of the run.
pub fn place(lens: impl IntoIterator<Item = usize>) -> (Vec<Span>, usize) {
    let mut end = 0;
    let spans = lens.into_iter().map(|len| {
        let start = end;
        end += len.next_multiple_of(ALIGNMENT);
        Span { start, len }
    });
    (spans.collect(), end)
}

/// A tensor that an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it lies.
    pub span: Span,
    /// What it is ranked with; groups count from 0 and come in order.
    pub group: usize,
    /// Whether it has a mask.
    pub masked: bool,
}

/// `Chunk` of `kernels/chunks.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Chunk {
    start: u32,
    count: u32,
    group: u32,
    masked: u32,
}

/// The chunks of some tensors, on the device.
#[derive(Debug)]
pub struct Chunks<M> {
    memory: M,
    len: usize,
    /// First chunk and chunks of each group.
    groups: Vec<(usize, usize)>,
    /// Elements of the run that are used at most.
    end: usize,
}

impl<M: super::Memory> Chunks<M> {
    /// Cuts the members, in their order.
    ///
    /// # Errors
    /// The queue's.
    ///
    /// # Panics
    /// If groups do not come in order: a fault of the caller.
    pub fn new<Q: Queue<Memory = M>>(queue: &Q, members: &[Member]) -> Result<Self> {
        let (mut chunks, mut groups) = (Vec::new(), Vec::new());
        for member in members {
            if member.group == groups.len() {
                groups.push((chunks.len(), 0));
            }
            assert_eq!(member.group + 1, groups.len(), "group {} is out of order", member.group);
            for start in (0..member.span.len).step_by(CHUNK) {
                chunks.push(Chunk {
                    start: super::queue::count(member.span.start + start),
                    count: super::queue::count((member.span.len - start).min(CHUNK)),
                    group: super::queue::count(member.group),
                    masked: u32::from(member.masked),
                });
                groups[member.group].1 += 1;
            }
        }
        let bytes: &[u8] = bytemuck::cast_slice(&chunks);
        let memory = queue.allocate(bytes.len().max(size_of::<Chunk>()))?;
        queue.write(bytes, memory.slice().part(0, bytes.len()))?;
        let end = members
            .iter()
            .map(|member| member.span.start + member.span.len.next_multiple_of(ALIGNMENT))
            .max();
        Ok(Self { memory, len: chunks.len(), groups, end: end.unwrap_or(0) })
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to work on.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// First chunk and number of chunks of each group.
    pub(crate) fn groups(&self) -> &[(usize, usize)] {
        &self.groups
    }

    pub(crate) fn slice(&self) -> Slice<'_> {
        self.memory.slice()
    }

    /// Panics unless runs of f32 and masks hold all members.
    #[track_caller]
    pub(crate) fn fit(&self, runs: &[Slice<'_>], masks: &[Slice<'_>]) {
        runs.iter().for_each(|run| run.holds::<f32>(self.end));
        masks.iter().for_each(|words| words.holds::<u8>(self.end / 8));
    }
}
