//! A runner takes no memory once its largest batch has come.

#![allow(clippy::unwrap_used, unsafe_code, reason = "a test may fail, and an allocator is unsafe")]

use sparse_inference::{
    Bounds, Channelwise, Combination, Convolution, Depthwise, Finish, Function, Layer, Linear, Operation,
    Place, Planes, Precision, Program, Runner, Slot, Source, Step, Weights, Window,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    /// # Safety
    /// As of [`System`].
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    /// # Safety
    /// As of [`System`].
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A stem, a separable block with functions, a gate, channels in another order, a pad, pools, the mean and linear layers for
/// images of 32×32.
fn program(threads: usize, precision: Precision) -> Program {
    let image = Planes::tight(3, 32, 32);
    let planes = [
        Planes::padded(16, 16, 16),
        Planes::padded(24, 16, 16),
        Planes::padded(24, 1, 1),
        Planes::padded(24, 16, 16),
        Planes::padded(24, 16, 16),
        Planes::padded(24, 18, 18),
        Planes::padded(24, 18, 18),
        Planes::padded(24, 1, 1),
    ];
    let mut arena = 0;
    let mut place = |planes: Planes| {
        let place = Place { slot: Slot::Arena(arena), planes };
        arena += planes.len().next_multiple_of(16);
        place
    };
    let [stem, block, gate, gated, shuffled, padded, pooled, mean] = planes.map(&mut place);
    let convolution = |from, source, weight: &[f32], outputs, to| {
        Step::Convolution(Box::new(Convolution {
            from,
            source,
            weights: Some(Weights::sparse(weight, outputs, 1, precision)),
            bias: vec![0.5; outputs],
            residual: None,
            finish: Finish { function: Some(Function::HardSwish), ..Finish::RELU },
            to,
        }))
    };
    let depthwise =
        Depthwise::new(Window::square(3, 1, 1), vec![0.1; 16 * 9], vec![0.0; 16], Bounds::RELU6, stem.planes)
            .then(Some(Function::Silu));
    let channelwise = |operation, from, to| Step::Channelwise(Box::new(Channelwise { operation, from, to }));
    let sigmoid = Operation::Finish(Finish { function: Some(Function::Sigmoid), ..Finish::NONE });
    let product = Operation::Combine { how: Combination::Mul, other: gate, finish: Finish::RELU };
    let order = (0..24).map(|channel| (channel % 2, channel)).collect();
    let window = Window::square(3, 1, 1);
    let from = Place { slot: Slot::Image, planes: image };
    let steps = vec![
        convolution(from, Source::Windows(Window::square(3, 2, 1)), &[0.1; 16 * 27], 16, stem),
        convolution(stem, Source::Depthwise(depthwise), &[0.1; 24 * 16], 24, block),
        channelwise(Operation::Mean, block, mean),
        channelwise(sigmoid, mean, gate),
        channelwise(product, block, gated),
        channelwise(Operation::Channels { inputs: vec![block, gated], order }, gated, shuffled),
        channelwise(Operation::Pad { lines: [1; 4], value: 0.5 }, shuffled, padded),
        channelwise(Operation::AveragePool { window, counted: [1, 0, 1, 0] }, padded, pooled),
        channelwise(Operation::MaxPool(window), pooled, padded),
        channelwise(Operation::Greatest, padded, mean),
    ];
    let linear = Linear::new(
        &[0.1; 10 * 24],
        &[0.0; 10],
        Finish { function: Some(Function::Tanh), ..Finish::NONE },
        precision,
    );
    Program::new(image, arena, steps, mean, vec![Layer::Linear(linear), Layer::LogSoftmax], threads).unwrap()
}

#[test]
fn nothing_is_allocated_after_the_first_call() {
    for (threads, precision) in
        [(1, Precision::F32), (1, Precision::Bf16), (2, Precision::F32), (2, Precision::Bf16)]
    {
        let mut runner = Runner::new(Arc::new(program(threads, precision))).unwrap();
        let images = vec![0.25; 5 * 3 * 32 * 32];
        let mut outputs = vec![0.0; 5 * 10];
        runner.run(&images, &mut outputs).unwrap();
        // The thread that waits for this test may take some itself, but not every time.
        let taken = (0..10).map(|_| {
            let before = TAKEN.load(Ordering::Relaxed);
            runner.run(&images, &mut outputs).unwrap();
            runner.run(&images[..3 * 32 * 32], &mut outputs[..10]).unwrap();
            TAKEN.load(Ordering::Relaxed) - before
        });
        assert_eq!(taken.min(), Some(0), "{threads} threads, {precision:?}");
    }
}
