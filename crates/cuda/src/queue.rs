//! Where kernels are sent to, and what they are sent.

use super::{Element, Result};
use bytemuck::Pod;
use sparse_network::Bounds;
use std::ffi::c_void;
use std::marker::PhantomData;

/// A queue of work that a device does in order: kernels, copies and matrix products.
pub trait Queue {
    /// Memory of the device; given back when dropped, after the work that was queued before.
    type Memory: Memory;

    /// Zeroed memory.
    ///
    /// # Errors
    /// [`super::Error::Memory`] if there is no room.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory>;

    /// Copies to the device; `from` may be changed once it returns.
    ///
    /// # Errors
    /// The driver's.
    fn write(&self, from: &[u8], to: Slice<'_>) -> Result<()>;

    /// Copies `from`, one behind the other, to the device while it works on what was queued before; what is queued later finds them there.
    /// `from` may be changed once it returns. Work queued since the last call of this function must not use `to`: two places, filled in
    /// turn, do.
    ///
    /// # Errors
    /// The driver's.
    fn write_aside(&self, from: [&[u8]; 2], to: Slice<'_>) -> Result<()>;

    /// Copies from the device, and waits for all work queued before.
    ///
    /// # Errors
    /// The driver's.
    fn read(&self, from: Slice<'_>, to: &mut [u8]) -> Result<()>;

    /// Sets memory to zero.
    ///
    /// # Errors
    /// The driver's.
    fn clear(&self, slice: Slice<'_>) -> Result<()>;

    /// Queues a kernel.
    ///
    /// # Safety
    /// The arguments must be those of the kernel, and what it reads and writes must lie within memory of this queue that lives until
    /// the work is done.
    ///
    /// # Errors
    /// [`super::Error::Kernel`].
    #[allow(unsafe_code)]
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<()>;

    /// Queues a matrix product.
    ///
    /// # Errors
    /// The driver's.
    fn multiply(&self, product: Product<'_>) -> Result<()>;
}

/// Numbers as memory of their own.
///
/// # Errors
/// The queue's.
pub fn upload<Q: Queue>(queue: &Q, values: &[impl Pod]) -> Result<Q::Memory> {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let memory = queue.allocate(bytes.len())?;
    queue.write(bytes, memory.slice())?;
    Ok(memory)
}

/// Numbers of device memory; waits for the work queued before.
///
/// # Errors
/// The queue's.
pub fn download<Q: Queue, T: Pod>(queue: &Q, slice: Slice<'_>) -> Result<Vec<T>> {
    let mut values = vec![T::zeroed(); slice.bytes() / size_of::<T>()];
    queue.read(slice, bytemuck::cast_slice_mut(&mut values))?;
    Ok(values)
}

/// Memory of a device.
pub trait Memory {
    /// All of it.
    fn slice(&self) -> Slice<'_>;
}

/// A run of device memory. The host cannot read it, and kernels may write it through any copy of the slice.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    address: u64,
    bytes: usize,
    memory: PhantomData<&'a ()>,
}

impl<'a> Slice<'a> {
    /// The memory at a device address.
    ///
    /// # Safety
    /// It must be memory of a device, of this size, for as long as `'a`.
    #[allow(unsafe_code)]
    pub unsafe fn new(address: u64, bytes: usize) -> Self {
        Self { address, bytes, memory: PhantomData }
    }

    /// No memory.
    pub const EMPTY: Slice<'static> = Slice { address: 0, bytes: 0, memory: PhantomData };

    /// Its first address.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its size, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// `bytes` from `start` on.
    ///
    /// # Panics
    /// If it is shorter than that: a fault of the caller.
    pub fn part(self, start: usize, bytes: usize) -> Self {
        assert!(start + bytes <= self.bytes, "bytes {start} + {bytes} of {}", self.bytes);
        Self { address: self.address + start as u64, bytes, memory: PhantomData }
    }

    /// Panics unless it has room for so many numbers of a type.
    #[track_caller]
    pub(crate) fn holds<T>(&self, count: usize) {
        assert!(count * size_of::<T>() <= self.bytes, "{count} numbers in {} bytes", self.bytes);
    }

    /// Panics unless it has room for so many elements.
    #[track_caller]
    pub(crate) fn holds_elements(&self, count: usize, element: Element) {
        assert!(count * element.size() <= self.bytes, "{count} elements in {} bytes", self.bytes);
    }
}

/// Words of eight bytes of the largest argument that is passed by value.
const ARGUMENT: usize = 7;

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Argument([u64; ARGUMENT]);

impl Argument {
    /// A structure, passed by value.
    ///
    /// # Panics
    /// If it is larger than 56 bytes: a fault of the caller.
    pub fn of<T: Pod>(value: T) -> Self {
        let mut words = [0; ARGUMENT];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        Self(words)
    }

    /// Where its bytes lie, as the driver wants it.
    pub fn pointer(&self) -> *mut c_void {
        std::ptr::from_ref(&self.0).cast_mut().cast()
    }
}

impl From<u32> for Argument {
    fn from(value: u32) -> Self {
        Self::of(value)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self::of(value)
    }
}

impl From<Bounds> for Argument {
    fn from(bounds: Bounds) -> Self {
        Self::of([bounds.low as f32, bounds.high as f32])
    }
}

impl From<Slice<'_>> for Argument {
    fn from(slice: Slice<'_>) -> Self {
        Self::of(slice.address)
    }
}

impl From<Option<Slice<'_>>> for Argument {
    /// A null pointer for none.
    fn from(slice: Option<Slice<'_>>) -> Self {
        Self::of(slice.map_or(0, |slice| slice.address))
    }
}

/// A kernel over a grid of blocks.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// File under `kernels/`, without its ending.
    pub file: &'static str,
    /// Entry point.
    pub kernel: &'a str,
    /// Blocks, x, y, z.
    pub blocks: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// In the order of the kernel's parameters.
    pub arguments: &'a [Argument],
}

/// A matrix, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// From its first element on.
    pub slice: Slice<'a>,
    /// Elements from the start of a row to that of the next.
    pub stride: usize,
}

impl<'a> Matrix<'a> {
    /// One whose rows, of so many elements, follow each other.
    pub fn new(slice: Slice<'a>, columns: usize) -> Self {
        Self { slice, stride: columns }
    }

    /// The part of it that begins so many elements behind its start.
    pub(crate) fn skip(self, elements: usize, element: Element) -> Self {
        let start = elements * element.size();
        Self { slice: self.slice.part(start, self.slice.bytes() - start), ..self }
    }

    /// Panics unless it has room for so many rows and columns.
    #[track_caller]
    pub fn check(&self, [rows, columns]: [usize; 2], element: Element) {
        assert!(columns <= self.stride || rows <= 1, "rows of {columns} elements lie {} apart", self.stride);
        let end = rows.checked_sub(1).map_or(0, |last| last * self.stride + columns);
        self.slice.holds_elements(end, element);
    }

    /// Whether each row begins at a multiple of 128 bits.
    pub(crate) fn is_aligned(&self, element: Element) -> bool {
        (self.stride * element.size()).is_multiple_of(16) && self.slice.address().is_multiple_of(16)
    }
}

/// A matrix as an operand of a product.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// As it is stored.
    pub matrix: Matrix<'a>,
    /// Whether it is stored transposed.
    pub transposed: bool,
}

impl<'a> Operand<'a> {
    /// As it is stored.
    pub fn plain(matrix: Matrix<'a>) -> Self {
        Self { matrix, transposed: false }
    }

    /// The transpose of what is stored.
    pub fn transposed(matrix: Matrix<'a>) -> Self {
        Self { matrix, transposed: true }
    }

    /// Panics unless there is room for so many rows and columns of the operand.
    #[track_caller]
    pub fn check(&self, [rows, columns]: [usize; 2], element: Element) {
        self.matrix.check(if self.transposed { [columns, rows] } else { [rows, columns] }, element);
    }
}

/// `c[rows, columns] = a[rows, inner] · b[inner, columns]`; sums are f32.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// Left operand.
    pub a: Operand<'a>,
    /// Right operand.
    pub b: Operand<'a>,
    /// Result.
    pub c: Matrix<'a>,
    /// Whether it is added to what lies there.
    pub adds: bool,
    /// Rows, inner dimension, columns.
    pub sizes: [usize; 3],
    /// Storage of both operands.
    pub element: Element,
    /// Storage of the result: that of the operands, or f32.
    pub result: Element,
}

impl Product<'_> {
    /// Panics unless all three have room for their elements.
    #[track_caller]
    pub fn check(&self) {
        let [rows, inner, columns] = self.sizes;
        self.a.check([rows, inner], self.element);
        self.b.check([inner, columns], self.element);
        self.c.check([rows, columns], self.result);
    }
}

/// A size as kernels count.
///
/// # Panics
/// Above 2³² − 1: more than a device of 16 GiB can hold, so a fault of the caller.
#[track_caller]
pub(crate) fn count(size: usize) -> u32 {
    assert!(u32::try_from(size).is_ok(), "{size} is too large for a device");
    size as u32
}

/// Queues a kernel whose operands the caller has checked.
#[allow(unsafe_code)]
pub(crate) fn launch<Q: Queue>(queue: &Q, launch: &Launch<'_>) -> Result<()> {
    // SAFETY: each function of this module checks that what its kernel reads and writes fits into the slices it was given, and passes
    // what the kernel takes; slices live as long as their memory, which is given back after the work queued before.
    unsafe { queue.launch(launch) }
}
