//! A graph computed by plain loops in `f64`, to compare others with.

use sparse_engine::graph::{Convolution, Graph, Op, Window};
use sparse_engine::{Shape, shapes};

/// The results of the graph for images `[N, C, H, W]`, one after the other.
///
/// # Panics
/// If the graph cannot be computed, or the images do not fill its input.
pub fn results(graph: &Graph, images: &[f32]) -> Vec<f32> {
    let shapes = shapes(graph).expect("a graph that can be computed");
    assert_eq!(images.len() % shapes[0].count(), 0, "images of {}", shapes[0]);
    images.chunks_exact(shapes[0].count()).flat_map(|image| result(graph, &shapes, image)).collect()
}

fn result(graph: &Graph, shapes: &[Shape], image: &[f32]) -> Vec<f32> {
    let mut values: Vec<Vec<f64>> = Vec::new();
    for (node, &to) in graph.nodes.iter().zip(shapes) {
        let read = |index: usize| &values[node.inputs[index]];
        let from = node.inputs.first().map_or(to, |&input| shapes[input]);
        let value = match &node.op {
            Op::Input { .. } => image.iter().map(|&x| x.into()).collect(),
            Op::Convolution(convolution) => convolve(convolution, read(0), sides(from), sides(to)),
            Op::Affine { scale, offset } => {
                let places = from.count() / scale.len();
                let affine =
                    |(i, x): (usize, &f64)| x * f64::from(scale[i / places]) + f64::from(offset[i / places]);
                read(0).iter().enumerate().map(affine).collect()
            }
            &Op::Clip { low, high } => read(0).iter().map(|x| x.max(low.into()).min(high.into())).collect(),
            Op::Add => read(0).iter().zip(read(1)).map(|(a, b)| a + b).collect(),
            Op::MaxPool(window) => pool(window, read(0), sides(from), sides(to), |numbers, _| {
                numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max)
            }),
            Op::AveragePool { window, count_padding } => {
                pool(window, read(0), sides(from), sides(to), |numbers, all| {
                    numbers.iter().sum::<f64>() / if *count_padding { all } else { numbers.len() } as f64
                })
            }
            Op::GlobalAveragePool => {
                let places = from.count() / from.channels();
                read(0).chunks(places).map(|channel| channel.iter().sum::<f64>() / places as f64).collect()
            }
            Op::Flatten => read(0).clone(),
            Op::Linear { weight, bias } => {
                let rows = weight.chunks(from.count()).zip(bias);
                let row = |(row, &bias): (&[f32], &f32)| {
                    row.iter().zip(read(0)).map(|(&w, x)| f64::from(w) * x).sum::<f64>() + f64::from(bias)
                };
                rows.map(row).collect()
            }
            Op::Softmax => {
                let sum: f64 = read(0).iter().map(|x| x.exp()).sum();
                read(0).iter().map(|x| x.exp() / sum).collect()
            }
        };
        assert_eq!(value.len(), to.count(), "{}", node.name);
        values.push(value);
    }
    values[graph.output].iter().map(|&x| x as f32).collect()
}

fn sides(shape: Shape) -> [usize; 3] {
    match shape {
        Shape::Image(sides) => sides,
        Shape::Flat(channels) => [channels, 1, 1],
    }
}

/// Calls `visit` with the place in the kernel and the place in the image (none in the padding) for each of a window.
fn walk(window: &Window, [y, x]: [usize; 2], size: [usize; 2], mut visit: impl FnMut(usize, Option<usize>)) {
    for ky in 0..window.kernel[0] {
        for kx in 0..window.kernel[1] {
            let row = y * window.stride[0] + ky * window.dilation[0];
            let column = x * window.stride[1] + kx * window.dilation[1];
            let row = row.checked_sub(window.padding[0]).filter(|&row| row < size[0]);
            let column = column.checked_sub(window.padding[1]).filter(|&column| column < size[1]);
            let place = row.zip(column).map(|(row, column)| row * size[1] + column);
            visit(ky * window.kernel[1] + kx, place);
        }
    }
}

fn convolve(convolution: &Convolution, image: &[f64], from: [usize; 3], to: [usize; 3]) -> Vec<f64> {
    let [_, group_inputs, height, width] = convolution.shape;
    let group_outputs = to[0] / convolution.groups;
    let mut result = Vec::new();
    for output in 0..to[0] {
        for place in 0..to[1] * to[2] {
            let mut sum = f64::from(convolution.bias[output]);
            for input in 0..group_inputs {
                let channel = output / group_outputs * group_inputs + input;
                let kernel = &convolution.weight[(output * group_inputs + input) * height * width..];
                let channel = &image[channel * from[1] * from[2]..];
                walk(&convolution.window, [place / to[2], place % to[2]], [from[1], from[2]], |k, place| {
                    sum += place.map_or(0.0, |place| f64::from(kernel[k]) * channel[place]);
                });
            }
            result.push(sum);
        }
    }
    result
}

/// `pool` makes a number of those of a window that lie in the image, and of how many the window has in all.
fn pool(
    window: &Window,
    image: &[f64],
    from: [usize; 3],
    to: [usize; 3],
    pool: impl Fn(&[f64], usize) -> f64,
) -> Vec<f64> {
    let mut result = Vec::new();
    for channel in image.chunks_exact(from[1] * from[2]) {
        for place in 0..to[1] * to[2] {
            let mut numbers = Vec::new();
            walk(window, [place / to[2], place % to[2]], [from[1], from[2]], |_, place| {
                numbers.extend(place.map(|place| channel[place]));
            });
            result.push(pool(&numbers, window.kernel[0] * window.kernel[1]));
        }
    }
    result
}

/// Greatest difference as a share of the greatest number expected.
///
/// # Panics
/// If the lengths differ.
pub fn relative_error(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let difference = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    // A number that is none must not pass.
    let greatest = difference.fold(0.0, |most: f32, d| if d.is_nan() { f32::INFINITY } else { most.max(d) });
    greatest / expected.iter().fold(0.0, |most: f32, b| most.max(b.abs()))
}
