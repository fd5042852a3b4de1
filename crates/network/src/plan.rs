//! The steps in which a network is trained: a graph with its nodes fused, the same for host and device.
//!
//! A convolution and the batch norm and bounds behind it are one step, which writes the raw output and gathers its
//! statistics; whoever reads it normalises and bounds on the way. A sum is bounded when it is written. So a [`Value`] lies in
//! memory once, and says how it is to be read.
//!
//! Backward the steps come in reverse. The gradient to a value is that behind its bounds' inside, already shut where they were;
//! each reader adds its part, and the last one shuts and sums ([`Way`]). The gradient to a sum is that to both of its parts, so
//! they share its memory.

use crate::{BatchNorm, Bounds, Conv, Error, Graph, Op, ParameterId, Result, Window};

/// A network in steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is computed.
    pub graph: Graph,
    /// What lies in memory, in the order in which it is written; the first is the images.
    pub values: Vec<Value>,
    /// What is done forward, in order; backward in reverse.
    pub steps: Vec<Step>,
    /// The value that holds the class scores.
    pub scores: usize,
    /// Pieces of memory for gradients that are needed at the same time.
    pub slots: usize,
    /// The piece of memory of each value where no gradients are computed, by the times in which they are read.
    pub rooms: Vec<usize>,
}

/// What lies in memory while a batch passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The node whose result it is, before norm and bounds; its shape is that of the value.
    pub node: usize,
    /// What a reader does first.
    pub norm: Norm,
    /// What bounds it after that; without a norm it was bounded when it was written.
    pub bounds: Bounds,
    /// Whether it is a vector for each image, `[N, C]`, and not an image with the batch innermost.
    pub is_flat: bool,
    /// The piece of memory in which its gradient is complete; `None` for images, vectors, and what nobody needs.
    pub gradient: Option<usize>,
}

/// What a reader of a value does first, channel by channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// Nothing.
    None,
    /// Adds this parameter.
    Bias(ParameterId),
    /// Normalises by the statistics of the batch, or by running ones.
    Batch(BatchNorm),
}

/// One fused step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name of its first node.
    pub name: String,
    /// What it does.
    pub op: StepOp,
    /// The values it reads: two of a sum, else one.
    pub inputs: Vec<usize>,
    /// How the gradient goes on to each of them.
    pub ways: Vec<Way>,
    /// The value it writes.
    pub output: usize,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepOp {
    /// A convolution, and the statistics of its output if that has a batch norm.
    Conv(Conv, ConvKind),
    /// The sum of two values.
    Add,
    /// The greatest value of each window.
    MaxPool(Window),
    /// The mean of each window.
    AveragePool {
        /// Where.
        window: Window,
        /// Whether the zeros of the padding count.
        counts_padding: bool,
    },
    /// The mean of each channel, as a vector.
    Mean,
    /// A linear layer.
    Linear {
        /// `[inputs, outputs]`.
        weight: ParameterId,
        /// `[outputs]`.
        bias: Option<ParameterId>,
    },
}

/// The kinds of convolution for which there are kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvKind {
    /// Any window over all channels.
    Spatial,
    /// 3×3 with stride 1 or 2, a kernel for each channel.
    Depthwise,
    /// 1×1 with stride 1 over all channels.
    Pointwise,
}

/// How a gradient goes on to a value that a step read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It does not: nobody needs it.
    Ends,
    /// To the vector's own memory.
    Flat,
    /// To a piece of memory.
    To {
        /// Which.
        slot: usize,
        /// Whether parts of other readers lie there already.
        adds: bool,
        /// Whether this is the last part, so that it shuts the gradient where the bounds were and sums it.
        is_last: bool,
        /// The piece in which those parts lie, if that must stay as it is: they are copied first.
        copies: Option<usize>,
    },
}

impl Plan {
    /// Lowers a graph.
    ///
    /// # Errors
    /// [`Error::NoStep`] naming a node that cannot be trained, [`Error::Graph`] if the graph is none.
    pub fn new(graph: Graph) -> Result<Self> {
        let mut lowering = Lowering::of(&graph);
        for node in 0..graph.nodes.len() {
            if !lowering.is_done[node] {
                lowering.lower(&graph, node)?;
            }
        }
        let no_scores = || Error::NoStep {
            node: graph.nodes.get(graph.output).map_or_else(String::new, |node| node.name.clone()),
            reason: "it gives no vector of class scores".to_owned(),
        };
        let scores = lowering.value_of.get(graph.output).copied().flatten().ok_or_else(no_scores)?;
        let Lowering { values, steps, .. } = lowering;
        let is_scored = values[scores].is_flat && values[scores].bounds.is_none();
        if !is_scored || steps.iter().any(|step| step.inputs.contains(&scores)) {
            return Err(no_scores());
        }
        let mut plan = Self { rooms: rooms(&values, &steps), graph, values, steps, scores, slots: 0 };
        plan.find_ways()?;
        Ok(plan)
    }

    /// The convolutions, in order.
    pub fn convolutions(&self) -> impl Iterator<Item = (&Step, &Conv, ConvKind)> {
        self.steps.iter().filter_map(|step| match &step.op {
            StepOp::Conv(conv, kind) => Some((step, conv, *kind)),
            _ => None,
        })
    }

    /// Name of a value's node.
    pub fn name(&self, value: usize) -> &str {
        &self.graph.nodes[self.values[value].node].name
    }

    /// The values that end a block, in order: sums, and what is read where a sum could be: the results of pointwise convolutions
    /// in a chain without sums.
    pub fn blocks(&self) -> Vec<usize> {
        let sums: Vec<usize> =
            self.steps.iter().filter(|step| step.op == StepOp::Add).map(|step| step.output).collect();
        if !sums.is_empty() {
            return sums;
        }
        let pointwise = self.convolutions().filter(|(.., kind)| *kind == ConvKind::Pointwise);
        pointwise.map(|(step, ..)| step.output).collect()
    }

    /// Walks the steps in reverse and decides where gradients lie.
    fn find_ways(&mut self) -> Result<()> {
        let mut waiting = vec![0usize; self.values.len()];
        for &input in self.steps.iter().flat_map(|step| &step.inputs) {
            waiting[input] += 1;
        }
        let mut slots = Slots::default();
        // Where the parts of a value's gradient lie that are known.
        let mut lies: Vec<Option<usize>> = vec![None; self.values.len()];
        for step in self.steps.iter_mut().rev() {
            let from = lies[step.output];
            self.values[step.output].gradient = from;
            if step.inputs.len() == 2 && step.inputs[0] == step.inputs[1] {
                let reason = "it adds a result to itself".to_owned();
                return Err(Error::NoStep { node: step.name.clone(), reason });
            }
            for &input in &step.inputs {
                waiting[input] -= 1;
                let (value, is_last) = (&self.values[input], waiting[input] == 0);
                step.ways.push(match (input, value.is_flat) {
                    (0, _) => Way::Ends,
                    (_, true) => Way::Flat,
                    _ => slots.way(step.op == StepOp::Add, value, from, &mut lies[input], is_last),
                });
            }
            if let Some(slot) = from {
                slots.release(slot);
            }
        }
        self.slots = slots.held.len();
        Ok(())
    }
}

/// Pieces of memory for gradients, and how many values each belongs to.
#[derive(Default)]
struct Slots {
    held: Vec<usize>,
}

impl Slots {
    /// A piece that belongs to nobody.
    fn take(&mut self) -> usize {
        let free = self.held.iter().position(|&held| held == 0);
        let slot = free.unwrap_or_else(|| {
            self.held.push(0);
            self.held.len() - 1
        });
        self.held[slot] = 1;
        slot
    }

    fn release(&mut self, slot: usize) {
        self.held[slot] -= 1;
    }

    /// How a part of the gradient to `value` goes on from the gradient that lies in `from`.
    fn way(
        &mut self,
        is_sum: bool,
        value: &Value,
        from: Option<usize>,
        lies: &mut Option<usize>,
        is_last: bool,
    ) -> Way {
        match (*lies, from) {
            // The first part of a sum is the gradient to the sum. It stays there, unless it is to be shut.
            (None, Some(from)) if is_sum && (!is_last || value.bounds.is_none()) => {
                self.held[from] += 1;
                *lies = Some(from);
                Way::To { slot: from, adds: false, is_last, copies: None }
            }
            (None, _) => {
                let slot = self.take();
                *lies = Some(slot);
                Way::To { slot, adds: false, is_last, copies: None }
            }
            // Another value still reads the parts that are there.
            (Some(shared), _) if self.held[shared] > 1 => {
                let slot = self.take();
                self.release(shared);
                *lies = Some(slot);
                Way::To { slot, adds: true, is_last, copies: Some(shared) }
            }
            (Some(slot), _) => Way::To { slot, adds: true, is_last, copies: None },
        }
    }
}

/// A piece of memory for each value, used again once the last step that reads its value is through. Vectors have memory of their own,
/// and share the first number.
fn rooms(values: &[Value], steps: &[Step]) -> Vec<usize> {
    let last_read = |value: usize| steps.iter().rposition(|step| step.inputs.contains(&value));
    let mut free_from: Vec<usize> = Vec::new();
    let mut rooms = vec![0; values.len()];
    let written =
        std::iter::once((0, 0)).chain(steps.iter().enumerate().map(|(at, step)| (at + 1, step.output)));
    for (now, value) in written {
        if values[value].is_flat {
            continue;
        }
        let end = last_read(value).map_or(usize::MAX, |step| step + 1);
        let free = free_from.iter().position(|&from| from < now);
        let room = free.unwrap_or_else(|| {
            free_from.push(0);
            free_from.len() - 1
        });
        free_from[room] = end;
        rooms[value] = room;
    }
    rooms
}

#[derive(Default)]
struct Lowering {
    /// How often each node is read.
    readers: Vec<usize>,
    /// The value that holds the result of each node.
    value_of: Vec<Option<usize>>,
    /// Nodes that are part of a step before them, or that the output does not depend on.
    is_done: Vec<bool>,
    values: Vec<Value>,
    steps: Vec<Step>,
}

impl Lowering {
    fn of(graph: &Graph) -> Self {
        let nodes = graph.nodes.len();
        let mut is_done = vec![true; nodes];
        let mut open = vec![graph.output];
        while let Some(node) = open.pop() {
            if node < nodes && std::mem::take(&mut is_done[node]) {
                open.extend(&graph.nodes[node].inputs);
            }
        }
        let mut readers = vec![0; nodes];
        let needed = graph.nodes.iter().zip(&is_done).filter(|(_, is_done)| !**is_done);
        for &input in needed.flat_map(|(node, _)| &node.inputs).chain([&graph.output]) {
            if let Some(count) = readers.get_mut(input) {
                *count += 1;
            }
        }
        Self { readers, value_of: vec![None; nodes], is_done, ..Self::default() }
    }

    fn lower(&mut self, graph: &Graph, node: usize) -> Result<()> {
        let (op, name) = (&graph.nodes[node].op, &graph.nodes[node].name);
        let refuse = |reason: &str| Err(Error::NoStep { node: name.clone(), reason: reason.to_owned() });
        let inputs: Option<Vec<usize>> = graph.nodes[node]
            .inputs
            .iter()
            .map(|&input| self.value_of.get(input).copied().flatten())
            .collect();
        let Some(inputs) = inputs else { return refuse("what it reads is not in memory") };
        let is_flat = inputs.first().is_some_and(|&input| self.values[input].is_flat);
        let (step, fuses_norm, flat) = match op {
            Op::Input { .. } => {
                self.value([node; 2], Norm::None, Bounds::NONE, false);
                return Ok(());
            }
            Op::Conv(_) | Op::MaxPool(_) | Op::AveragePool { .. } if is_flat => {
                return refuse("it reads a vector");
            }
            Op::Conv(conv) => match kind(conv) {
                Some(kind) => (StepOp::Conv(*conv, kind), true, false),
                None => return refuse("only depthwise 3×3 convolutions with stride 1 or 2 may have groups"),
            },
            Op::Add if !is_flat => (StepOp::Add, false, false),
            Op::Add => return refuse("it adds vectors"),
            &Op::MaxPool(window) => (StepOp::MaxPool(window), false, false),
            &Op::AveragePool { window, counts_padding } => {
                (StepOp::AveragePool { window, counts_padding }, false, false)
            }
            Op::GlobalAveragePool => match self.next(graph, node) {
                Some(next) if graph.nodes[next].op == Op::Flatten => (StepOp::Mean, false, true),
                _ => return refuse("a global mean must be flattened"),
            },
            &Op::Linear { weight, bias } => (StepOp::Linear { weight, bias }, false, true),
            Op::Softmax if node == graph.output => {
                self.value_of[node] = inputs.first().copied();
                return Ok(());
            }
            Op::BatchNorm(_) => {
                return refuse("a batch norm must follow a convolution whose result nobody else reads");
            }
            Op::Clip(_) => {
                return refuse("bounds must follow a batch norm, sum or pool whose result nobody else reads");
            }
            Op::Flatten | Op::Softmax => {
                return refuse("it can follow a global mean only, or end the network");
            }
        };
        let mut end = node;
        let mut norm = match op {
            Op::Conv(Conv { bias: Some(bias), .. }) => Norm::Bias(*bias),
            _ => Norm::None,
        };
        if step == StepOp::Mean {
            end = self.next(graph, end).unwrap_or(end);
            self.is_done[end] = true;
        }
        if fuses_norm
            && let Some(next) = self.next(graph, end)
            && let Op::BatchNorm(batch) = graph.nodes[next].op
        {
            if norm != Norm::None {
                return refuse("it has a bias and a batch norm behind it, which takes the bias away");
            }
            (norm, end) = (Norm::Batch(batch), next);
            self.is_done[next] = true;
        }
        let mut bounds = Bounds::NONE;
        if !flat
            && let Some(next) = self.next(graph, end)
            && let Op::Clip(clip) = graph.nodes[next].op
        {
            (bounds, end) = (clip, next);
            self.is_done[next] = true;
        }
        let output = self.value([node, end], norm, bounds, flat);
        self.steps.push(Step { name: name.clone(), op: step, inputs, ways: Vec::new(), output });
        Ok(())
    }

    /// The only reader of a node, if it is read once.
    fn next(&self, graph: &Graph, node: usize) -> Option<usize> {
        let reads = |&reader: &usize| !self.is_done[reader] && graph.nodes[reader].inputs.contains(&node);
        (0..graph.nodes.len()).find(reads).filter(|_| self.readers[node] == 1)
    }

    /// A value: the result of the first node in memory, that of the last to its readers.
    fn value(&mut self, [node, last]: [usize; 2], norm: Norm, bounds: Bounds, is_flat: bool) -> usize {
        self.values.push(Value { node, norm, bounds, is_flat, gradient: None });
        self.value_of[last] = Some(self.values.len() - 1);
        self.values.len() - 1
    }
}

/// The kernel for a convolution, if there is one.
fn kind(conv: &Conv) -> Option<ConvKind> {
    let Window { kernel, stride, dilation, padding } = conv.window;
    match conv.groups {
        1 if kernel == [1; 2] && stride == [1; 2] && is_unpadded(&conv.window) => Some(ConvKind::Pointwise),
        1 => Some(ConvKind::Spatial),
        groups
            if groups == conv.outputs && kernel == [3; 2] && dilation == [1; 2] && stride[0] == stride[1] =>
        {
            let usual = matches!(
                padding,
                crate::Padding::Symmetric | crate::Padding::Same | crate::Padding::Lines([1, 1, 1, 1])
            );
            ((1..=2).contains(&stride[0]) && usual).then_some(ConvKind::Depthwise)
        }
        _ => None,
    }
}

fn is_unpadded(window: &Window) -> bool {
    [0, 1].iter().all(|&axis| window.lines(axis, 7) == [0; 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Kind, Layer, NetworkConfig};

    fn plan(kind: Kind) -> Plan {
        Plan::new(NetworkConfig::new(kind, 1.0, 3, 1000).graph().unwrap()).unwrap()
    }

    #[test]
    fn a_chain_needs_two_pieces_for_gradients_and_every_value_is_read_once() {
        let plan = plan(Kind::MobileNet);
        assert_eq!((plan.steps.len(), plan.slots), (29, 2));
        assert_eq!(plan.steps.iter().filter(|step| matches!(step.op, StepOp::Conv(..))).count(), 27);
        for (index, step) in plan.steps.iter().enumerate() {
            assert_eq!((step.inputs.as_slice(), step.output), ([index].as_slice(), index + 1));
            let expected = match index {
                0 => Way::Ends,
                28 => Way::Flat,
                _ => Way::To { slot: (27 - index) % 2, adds: false, is_last: true, copies: None },
            };
            assert_eq!(step.ways, [expected], "{}", step.name);
        }
        assert_eq!(plan.rooms.iter().max(), Some(&1));
        assert_eq!(plan.blocks().len(), 13);
    }

    /// Walks the steps in reverse with the parts of every gradient as sets of readers, and checks that each is complete when its
    /// step comes, shut once, and not overwritten before.
    fn check_ways(plan: &Plan) {
        let mut slots: Vec<Vec<(usize, usize)>> = vec![Vec::new(); plan.slots];
        for (at, step) in plan.steps.iter().enumerate().rev() {
            let value = &plan.values[step.output];
            if let Some(slot) = value.gradient {
                let readers =
                    plan.steps.iter().enumerate().filter(|(_, reader)| reader.inputs.contains(&step.output));
                let parts: Vec<(usize, usize)> =
                    readers.map(|(reader, _)| (reader, step.output)).rev().collect();
                let mine: Vec<_> = slots[slot].iter().copied().filter(|part| part.1 == step.output).collect();
                assert_eq!(mine, parts, "gradient to {}", step.name);
                assert!(
                    slots[slot]
                        .iter()
                        .all(|part| part.1 == step.output || plan.steps[part.0].op == StepOp::Add)
                );
            } else {
                assert!(value.is_flat, "{}", step.name);
            }
            for (&input, &way) in step.inputs.iter().zip(&step.ways) {
                let Way::To { slot, adds, copies, .. } = way else { continue };
                if let Some(from) = copies {
                    slots[slot] = slots[from].iter().copied().filter(|part| part.1 == input).collect();
                } else if !adds && value.gradient != Some(slot) {
                    slots[slot].clear();
                }
                let others = |part: &&(usize, usize)| part.1 != input && part.1 != step.output;
                assert!(
                    !adds || !slots[slot].iter().any(|part| others(&part)),
                    "{}: {:?}",
                    step.name,
                    slots[slot]
                );
                slots[slot].push((at, input));
            }
            // It is read; that to a sum goes on as that to its parts.
            if let Some(slot) = value.gradient {
                slots[slot].retain(|part| part.1 != step.output);
            }
        }
    }

    #[test]
    fn gradients_are_complete_when_they_are_read() {
        for kind in Kind::ALL {
            let plan = plan(kind);
            check_ways(&plan);
            assert!(plan.slots <= 4, "{kind:?}: {}", plan.slots);
        }
    }

    #[test]
    fn a_part_with_bounds_is_shut_in_memory_of_its_own() {
        let mut net = Builder::new(3);
        let layer = |name| Layer::new(name, 8, Window::POINT);
        net.conv(layer("a")).batch_norm("a_bn", 1e-5, 1.0).clip("a_relu", Bounds::RELU);
        let a = net.at();
        net.go_to(0).conv(layer("b")).batch_norm("b_bn", 1e-5, 1.0).clip("b_relu", Bounds::RELU);
        net.add("sum", a).global_average_pool("pool").flatten("features").linear("head", ["w", "b"], 4);
        let plan = Plan::new(net.finish()).unwrap();
        let sum = plan.steps.iter().find(|step| step.op == StepOp::Add).unwrap();
        let slots: Vec<usize> = sum
            .ways
            .iter()
            .map(|way| match way {
                Way::To { slot, adds: false, is_last: true, copies: None } => *slot,
                way => panic!("{way:?}"),
            })
            .collect();
        let own = plan.values[sum.output].gradient.unwrap();
        assert!(slots[0] != slots[1] && !slots.contains(&own));
    }

    #[test]
    fn what_has_no_step_is_refused_by_name() {
        let mut net = Builder::new(3);
        net.clip("early", Bounds::RELU).global_average_pool("pool").flatten("f").linear(
            "head",
            ["w", "b"],
            2,
        );
        let error = Plan::new(net.finish()).unwrap_err().to_string();
        assert!(error.contains("`early`") && error.contains("must follow"), "{error}");
        let mut net = Builder::new(4);
        let window = Window::square(5, 1, crate::Padding::Symmetric);
        net.conv(Layer::depthwise("wide", 4, window)).global_average_pool("pool").flatten("f").linear(
            "head",
            ["w", "b"],
            2,
        );
        let error = Plan::new(net.finish()).unwrap_err().to_string();
        assert!(error.contains("`wide`"), "{error}");
        let error = Plan::new(Builder::new(3).finish()).unwrap_err().to_string();
        assert!(error.contains("`image`") && error.contains("class scores"), "{error}");
    }
}
