//! The names that candle uses of its CUDA kernels. Nothing here can be called; it is type-checked against.

/// A file of kernels.
pub struct Module {
    index: usize,
}

impl Module {
    pub fn index(&self) -> usize {
        self.index
    }

    pub fn ptx(&self) -> &'static str {
        ""
    }
}

macro_rules! modules {
    ($($name:ident = $index:literal),* $(,)?) => {
        $(pub const $name: Module = Module { index: $index };)*
        /// One for each file.
        pub const ALL_IDS: [usize; [$($index),*].len()] = [$($index),*];
    };
}

modules! {
    AFFINE = 0, BINARY = 1, CAST = 2, CONV = 3, FILL = 4, INDEXING = 5, QUANTIZED = 6, REDUCE = 7, SORT = 8, TERNARY = 9, UNARY = 10,
}

/// Functions of quantised products.
pub mod ffi {
    use std::ffi::c_void;

    type Pointer = *const c_void;
    type Out = *mut c_void;

    macro_rules! quantise {
        ($($name:ident),*) => { $(pub unsafe extern "C" fn $name(
            _: Pointer, _: *const i32, _: Out, _: i32, _: i64, _: i64, _: i64, _: i64, _: i64, _: i64, _: i64, _: i64, _: Out,
        ) {})* };
    }

    macro_rules! multiply {
        ($($name:ident),*) => { $(pub unsafe extern "C" fn $name(
            _: Out, _: Pointer, _: Pointer, _: Out, _: i64, _: i64, _: i64, _: i64, _: i64, _: i32, _: i32, _: i64, _: i32, _: Out,
        ) {})* };
    }

    macro_rules! vectors {
        ($($name:ident),*) => { $(pub unsafe extern "C" fn $name(
            _: Pointer, _: Pointer, _: Out, _: i32, _: i32, _: i32, _: i32, _: i32, _: Out,
        ) {})* };
    }

    macro_rules! quantise_vectors {
        ($($name:ident),*) => { $(pub unsafe extern "C" fn $name(_: Pointer, _: Out, _: i32, _: i32, _: i32, _: Out) {})* };
    }

    #[allow(non_snake_case)]
    mod names {
        use super::{Out, Pointer};

        quantise!(launch_mmq_quantize_q8_1_D4, launch_mmq_quantize_q8_1_DS4, launch_mmq_quantize_q8_1_D2S6);
        multiply!(
            launch_mmq_gguf_q4_0, launch_mmq_gguf_q4_1, launch_mmq_gguf_q5_0, launch_mmq_gguf_q5_1, launch_mmq_gguf_q8_0,
            launch_mmq_gguf_q2_k, launch_mmq_gguf_q3_k, launch_mmq_gguf_q4_k, launch_mmq_gguf_q5_k, launch_mmq_gguf_q6_k
        );
        vectors!(
            launch_mmvq_gguf_q4_0_bf16_plain, launch_mmvq_gguf_q4_1_bf16_plain, launch_mmvq_gguf_q5_0_bf16_plain,
            launch_mmvq_gguf_q5_1_bf16_plain, launch_mmvq_gguf_q8_0_bf16_plain, launch_mmvq_gguf_q2_k_bf16_plain,
            launch_mmvq_gguf_q3_k_bf16_plain, launch_mmvq_gguf_q4_k_bf16_plain, launch_mmvq_gguf_q5_k_bf16_plain,
            launch_mmvq_gguf_q6_k_bf16_plain, launch_mmvq_gguf_q4_0_f16_plain, launch_mmvq_gguf_q4_1_f16_plain,
            launch_mmvq_gguf_q5_0_f16_plain, launch_mmvq_gguf_q5_1_f16_plain, launch_mmvq_gguf_q8_0_f16_plain,
            launch_mmvq_gguf_q2_k_f16_plain, launch_mmvq_gguf_q3_k_f16_plain, launch_mmvq_gguf_q4_k_f16_plain,
            launch_mmvq_gguf_q5_k_f16_plain, launch_mmvq_gguf_q6_k_f16_plain, launch_mmvq_gguf_q4_0_f32_plain,
            launch_mmvq_gguf_q4_1_f32_plain, launch_mmvq_gguf_q5_0_f32_plain, launch_mmvq_gguf_q5_1_f32_plain,
            launch_mmvq_gguf_q8_0_f32_plain, launch_mmvq_gguf_q2_k_f32_plain, launch_mmvq_gguf_q3_k_f32_plain,
            launch_mmvq_gguf_q4_k_f32_plain, launch_mmvq_gguf_q5_k_f32_plain, launch_mmvq_gguf_q6_k_f32_plain
        );
        quantise_vectors!(launch_mmvq_gguf_quantize_q8_1_bf16, launch_mmvq_gguf_quantize_q8_1_f16, launch_mmvq_gguf_quantize_q8_1_f32);
    }

    pub use names::*;
}
