//! Programs in every instruction set, on several threads, against plain loops.

#![allow(clippy::unwrap_used)]

use super::*;
use sparse_vectors::level::Level;
use std::sync::Arc;

/// Numbers between −1 and 1 that look random.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|at| ((at * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// `numbers` with most of them zero.
fn sparse(len: usize, seed: usize) -> Vec<f32> {
    numbers(len, seed).into_iter().map(|number| if number.abs() < 0.6 { 0.0 } else { number }).collect()
}

/// A small network in numbers: stem, two separable blocks, the second with a sum, mean, linear.
struct Network {
    size: [usize; 2],
    stem: Vec<f32>,
    depthwise: [Vec<f32>; 2],
    pointwise: [Vec<f32>; 2],
    linear: Vec<f32>,
    bias: Vec<f32>,
}

const CHANNELS: usize = 12;
const CLASSES: usize = 21;

impl Network {
    fn new(size: [usize; 2]) -> Self {
        Self {
            size,
            stem: numbers(CHANNELS * 3 * 9, 1),
            depthwise: [2, 3].map(|seed| numbers(CHANNELS * 9, seed)),
            pointwise: [4, 5].map(|seed| sparse(CHANNELS * CHANNELS, seed)),
            linear: numbers(CLASSES * CHANNELS, 6),
            bias: numbers(CLASSES, 7),
        }
    }

    /// Window, and whether its result is halved, of both blocks.
    fn windows() -> [Window; 2] {
        [Window::square(3, 2, 1), Window::square(3, 1, 1)]
    }

    fn program(&self, leave_out: bool, threads: usize, precision: Precision) -> Program {
        let [height, width] = self.size;
        let image = Planes::tight(3, height, width);
        let half = |size: [usize; 2]| Window::square(3, 2, 1).output(size).unwrap();
        let (first, second) = (half(self.size), half(half(self.size)));
        let planes = |[height, width]: [usize; 2]| Planes::padded(CHANNELS, height, width);
        let mut arena = 0;
        let mut place = |planes: Planes| {
            let place = Place { slot: Slot::Arena(arena), planes };
            arena += planes.len().next_multiple_of(16);
            place
        };
        let places = [first, second, second, [1, 1]].map(|size| place(planes(size)));
        let pack = if leave_out { Weights::sparse } else { Weights::dense };
        let bias = self.bias[..CHANNELS].to_vec();
        let mut steps = vec![Step::Convolution(Box::new(Convolution {
            from: Place { slot: Slot::Image, planes: image },
            source: Source::Windows(Window::square(3, 2, 1)),
            weights: Some(Weights::dense(&self.stem, CHANNELS, 1, precision)),
            bias: bias.clone(),
            residual: None,
            finish: Finish::RELU6,
            to: places[0],
        }))];
        for (block, window) in Self::windows().into_iter().enumerate() {
            let (from, to) = (places[block], places[block + 1]);
            let depthwise = Depthwise::new(
                window,
                self.depthwise[block].clone(),
                bias.clone(),
                Bounds::RELU,
                from.planes,
            );
            steps.push(Step::Convolution(Box::new(Convolution {
                from,
                source: Source::Depthwise(depthwise),
                weights: Some(pack(&self.pointwise[block], CHANNELS, 1, precision)),
                bias: bias.clone(),
                residual: (block == 1).then_some(from),
                finish: Finish::RELU6,
                to,
            })));
        }
        steps.push(Step::Channelwise(Box::new(Channelwise {
            operation: Operation::Mean,
            from: places[2],
            to: places[3],
        })));
        let linear = Linear::new(&self.linear, &self.bias, Finish::NONE, precision);
        let layers = vec![Layer::Linear(linear), Layer::Softmax];
        Program::new(image, arena, steps, places[3], layers, threads).unwrap()
    }

    /// The same by plain loops in f64, with what products multiply rounded.
    fn loops(&self, image: &[f32], precision: Precision) -> Vec<f64> {
        let rounded = |x: f64| match precision {
            Precision::F32 => x,
            Precision::Bf16 => f64::from(half::bf16::from_f64(x)),
        };
        let all = |values: Vec<f64>| values.into_iter().map(rounded).collect::<Vec<_>>();
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        let bias = wide(&self.bias);
        let bounded = |x: f64, high: f64| x.max(0.0).min(high);
        let (mut x, mut size) =
            convolve(&all(wide(image)), 3, self.size, &all(wide(&self.stem)), Window::square(3, 2, 1), false);
        let plane = |size: [usize; 2]| size[0] * size[1];
        x.iter_mut().enumerate().for_each(|(at, x)| *x = bounded(*x + bias[at / plane(size)], 6.0));
        for (block, window) in Self::windows().into_iter().enumerate() {
            let (mut y, next) = convolve(&x, CHANNELS, size, &wide(&self.depthwise[block]), window, true);
            y.iter_mut().enumerate().for_each(|(at, y)| *y = bounded(*y + bias[at / plane(next)], f64::MAX));
            let one = Window::square(1, 1, 0);
            let pointwise = all(wide(&self.pointwise[block]));
            let (mut z, _) = convolve(&all(y), CHANNELS, next, &pointwise, one, false);
            for (at, z) in z.iter_mut().enumerate() {
                let added = if block == 1 { x[at] } else { 0.0 };
                *z = bounded(*z + bias[at / plane(next)] + added, 6.0);
            }
            (x, size) = (z, next);
        }
        let means: Vec<f64> =
            x.chunks(plane(size)).map(|x| x.iter().sum::<f64>() / plane(size) as f64).collect();
        let scores = self.linear.chunks(CHANNELS).zip(&bias).map(|(weights, bias)| {
            bias + weights.iter().zip(&means).map(|(&w, &x)| rounded(w.into()) * rounded(x)).sum::<f64>()
        });
        let exps: Vec<f64> = scores.map(f64::exp).collect();
        let sum: f64 = exps.iter().sum();
        exps.iter().map(|x| x / sum).collect()
    }
}

fn convolve(
    x: &[f64],
    channels: usize,
    [height, width]: [usize; 2],
    weight: &[f64],
    window: Window,
    depthwise: bool,
) -> (Vec<f64>, [usize; 2]) {
    let size = window.output([height, width]).unwrap();
    let (inputs, taps) = (if depthwise { 1 } else { channels }, window.taps());
    let mut results = Vec::new();
    for output in 0..weight.len() / (inputs * taps) {
        for (row, column) in (0..size[0]).flat_map(|row| (0..size[1]).map(move |column| (row, column))) {
            let mut sum = 0.0;
            for input in 0..inputs {
                let channel = if depthwise { output } else { input };
                for tap in 0..taps {
                    let y = row * window.stride[0] + tap / window.kernel[1];
                    let x_at = column * window.stride[1] + tap % window.kernel[1];
                    let (Some(y), Some(x_at)) =
                        (y.checked_sub(window.padding[0]), x_at.checked_sub(window.padding[1]))
                    else {
                        continue;
                    };
                    if y < height && x_at < width {
                        let value = x[(channel * height + y) * width + x_at];
                        sum += weight[(output * inputs + input) * taps + tap] * value;
                    }
                }
            }
            results.push(sum);
        }
    }
    (results, size)
}

#[test]
fn every_instruction_set_and_team_computes_what_the_loops_do() {
    for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 1e-3)] {
        for size in [[2, 3], [9, 31], [33, 64], [70, 40]] {
            let network = Network::new(size);
            let images = numbers(5 * 3 * size[0] * size[1], 11);
            let loops = images.chunks(images.len() / 5).map(|image| network.loops(image, precision));
            let loops: Vec<_> = loops.flatten().collect();
            let mut first: Option<Vec<f32>> = None;
            for &level in Level::ALL {
                for (leave_out, threads) in [(false, 1), (true, 1), (true, 2), (false, 3), (true, 4)] {
                    let outputs = level.run(1, || {
                        let program = Arc::new(network.program(leave_out, threads, precision));
                        let mut outputs = vec![0.0; 5 * program.outputs()];
                        Runner::new(program).unwrap().run(&images, &mut outputs).unwrap();
                        outputs
                    });
                    let what = format!("{precision:?}, {size:?}, {level:?}, {leave_out}, {threads} threads");
                    let first = first.get_or_insert_with(|| outputs.clone());
                    assert_eq!(*first, outputs, "{what}");
                    for (&output, expected) in outputs.iter().zip(&loops) {
                        assert!(
                            (f64::from(output) - expected).abs() < tolerance,
                            "{what}: {output} {expected}"
                        );
                    }
                }
            }
        }
    }
}

/// Whole numbers, of which products and sums are exact: any pair that is lost, doubled or joined with another shows.
#[test]
fn products_of_bf16_are_exact_where_numbers_are_whole() {
    let whole =
        |len, seed| -> Vec<f32> { sparse(len, seed).into_iter().map(|x| (x * 9.0).round()).collect() };
    // Inner indices: odd, more than a block, fewer than a pair, groups of odd size; large enough for threads to share pixels, or rows.
    let cases = [
        (Window::square(1, 1, 0), 7, 1, [3, 5], 5),
        (Window::square(1, 1, 0), 1, 1, [9, 9], 3),
        (Window::square(1, 1, 0), 611, 1, [7, 7], 70),
        (Window::square(1, 1, 0), 250, 1, [30, 30], 33),
        (Window::square(3, 2, 1), 3, 1, [20, 31], 6),
        (Window::square(3, 1, 1), 15, 3, [6, 8], 9),
        (Window::square(3, 1, 1), 75, 1, [5, 40], 4),
    ];
    for (seed, (window, channels, groups, size, outputs)) in cases.into_iter().enumerate() {
        let inner = channels / groups * window.taps();
        let (weight, bias) = (whole(outputs * inner, seed), whole(outputs, seed + 20));
        let image = whole(channels * size[0] * size[1], seed + 40);
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let (mut expected, mut out) = (Vec::new(), [0, 0]);
        for group in 0..groups {
            let weight = &weight[group * outputs / groups * inner..][..outputs / groups * inner];
            let image = &image[group * image.len() / groups..][..image.len() / groups];
            let (results, size) =
                convolve(&wide(image), channels / groups, size, &wide(weight), window, false);
            expected.extend(results);
            out = size;
        }
        let pixels = out[0] * out[1];
        expected.iter_mut().enumerate().for_each(|(at, x)| *x += f64::from(bias[at / pixels]));
        let from = Place { slot: Slot::Image, planes: Planes::tight(channels, size[0], size[1]) };
        let to = Place { slot: Slot::Arena(0), planes: Planes::padded(outputs, out[0], out[1]) };
        for &level in Level::ALL {
            for (pack, threads) in [
                (Weights::dense as fn(_, _, _, _) -> _, 1),
                (Weights::sparse, 1),
                (Weights::dense, 2),
                (Weights::sparse, 3),
            ] {
                let results = level.run(1, || {
                    let step = Step::Convolution(Box::new(Convolution {
                        from,
                        source: Source::Windows(window),
                        weights: Some(pack(&weight, outputs, groups, Precision::Bf16)),
                        bias: bias.clone(),
                        residual: None,
                        finish: Finish::NONE,
                        to,
                    }));
                    let program = Program::new(
                        from.planes,
                        to.planes.len().next_multiple_of(16),
                        vec![step],
                        to,
                        vec![],
                        threads,
                    );
                    let program = program.unwrap();
                    let mut results = vec![0.0; program.outputs()];
                    let mut runner = Runner::new(Arc::new(program)).unwrap();
                    // What an image leaves behind must not get into the next.
                    runner.run(&vec![f32::NAN; image.len()], &mut results).unwrap();
                    runner.run(&image, &mut results).unwrap();
                    results
                });
                assert_eq!(wide(&results), expected, "case {seed}, {level:?}, {threads} threads");
            }
        }
    }
}

/// One pass over the inputs of a linear layer joins some hundred pairs.
#[test]
fn linear_layers_of_bf16_are_exact_where_numbers_are_whole() {
    for (inputs, outputs, images) in [(1, 3, 1), (7, 21, 4), (1030, 90, 5)] {
        let whole =
            |len, seed| -> Vec<f32> { numbers(len, seed).into_iter().map(|x| (x * 9.0).round()).collect() };
        let (weight, bias, x) = (whole(inputs * outputs, 1), whole(outputs, 2), whole(images * inputs, 3));
        let expected: Vec<f32> = x
            .chunks(inputs)
            .flat_map(|x| {
                weight
                    .chunks(inputs)
                    .zip(&bias)
                    .map(move |(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>())
            })
            .collect();
        for &level in Level::ALL {
            let results = level.run(1, || {
                let from = Place { slot: Slot::Image, planes: Planes::tight(inputs, 1, 1) };
                let to = Place { slot: Slot::Arena(0), planes: Planes::padded(inputs, 1, 1) };
                let steps =
                    vec![Step::Channelwise(Box::new(Channelwise { operation: Operation::Mean, from, to }))];
                let linear = Layer::Linear(Linear::new(&weight, &bias, Finish::NONE, Precision::Bf16));
                let arena = to.planes.len().next_multiple_of(16);
                let program = Program::new(from.planes, arena, steps, to, vec![linear], 2).unwrap();
                let mut results = vec![0.0; images * outputs];
                Runner::new(Arc::new(program)).unwrap().run(&x, &mut results).unwrap();
                results
            });
            assert_eq!(results, expected, "{inputs} to {outputs}, {level:?}");
        }
    }
}

#[test]
fn a_program_that_does_not_fit_its_memory_is_refused() {
    let planes = Planes::padded(4, 5, 5);
    let at = |start: usize| Place { slot: Slot::Arena(start), planes };
    let step = |from: Place, to: Place| {
        let operation = Operation::Affine { scale: vec![1.0; 4], offset: vec![0.0; 4], finish: Finish::NONE };
        vec![Step::Channelwise(Box::new(Channelwise { operation, from, to }))]
    };
    let len = planes.len().next_multiple_of(16);
    let image = Planes::tight(4, 5, 5);
    let program = |arena, steps, features| Program::new(image, arena, steps, features, vec![], 1);
    assert!(program(2 * len, step(at(0), at(len)), at(len)).is_ok());
    let message = |result: Result<Program>| result.unwrap_err().to_string();
    assert!(message(program(2 * len - 16, step(at(0), at(len)), at(len))).contains("outside of the arena"));
    assert!(message(program(2 * len, step(at(0), at(16)), at(len))).contains("overlap"));
    assert!(message(program(2 * len, step(at(0), at(len)), at(16))).contains("two places overlap"));
    assert!(message(program(2 * len, step(at(0), at(len + 8)), at(len))).contains("outside"));
    let picture = Place { slot: Slot::Image, planes: image };
    assert!(message(program(2 * len, step(at(0), picture), at(0))).contains("cannot be written"));
    let other = Place { slot: Slot::Image, planes: Planes::tight(4, 5, 6) };
    assert!(message(program(2 * len, step(other, at(0)), at(0))).contains("other planes"));
}

#[test]
fn channels_of_one_room_are_places_of_their_own() {
    let planes = |channels| Planes::padded(channels, 5, 5);
    let at = |first: usize, channels| Place {
        slot: Slot::Arena(first * planes(1).pitch()),
        planes: planes(channels),
    };
    let arena = planes(12).len().next_multiple_of(16);
    let program = |steps, features| {
        Program::new(Planes::tight(4, 5, 5), arena, steps, features, vec![], 1)
            .map_err(|error| error.to_string())
    };
    let step = |operation, from, to| vec![Step::Channelwise(Box::new(Channelwise { operation, from, to }))];
    let copy = || Operation::Finish(Finish::RELU);
    let product = |from: Place, to: Place| {
        vec![Step::Convolution(Box::new(Convolution {
            from,
            source: Source::Pixels,
            weights: Some(Weights::dense(&[1.0; 16], 4, 1, Precision::F32)),
            bias: vec![0.0; 4],
            residual: None,
            finish: Finish::NONE,
            to,
        }))]
    };
    // Channel by channel what lies side by side may be read and written; vectors of a product reach further.
    assert!(program(step(copy(), at(0, 4), at(4, 4)), at(0, 8)).is_ok());
    assert!(program(step(copy(), at(4, 4), at(0, 4)), at(0, 8)).is_ok());
    assert!(program(product(at(4, 4), at(0, 4)), at(0, 8)).is_ok());
    assert!(program(product(at(0, 4), at(4, 4)), at(0, 8)).unwrap_err().contains("overlap"));
    assert!(program(product(at(0, 4), at(6, 4)), at(0, 8)).is_ok());
    assert!(program(step(copy(), at(0, 4), at(3, 4)), at(0, 8)).unwrap_err().contains("overlap"));
    let between = Place { slot: Slot::Arena(16), planes: planes(2) };
    assert!(program(step(copy(), at(8, 2), between), at(0, 8)).unwrap_err().contains("two places"));
    let choose = |inputs: Vec<Place>, order: Vec<(usize, usize)>| {
        program(step(Operation::Channels { inputs, order }, at(0, 1), at(8, 2)), at(0, 8))
    };
    assert!(choose(vec![at(0, 3), at(6, 2)], vec![(1, 1), (0, 2)]).is_ok());
    assert!(choose(vec![at(0, 3), at(6, 2)], vec![(1, 2), (0, 2)]).unwrap_err().contains("not there"));
    assert!(choose(vec![at(0, 3), at(6, 2)], vec![(2, 0), (0, 2)]).unwrap_err().contains("not there"));
    assert!(choose(vec![at(0, 3)], vec![(0, 0)]).unwrap_err().contains("each of the output"));
    assert!(choose(vec![at(7, 2)], vec![(0, 0); 2]).unwrap_err().contains("overlap"));
    let combine = |other: Place| {
        let operation = Operation::Combine { how: Combination::Mul, other, finish: Finish::NONE };
        program(step(operation, at(0, 4), at(8, 4)), at(0, 8))
    };
    let gate = |channels, side| Place { slot: Slot::Arena(0), planes: Planes::padded(channels, side, side) };
    for fits in [gate(4, 1), gate(1, 5), gate(1, 1), gate(4, 5)] {
        assert!(combine(fits).is_ok(), "{fits:?}");
    }
    for wrong in [gate(3, 1), gate(4, 4), gate(5, 5)] {
        assert!(combine(wrong).unwrap_err().contains("does not fit"), "{wrong:?}");
    }
    let pad = |lines| step(Operation::Pad { lines, value: 0.0 }, at(0, 4), at(8, 4));
    assert!(program(pad([0; 4]), at(0, 8)).is_ok());
    assert!(program(pad([1, 0, 0, 0]), at(0, 8)).unwrap_err().contains("another size"));
    assert!(
        program(step(Operation::Reshape, at(0, 3), at(8, 4)), at(0, 8)).unwrap_err().contains("in count")
    );
    let slope = Operation::Slope { slope: vec![0.5; 3] };
    assert!(program(step(slope, at(0, 4), at(8, 4)), at(0, 8)).unwrap_err().contains("per channel"));
}

/// What is outside of the image does not count as 0, which is more than any of these numbers.
#[test]
fn the_greatest_of_negative_numbers_is_one_of_them() {
    let image = Planes::tight(2, 3, 4);
    for window in [Window::square(3, 2, 1), Window { padding: [1, 0, 1, 1], ..Window::square(2, 1, 0) }] {
        let [height, width] = window.output([3, 4]).unwrap();
        let to = Place { slot: Slot::Arena(0), planes: Planes::padded(2, height, width) };
        let operation = Operation::MaxPool(window);
        let from = Place { slot: Slot::Image, planes: image };
        let steps = vec![Step::Channelwise(Box::new(Channelwise { operation, from, to }))];
        let program = Program::new(image, to.planes.len(), steps, to, vec![], 1).unwrap();
        let numbers: Vec<f32> = numbers(24, 3).into_iter().map(|x| x - 2.0).collect();
        let mut outputs = vec![0.0; program.outputs()];
        Runner::new(Arc::new(program)).unwrap().run(&numbers, &mut outputs).unwrap();
        for (at, &greatest) in outputs.iter().enumerate() {
            let (channel, row, column) = (at / (height * width), at / width % height, at % width);
            let seen = (0..window.taps()).filter_map(|tap| {
                let [stride, _] = window.stride;
                let y = (row * stride + tap / window.kernel[1]).checked_sub(window.padding[0])?;
                let x = (column * stride + tap % window.kernel[1]).checked_sub(window.padding[1])?;
                (y < 3 && x < 4).then(|| numbers[(channel * 3 + y) * 4 + x])
            });
            assert_eq!(greatest, seen.fold(f32::MIN, f32::max), "{window:?} at {at}");
        }
    }
}

#[test]
fn images_and_room_for_results_are_checked() {
    let network = Network::new([8, 8]);
    let mut runner = Runner::new(Arc::new(network.program(true, 1, Precision::F32))).unwrap();
    let mut outputs = vec![0.0; 2 * CLASSES];
    assert!(matches!(runner.run(&[0.0; 191], &mut outputs), Err(Error::Images { .. })));
    assert!(matches!(runner.run(&[0.0; 192], &mut outputs), Err(Error::Outputs { expected: CLASSES, .. })));
    assert!(matches!(runner.run_timed(&[], &mut [], &mut []), Err(Error::Times { .. })));
    assert!(runner.run(&[], &mut []).is_ok());
}
