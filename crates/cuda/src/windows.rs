//! The sizes of what goes over images window by window: convolutions and pools.

use super::queue::count;
use bytemuck::{Pod, Zeroable};

/// Sizes of a convolution or of a pooling of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub inputs: usize,
    /// Input height.
    pub height: usize,
    /// Input width.
    pub width: usize,
    /// Images in the batch.
    pub batch: usize,
    /// Where the windows lie.
    pub window: sparse_network::Window,
}

impl Dims {
    /// Output height.
    pub fn out_height(&self) -> usize {
        self.window.outputs(0, self.height)
    }

    /// Output width.
    pub fn out_width(&self) -> usize {
        self.window.outputs(1, self.width)
    }

    /// Numbers of an input channel.
    pub fn plane(&self) -> usize {
        self.height * self.width * self.batch
    }

    /// Numbers of an output channel.
    pub fn out_plane(&self) -> usize {
        self.out_height() * self.out_width() * self.batch
    }

    /// Taps of a window.
    pub fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Lines of zeros above the first row and before the first column.
    pub(crate) fn before(&self) -> [usize; 2] {
        [self.window.lines(0, self.height)[0], self.window.lines(1, self.width)[0]]
    }
}

/// `Window` of `kernels/window.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Window {
    size: [u32; 2],
    out_size: [u32; 2],
    batch: u32,
    taps: [u32; 2],
    stride: [u32; 2],
    apart: [u32; 2],
    before: [u32; 2],
}

impl Window {
    pub(crate) fn of(dims: &Dims) -> Self {
        Self {
            size: [dims.height, dims.width].map(count),
            out_size: [dims.out_height(), dims.out_width()].map(count),
            batch: count(dims.batch),
            taps: dims.window.kernel.map(count),
            stride: dims.window.stride.map(count),
            apart: dims.window.dilation.map(count),
            before: dims.before().map(count),
        }
    }
}
