//! Bytes per second of each CUDA kernel beside those of a copy on the device, on shapes of MobileNetV1 and ResNets at batch 128.
//!
//! Run: `cargo run --release -p sparse-cuda --features cuda --example gpu_bandwidth -- [DEVICE]`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a table on stdout is what it is for")]

use sparse_cuda::batch_norm::{self, Dims, Parts, Reading};
use sparse_cuda::chunks::{Chunks, Member, place};
use sparse_cuda::depthwise::{self, OutputGradient};
use sparse_cuda::select::Selector;
use sparse_cuda::sgd::{self, Rule, Runs};
use sparse_cuda::sparse_pointwise::Pattern;
use sparse_cuda::weight::{Values, Weight, WeightGradient};
use sparse_cuda::window_pool::{self, Pool};
use sparse_cuda::{
    Coefficients, Element, Matrix, Memory, Queue, Result, Slice, Stream, layout, masks, pool, spatial, stem,
    sum, windows,
};
use sparse_network::{Bounds, Padding, Window};
use std::process::ExitCode;
use std::time::Instant;

const BATCH: usize = 128;
/// Launches that are timed together.
const LAUNCHES: usize = 20;
/// Weights of MobileNetV1 at full width.
const WEIGHTS: usize = 4_209_088;

struct Table<'a> {
    queue: &'a Stream,
    /// Bytes per second of a copy.
    copy: f64,
}

impl Table<'_> {
    /// Prints a row: what moves `bytes` when it is launched once.
    fn row(&self, name: &str, bytes: usize, launch: impl Fn() -> Result<()>) -> Result<f64> {
        launch()?;
        self.queue.wait()?;
        let start = Instant::now();
        (0..LAUNCHES).try_for_each(|_| launch())?;
        self.queue.wait()?;
        let seconds = start.elapsed().as_secs_f64() / LAUNCHES as f64;
        let rate = bytes as f64 / seconds;
        let share = if self.copy > 0.0 { rate / self.copy } else { 1.0 };
        println!(
            "| {name} | {:.1} | {:.3} | {:.0} | {share:.2} |",
            bytes as f64 / 1e6,
            seconds * 1e3,
            rate / 1e9
        );
        Ok(rate)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let ordinal = std::env::args().nth(1).map_or(Ok(0), |number| number.parse())?;
    let queue = Stream::new(ordinal)?;
    println!("{}, batch {BATCH}\n", queue.device_name()?);
    println!("| kernel | MB moved | ms | GB/s | of a copy |\n|---|---|---|---|---|");
    let memory = queue.allocate(1 << 28)?;
    let other = queue.allocate(1 << 28)?;
    let mut table = Table { queue: &queue, copy: 0.0 };
    table.copy = table.row("copy", 2 << 28, || queue.copy(memory.slice(), other.slice()))?;
    for element in [Element::F32, Element::Bf16] {
        if queue.check_element(element).is_err() {
            continue;
        }
        activations(&table, element)?;
        products(&table, element)?;
        residual(&table, element)?;
    }
    parameters(&table)?;
    Ok(())
}

/// What reads and writes activations.
fn activations(table: &Table<'_>, element: Element) -> Result<()> {
    let (queue, size) = (table.queue, element.size());
    let pixels = 112 * 112 * BATCH;
    let dims = Dims { channels: 64, pixels, element };
    let bytes = dims.channels * pixels * size;
    let [y, g] = [queue.allocate(bytes)?, queue.allocate(bytes)?];
    let [y, g] = [y.slice(), g.slice()];
    let partial = queue.allocate(1 << 28)?;
    let partial = partial.slice();
    let rows = queue.allocate(Coefficients::bytes(1024))?;
    let of = |channels| Coefficients::new(rows.slice(), channels);
    let reading = |y, channels| Reading { y, coefficients: Some(of(channels)), bounds: Bounds::RELU };
    let name = |kernel: &str| format!("{kernel}, {element:?}");
    table.row(&name("statistics"), bytes, || batch_norm::statistics(queue, y, partial, dims))?;
    table.row(&name("normalise"), 2 * bytes, || batch_norm::normalise(queue, reading(y, 64), g, dims))?;
    table.row(&name("output gradient"), 3 * bytes, || {
        batch_norm::output_gradient(queue, [g, y], of(64), g, dims)
    })?;
    table.row(&name("gate"), 3 * bytes, || {
        batch_norm::gate(queue, Parts::whole(g), Some(reading(y, 64)), Some(partial), dims)
    })?;
    table.row(&name("sum"), 3 * bytes, || {
        sum::forward(queue, [reading(y, 64), Reading::plain(g)], g, Bounds::RELU, dims)
    })?;
    let weight = queue.allocate(1 << 20)?;
    let weight = weight.slice();
    for (channels, side, stride) in [(64, 112, 2), (128, 56, 1), (512, 14, 1)] {
        let dims = square([channels; 2], side, Window::square(3, stride, Padding::Symmetric));
        let [input, output] = [side, side / stride].map(|side| channels * side * side * BATCH * size);
        let (x, y) = (reading(y.part(0, input), channels), g.part(0, output));
        let shape = format!("{channels} x {side}², stride {stride}");
        table.row(&name(&format!("depthwise forward {shape}")), input + output, || {
            depthwise::forward(queue, x, weight, y, Some(partial), dims, element)
        })?;
        let into = queue.allocate(input)?;
        table.row(&name(&format!("depthwise backward {shape}")), 2 * (input + output), || {
            let dy = OutputGradient { g: y, behind: Some((y, of(channels))) };
            depthwise::backward(queue, x, weight, dy, [into.slice(), partial], dims, element)
        })?;
    }
    let dims = square([32, 3], 224, Window::square(3, 2, Padding::Symmetric));
    let [input, output] = [3 * 224 * 224 * BATCH, 32 * 112 * 112 * BATCH];
    let images = queue.allocate(input * size_of::<f32>())?;
    let (x, out) = (y.part(0, input * size), g.part(0, output * size));
    table.row(&name("batch innermost"), input * (size_of::<f32>() + size), || {
        layout::batch_innermost(queue, [images.slice(), x], [BATCH, 3 * 224 * 224], element)
    })?;
    table.row(&name("stem forward"), (input + output) * size, || {
        stem::forward(queue, [x, weight, out], Some(partial), dims, element)
    })?;
    table.row(&name("stem weight gradient"), (input + 2 * output) * size, || {
        let dy = OutputGradient { g: out, behind: Some((out, of(32))) };
        stem::weight_gradient(queue, x, dy, [partial, weight.part(0, 32 * 27 * 4)], dims, element)
    })?;
    let dims = pool::Dims { channels: 1024, plane: 49, batch: BATCH, element };
    let (inputs, pooled) = (1024 * 49 * BATCH, 1024 * BATCH * size_of::<f32>());
    let features = queue.allocate(pooled)?;
    let x = reading(y.part(0, inputs * size), 1024);
    table.row(&name("pool forward"), inputs * size + pooled, || {
        pool::forward(queue, x, features.slice(), dims)
    })?;
    table.row(&name("pool backward"), 2 * inputs * size + pooled, || {
        pool::backward(queue, x, features.slice(), [g.part(0, inputs * size), partial], dims)
    })?;
    Ok(())
}

/// Pointwise layers: the library's product, and the one that leaves 75 or 90 % of the weights out.
fn products(table: &Table<'_>, element: Element) -> Result<()> {
    let (queue, size) = (table.queue, element.size());
    let [outputs, inputs, pixels] = [512, 512, 14 * 14 * BATCH];
    let bytes = (outputs + inputs) * pixels * size;
    let [x, y] = [queue.allocate(inputs * pixels * size)?, queue.allocate(outputs * pixels * size)?];
    let weight = queue.allocate(outputs * inputs * size_of::<f32>())?;
    let partial = queue.allocate(1 << 28)?;
    let matrices = [x.slice(), y.slice()].map(|values| Matrix::new(values, pixels));
    let sizes = [outputs, inputs];
    table.row(&format!("product 512 x 512, 14², {element:?}"), bytes, || {
        let values = Values::Dense(weight.slice().part(0, outputs * inputs * size));
        Weight { sizes, values }.multiply(queue, matrices, pixels, element)
    })?;
    for (percent, word) in [(75, 0x1111_1111u32), (90, 0x0420_1084)] {
        let words = queue.allocate(outputs * inputs / 8)?;
        queue.write(bytemuck::cast_slice(&vec![word; outputs * inputs / 32]), words.slice())?;
        let pattern = Pattern::new(queue, [outputs, inputs], false)?;
        pattern.take(queue, words.slice())?;
        let kept = format!("512 x 512, 14², about {percent} % zero, {element:?}");
        table.row(&format!("sparse product {kept}"), bytes, || {
            pattern.multiply(queue, (weight.slice(), 0..outputs), matrices, pixels, element)
        })?;
        let into = WeightGradient { sizes, dw: weight.slice(), kept: Some((&pattern, partial.slice())) };
        let [x, dy] = matrices;
        table.row(&format!("sparse weight gradient {kept}"), bytes, || {
            into.add(queue, [dy, x], pixels, element, true)
        })?;
    }
    Ok(())
}

/// What residual networks add: 3×3 convolutions by patches, and the pool behind the stem. Bytes are those of activations alone, without the
/// patches.
fn residual(table: &Table<'_>, element: Element) -> Result<()> {
    let (queue, size) = (table.queue, element.size());
    let dims = square([128; 2], 28, Window::square(3, 1, Padding::Symmetric));
    let bytes = 128 * dims.plane() * size;
    let [x, y] = [queue.allocate(bytes)?, queue.allocate(bytes)?];
    let (x, y) = (Reading::plain(x.slice()), y.slice());
    let weight = queue.allocate(128 * 128 * 9 * size_of::<f32>())?;
    let weight = weight.slice();
    let values = Values::<<Stream as Queue>::Memory>::Dense(weight);
    let product = Weight { sizes: [128, 128 * 9], values };
    let patches = queue.allocate(spatial::patches_bytes(dims, element))?;
    let of_input = queue.allocate(spatial::input_gradient_bytes(dims, element))?;
    let name = |of: &str| format!("3x3 {of}, 128 x 128, 28², {element:?}");
    table.row(&name("forward"), 2 * bytes, || {
        spatial::forward(queue, x, &product, [y, patches.slice()], dims, element)
    })?;
    table.row(&name("weight gradient"), 2 * bytes, || {
        let into = WeightGradient { sizes: product.sizes, dw: weight, kept: None };
        spatial::weight_gradient(queue, x, &into, [y, patches.slice()], dims, element)
    })?;
    table.row(&name("input gradient"), 2 * bytes, || {
        spatial::input_gradient(queue, &product, [y, x.y, of_input.slice()], dims, element)
    })?;
    let dims = square([16; 2], 112, Window::square(3, 2, Padding::Lines([1; 4])));
    let [input, output] = [dims.plane(), dims.out_plane()].map(|plane| 16 * plane * size);
    let [x, y] = [queue.allocate(input)?, queue.allocate(output)?];
    let (x, y): (Reading<'_>, Slice<'_>) = (Reading::plain(x.slice()), y.slice());
    table.row(&format!("greatest of 3x3, 112², {element:?}"), input + output, || {
        window_pool::forward(queue, x, (y, Bounds::NONE), Pool::Max, (dims, element))
    })?;
    let dx = queue.allocate(input)?;
    table.row(&format!("greatest of 3x3 back, 112², {element:?}"), 2 * input + output, || {
        window_pool::backward(queue, x, [y, dx.slice()], Pool::Max, (dims, element))
    })?;
    Ok(())
}

/// Sizes of what goes over square images.
fn square([outputs, inputs]: [usize; 2], side: usize, window: Window) -> windows::Dims {
    windows::Dims { outputs, inputs, height: side, width: side, batch: BATCH, window }
}

/// What reads and writes all parameters.
fn parameters(table: &Table<'_>) -> Result<()> {
    let queue = table.queue;
    let (spans, end) = place([WEIGHTS]);
    let members: Vec<Member> = spans.iter().map(|&span| Member { span, group: 0, masked: true }).collect();
    let chunks = Chunks::new(queue, &members)?;
    let [weights, gradients, velocities] =
        [queue.allocate(end * 4)?, queue.allocate(end * 4)?, queue.allocate(end * 4)?];
    // A spread of magnitudes, so that selecting has something to do.
    let numbers: Vec<f32> =
        (0..end).map(|i| (i.wrapping_mul(2_654_435_761) % 65_521) as f32 / 65_521.0 - 0.5).collect();
    queue.write(bytemuck::cast_slice(&numbers), weights.slice())?;
    let [words, nan] = [queue.allocate(end / 8)?, queue.allocate(4)?];
    let (run, mask) = (WEIGHTS * 4, WEIGHTS / 8);
    let slices = [weights.slice(), words.slice()];
    table.row("masks from a threshold", run + mask, || {
        masks::from_threshold(queue, [weights.slice(), words.slice(), nan.slice()], 0.2, &chunks)
    })?;
    table.row("apply masks", 2 * run + mask, || masks::apply(queue, slices, &chunks))?;
    queue.write(bytemuck::cast_slice(&numbers), weights.slice())?;
    let selector = Selector::new(queue, Chunks::new(queue, &members)?)?;
    table.row("select the smallest 75 % (all its launches)", 5 * run + mask, || {
        selector.select(queue, slices, None, &[WEIGHTS / 4 * 3])
    })?;
    let runs = Runs {
        weights: weights.slice(),
        gradients: gradients.slice(),
        velocities: velocities.slice(),
        words: words.slice(),
    };
    let rule = Rule { learning_rate: 1e-3, momentum: 0.9, l2_decay: 3e-5, masked: true, hold_pruned: false };
    table.row("momentum step", 5 * run + mask, || sgd::step(queue, runs, rule, None, &chunks))?;
    Ok(())
}
