// Batch norm and ReLU in training: statistics, what follows from them, and the way back.
//
// Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1; variance is biased, as PaddlePaddle keeps it.
//
// Shapes: activations [C, pixels] with pixels = H·W·N; coefficients [ROWS, C]; partial [C, chunks, 2], or [C, chunks, MOMENTS] of
// `statistics`. `coefficients.cu` makes coefficients of them.
//
//   statistics           reads y                     4 bytes an element (f32), 0.75 flop a byte
//   normalise            reads y, writes z           8 bytes
//   output_gradient      reads g, y, writes dy      12 bytes
//   gate                 reads dx, y, writes g      12 bytes
//
// All are far below the ridge of any GPU (about 20 flop a byte in f32), so the roofline is the memory bandwidth.
#include "common.cuh"

const u32 THREADS = 256;

// A block of grid (chunks, C) takes `chunk` pixels of one channel, V at a time: EACH is run for each first pixel.
template <u32 V, class Each> static __device__ __forceinline__ void over_chunk(u32 pixels, u32 chunk, Each each) {
  const u32 end = min(pixels, (blockIdx.x + 1) * chunk);
  for (u32 at = blockIdx.x * chunk + threadIdx.x * V; at < end; at += THREADS * V) each((size_t)blockIdx.y * pixels + at);
}

static __device__ __forceinline__ float* own_partial(float* partial, u32 stride) {
  return partial + ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * stride;
}

// partial = the moments of y.
template <class E, u32 V>
static __device__ __forceinline__ void statistics(const E* y, float* partial, u32 pixels, u32 chunk) {
  Gathered gathered = {0.0f, 0.0f, 0.0f, 0};
  over_chunk<V>(pixels, chunk, [&](size_t at) {
    float values[V];
    load<E, V>(y + at, values);
#pragma unroll
    for (u32 v = 0; v < V; v++) gathered.take(values[v]);
  });
  block_moments<THREADS>(gathered, own_partial(partial, MOMENTS));
}

// z, for a product that cannot normalise while it reads.
template <class E, u32 V>
static __device__ __forceinline__ void normalise(const E* y, const float* coefficients, float ceiling, E* z, u32 pixels, u32 chunk) {
  const Norm norm = Norm::of(coefficients, blockIdx.y, gridDim.y, ceiling);
  over_chunk<V>(pixels, chunk, [&](size_t at) {
    float values[V];
    load<E, V>(y + at, values);
#pragma unroll
    for (u32 v = 0; v < V; v++) values[v] = norm.apply(values[v]);
    store<E, V>(z + at, values);
  });
}

// The gradient to the raw output.
template <class E, u32 V>
static __device__ __forceinline__ void output_gradient(const E* g, const E* y, const float* coefficients, E* dy, u32 pixels, u32 chunk) {
  const NormGradient norm = NormGradient::of(coefficients, blockIdx.y, gridDim.y);
  over_chunk<V>(pixels, chunk, [&](size_t at) {
    float gradient[V], values[V];
    load<E, V>(g + at, gradient);
    load<E, V>(y + at, values);
#pragma unroll
    for (u32 v = 0; v < V; v++) gradient[v] = norm.apply(gradient[v], values[v]);
    store<E, V>(dy + at, gradient);
  });
}

// Shuts the gradient, in place, where the ReLU was shut; partial = Σ g, Σ g·(y − mean).
template <class E, u32 V>
static __device__ __forceinline__ void gate(E* g, const E* y, const float* coefficients, float ceiling, float* partial, u32 pixels, u32 chunk) {
  const Norm norm = Norm::of(coefficients, blockIdx.y, gridDim.y, ceiling);
  float sums[2] = {0.0f, 0.0f};
  over_chunk<V>(pixels, chunk, [&](size_t at) {
    float gradient[V], values[V];
    load<E, V>(g + at, gradient);
    load<E, V>(y + at, values);
#pragma unroll
    for (u32 v = 0; v < V; v++) {
      gradient[v] = norm.gate(values[v], gradient[v]);
      sums[0] += gradient[v];
      sums[1] = fmaf(gradient[v], values[v] - norm.mean, sums[1]);
    }
    store<E, V>(g + at, gradient);
  });
  block_sums<2, THREADS>(sums, own_partial(partial, 2));
}

#define ENTRY(NAME, E, V)                                                                                                 \
  KERNEL(statistics_##NAME, (const E* y, float* partial, u32 pixels, u32 chunk)) {                                        \
    statistics<E, V>(y, partial, pixels, chunk);                                                                   \
  }                                                                                                                       \
  KERNEL(normalise_##NAME, (const E* y, const float* coefficients, float ceiling, E* z, u32 pixels, u32 chunk)) {         \
    normalise<E, V>(y, coefficients, ceiling, z, pixels, chunk);                                                          \
  }                                                                                                                       \
  KERNEL(output_gradient_##NAME, (const E* g, const E* y, const float* coefficients, E* dy, u32 pixels, u32 chunk)) {     \
    output_gradient<E, V>(g, y, coefficients, dy, pixels, chunk);                                                         \
  }                                                                                                                       \
  KERNEL(gate_##NAME, (E * g, const E* y, const float* coefficients, float ceiling, float* partial, u32 pixels, u32 chunk)) { \
    gate<E, V>(g, y, coefficients, ceiling, partial, pixels, chunk);                                                      \
  }
FOR_EACH_ELEMENT(ENTRY)
