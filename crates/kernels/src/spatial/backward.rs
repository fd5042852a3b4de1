//! The backward pass.

use super::super::activation::{Input, InputGradient, OutputGradient};
use super::super::product::{
    self, Columns, Gate, GradientRows, Lattice, Left, Matrix, Panels, Pattern, Places, RowSums, SharedRows,
    Split, add_rows, multiply, width,
};
use super::super::transpose::transpose;
use super::Dims;
use super::patches::{Patches, Tap};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_network::Window;
use sparse_vectors::Real;
use sparse_vectors::arithmetic::Plain;
use sparse_vectors::vector::{Stored, dispatch};
use std::ops::Range;

/// Runs of blocks whose sums are taken by themselves.
const MOST_RUNS: usize = 64;

/// Gradient to the weight; with `kept` at kept positions alone, the others get zero.
///
/// Shapes: `x: [Cin, H, W, N]`, `dy: [Cout, Ho, Wo, N]`, `dw: [Cout, Cin, k, k]`.
///
/// # Panics
/// If the slices or the pattern are of another shape: a fault of the caller.
pub fn weight_gradient<E: Stored>(
    x: Input<'_, E>,
    dy: OutputGradient<'_, E>,
    kept: Option<&Pattern>,
    dw: &mut [E::Real],
    dims: Dims,
) {
    kept.iter().for_each(|pattern| pattern.check(dims.outputs, dims.inner()));
    let (patches, pixels) = (Patches::of_input(x, dims), dims.out_plane());
    let dy = GradientRows { dy, channels: dims.outputs, pixels };
    if kept.is_some() || dims.outputs > dims.inner() {
        return product::weight_gradient(&patches, &dy, kept, pixels, dw);
    }
    // The shorter side is the one that is turned as it is packed.
    let mut turned = vec![E::Real::from_f64(0.0); dw.len()];
    product::weight_gradient(&dy, &patches, None, pixels, &mut turned);
    transpose(&turned, dw, dims.outputs);
}

/// Gradient to the input. With `kept` the other weights are left out; they must be zero.
///
/// Shapes: `weight: [Cout, Cin, k, k]`, `x: [Cin, H, W, N]`, `dy: [Cout, Ho, Wo, N]`, `dx.values` as `x`.
///
/// # Panics
/// If the slices or the pattern are of another shape: a fault of the caller.
pub fn input_gradient<E: Stored>(
    weight: &[E::Real],
    kept: Option<&Pattern>,
    x: Input<'_, E>,
    dy: OutputGradient<'_, E>,
    dx: InputGradient<'_, E>,
    dims: Dims,
) {
    let (inputs, plane) = (dims.inputs, dims.plane());
    assert_eq!(dx.values.len(), inputs * plane, "gradient to the input of {dims:?}");
    assert_eq!(x.values().len(), inputs * plane, "input of {dims:?}");
    assert_eq!(dy.len(), dims.out_plane() * dims.outputs, "gradient to the output of {dims:?}");
    kept.iter().for_each(|pattern| pattern.check(dims.outputs, dims.inner()));
    let InputGradient { values, adds, gated, sums } = dx;
    let out = SharedRows::new(values, plane);
    let x = gated.then_some(x);
    let mut totals = vec![[0.0; 2]; inputs];
    for (index, class) in classes(dims).into_iter().enumerate() {
        let Class { taps, lattice, size } = class;
        if size.contains(&0) {
            continue;
        }
        let left = match kept {
            Some(pattern) if !taps.is_empty() => Left::sparse(weight, pattern.by_class(index)),
            _ => {
                let turned = turned(weight, &taps, dims);
                let inner = turned.len() / inputs;
                Left::dense::<Plain>(Matrix::row_major(&turned, inputs, inner, inner))
            }
        };
        let taps = taps.into_iter().map(|(_, tap)| tap).collect();
        let columns = Patches::of_gradient(dy, taps, size[1], dims);
        let inner = columns.rows();
        let pixels = size[0] * size[1] * dims.batch;
        let split = Split::new(pixels, inner.max(1) * size_of::<E::Real>(), MOST_RUNS);
        let tasks = split.tasks(inputs);
        let results: Vec<Vec<[f64; 2]>> = tasks
            .par_iter()
            .map(|task| {
                let (run, rows) = (task.run, task.rows(inputs));
                dispatch(Task {
                    left: &left,
                    columns: &columns,
                    out: &out,
                    x,
                    adds,
                    lattice,
                    plane,
                    split: &split,
                    run,
                    rows,
                })
            })
            .collect();
        let sums = add_rows(inputs, tasks.iter().map(|task| task.rows(inputs)).zip(&results));
        for (total, sum) in totals.iter_mut().zip(sums) {
            total[0] += sum[0];
            total[1] += sum[1];
        }
    }
    if let Some(sums) = sums {
        for (channel, total) in totals.into_iter().enumerate() {
            sums.sum[channel] = E::Real::from_f64(total[0]);
            sums.product[channel] = E::Real::from_f64(total[1]);
        }
    }
}

/// Input pixels that see the gradient through the same taps.
struct Class {
    /// Which tap of the kernel, and what it sees.
    taps: Vec<(usize, Tap)>,
    /// Where they lie; `None` = these are all.
    lattice: Option<Lattice>,
    /// Height and width of their lattice.
    size: [usize; 2],
}

/// The taps of each class of input pixels, in the order in which [`Pattern::with_taps`] takes them: pixels whose place, counted
/// with the padding, leaves the same rest by the stride.
pub fn tap_classes(window: Window) -> Vec<Vec<usize>> {
    let rests = window.stride[0] * window.stride[1];
    let sees = |rest: [usize; 2], tap: usize| {
        let at = [tap / window.kernel[1], tap % window.kernel[1]];
        [0, 1].iter().all(|&axis| at[axis] * window.dilation[axis] % window.stride[axis] == rest[axis])
    };
    let of = |class: usize| {
        let rest = [class / window.stride[1], class % window.stride[1]];
        (0..window.kernel[0] * window.kernel[1]).filter(|&tap| sees(rest, tap)).collect()
    };
    (0..rests).map(of).collect()
}

fn classes(dims: Dims) -> Vec<Class> {
    let (window, before) = (dims.window, dims.before());
    let sides = [dims.height, dims.width];
    let of = |(class, taps): (usize, Vec<usize>)| {
        let rest = [class / window.stride[1], class % window.stride[1]];
        // The first pixel whose place leaves that rest.
        let first = [0, 1].map(|axis| {
            let stride = window.stride[axis];
            (rest[axis] + stride - before[axis] % stride) % stride
        });
        let size = [0, 1].map(|axis| sides[axis].saturating_sub(first[axis]).div_ceil(window.stride[axis]));
        let tap = |index: usize| {
            let at = [index / window.kernel[1], index % window.kernel[1]];
            let shift = [0, 1].map(|axis| {
                let from =
                    (first[axis] + before[axis]) as isize - (at[axis] * window.dilation[axis]) as isize;
                from / window.stride[axis] as isize
            });
            Tap { step: [1; 2], shift }
        };
        let whole = window.stride == [1; 2];
        let (step, width, plane_width, batch) = (window.stride, size[1], dims.width, dims.batch);
        let lattice = (!whole).then_some(Lattice { first, step, width, plane_width, batch });
        Class { taps: taps.into_iter().map(|index| (index, tap(index))).collect(), lattice, size }
    };
    tap_classes(window).into_iter().enumerate().map(of).collect()
}

/// The weight as the input pixels of a class see it, `[Cin, Cout · taps]`; a column of zeros if they see none.
fn turned<T: Real>(weight: &[T], taps: &[(usize, Tap)], dims: Dims) -> Vec<T> {
    if taps.is_empty() {
        return vec![T::zero(); dims.inputs];
    }
    let (inner, all) = (dims.outputs * taps.len(), dims.taps());
    let mut turned = vec![T::zero(); dims.inputs * inner];
    turned.par_chunks_mut(inner).enumerate().for_each(|(input, row)| {
        for (output, row) in row.chunks_exact_mut(taps.len()).enumerate() {
            let from = &weight[(output * dims.inputs + input) * all..][..all];
            row.iter_mut().zip(taps).for_each(|(to, (index, _))| *to = from[*index]);
        }
    });
    turned
}

/// One run of blocks and one group of input channels.
struct Task<'a, E: Stored> {
    left: &'a Left<'a, E::Real>,
    columns: &'a Patches<'a, E>,
    out: &'a SharedRows<'a, E>,
    x: Option<Input<'a, E>>,
    adds: bool,
    lattice: Option<Lattice>,
    plane: usize,
    split: &'a Split,
    run: usize,
    rows: Range<usize>,
}

impl<E: Stored> WithSimd for Task<'_, E> {
    /// Σ g and Σ g·(y − mean) of each channel of the group.
    type Output = Vec<[f64; 2]>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let (inner, width) = (self.columns.rows(), width::<E::Real, S>());
        let mut panels = vec![E::Real::from_f64(0.0); self.split.block.next_multiple_of(width) * inner];
        let mut gate = Gate {
            out: self.out,
            x: self.x,
            pixels: self.plane,
            adds: self.adds,
            places: self.lattice.map(|_| Places::default()),
            first_column: 0,
            sums: RowSums::new(simd, self.rows.clone()),
        };
        for block in self.split.blocks(self.run) {
            self.columns.pack::<Plain, S>(simd, block.clone(), &mut panels);
            gate.first_column = block.start;
            if let (Some(places), Some(lattice)) = (&mut gate.places, self.lattice) {
                places.take(lattice, block.clone(), width);
            }
            let panels = Panels { values: &panels, inner, columns: block.len() };
            multiply::<_, Plain, S>(simd, self.left, self.rows.clone(), panels, &mut gate);
            gate.sums.fold(simd);
        }
        gate.sums.into_totals()
    }
}
