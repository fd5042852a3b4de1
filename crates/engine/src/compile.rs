//! From units to a program: weights are packed, each product dense or sparse as it was chosen.

use crate::arrange::arrange;
use crate::error::Result;
use crate::graph::Convolution;
use crate::lower::{Depthwise, Lowered, Unit, VectorWork, Work, is_pointwise};
use sparse_kernels::host::inference::{
    self as kernels, Channelwise, Layer, Linear, Operation, Place, Planes, Program, Slot, Source, Step,
    Weights,
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
    let steps =
        lowered.units.iter().enumerate().map(|(index, unit)| step(unit, &place, sparse(index))).collect();
    let layers = lowered.layers.iter().map(|unit| layer(&unit.work)).collect();
    Ok(Program::new(image, arrangement.arena, steps, place(lowered.features), layers, threads)?)
}

fn layer(work: &VectorWork) -> Layer {
    match work {
        VectorWork::Linear { weight, bias, bounds } => Layer::Linear(Linear::new(weight, bias, *bounds)),
        VectorWork::Softmax => Layer::Softmax,
    }
}

fn step(unit: &Unit, place: &dyn Fn(usize) -> Place, sparse: bool) -> Step {
    let (from, to) = (place(unit.inputs[0]), place(unit.value));
    let channelwise = |operation| Step::Channelwise(Channelwise { operation, from, to });
    match &unit.work {
        Work::Product { depthwise, convolution, bounds } => {
            let source = match depthwise {
                Some(depthwise) => depthwise_source(depthwise, from),
                None if is_pointwise(convolution) && from.planes.is_padded() => Source::Pixels,
                None => Source::Windows(convolution.window),
            };
            Step::Convolution(Box::new(kernels::Convolution {
                from,
                source,
                weights: Some(weights(convolution, sparse)),
                bias: convolution.bias.clone(),
                residual: unit.inputs.get(1).map(|&node| place(node)),
                bounds: *bounds,
                to,
            }))
        }
        Work::Depthwise(depthwise) => Step::Convolution(Box::new(kernels::Convolution {
            from,
            source: depthwise_source(depthwise, from),
            weights: None,
            bias: Vec::new(),
            residual: None,
            bounds: kernels::Bounds::NONE,
            to,
        })),
        Work::MaxPool(window) => channelwise(Operation::MaxPool(*window)),
        &Work::AveragePool { window, counted } => channelwise(Operation::AveragePool { window, counted }),
        Work::Mean => channelwise(Operation::Mean),
        &Work::Add(bounds) => channelwise(Operation::Add { other: place(unit.inputs[1]), bounds }),
        Work::Affine { scale, offset, bounds } => {
            let (scale, offset) = (scale.clone(), offset.clone());
            channelwise(Operation::Affine { scale, offset, bounds: *bounds })
        }
    }
}

fn depthwise_source(depthwise: &Depthwise, from: Place) -> Source {
    let Convolution { weight, bias, window, .. } = &depthwise.convolution;
    Source::Depthwise(kernels::Depthwise::new(
        *window,
        weight.clone(),
        bias.clone(),
        depthwise.bounds,
        from.planes,
    ))
}

fn weights(convolution: &Convolution, sparse: bool) -> Weights {
    let Convolution { weight, shape, groups, .. } = convolution;
    let pack = if sparse { Weights::sparse } else { Weights::dense };
    pack(weight, shape[0], *groups)
}
