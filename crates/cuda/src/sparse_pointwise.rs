//! Convolution over all channels with a sparse weight.

use super::queue::{self, count};
use super::{Argument, Element, Launch, Matrix, Memory, Queue, Result, Slice};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

const THREADS: usize = 128;
const WARPS: usize = 4;
const LANES: usize = 32;
/// Pixels that a block of the gradient keeps, and blocks of a row at most.
const SPAN: usize = 1024;
const MOST_BLOCKS: usize = 32;

/// `Walk` of `kernels/pattern.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Walk {
    rows: u32,
    inner: u32,
    by_row: u32,
    by_inner: u32,
}

/// The kept positions of a matrix `[rows, inner]`, row by row, on the device; made there from a mask.
#[derive(Debug)]
pub struct Pattern<M> {
    walk: Walk,
    starts: M,
    indices: M,
    positions: M,
}

impl<M: Memory> Pattern<M> {
    /// Room for the pattern of a weight `[outputs, inputs]`, or of its transpose.
    ///
    /// # Errors
    /// The queue's.
    pub fn new<Q: Queue<Memory = M>>(
        queue: &Q,
        [outputs, inputs]: [usize; 2],
        transposed: bool,
    ) -> Result<Self> {
        let [rows, inner] = if transposed { [inputs, outputs] } else { [outputs, inputs] };
        let [by_row, by_inner] = if transposed { [1, inputs] } else { [inputs, 1] };
        let [rows, inner, by_row, by_inner] = [rows, inner, by_row, by_inner].map(count);
        let bytes = outputs * inputs * size_of::<u32>();
        Ok(Self {
            starts: queue.allocate((rows as usize + 1) * size_of::<u32>())?,
            indices: queue.allocate(bytes)?,
            positions: queue.allocate(bytes)?,
            walk: Walk { rows, inner, by_row, by_inner },
        })
    }

    fn rows(&self) -> usize {
        self.walk.rows as usize
    }

    fn weights(&self) -> usize {
        self.rows() * self.walk.inner as usize
    }

    /// Takes the positions that a mask keeps.
    ///
    /// # Errors
    /// The queue's.
    pub fn take<Q: Queue<Memory = M>>(&self, queue: &Q, words: Slice<'_>) -> Result<()> {
        words.holds::<u32>(self.weights().div_ceil(32));
        let (walk, starts) = (Argument::of(self.walk), self.starts.slice());
        let blocks = [self.rows().div_ceil(WARPS), 1];
        launch(queue, "count_kept", blocks, &[words.into(), walk, starts.into()])?;
        launch(queue, "add_up_starts", [1, 1], &[starts.into(), self.walk.rows.into()])?;
        let [indices, positions] = [&self.indices, &self.positions].map(Memory::slice);
        launch(
            queue,
            "fill_kept",
            blocks,
            &[words.into(), walk, starts.into(), indices.into(), positions.into()],
        )
    }

    /// `y = matrix · x` over the kept positions, for some of the rows. Shapes: `weight` as stored, f32; `x: [inner, pixels]`,
    /// `y: [rows, pixels]`.
    ///
    /// # Errors
    /// The queue's.
    pub fn multiply<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        (weight, rows): (Slice<'_>, Range<usize>),
        [x, y]: [Matrix<'_>; 2],
        pixels: usize,
        element: Element,
    ) -> Result<()> {
        assert!(rows.end <= self.rows(), "rows {rows:?} of {}", self.rows());
        weight.holds::<f32>(self.weights());
        x.check([self.walk.inner as usize, pixels], element);
        y.check([rows.len(), pixels], element);
        let starts = self.starts.slice();
        let first = rows.start * size_of::<u32>();
        let arguments = [
            weight.into(),
            starts.part(first, starts.bytes() - first).into(),
            self.indices.slice().into(),
            self.positions.slice().into(),
            x.slice.into(),
            y.slice.into(),
            count(rows.len()).into(),
            count(pixels).into(),
            strides([x, y]),
        ];
        let run = element.run(pixels, &[x, y]);
        let columns = pixels.div_ceil(LANES * element.vector(run));
        let kernel = element.kernel("sparse_product", run);
        launch(queue, &kernel, [columns, rows.len().div_ceil(WARPS)], &arguments)
    }

    /// Bytes of partial sums that [`Pattern::add_gradient`] needs: as if all were kept.
    pub fn partial_bytes(&self, pixels: usize) -> usize {
        self.weights() * blocks(pixels) * size_of::<f32>()
    }

    /// Adds `dy · xᵀ` to `dw` at kept positions. Shapes: `dy: [rows, pixels]`, `x: [inner, pixels]`, `dw: [rows, inner]` f32.
    ///
    /// # Errors
    /// The queue's.
    ///
    /// # Panics
    /// If it is the pattern of a transpose: a fault of the caller.
    pub fn add_gradient<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        [dy, x]: [Matrix<'_>; 2],
        [partial, dw]: [Slice<'_>; 2],
        pixels: usize,
        element: Element,
    ) -> Result<()> {
        assert_eq!(self.walk.by_inner, 1, "a gradient by the pattern of a transpose");
        dy.check([self.rows(), pixels], element);
        x.check([self.walk.inner as usize, pixels], element);
        partial.holds::<u8>(self.partial_bytes(pixels));
        dw.holds::<f32>(self.weights());
        let [starts, indices, positions] = [&self.starts, &self.indices, &self.positions].map(Memory::slice);
        let arguments = [
            starts.into(),
            indices.into(),
            dy.slice.into(),
            x.slice.into(),
            partial.into(),
            count(pixels).into(),
            strides([dy, x]),
        ];
        let kernel = element.kernel("sparse_gradient", element.run(pixels, &[dy, x]));
        launch(queue, &kernel, [blocks(pixels), self.rows()], &arguments)?;
        let arguments =
            [starts.into(), positions.into(), partial.into(), count(blocks(pixels)).into(), dw.into()];
        launch(queue, "close_sparse_gradient", [self.rows(), 1], &arguments)
    }
}

/// `Strides` of `kernels/sparse_pointwise.cu`.
fn strides(of: [Matrix<'_>; 2]) -> Argument {
    Argument::of(of.map(|matrix| count(matrix.stride)))
}

/// Blocks that share the pixels of a row.
fn blocks(pixels: usize) -> usize {
    pixels.div_ceil(SPAN).clamp(1, MOST_BLOCKS)
}

fn launch<Q: Queue>(queue: &Q, kernel: &str, [x, y]: [usize; 2], arguments: &[Argument]) -> Result<()> {
    let blocks = [count(x), count(y), 1];
    let file = if kernel.starts_with("sparse_") { "sparse_pointwise" } else { "pattern" };
    queue::launch(queue, &Launch { file, kernel, blocks, threads: THREADS as u32, arguments })
}
