//! The backward pass: one walk over the pixels gives the gradient to the input, gated by the ReLU in front of it, and the
//! gradient to the weight.

use super::super::activation::{Input, InputGradient, OutputGradient};
use super::super::product::{
    Columns, Gate, GradientRows, InputRows, Left, Matrix, Panels, Pattern, RowSums, SharedRows, Split,
    WeightSums, add_partials, add_rows, most_runs, multiply,
};
use super::Dims;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_vectors::Real;
#[cfg(target_arch = "x86_64")]
use sparse_vectors::arithmetic::Pairs;
use sparse_vectors::arithmetic::{Arithmetic, Plain};
use sparse_vectors::vector::Stored;
use std::marker::PhantomData;
use std::ops::Range;

/// The kept weights, for each of the two gradients; `None` = dense.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept<'a> {
    /// For the gradient to the input: the others must be zero, and then the bits are those of the dense product.
    pub input: Option<&'a Pattern>,
    /// For the gradient to the weight: at kept positions alone, the others get zero. It adds in another order than the
    /// dense product.
    pub weight: Option<&'a Pattern>,
}

/// Where the gradients go.
#[derive(Debug)]
pub struct Gradients<'a, E: Stored> {
    /// To the input, `[inputs, pixels]`.
    pub dx: InputGradient<'a, E>,
    /// To the weight, `[outputs, inputs]`.
    pub dw: &'a mut [E::Real],
}

/// `dx = weightᵀ · dy`, gated, and `dw = dy · xᵀ`.
///
/// Shapes: `weight: [outputs, inputs]`, `x: [inputs, pixels]`, `dy: [outputs, pixels]`.
///
/// # Panics
/// If the slices or a pattern are of another shape: a fault of the caller.
pub fn backward<E: Stored>(
    weight: &[E::Real],
    kept: Kept<'_>,
    x: Input<'_, E>,
    dy: OutputGradient<'_, E>,
    into: Gradients<'_, E>,
    dims: Dims,
) {
    let Dims { outputs, inputs, pixels } = dims;
    assert!(dy.len() == outputs * pixels && into.dx.values.len() == inputs * pixels, "operands of {dims:?}");
    [kept.input, kept.weight].iter().flatten().for_each(|pattern| pattern.check(outputs, inputs));
    let matrix = Matrix::row_major(weight, outputs, inputs, inputs).transposed();
    #[cfg(target_arch = "x86_64")]
    if E::BF16 && kept.input.is_none() && kept.weight.is_none() && Pairs::available() {
        return walk::<E, Pairs>(&Left::dense::<Pairs>(matrix), None, x, dy, into, dims);
    }
    let left = match kept.input {
        None => Left::dense::<Plain>(matrix),
        Some(pattern) => Left::sparse(weight, pattern.by_input()),
    };
    walk::<E, Plain>(&left, kept.weight, x, dy, into, dims);
}

/// [`backward`] with the weight packed.
fn walk<E: Stored, A: Arithmetic<E::Real>>(
    left: &Left<'_, E::Real>,
    kept: Option<&Pattern>,
    x: Input<'_, E>,
    dy: OutputGradient<'_, E>,
    into: Gradients<'_, E>,
    dims: Dims,
) {
    let Dims { outputs, inputs, pixels } = dims;
    let split = Split::new(pixels, (inputs + outputs) * size_of::<E::Real>(), most_runs(outputs, inputs));
    let InputGradient { values, adds, gated, sums } = into.dx;
    let out = SharedRows::new(values, pixels);
    let tasks = split.tasks(inputs.max(outputs));
    let results: Vec<Sums<'_, E::Real>> = tasks
        .par_iter()
        .map(|task| {
            A::dispatch(Task::<E, A> {
                left,
                weight: kept,
                x: InputRows { x, channels: inputs, pixels },
                dy: GradientRows { dy, channels: outputs, pixels },
                out: &out,
                split: &split,
                run: task.run,
                rows: [task.rows(inputs), task.rows(outputs)],
                adds,
                gated,
                arithmetic: PhantomData,
            })
        })
        .collect();
    if let Some(sums) = sums {
        let totals =
            add_rows(inputs, tasks.iter().map(|task| task.rows(inputs)).zip(results.iter().map(|r| &r.gate)));
        for (channel, total) in totals.into_iter().enumerate() {
            sums.sum[channel] = E::Real::from_f64(total[0]);
            sums.product[channel] = E::Real::from_f64(total[1]);
        }
    }
    let partials: Vec<(Range<usize>, &WeightSums<'_, E::Real>)> =
        tasks.iter().zip(&results).map(|(task, result)| (task.rows(outputs), &result.weight)).collect();
    add_partials(&partials, kept, into.dw, inputs);
}

/// What a task sums.
struct Sums<'a, T> {
    /// Σ dx and Σ dx·(y − mean) of the input channels of the group.
    gate: Vec<[f64; 2]>,
    /// The weight gradient of the outputs of the group.
    weight: WeightSums<'a, T>,
}

/// One run of blocks; rows of the group: input channels for `dx`, output channels for `dw`.
struct Task<'a, E: Stored, A> {
    left: &'a Left<'a, E::Real>,
    weight: Option<&'a Pattern>,
    x: InputRows<'a, E>,
    dy: GradientRows<'a, E>,
    out: &'a SharedRows<'a, E>,
    split: &'a Split,
    run: usize,
    rows: [Range<usize>; 2],
    /// Whether the gradient to the input is added to what is there, and whether it is shut.
    adds: bool,
    gated: bool,
    arithmetic: PhantomData<A>,
}

impl<'a, E: Stored, A: Arithmetic<E::Real>> WithSimd for Task<'a, E, A> {
    type Output = Sums<'a, E::Real>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let (inputs, outputs) = (self.x.channels, self.dy.channels);
        let [input_rows, output_rows] = self.rows;
        let mut weight = WeightSums::new(self.weight, output_rows, 0..outputs, inputs);
        let mut dy_panels = vec![E::Real::from_f64(0.0); weight.gradient_elements::<S>(self.split.block)];
        let rows_len = if A::DEPTH > 1 { dy_panels.len() } else { 0 };
        let mut dy_rows = vec![E::Real::from_f64(0.0); rows_len];
        let mut x_panels = vec![E::Real::from_f64(0.0); weight.input_elements::<S>(self.split.block)];
        let mut gate = Gate {
            out: self.out,
            x: self.gated.then_some(self.x.x),
            pixels: self.x.pixels,
            adds: self.adds,
            places: None,
            first_column: 0,
            sums: RowSums::new(simd, input_rows.clone()),
        };
        for block in self.split.blocks(self.run) {
            // Where a number holds two, the two products need `dy` packed along different sides.
            let by_row = (A::DEPTH > 1).then_some(dy_rows.as_mut_slice());
            self.dy.pack_both::<A, S>(simd, block.clone(), &mut dy_panels, by_row);
            let columns = block.len();
            let rows = if A::DEPTH > 1 { &dy_rows } else { &dy_panels };
            let dy = Panels { values: rows, inner: outputs, columns };
            weight.add::<A, S>(simd, dy, &self.x, block.clone(), &mut x_panels);
            let panels = Panels { values: &dy_panels, inner: outputs.div_ceil(A::DEPTH), columns };
            gate.first_column = block.start;
            multiply::<_, A, S>(simd, self.left, input_rows.clone(), panels, &mut gate);
            gate.sums.fold(simd);
        }
        Sums { gate: gate.sums.into_totals(), weight }
    }
}
