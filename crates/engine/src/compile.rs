//! From units to a program: weights are packed, each product dense or sparse as it was chosen.

use crate::arrange::arrange;
use crate::error::Result;
use crate::graph::{Convolution, Window};
use crate::head::VectorWork;
use crate::int8::{Int8, Integers};
use crate::lower::{Depthwise, Lowered, Unit, Work, is_pointwise};
use sparse_inference::{
    self as kernels, Channelwise, Finish, Layer, Linear, Operation, Place, Planes, Precision, Program, Slot,
    Source, Step, Weights,
};

/// A program for `threads` threads in which unit `i` leaves out the zeros of its product if `sparse(i)`.
///
/// # Errors
/// [`crate::Error::Run`] if the units do not fit together.
pub(crate) fn compile(lowered: &Lowered, threads: usize, sparse: &dyn Fn(usize) -> bool) -> Result<Program> {
    let [channels, height, width] = lowered.image;
    let image = Planes::tight(channels, height, width);
    let arrangement = arrange(lowered, Place { slot: Slot::Image, planes: image });
    let place = |node: usize| arrangement.places[&node];
    let steps = lowered
        .units
        .iter()
        .enumerate()
        .map(|(index, unit)| step(unit, &place, sparse(index), lowered.precision))
        .collect();
    let layers = lowered.layers.iter().map(|unit| layer(&unit.work, lowered.precision)).collect();
    Ok(Program::new(image, arrangement.arena, steps, place(lowered.features), layers, threads)?)
}

fn layer(work: &VectorWork, precision: Precision) -> Layer {
    match work {
        VectorWork::Linear { weight, bias, finish } => {
            Layer::Linear(Linear::new(weight, bias, *finish, precision))
        }
        VectorWork::Int8 { weight, scales, bias, from, finish } => {
            Layer::Int8(kernels::int8::Linear::new(weight, bias, scales, *from, *finish))
        }
        VectorWork::Softmax => Layer::Softmax,
        VectorWork::LogSoftmax => Layer::LogSoftmax,
    }
}

fn step(unit: &Unit, place: &dyn Fn(usize) -> Place, sparse: bool, precision: Precision) -> Step {
    let (from, to) = (place(unit.inputs[0]), place(unit.value));
    let channelwise = |operation| Step::Channelwise(Box::new(Channelwise { operation, from, to }));
    match &unit.work {
        Work::Product { depthwise, convolution, finish } => {
            let source = match depthwise {
                Some(depthwise) => depthwise_source(depthwise, from),
                None if is_pointwise(convolution) && from.planes.is_padded() => Source::Pixels,
                None => Source::Windows(convolution.window),
            };
            Step::Convolution(Box::new(kernels::Convolution {
                from,
                source,
                weights: Some(weights(convolution, sparse, precision)),
                bias: convolution.bias.clone(),
                residual: unit.inputs.get(1).map(|&node| place(node)),
                finish: *finish,
                to,
            }))
        }
        Work::Depthwise(depthwise) => Step::Convolution(Box::new(kernels::Convolution {
            from,
            source: depthwise_source(depthwise, from),
            weights: None,
            bias: Vec::new(),
            residual: None,
            finish: Finish::NONE,
            to,
        })),
        Work::MaxPool(window) => channelwise(Operation::MaxPool(*window)),
        &Work::AveragePool { window, counted } => channelwise(Operation::AveragePool { window, counted }),
        Work::Mean => channelwise(Operation::Mean),
        Work::Greatest => channelwise(Operation::Greatest),
        &Work::Combine(how, finish) => {
            channelwise(Operation::Combine { how, other: place(unit.inputs[1]), finish })
        }
        Work::Affine { scale, offset, finish } => {
            let (scale, offset) = (scale.clone(), offset.clone());
            channelwise(Operation::Affine { scale, offset, finish: *finish })
        }
        Work::Slope(slope) => channelwise(Operation::Slope { slope: slope.clone() }),
        Work::Finish(finish) => channelwise(Operation::Finish(*finish)),
        &Work::Pad { lines, value } => channelwise(Operation::Pad { lines, value }),
        Work::Channels(order) => {
            let inputs = unit.inputs.iter().map(|&input| place(input)).collect();
            channelwise(Operation::Channels { inputs, order: order.clone() })
        }
        Work::Reshape => channelwise(Operation::Reshape),
        Work::Int8(work) => int8(unit, work, place, sparse),
    }
}

/// A step in integers.
fn int8(unit: &Unit, work: &Int8, place: &dyn Fn(usize) -> Place, sparse: bool) -> Step {
    use kernels::int8::{Channelwise, Operation};
    let (from, to) = (place(unit.inputs[0]), place(unit.value));
    let operation = match work {
        Int8::Convolution { depthwise, product } => {
            return int8_convolution(from, to, depthwise.as_ref(), product.as_ref(), sparse);
        }
        &Int8::Quantize(to) => Operation::Quantize(to),
        &Int8::Dequantize(from) => Operation::Dequantize(from),
        &Int8::Add { inputs: [first, second], to, bounds } => {
            Operation::Add { first, other: place(unit.inputs[1]), second, to, bounds }
        }
        &Int8::MaxPool(window) => Operation::MaxPool(window),
        &Int8::Mean(from) => Operation::Mean(from),
        Int8::Channels { order, inputs, to } => {
            let inputs = unit.inputs.iter().zip(inputs).map(|(&input, &by)| (place(input), by)).collect();
            Operation::Channels { inputs, order: order.clone(), to: *to }
        }
    };
    Step::Int8Channelwise(Box::new(Channelwise { operation, from, to, channels: unit.channels }))
}

fn int8_convolution(
    from: Place,
    to: Place,
    depthwise: Option<&Integers>,
    product: Option<&Integers>,
    sparse: bool,
) -> Step {
    use kernels::int8::{Convolution, Depthwise, Requantise, Source, Weights};
    let requantise = |of: &Integers| Requantise::new(&of.bias, &of.multipliers, of.zero, of.bounds);
    let source = match (depthwise, product) {
        (Some(of), _) => {
            let weight = of.weight.clone();
            Source::Depthwise(Depthwise::new(of.window, weight, requantise(of), of.read, from.planes))
        }
        (None, Some(of)) if of.window != Window::square(1, 1, 0) => Source::Windows(of.window),
        _ => Source::Pixels,
    };
    let read = depthwise.or(product).map_or(0, |first| first.read);
    let weights = |of: &Integers| {
        // Products with channels of other groups are blocks of zeros.
        let pack = if sparse || of.groups > 1 { Weights::sparse } else { Weights::dense };
        (pack(&of.weight, of.outputs, of.groups, of.window.taps()), requantise(of))
    };
    let convolution = Convolution { from, zero: read, source, product: product.map(weights), to };
    Step::Int8(Box::new(convolution.shifted(product.map_or(0, |product| product.read))))
}

fn depthwise_source(depthwise: &Depthwise, from: Place) -> Source {
    let Convolution { weight, bias, window, .. } = &depthwise.convolution;
    Source::Depthwise(
        kernels::Depthwise::new(*window, weight.clone(), bias.clone(), depthwise.finish.bounds, from.planes)
            .then(depthwise.finish.function),
    )
}

fn weights(convolution: &Convolution, sparse: bool, precision: Precision) -> Weights {
    let Convolution { weight, shape, groups, .. } = convolution;
    let pack = if sparse { Weights::sparse } else { Weights::dense };
    pack(weight, shape[0], *groups, precision)
}
