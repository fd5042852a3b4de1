//! The matrix products, which a device leaves to its library: plain loops.

use half::{bf16, f16};
use sparse_cuda::{Element, Operand, Product};

pub(crate) fn multiply(product: Product<'_>) {
    let [rows, inner, columns] = product.sizes;
    let a = values(product.a, [rows, inner], product.element);
    let b = values(product.b, [inner, columns], product.element);
    let mut c = vec![0.0f32; rows * columns];
    for (a, c) in a.chunks_exact(inner).zip(c.chunks_exact_mut(columns)) {
        for (&a, b) in a.iter().zip(b.chunks_exact(columns)) {
            c.iter_mut().zip(b).for_each(|(c, &b)| *c += a * b);
        }
    }
    assert!(c.len() * product.result.size() <= product.c.bytes(), "result of {product:?}");
    for (i, &value) in c.iter().enumerate() {
        let at = product.c.address() as usize + i * product.result.size();
        // SAFETY: the result has room for all elements, as checked above, and is memory of the host.
        unsafe {
            match product.result {
                Element::F32 => *(at as *mut f32) = value,
                Element::Bf16 => *(at as *mut bf16) = bf16::from_f32(value),
                Element::F16 => *(at as *mut f16) = f16::from_f32(value),
            }
        }
    }
}

/// The operand `[rows, columns]` row by row.
fn values(operand: Operand<'_>, [rows, columns]: [usize; 2], element: Element) -> Vec<f32> {
    assert!(rows * columns * element.size() <= operand.slice.bytes(), "an operand of {rows}x{columns}");
    let read = |index: usize| {
        let at = operand.slice.address() as usize + index * element.size();
        // SAFETY: the operand has so many elements, as checked above, and is memory of the host.
        unsafe {
            match element {
                Element::F32 => *(at as *const f32),
                Element::Bf16 => (*(at as *const bf16)).to_f32(),
                Element::F16 => (*(at as *const f16)).to_f32(),
            }
        }
    };
    let place = |i: usize| match operand.transposed {
        false => i,
        true => i % columns * rows + i / columns,
    };
    (0..rows * columns).map(|i| read(place(i))).collect()
}
