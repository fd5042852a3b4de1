//! Matrix products by cuBLAS.

#![allow(unsafe_code)]

use super::{Element, Operand, Product};
use cudarc::cublas::{CudaBlas, result, sys};
use std::ffi::{c_int, c_void};

/// Keeps partial sums of half-precision products in f32, as the kernels do.
pub(super) fn keep_sums_whole(blas: &CudaBlas) -> Result<(), result::CublasError> {
    let mode = sys::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    // SAFETY: the handle lives as long as `blas`.
    unsafe { sys::cublasSetMathMode(*blas.handle(), mode) }.result()
}

/// `c = a · b`, row-major. cuBLAS counts by columns, to which these matrices are transposes: `cᵀ = bᵀ · aᵀ`.
pub(super) fn multiply(blas: &CudaBlas, product: Product<'_>) -> Result<(), result::CublasError> {
    let [rows, inner, columns] = product.sizes;
    product.check();
    let strides = [product.a.matrix, product.b.matrix, product.c].map(|matrix| matrix.stride);
    assert!(
        product.sizes.iter().chain(&strides).all(|&size| c_int::try_from(size).is_ok()),
        "{product:?} is too large for cuBLAS"
    );
    let [m, n, k] = [columns, rows, inner].map(|size| size as c_int);
    let [of_a, of_b, of_c] = strides.map(|stride| stride as c_int);
    let operation = |operand: Operand<'_>| match operand.transposed {
        false => sys::cublasOperation_t::CUBLAS_OP_N,
        true => sys::cublasOperation_t::CUBLAS_OP_T,
    };
    let (one, kept) = (1.0f32, if product.adds { 1.0f32 } else { 0.0 });
    let pointer = |address: u64| address as *const c_void;
    // SAFETY: all operands have room for their elements, as checked above, and scalars live until the call returns.
    unsafe {
        result::gemm_ex(
            *blas.handle(),
            operation(product.b),
            operation(product.a),
            m,
            n,
            k,
            (&raw const one).cast(),
            pointer(product.b.matrix.slice.address()),
            kind(product.element),
            of_b,
            pointer(product.a.matrix.slice.address()),
            kind(product.element),
            of_a,
            (&raw const kept).cast(),
            product.c.slice.address() as *mut c_void,
            kind(product.result),
            of_c,
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
}

fn kind(element: Element) -> sys::cudaDataType {
    match element {
        Element::F32 => sys::cudaDataType::CUDA_R_32F,
        Element::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        Element::F16 => sys::cudaDataType::CUDA_R_16F,
    }
}
