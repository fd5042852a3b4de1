//! Operations that ONNX has several forms for, or none: functions, and channels in another order.

use super::emit::Emitter;
use super::write::{Attributes, Operation};
use crate::graph::{Function, Op};
use crate::shape::Shape;

/// The operator of a function; none if it is several nodes ([`several`]).
pub(super) fn function(function: Function) -> Option<(&'static str, Attributes)> {
    let plain = Attributes::default;
    Some(match function {
        Function::Sigmoid => ("Sigmoid", plain()),
        Function::HardSigmoid { alpha, beta } => {
            ("HardSigmoid", Attributes { alpha: Some(alpha), beta: Some(beta), ..plain() })
        }
        Function::HardSwish => ("HardSwish", plain()),
        Function::Tanh => ("Tanh", plain()),
        Function::Elu { alpha } => ("Elu", Attributes { alpha: Some(alpha), ..plain() }),
        Function::Erf => ("Erf", plain()),
        Function::Exp => ("Exp", plain()),
        Function::Softplus => ("Softplus", plain()),
        Function::Silu | Function::Gelu | Function::GeluTanh | Function::Mish | Function::Quantize(_) => {
            return None;
        }
    })
}

/// Adds a function that is several nodes, all of them made of `x`; returns the name of the result.
pub(super) fn several(
    emitter: &mut Emitter,
    operation: &Operation<'_>,
    name: &str,
    function: Function,
    x: &str,
) -> String {
    let mut chain = Chain { emitter, name, x };
    let steps: &[(&str, Operand)] = match function {
        Function::Gelu => &[
            ("Mul", Operand::Number(std::f32::consts::FRAC_1_SQRT_2)),
            ("Erf", Operand::None),
            ("Add", Operand::Number(1.0)),
            ("Mul", Operand::Number(0.5)),
        ],
        // 1/2 + tanh(u)/2 = sigmoid(2u).
        Function::GeluTanh => &[
            ("Mul", Operand::X),
            ("Mul", Operand::Number(0.071_354_814)),
            ("Add", Operand::Number(1.595_769)),
            ("Mul", Operand::X),
            ("Sigmoid", Operand::None),
        ],
        Function::Mish => &[("Softplus", Operand::None), ("Tanh", Operand::None)],
        _ => &[("Sigmoid", Operand::None)],
    };
    let mut value = x.to_owned();
    for &(operator, operand) in steps {
        value = chain.step(operator, value, operand);
    }
    let inputs = vec![x.to_owned(), value];
    operation.last(emitter, "Mul", name, inputs, &Attributes::default())
}

/// The second input of a step.
#[derive(Clone, Copy)]
enum Operand {
    None,
    /// What the function is of.
    X,
    Number(f32),
}

struct Chain<'a> {
    emitter: &'a mut Emitter,
    name: &'a str,
    x: &'a str,
}

impl Chain<'_> {
    fn step(&mut self, operator: &str, value: String, operand: Operand) -> String {
        let step = self.emitter.unique_node(&format!("{}/{}", self.name, operator.to_lowercase()));
        let mut inputs = vec![value];
        match operand {
            Operand::None => {}
            Operand::X => inputs.push(self.x.to_owned()),
            Operand::Number(number) => {
                inputs.push(self.emitter.constant(&format!("{step}.factor"), &[], &[number]))
            }
        }
        self.emitter.node(operator, &step, inputs, false)
    }
}

/// The operator that chooses channels; none if it is a shuffle, which is several ([`shuffle`]).
pub(super) fn channels(
    emitter: &mut Emitter,
    operation: &Operation<'_>,
    name: &str,
    order: &[usize],
    inputs: &mut Vec<String>,
) -> Option<(&'static str, Attributes)> {
    let (Some(&first), Some(&last)) = (order.first(), order.last()) else { return None };
    if order.windows(2).all(|pair| pair[1] == pair[0] + 1) {
        inputs.push(emitter.integers(&format!("{name}.starts"), &[first as i64]));
        inputs.push(emitter.integers(&format!("{name}.ends"), &[last as i64 + 1]));
        inputs.push(emitter.integers(&format!("{name}.axes"), &[1]));
        return Some(("Slice", Attributes::default()));
    }
    if groups(operation.read.channels(), order).is_some() {
        return None;
    }
    let order: Vec<i64> = order.iter().map(|&channel| channel as i64).collect();
    inputs.push(emitter.integers(&format!("{name}.indices"), &order));
    Some(("Gather", Attributes { axis: Some(1), ..Attributes::default() }))
}

/// The groups of a shuffle.
fn groups(channels: usize, order: &[usize]) -> Option<usize> {
    let groups = channels.checked_div(*order.get(1)?)?;
    let is_shuffle = channels.is_multiple_of(groups)
        && Op::shuffle(channels, groups) == Op::Channels { order: order.to_vec() };
    is_shuffle.then_some(groups)
}

/// Adds a shuffle: channels seen as groups, exchanged, and seen as channels again.
pub(super) fn shuffle(
    emitter: &mut Emitter,
    operation: &Operation<'_>,
    name: &str,
    order: &[usize],
    x: &str,
) -> String {
    let channels = operation.read.channels();
    let groups = groups(channels, order).unwrap_or(1);
    let pixels = match operation.read {
        Shape::Image([_, height, width]) => vec![height as i64, width as i64],
        Shape::Flat(_) => Vec::new(),
    };
    let mut seen_as = |what: &str, sides: &[usize]| {
        let sides = sides.iter().map(|&side| side as i64);
        let shape: Vec<i64> = std::iter::once(0).chain(sides).chain(pixels.iter().copied()).collect();
        emitter.integers(&format!("{name}.{what}"), &shape)
    };
    let (apart, together) = (seen_as("groups", &[groups, channels / groups]), seen_as("shape", &[channels]));
    let view = emitter.unique_node(&format!("{name}/view"));
    let view = emitter.node("Reshape", &view, vec![x.to_owned(), apart], false);
    let exchange = emitter.unique_node(&format!("{name}/transpose"));
    let exchanged = emitter.node("Transpose", &exchange, vec![view], false);
    let permutation = Some([0, 2, 1].into_iter().chain(3..3 + pixels.len()).collect());
    Attributes { permutation, ..Attributes::default() }.add_to(emitter);
    operation.last(emitter, "Reshape", name, vec![exchanged, together], &Attributes::default())
}
