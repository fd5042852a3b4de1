//! Memory that shows what lies outside of it.
//!
//! Behind it is a page that nobody may touch, so that a kernel that reads or writes past the end stops the test there and then. Before it, and up
//! to 16 bytes behind it, are margins: NaN for who reads them, and looked at after each launch for who wrote them.

use sparse_cuda::{Memory, Slice};
use std::cell::RefCell;
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};

/// Bytes of the margin before.
const MARGIN: usize = 256;
/// What memory begins at a multiple of.
const ALIGNMENT: usize = 16;
/// What margins hold: NaN in every element type.
const FILL: u8 = u8::MAX;

/// Memory of the host that a kernel may use.
#[derive(Debug)]
pub struct HostMemory {
    fenced: Rc<Fenced>,
}

/// All memory that is there, to look at its margins.
#[derive(Debug, Default)]
pub(crate) struct Margins(RefCell<Vec<Weak<Fenced>>>);

/// Pages, the last of which is closed.
#[derive(Debug)]
struct Fenced {
    pages: NonNull<u8>,
    /// Bytes of all pages.
    whole: usize,
    /// Where the memory begins and how long it is.
    start: usize,
    bytes: usize,
    /// Where the closed page begins.
    end: usize,
}

impl Memory for HostMemory {
    fn slice(&self) -> Slice<'_> {
        let Fenced { pages, start, bytes, .. } = *self.fenced;
        // SAFETY: the pages stay for as long as `self`.
        unsafe { Slice::new(pages.as_ptr() as u64 + start as u64, bytes) }
    }
}

impl Margins {
    pub(crate) fn allocate(&self, bytes: usize) -> Option<HostMemory> {
        let fenced = Rc::new(Fenced::new(bytes)?);
        self.0.borrow_mut().push(Rc::downgrade(&fenced));
        Some(HostMemory { fenced })
    }

    /// What was written outside, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.0.borrow_mut().retain(|fenced| fenced.strong_count() > 0);
        for fenced in self.0.borrow().iter().filter_map(Weak::upgrade) {
            let margins = [fenced.start - MARGIN..fenced.start, fenced.start + fenced.bytes..fenced.end];
            // SAFETY: the margins lie within the open pages, which live as long as `fenced`.
            let byte = |at: usize| unsafe { fenced.pages.add(at).read() };
            if margins.into_iter().flatten().any(|at| byte(at) != FILL) {
                return Err(format!("wrote outside memory of {} bytes", fenced.bytes));
            }
        }
        Ok(())
    }
}

impl Fenced {
    /// Zeroed memory that ends at a closed page; `None` if the system gives none.
    fn new(bytes: usize) -> Option<Self> {
        // SAFETY: only asks.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        let end = (MARGIN + bytes.next_multiple_of(ALIGNMENT)).next_multiple_of(page);
        let whole = end + page;
        let (readable, private) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new pages, of nobody else's memory.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), whole, readable, private, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let start = end - bytes.next_multiple_of(ALIGNMENT);
        let fenced = Self { pages: NonNull::new(mapped.cast())?, whole, start, bytes, end };
        // SAFETY: both margins lie within the open pages, and the closed one is the last of the mapping.
        unsafe {
            fenced.pages.write_bytes(FILL, start);
            fenced.pages.add(start + bytes).write_bytes(FILL, end - start - bytes);
            (libc::mprotect(fenced.pages.add(end).as_ptr().cast(), page, libc::PROT_NONE) == 0)
                .then_some(fenced)
        }
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: the pages of `new`, which nobody holds any more.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), self.whole) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_and_ends_where_the_fence_begins() {
        let margins = Margins::default();
        for bytes in [0, 1, 15, 16, 17, 4096, 5000] {
            let memory = margins.allocate(bytes).unwrap();
            let slice = memory.slice();
            assert_eq!((slice.bytes(), slice.address() % ALIGNMENT as u64), (bytes, 0));
            assert!(memory.fenced.end - memory.fenced.start - bytes < ALIGNMENT);
            // SAFETY: the memory is there, and is bytes.
            let all = unsafe { std::slice::from_raw_parts(slice.address() as *const u8, bytes) };
            assert!(all.iter().all(|&byte| byte == 0));
        }
        assert_eq!(margins.check(), Ok(()));
    }

    #[test]
    fn what_is_written_outside_is_found() {
        let margins = Margins::default();
        let memory = margins.allocate(20).unwrap();
        for (at, inside) in [(-1isize, false), (20, false), (31, false), (0, true), (19, true)] {
            let byte = (memory.slice().address() as *mut u8).wrapping_offset(at);
            // SAFETY: the memory and its margins are open.
            unsafe { byte.write(7) };
            assert_eq!(margins.check().is_ok(), inside, "byte {at}");
            // SAFETY: as above.
            unsafe { byte.write(FILL) };
        }
    }
}
