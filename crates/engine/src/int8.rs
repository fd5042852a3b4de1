//! Which parts of a graph are computed in integers.
//!
//! A convolution of whole multiples of a scale, between two roundings to bytes ([`Function::Quantize`]), is: what it reads and what it makes are
//! bytes then, and nothing becomes a number in between. So are a depthwise convolution and the 1×1 convolution after it in one step, sums, maxima
//! and concatenations of bytes. Everything else reads numbers, which are made of bytes where they are needed.

use crate::graph::{Convolution, Function, Op, Quantization, Window};
use crate::lower::{Lowering, Unit, Work, is_depthwise, is_pointwise};
use sparse_inference::int8::QUAD;
use sparse_inference::{Bounds, Planes};

/// A step in integers.
#[allow(clippy::large_enum_variant, reason = "a network has some dozens")]
#[derive(Clone, Debug)]
pub(crate) enum Int8 {
    /// A depthwise convolution, a product, or one after the other.
    Convolution {
        depthwise: Option<Integers>,
        product: Option<Integers>,
    },
    /// Numbers become bytes.
    Quantize(Quantization),
    /// Bytes become numbers.
    Dequantize(Quantization),
    /// The sum of two inputs, in bytes of their own.
    Add {
        inputs: [Quantization; 2],
        to: Quantization,
        bounds: [u8; 2],
    },
    MaxPool(Window),
    /// The mean of all pixels, a number.
    Mean(Quantization),
    /// For each channel which input, and which channel of it; what the bytes of the inputs and of the result stand for.
    Channels {
        order: Vec<(usize, usize)>,
        inputs: Vec<Quantization>,
        to: Quantization,
    },
}

/// A convolution in integers: `min(max(round((Σ w·(q − read) + bias) · multiplier) + zero, low), high)`.
#[derive(Clone, Debug)]
pub(crate) struct Integers {
    /// As [`Convolution::weight`], in steps of its scale.
    pub(crate) weight: Vec<i8>,
    pub(crate) outputs: usize,
    pub(crate) groups: usize,
    pub(crate) window: Window,
    pub(crate) bias: Vec<i32>,
    pub(crate) multipliers: Vec<f32>,
    /// The byte of 0 in what is read.
    pub(crate) read: u8,
    /// The byte of 0 in the result, and its least and greatest byte.
    pub(crate) zero: u8,
    pub(crate) bounds: [u8; 2],
}

/// What follows a result up to where it becomes bytes.
struct Rounded {
    /// The nodes that are taken along.
    taken: Vec<usize>,
    to: Quantization,
    bounds: [u8; 2],
}

impl Integers {
    /// A convolution that reads bytes; nothing if its weights are no whole multiples, or its sums may not fit 32 bits.
    fn new(convolution: &Convolution, from: Quantization, rounded: &Rounded) -> Option<Self> {
        let Convolution { weight, shape: [outputs, ..], bias, groups, window, scales } = convolution;
        let scales = scales.as_deref().filter(|scales| scales.len() == *outputs)?;
        let rows = Rows::new(weight, bias, scales, from)?;
        let multipliers: Vec<f32> =
            rows.scales.iter().map(|&scale| from.scale * scale / rounded.to.scale).collect();
        let fits = multipliers.iter().all(|&multiplier| f64::from(multiplier) * f64::from(i32::MAX) < 2e9);
        let (read, to, bounds) = (from.zero, rounded.to, rounded.bounds);
        let (outputs, groups, window, Rows { weight, bias, .. }) = (*outputs, *groups, *window, rows);
        fits.then_some(Self {
            weight,
            outputs,
            groups,
            window,
            bias,
            multipliers,
            read,
            zero: to.zero,
            bounds,
        })
    }

    /// Weights of blocks of four over input channels that are all zero.
    pub(crate) fn zeros_in_blocks(&self) -> usize {
        let positions = self.window.taps();
        let row = self.weight.len() / self.outputs.max(1);
        let zero = |row: &[i8], first: usize, position: usize| {
            let channels = row[first * positions..].chunks(positions).take(QUAD);
            let mut weights = channels.clone().map(|channel| channel[position]);
            if weights.all(|w| w == 0) { channels.count() } else { 0 }
        };
        let of_row = |row: &[i8]| {
            let blocks = (0..row.len() / positions).step_by(QUAD);
            blocks
                .flat_map(|first| (0..positions).map(move |at| (first, at)))
                .map(|(f, at)| zero(row, f, at))
                .sum::<usize>()
        };
        self.weight.chunks(row.max(1)).map(of_row).sum()
    }
}

/// Weights of outputs as multiples of scales, and biases in steps of those times the scale of what is read, such that no sum leaves 32 bits.
pub(crate) struct Rows {
    pub(crate) weight: Vec<i8>,
    pub(crate) bias: Vec<i32>,
    pub(crate) scales: Vec<f32>,
}

impl Rows {
    /// Of weights that are such multiples. An output whose bias is too large for its scale, since its weights are next to nothing, gets a scale
    /// twice as large until it fits: what its weights lose is less than a thousandth of the bias. Nothing if weights are no multiples, or too many
    /// for any scale.
    pub(crate) fn new(weight: &[f32], bias: &[f32], scales: &[f32], from: Quantization) -> Option<Self> {
        let mut rows = Self { weight: integers(weight, scales)?, bias: Vec::new(), scales: scales.to_vec() };
        let row = (weight.len() / scales.len().max(1)).max(1);
        for ((weight, &bias), scale) in rows.weight.chunks_mut(row).zip(bias).zip(&mut rows.scales) {
            let whole = loop {
                let step = f64::from(from.scale * *scale);
                let whole = if bias == 0.0 { 0.0 } else { (f64::from(bias) / step).round_ties_even() };
                let size: i64 = weight.iter().map(|&w| i64::from(w).abs()).sum();
                // What is read, and what the byte of its zero adds.
                let greatest = 2.0 * 255.0 * size as f64 + whole.abs();
                if greatest < f64::from(i32::MAX) {
                    break whole;
                }
                if !greatest.is_finite() || whole.abs() < f64::from(1 << 29) {
                    return None;
                }
                *scale *= 2.0;
                weight.iter_mut().for_each(|w| *w = (f32::from(*w) / 2.0).round_ties_even() as i8);
            };
            rows.bias.push(whole as i32);
        }
        Some(rows)
    }
}

/// Weights of rows as multiples of their scales; nothing if they are none of −128 to 127.
fn integers(weight: &[f32], scales: &[f32]) -> Option<Vec<i8>> {
    let row = weight.len() / scales.len().max(1);
    let multiple = |(at, &w): (usize, &f32)| {
        let scale = scales[at / row.max(1)];
        let steps = if w == 0.0 { 0.0 } else { (w / scale).round() };
        let is_multiple =
            scale > 0.0 && (-128.0..=127.0).contains(&steps) && (steps * scale - w).abs() <= scale * 1e-3;
        (is_multiple || w == 0.0).then_some(steps as i8)
    };
    weight.iter().enumerate().map(multiple).collect()
}

impl Lowering<'_> {
    /// Adds a unit in integers for a node, if it is one of those.
    pub(crate) fn int8(&mut self, index: usize) -> bool {
        if !self.integers {
            return false;
        }
        let node = &self.graph.nodes[index];
        let from: Option<Vec<Quantization>> = node.inputs.iter().map(|&input| self.bytes[input]).collect();
        let name = node.name.clone();
        if let Op::Function(Function::Quantize(to)) = node.op {
            let work = match from.as_deref() {
                // What is in such bytes already stays as it is, what is in others is brought into them.
                Some(&[from]) => {
                    let order = (0..self.shapes[index].channels()).map(|channel| (0, channel)).collect();
                    Int8::Channels { order, inputs: vec![from], to }
                }
                _ => Int8::Quantize(to),
            };
            self.add(name, node.inputs.clone(), index, Some(to), work);
            return true;
        }
        let Some(from) = from else { return false };
        match (&node.op, from.as_slice()) {
            (Op::Convolution(convolution), &[from]) => self.convolution(index, convolution, from),
            (Op::Add, &[a, b]) => {
                let same = self.shapes[node.inputs[0]] == self.shapes[node.inputs[1]];
                let Some(rounded) = self.rounded(index).filter(|_| same) else { return false };
                let work = Int8::Add { inputs: [a, b], to: rounded.to, bounds: rounded.bounds };
                self.finish(name, node.inputs.clone(), rounded, work);
                true
            }
            (&Op::MaxPool(window), &[from]) => {
                self.add(name, node.inputs.clone(), index, Some(from), Int8::MaxPool(window));
                true
            }
            (Op::GlobalAveragePool, &[from]) => {
                self.add(name, node.inputs.clone(), index, None, Int8::Mean(from));
                true
            }
            (Op::Channels { order }, &[from]) => {
                let order = order.iter().map(|&channel| (0, channel)).collect();
                let work = Int8::Channels { order, inputs: vec![from], to: from };
                self.add(name, node.inputs.clone(), index, Some(from), work);
                true
            }
            (Op::Concat, from) => self.concat(index, from),
            _ => false,
        }
    }

    fn concat(&mut self, index: usize, from: &[Quantization]) -> bool {
        let node = &self.graph.nodes[index];
        let channels =
            node.inputs.iter().enumerate().flat_map(|(input, &of)| {
                (0..self.shapes[of].channels()).map(move |channel| (input, channel))
            });
        let (order, inputs) = (channels.collect(), from.to_vec());
        let (name, reads) = (node.name.clone(), node.inputs.clone());
        match self.rounded(index) {
            // Bounds would have to be those of the bytes.
            Some(rounded) if rounded.taken.len() == 1 => {
                let work = Int8::Channels { order, inputs, to: rounded.to };
                self.finish(name, reads, rounded, work);
                true
            }
            _ if from.iter().all(|&by| by == from[0]) => {
                let work = Int8::Channels { order, inputs, to: from[0] };
                self.add(name, reads, index, Some(from[0]), work);
                true
            }
            _ => false,
        }
    }

    fn convolution(&mut self, index: usize, convolution: &Convolution, from: Quantization) -> bool {
        let node = &self.graph.nodes[index];
        let Some(rounded) = self.rounded(index) else { return false };
        let Some(own) = Integers::new(convolution, from, &rounded) else { return false };
        let (mut name, reads) = (node.name.clone(), node.inputs.clone());
        let channels = self.shapes[reads[0]].channels();
        if !is_depthwise(convolution, channels) {
            self.finish(name, reads, rounded, Int8::Convolution { depthwise: None, product: Some(own) });
            return true;
        }
        // With the 1×1 convolution that alone reads it.
        let bytes = rounded.taken[rounded.taken.len() - 1];
        let pointwise = self.reader(bytes).and_then(|reader| match &self.graph.nodes[reader].op {
            Op::Convolution(convolution) if is_pointwise(convolution) => {
                let after = self.rounded(reader)?;
                let product = Integers::new(convolution, rounded.to, &after)?;
                Some((reader, after, product))
            }
            _ => None,
        });
        match pointwise {
            Some((reader, after, product)) => {
                for &taken in rounded.taken.iter().chain([&reader]) {
                    self.taken[taken] = true;
                }
                name.clone_from(&self.graph.nodes[reader].name);
                let work = Int8::Convolution { depthwise: Some(own), product: Some(product) };
                self.finish(name, reads, after, work);
            }
            None => {
                self.finish(name, reads, rounded, Int8::Convolution { depthwise: Some(own), product: None })
            }
        }
        true
    }

    /// The bounds and the rounding to bytes that alone read `value`.
    fn rounded(&self, value: usize) -> Option<Rounded> {
        let (mut taken, mut bounds) = (Vec::new(), Bounds::NONE);
        let mut reader = self.reader(value)?;
        if let Op::Clip { low, high } = self.graph.nodes[reader].op {
            bounds = Bounds { low, high };
            taken.push(reader);
            reader = self.reader(reader)?;
        }
        let Op::Function(Function::Quantize(to)) = self.graph.nodes[reader].op else { return None };
        taken.push(reader);
        Some(Rounded { taken, to, bounds: [to.byte(bounds.low), to.byte(bounds.high)] })
    }

    /// Adds a unit whose result becomes bytes.
    fn finish(&mut self, name: String, inputs: Vec<usize>, rounded: Rounded, work: Int8) {
        rounded.taken.iter().for_each(|&taken| self.taken[taken] = true);
        if let Some(&value) = rounded.taken.last() {
            self.add(name, inputs, value, Some(rounded.to), work);
        }
    }

    /// Adds a unit that makes bytes, or numbers if they stand for nothing.
    fn add(&mut self, name: String, inputs: Vec<usize>, value: usize, to: Option<Quantization>, work: Int8) {
        let planes = self.planes_of(value);
        let channels = planes.channels;
        let planes = match to {
            Some(_) => Planes::padded(channels.div_ceil(QUAD), planes.height, planes.width),
            None => planes,
        };
        self.bytes[value] = to;
        self.planes[value] = Some(planes);
        self.units.push(Unit { name, inputs, value, planes, channels, work: Work::Int8(Box::new(work)) });
    }

    /// The value that holds what a node does in numbers, made of its bytes if need be.
    pub(crate) fn numbers(&mut self, node: usize) -> usize {
        let Some(from) = self.bytes[node] else { return node };
        if let Some(&value) = self.as_numbers.get(&node) {
            return value;
        }
        let value = self.shapes.len();
        self.shapes.push(self.shapes[node]);
        self.planes.push(None);
        self.bytes.push(None);
        self.as_numbers.insert(node, value);
        let name = format!("{} (numbers)", self.graph.nodes[node].name);
        self.add(name, vec![node], value, None, Int8::Dequantize(from));
        value
    }
}
