//! Memory with margins that show what lies outside.

use sparse_kernels::cuda::{Memory, Slice};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// Words on either side; 256 bytes, so that vectors stay aligned.
const MARGIN: usize = 16;
/// What margins hold: NaN in every element type.
const FILL: [u64; 2] = [u64::MAX; 2];

/// Words of 16 bytes, margins included.
type Words = RefCell<Vec<[u64; 2]>>;

/// Memory of the host that a kernel may use.
#[derive(Debug)]
pub struct HostMemory {
    words: Rc<Words>,
    bytes: usize,
}

/// All memory that is there, to look at its margins.
#[derive(Debug, Default)]
pub(crate) struct Margins(RefCell<Vec<Weak<Words>>>);

impl Memory for HostMemory {
    fn slice(&self) -> Slice<'_> {
        let address = self.words.borrow()[MARGIN..].as_ptr() as u64;
        // SAFETY: the words stay where they are for as long as `self`, since nobody makes the vector longer.
        unsafe { Slice::new(address, self.bytes) }
    }
}

impl Margins {
    pub(crate) fn allocate(&self, bytes: usize) -> HostMemory {
        let inner = bytes.div_ceil(size_of_val(&FILL));
        let mut words = vec![FILL; inner + 2 * MARGIN];
        let all: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        all[MARGIN * size_of_val(&FILL)..][..bytes].fill(0);
        let words = Rc::new(RefCell::new(words));
        self.0.borrow_mut().push(Rc::downgrade(&words));
        HostMemory { words, bytes }
    }

    /// What was written outside, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.0.borrow_mut().retain(|words| words.strong_count() > 0);
        for words in self.0.borrow().iter().filter_map(Weak::upgrade) {
            let words = words.borrow();
            let outside = words[..MARGIN].iter().chain(&words[words.len() - MARGIN..]);
            if outside.into_iter().any(|word| *word != FILL) {
                return Err(format!(
                    "wrote outside memory of {} bytes",
                    (words.len() - 2 * MARGIN) * size_of_val(&FILL)
                ));
            }
        }
        Ok(())
    }
}
