//! A session takes no memory once its largest batch has come.

#![allow(clippy::unwrap_used, unsafe_code, reason = "a test may fail, and an allocator is unsafe")]

mod common;

use common::Growing;
use sparse_engine::graph::{Op, Window};
use sparse_engine::{Engine, Options};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn nothing_is_allocated_after_the_first_call() {
    let mut net = Growing::new([3, 32, 32], 0.8, 1);
    net.convolution(16, 1, Window::square(3, 2, 1));
    net.convolution(16, 16, Window::square(3, 1, 1));
    net.next(Op::Clip { low: 0.0, high: 6.0 });
    net.convolution(40, 1, Window::square(1, 1, 0));
    net.convolution(40, 40, Window::square(3, 2, 1));
    net.convolution(24, 1, Window::square(1, 1, 0));
    net.next(Op::GlobalAveragePool);
    net.next(Op::Flatten);
    net.linear(10);
    net.next(Op::Softmax);
    for threads in [1, 2] {
        let engine = Engine::new(net.graph.clone(), Options { threads, ..Options::default() }).unwrap();
        let images = net.random.numbers(5 * 3 * 32 * 32);
        let mut outputs = vec![0.0; 5 * engine.outputs()];
        let mut session = engine.session().unwrap();
        session.run(&images, &mut outputs).unwrap();
        let before = TAKEN.load(Ordering::Relaxed);
        for _ in 0..10 {
            session.run(&images, &mut outputs).unwrap();
            session.run(&images[..3 * 32 * 32], &mut outputs[..10]).unwrap();
        }
        assert_eq!(TAKEN.load(Ordering::Relaxed), before, "{threads} threads");
    }
}
