//! A network as steps on memory that was laid out beforehand, checked once so that running them needs no checks.

#![allow(unsafe_code)]

use super::channelwise::{Channelwise, Finish, Operation};
use super::convolution::{Convolution, Tiled};
use super::crew::Crew;
use super::error::{Error, Result};
use super::fill::Source;
use super::head::Layer;
use super::int8;
use super::memory::Memory;
use super::planes::{Place, Planes, Slot, Window};
use super::weights::Weights;
use std::time::{Duration, Instant};

/// Most numbers of an arena, 8 GiB.
const MOST: usize = 1 << 31;

/// A step on the planes of one image.
#[derive(Clone, Debug)]
pub enum Step {
    /// A convolution, alone or with the depthwise one before it.
    Convolution(Box<Convolution>),
    /// Anything that mixes no channels.
    Channelwise(Box<Channelwise>),
    /// A convolution in integers.
    Int8(Box<int8::Convolution>),
    /// Anything that mixes no channels and reads or makes bytes.
    Int8Channelwise(Box<int8::Channelwise>),
}

impl Step {
    /// What it reads first, and where its result goes.
    fn places(&self) -> [Place; 2] {
        match self {
            Self::Convolution(step) => [step.from, step.to],
            Self::Channelwise(step) => [step.from, step.to],
            Self::Int8(step) => [step.from, step.to],
            Self::Int8Channelwise(step) => [step.from, step.to],
        }
    }
}

/// Steps for one image up to its features, and layers from the features of a batch to its results.
#[derive(Clone, Debug)]
pub struct Program {
    image: Planes,
    arena: usize,
    steps: Vec<Ready>,
    features: Place,
    layers: Vec<Layer>,
    outputs: usize,
    threads: usize,
}

#[derive(Clone, Debug)]
enum Ready {
    Convolution(Box<Tiled>),
    Channelwise(Box<Channelwise>),
    Int8(Box<int8::Tiled>),
    Int8Channelwise(Box<int8::Channelwise>),
}

impl Program {
    /// A program for images like `image`, in an arena of `arena` numbers; the planes at `features`, channel by channel,
    /// are what the layers begin with. So many `threads` will share the steps of an image.
    ///
    /// # Errors
    /// [`Error`] if a step does not fit its places, or a place does not lie in the arena or overlaps another of its step.
    pub fn new(
        image: Planes,
        arena: usize,
        steps: Vec<Step>,
        features: Place,
        layers: Vec<Layer>,
        threads: usize,
    ) -> Result<Self> {
        let (memory, threads) = (Extent { image, arena }, threads.max(1));
        if arena > MOST {
            return Err(Error::TooLarge { numbers: arena });
        }
        for (index, step) in steps.iter().enumerate() {
            memory.check(step).map_err(|what| Error::Step { index, what })?;
        }
        memory.check_zeros(&steps, features).map_err(|what| Error::Step { index: steps.len(), what })?;
        let features_place = |what| Error::Step { index: steps.len(), what };
        memory.holds(features).map_err(features_place)?;
        let mut outputs = features.planes.channels * features.planes.pixels();
        for (index, layer) in layers.iter().enumerate() {
            let inputs = outputs;
            outputs = layer.outputs(inputs).ok_or(Error::Layer { index, inputs })?;
        }
        let ready = |step| match step {
            Step::Convolution(convolution) => Ready::Convolution(Box::new(Tiled::new(*convolution, threads))),
            Step::Channelwise(channelwise) => Ready::Channelwise(channelwise),
            Step::Int8(convolution) => Ready::Int8(Box::new(int8::Tiled::new(*convolution, threads))),
            Step::Int8Channelwise(channelwise) => Ready::Int8Channelwise(channelwise),
        };
        let steps = steps.into_iter().map(ready).collect();
        Ok(Self { image, arena, steps, features, layers, outputs, threads })
    }

    /// Numbers of an image.
    pub fn inputs(&self) -> usize {
        self.image.len()
    }

    /// Numbers of a result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Steps and layers: as many as times are measured.
    pub fn parts(&self) -> usize {
        self.steps.len() + self.layers.len()
    }

    /// Numbers of the arena.
    pub(super) fn arena(&self) -> usize {
        self.arena
    }

    /// Length of the features of an image.
    pub(super) fn features(&self) -> usize {
        self.features.planes.channels * self.features.planes.pixels()
    }

    /// The most numbers that the layers read or write for an image.
    pub(super) fn longest_vector(&self) -> usize {
        let mut longest = self.features();
        let mut inputs = longest;
        for layer in &self.layers {
            inputs = layer.outputs(inputs).unwrap_or(0);
            longest = longest.max(inputs);
        }
        longest
    }

    /// The layers on vectors.
    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Pieces of work that an image makes at most, each with a barrier.
    pub(super) fn phases(&self) -> usize {
        2 * self.steps.len() + 1
    }

    /// Threads that share the steps of an image.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Numbers that the panels which threads share take.
    pub(super) fn shared_panels(&self) -> usize {
        let of_step = |step: &Ready| match step {
            Ready::Convolution(convolution) => convolution.shared_panels(),
            Ready::Int8(convolution) => convolution.shared_panels(),
            Ready::Channelwise(_) | Ready::Int8Channelwise(_) => 0,
        };
        self.steps.iter().map(of_step).max().unwrap_or(0)
    }

    /// Numbers of the panel that each thread has for itself.
    pub(super) fn panel(&self) -> usize {
        let of_step = |step: &Ready| match step {
            Ready::Convolution(convolution) => convolution.panel(),
            Ready::Int8(convolution) => convolution.panel(),
            Ready::Channelwise(_) | Ready::Int8Channelwise(_) => 0,
        };
        self.steps.iter().map(of_step).max().unwrap_or(0)
    }

    /// Brings one image to its features. `times` gets what each step took, added to what is there.
    ///
    /// # Safety
    /// `memory` must have an image of [`Program::inputs`] numbers, an arena and shared panels of the sizes above, and room
    /// for the features; `panel` a thread's own; every thread of the crew must come here with the same memory.
    pub(super) unsafe fn image(
        &self,
        crew: &Crew<'_>,
        memory: Memory,
        panel: *mut f32,
        mut times: Option<&mut [Duration]>,
    ) {
        let mut start = Instant::now();
        for (index, step) in self.steps.iter().enumerate() {
            // SAFETY: `new` has checked every place against the sizes that the caller promises.
            unsafe {
                match step {
                    Ready::Convolution(convolution) => convolution.run(crew, memory, panel),
                    Ready::Channelwise(channelwise) => channelwise.run(crew, memory),
                    Ready::Int8(convolution) => convolution.run(crew, memory, panel),
                    Ready::Int8Channelwise(channelwise) => channelwise.run(crew, memory),
                }
            }
            if let Some(times) = times.as_deref_mut().filter(|_| crew.leads()) {
                let now = Instant::now();
                times[index] += now - start;
                start = now;
            }
        }
        // SAFETY: as above.
        crew.share(1, |_| unsafe { self.copy_features(memory) });
    }

    /// # Safety
    /// As its caller promises to its own.
    unsafe fn copy_features(&self, memory: Memory) {
        let Place { slot, planes } = self.features;
        // SAFETY: as the caller of `image` promises.
        unsafe {
            for channel in 0..planes.channels {
                let from = memory.at(slot).add(planes.front() + channel * planes.pitch());
                let to = memory.features.add(channel * planes.pixels());
                to.copy_from_nonoverlapping(from, planes.pixels());
            }
        }
    }
}

/// The memory that steps may use.
struct Extent {
    image: Planes,
    arena: usize,
}

type Check = std::result::Result<(), &'static str>;

fn require(fits: bool, what: &'static str) -> Check {
    if fits { Ok(()) } else { Err(what) }
}

impl Extent {
    fn holds(&self, place: Place) -> Check {
        require(!place.planes.is_empty(), "planes are empty")?;
        match place.slot {
            Slot::Image => {
                require(place.planes == self.image && !self.image.is_padded(), "the image has other planes")
            }
            Slot::Arena(at) => {
                let end = at.checked_add(place.planes.len());
                let inside =
                    end.is_some_and(|end| end <= self.arena) && at.is_multiple_of(super::arena::LINE);
                require(inside && place.planes.is_padded(), "a place is outside of the arena")
            }
        }
    }

    /// The zeros between channels are there when memory is new, and nobody writes to them: what lies in one place must
    /// have channels of the same size at the same distances all the time.
    fn check_zeros(&self, steps: &[Step], features: Place) -> Check {
        let written = steps.iter().map(|step| step.places()[1]);
        let mut places: Vec<(usize, Planes)> = written
            .chain([features])
            .filter_map(|place| match place.slot {
                Slot::Image => None,
                Slot::Arena(at) => Some((at, place.planes)),
            })
            .collect();
        places.sort_unstable_by_key(|&(at, _)| at);
        let Some(&(mut start, mut planes)) = places.first() else { return Ok(()) };
        let mut end = start;
        for (at, next) in places {
            if at >= end {
                (start, planes) = (at, next);
            }
            let same = size(next) == size(planes) && (at - start).is_multiple_of(planes.pitch());
            require(same, "two places overlap and are not the same")?;
            end = end.max(at + next.len());
        }
        Ok(())
    }

    fn check(&self, step: &Step) -> Check {
        let [from, to] = step.places();
        self.holds(from)?;
        self.holds(to)?;
        require(to.slot != Slot::Image, "the image cannot be written to")?;
        match step {
            Step::Convolution(convolution) => self.check_convolution(convolution),
            Step::Channelwise(channelwise) => self.check_channelwise(channelwise),
            Step::Int8(convolution) => check_int8(convolution),
            Step::Int8Channelwise(channelwise) => self.check_int8_channelwise(channelwise),
        }
    }

    fn check_int8_channelwise(&self, channelwise: &int8::Channelwise) -> Check {
        let int8::Channelwise { operation, from, to, channels } = channelwise;
        let (input, output, quads) = (from.planes, to.planes, channels.div_ceil(int8::QUAD));
        require(*channels > 0 && !overlap(*from, *to), "input and output overlap")?;
        let same = || require(size(input) == size(output), "input and output differ in size");
        let have = |planes: [usize; 2]| {
            require([input.channels, output.channels] == planes, "not as many channels as there are quads")
        };
        match operation {
            int8::Operation::Quantize(_) => have([*channels, quads]).and_then(|()| same()),
            int8::Operation::Dequantize(_) => have([quads, *channels]).and_then(|()| same()),
            int8::Operation::Mean(_) => {
                have([quads, *channels])?;
                require(output.pixels() == 1, "the result is one pixel")
            }
            int8::Operation::Add { other, .. } => {
                have([quads; 2]).and_then(|()| same())?;
                self.holds_same(*other, *to)
            }
            int8::Operation::MaxPool(window) => {
                have([quads; 2])?;
                check_windows(window, [0; 4], input, output)
            }
            int8::Operation::Channels { inputs, order, .. } => {
                let places: Vec<Place> = inputs.iter().map(|input| input.0).collect();
                self.check_inputs(&places, *to)?;
                let fits = (order.len(), output.channels) == (*channels, quads);
                require(fits, "not one channel for each of the output")?;
                let is_there = |&(input, channel): &(usize, usize)| {
                    places.get(input).is_some_and(|input| channel / int8::QUAD < input.planes.channels)
                };
                require(order.iter().all(is_there), "a channel is not there")
            }
        }
    }

    fn check_convolution(&self, convolution: &Convolution) -> Check {
        let Convolution { from, source, weights, bias, residual, to, .. } = convolution;
        // Vectors that are read reach past the last channel.
        require(!meet(from.slot, 0..from.planes.len(), *to), "input and output overlap")?;
        let inner = check_source(source, from.planes, to.planes)?;
        if let Some(weights) = weights {
            check_weights(weights, inner)?;
            require(weights.outputs() == to.planes.channels, "other output channels than weights")?;
            require(bias.len() == weights.outputs(), "other biases than outputs")?;
        } else {
            require(inner == to.planes.channels, "other output channels than input channels")?;
            require(residual.is_none(), "nothing can be added without weights")?;
            require(convolution.finish == Finish::NONE, "nothing can be done after no product")?;
        }
        match residual {
            Some(residual) => self.holds_same(*residual, *to),
            None => Ok(()),
        }
    }

    fn check_channelwise(&self, channelwise: &Channelwise) -> Check {
        let Channelwise { operation, from, to } = channelwise;
        let (input, output) = (from.planes, to.planes);
        require(!overlap(*from, *to), "input and output overlap")?;
        let rearranges = matches!(operation, Operation::Channels { .. } | Operation::Reshape);
        require(
            rearranges || input.channels == output.channels,
            "other output channels than input channels",
        )?;
        let same = || require(size(input) == size(output), "input and output differ in size");
        match operation {
            Operation::MaxPool(window) => check_windows(window, [0; 4], input, output),
            Operation::AveragePool { window, counted } => check_windows(window, *counted, input, output),
            Operation::Mean | Operation::Greatest => require(output.pixels() == 1, "the result is one pixel"),
            Operation::Combine { other, .. } => same().and_then(|()| self.holds_fitting(*other, *to)),
            Operation::Affine { scale, offset, .. } => {
                require([scale.len(), offset.len()] == [input.channels; 2], "not one factor per channel")?;
                same()
            }
            Operation::Slope { slope } => {
                require(slope.len() == input.channels, "not one factor per channel")?;
                same()
            }
            Operation::Finish(_) => same(),
            Operation::Pad { lines, .. } => {
                let window = Window { padding: *lines, ..Window::square(1, 1, 0) };
                require(window.output(size(input)) == Some(size(output)), "the lines give another size")
            }
            Operation::Channels { inputs, order } => self.check_channels(inputs, order, *to),
            Operation::Reshape => {
                let count = |planes: Planes| planes.channels * planes.pixels();
                require(count(input) == count(output), "input and output differ in count")
            }
        }
    }

    fn check_channels(&self, inputs: &[Place], order: &[(usize, usize)], to: Place) -> Check {
        self.check_inputs(inputs, to)?;
        require(order.len() == to.planes.channels, "not one channel for each of the output")?;
        let is_there = |&(input, channel): &(usize, usize)| {
            inputs.get(input).is_some_and(|input| channel < input.planes.channels)
        };
        require(order.iter().all(is_there), "a channel is not there")
    }

    /// Inputs of the size of the output.
    fn check_inputs(&self, inputs: &[Place], to: Place) -> Check {
        for &input in inputs {
            self.holds(input)?;
            require(size(input.planes) == size(to.planes), "input and output differ in size")?;
            require(!overlap(input, to), "input and output overlap")?;
        }
        Ok(())
    }

    /// A second input, of the planes of the output.
    fn holds_same(&self, other: Place, to: Place) -> Check {
        self.holds(other)?;
        require(other.planes == to.planes, "what is added has other planes than the output")?;
        require(!overlap(other, to), "what is added and the output overlap")
    }

    /// A second input, with numbers for the output or one for all of its channels or pixels.
    fn holds_fitting(&self, other: Place, to: Place) -> Check {
        self.holds(other)?;
        let fits = [1, to.planes.channels].contains(&other.planes.channels)
            && (other.planes.pixels() == 1 || size(other.planes) == size(to.planes));
        require(fits, "the second input does not fit the output")?;
        require(!overlap(other, to), "the second input and the output overlap")
    }
}

fn size(planes: Planes) -> [usize; 2] {
    [planes.height, planes.width]
}

fn check_int8(convolution: &int8::Convolution) -> Check {
    let int8::Convolution { from, zero, source, product, to } = convolution;
    // Vectors that are read reach past the last channel.
    require(from.planes.is_padded(), "bytes are read where there is no room for vectors")?;
    require(!meet(from.slot, 0..from.planes.len(), *to), "input and output overlap")?;
    let quads = match source {
        int8::Source::Pixels => check_size(None, from.planes, to.planes)?,
        int8::Source::Windows(window) => check_size(Some(window), from.planes, to.planes)? * window.taps(),
        int8::Source::Depthwise(depthwise) => {
            require(depthwise.is_for(from.planes, *zero), "the depthwise convolution is for other planes")?;
            check_size(Some(depthwise.window()), from.planes, to.planes)?
        }
    };
    let Some((weights, requantise)) = product else {
        return require(quads == to.planes.channels, "other output channels than input channels");
    };
    require(weights.quads() == quads, "other input channels than weights")?;
    let outputs = weights.outputs();
    require(outputs.div_ceil(int8::QUAD) == to.planes.channels, "other output channels than weights")?;
    require(requantise.outputs() == outputs, "other biases than outputs")?;
    require(requantise.fits(|output| weights.greatest(output)), "sums may leave the range of 32 bits")
}

/// Windows of a pool that counts some lines of its padding.
fn check_windows(window: &Window, counted: [usize; 4], input: Planes, output: Planes) -> Check {
    require(window.output(size(input)) == Some(size(output)), "the windows give another size")?;
    let are_there = counted.iter().zip(&window.padding).all(|(counted, padding)| counted <= padding);
    require(are_there, "more lines are counted than the padding has")
}

/// Inner indices that a source makes of its input.
fn check_source(source: &Source, from: Planes, to: Planes) -> std::result::Result<usize, &'static str> {
    match source {
        Source::Pixels => {
            require(from.is_padded(), "pixels are read where there is no room for vectors")?;
            check_size(None, from, to)
        }
        Source::Windows(window) => Ok(check_size(Some(window), from, to)? * window.taps()),
        Source::Depthwise(depthwise) => {
            require(depthwise.is_for(from), "the depthwise convolution is for other planes")?;
            check_size(Some(depthwise.window()), from, to)
        }
    }
}

/// Channels that are read, if windows of them, or their pixels, give as many pixels as the result has.
fn check_size(window: Option<&Window>, from: Planes, to: Planes) -> std::result::Result<usize, &'static str> {
    match window {
        Some(window) => {
            require(window.output(size(from)) == Some(size(to)), "the windows give another size")?;
        }
        None => require(size(from) == size(to), "input and output differ in size")?,
    }
    Ok(from.channels)
}

fn check_weights(weights: &Weights, inner: usize) -> Check {
    require(weights.inner() == inner, "other input channels than weights")?;
    let divides = weights.groups() > 0 && weights.outputs().is_multiple_of(weights.groups());
    require(divides, "the groups do not divide the outputs")
}

/// Whether one of two places holds pixels of the other.
fn overlap(a: Place, b: Place) -> bool {
    let planes = a.planes;
    meet(a.slot, planes.front()..planes.front() + planes.channels * planes.pitch(), b)
}

/// Whether numbers `range` from a slot on hold pixels of a place.
fn meet(slot: Slot, range: std::ops::Range<usize>, place: Place) -> bool {
    let planes = place.planes;
    match (slot, place.slot) {
        (Slot::Arena(read), Slot::Arena(written)) => {
            let first = written + planes.front();
            let end = first + (planes.channels - 1) * planes.pitch() + planes.pixels();
            read + range.start < end && first < read + range.end
        }
        _ => false,
    }
}
