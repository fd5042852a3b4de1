//! The weight matrix of a convolution over all channels, in its three products.

use super::sparse_pointwise::Pattern;
use super::{Element, Matrix, Memory, Operand, Product, Queue, Result, Slice};
use std::ops::Range;

/// A weight `[outputs, inner]`.
#[derive(Debug)]
pub struct Weight<'a, M> {
    /// Outputs, and weights of each.
    pub sizes: [usize; 2],
    /// What products read.
    pub values: Values<'a, M>,
}

/// The numbers of a weight.
#[derive(Debug)]
pub enum Values<'a, M> {
    /// All of them, stored as activations are.
    Dense(Slice<'a>),
    /// Those that are kept, of the f32: by output, and by input.
    Sparse(Slice<'a>, &'a [Pattern<M>; 2]),
}

impl<M: Memory> Weight<'_, M> {
    /// `y = weight · x`.
    ///
    /// Shapes: `x: [inner, columns]`, `y: [outputs, columns]`.
    ///
    /// # Errors
    /// The queue's.
    pub fn multiply<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        [x, y]: [Matrix<'_>; 2],
        columns: usize,
        element: Element,
    ) -> Result<()> {
        let [outputs, inner] = self.sizes;
        match self.values {
            Values::Sparse(weight, [by_output, _]) => {
                by_output.multiply(queue, (weight, 0..outputs), [x, y], columns, element)
            }
            Values::Dense(weight) => {
                let (a, b) = (Operand::plain(Matrix::new(weight, inner)), Operand::plain(x));
                let sizes = [outputs, inner, columns];
                queue.multiply(Product { a, b, c: y, adds: false, sizes, element, result: element })
            }
        }
    }

    /// Some rows of `dx = weightᵀ · dy`.
    ///
    /// Shapes: `dy: [outputs, columns]`, `dx: [rows, columns]`.
    ///
    /// # Errors
    /// The queue's.
    pub fn multiply_transposed<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        rows: Range<usize>,
        [dy, dx]: [Matrix<'_>; 2],
        columns: usize,
        element: Element,
    ) -> Result<()> {
        let [outputs, inner] = self.sizes;
        match self.values {
            Values::Sparse(weight, [_, by_input]) => {
                by_input.multiply(queue, (weight, rows), [dy, dx], columns, element)
            }
            Values::Dense(weight) => {
                let weight = Matrix::new(weight, inner).skip(rows.start, element);
                let (a, b) = (Operand::transposed(weight), Operand::plain(dy));
                let sizes = [rows.len(), outputs, columns];
                queue.multiply(Product { a, b, c: dx, adds: false, sizes, element, result: element })
            }
        }
    }
}

/// The gradient to a weight `[outputs, inner]`, in f32.
#[derive(Debug)]
pub struct WeightGradient<'a, M> {
    /// Outputs, and weights of each.
    pub sizes: [usize; 2],
    /// Where it goes.
    pub dw: Slice<'a>,
    /// The positions that are kept, if the others need none, and room for [`Pattern::partial_bytes`].
    pub kept: Option<(&'a Pattern<M>, Slice<'a>)>,
}

impl<M: Memory> WeightGradient<'_, M> {
    /// Adds `dy · xᵀ`; the first time to nothing.
    ///
    /// Shapes: `dy: [outputs, columns]`, `x: [inner, columns]`.
    ///
    /// # Errors
    /// The queue's.
    pub fn add<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        [dy, x]: [Matrix<'_>; 2],
        columns: usize,
        element: Element,
        is_first: bool,
    ) -> Result<()> {
        let [outputs, inner] = self.sizes;
        let Some((pattern, partial)) = self.kept else {
            let (a, b, c) = (Operand::plain(dy), Operand::transposed(x), Matrix::new(self.dw, inner));
            let sizes = [outputs, columns, inner];
            let product = Product { a, b, c, adds: !is_first, sizes, element, result: Element::F32 };
            return queue.multiply(product);
        };
        if is_first {
            queue.clear(self.dw.part(0, outputs * inner * size_of::<f32>()))?;
        }
        pattern.add_gradient(queue, [dy, x], [partial, self.dw], columns, element)
    }
}
