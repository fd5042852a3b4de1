//! The matrix products, which a device leaves to its library: plain loops.

use half::{bf16, f16};
use sparse_cuda::{Element, Operand, Product, Slice};

pub(crate) fn multiply(product: Product<'_>) {
    product.check();
    let [rows, inner, columns] = product.sizes;
    let a = values(product.a, [rows, inner], product.element);
    let b = values(product.b, [inner, columns], product.element);
    let place = |i: usize| i / columns * product.c.stride + i % columns;
    let mut c = vec![0.0f32; rows * columns];
    if product.adds {
        c.iter_mut().enumerate().for_each(|(i, c)| *c = read(product.c.slice, place(i), product.result));
    }
    for (a, c) in a.chunks_exact(inner).zip(c.chunks_exact_mut(columns)) {
        for (&a, b) in a.iter().zip(b.chunks_exact(columns)) {
            c.iter_mut().zip(b).for_each(|(c, &b)| *c += a * b);
        }
    }
    for (i, &value) in c.iter().enumerate() {
        write(product.c.slice, place(i), value, product.result);
    }
}

/// The operand `[rows, columns]` row by row.
fn values(operand: Operand<'_>, [rows, columns]: [usize; 2], element: Element) -> Vec<f32> {
    let stride = operand.matrix.stride;
    let place = |i: usize| match operand.transposed {
        false => i / columns * stride + i % columns,
        true => i % columns * stride + i / columns,
    };
    (0..rows * columns).map(|i| read(operand.matrix.slice, place(i), element)).collect()
}

fn read(slice: Slice<'_>, index: usize, element: Element) -> f32 {
    let at = slice.address() as usize + index * element.size();
    assert!((index + 1) * element.size() <= slice.bytes(), "element {index} of {slice:?}");
    // SAFETY: the slice has so many elements, as checked above, and is memory of the host.
    unsafe {
        match element {
            Element::F32 => *(at as *const f32),
            Element::Bf16 => (*(at as *const bf16)).to_f32(),
            Element::F16 => (*(at as *const f16)).to_f32(),
        }
    }
}

fn write(slice: Slice<'_>, index: usize, value: f32, element: Element) {
    let at = slice.address() as usize + index * element.size();
    assert!((index + 1) * element.size() <= slice.bytes(), "element {index} of {slice:?}");
    // SAFETY: as in `read`.
    unsafe {
        match element {
            Element::F32 => *(at as *mut f32) = value,
            Element::Bf16 => *(at as *mut bf16) = bf16::from_f32(value),
            Element::F16 => *(at as *mut f16) = f16::from_f32(value),
        }
    }
}
