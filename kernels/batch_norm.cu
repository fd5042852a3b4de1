// Batch norm and bounds in training: statistics, normalising, and the way back.
//
// Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1; variance is biased, as PaddlePaddle keeps it.
//
// Shapes: activations [C, pixels] with pixels = H·W·N; coefficients [ROWS, C]; partial [C, chunks, 2], or [C, chunks, MOMENTS] of
// `statistics`. `coefficients.cu` makes coefficients of them.
//
//   statistics           reads y                     4 bytes an element (f32), 0.75 flop a byte
//   normalise            reads y, writes z           8 bytes
//   output_gradient      reads g, y, writes dy      12 bytes
//   gate                 reads g, y, writes g       12 bytes, 16 with another part
//
// All are far below the ridge of any GPU (about 20 flop a byte in f32), so the roofline is the memory bandwidth.
#include "channels.cuh"

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
static __device__ __forceinline__ void normalise(const E* y, const float* coefficients, Bounds bounds, E* z, u32 pixels, u32 chunk) {
  const Norm norm = Norm::of(coefficients, blockIdx.y, gridDim.y, bounds);
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

// to = a, or a + b where `b` is given; shut where the bounds of y were where `y` is given, and then partial = Σ to, Σ to·(y − mean) where
// that is. `to` may be a or b.
template <class E, u32 V>
static __device__ __forceinline__ void gate(const E* a, const E* b, E* to, const E* y, const float* coefficients, Bounds bounds, float* partial,
                                            u32 pixels, u32 chunk) {
  const Norm norm = Norm::of(coefficients, blockIdx.y, gridDim.y, bounds);
  float sums[2] = {0.0f, 0.0f};
  over_chunk<V>(pixels, chunk, [&](size_t at) {
    float gradient[V];
    load<E, V>(a + at, gradient);
    if (b) {
      float other[V];
      load<E, V>(b + at, other);
#pragma unroll
      for (u32 v = 0; v < V; v++) gradient[v] += other[v];
    }
    if (y) {
      float values[V];
      load<E, V>(y + at, values);
#pragma unroll
      for (u32 v = 0; v < V; v++) {
        gradient[v] = norm.gate(values[v], gradient[v]);
        sums[0] += gradient[v];
        sums[1] = fmaf(gradient[v], values[v] - norm.mean, sums[1]);
      }
    }
    store<E, V>(to + at, gradient);
  });
  if (partial) block_sums<2, THREADS>(sums, own_partial(partial, 2));
}

#define ENTRY(NAME, E, V)                                                                                                 \
  KERNEL(statistics_##NAME, (const E* y, float* partial, u32 pixels, u32 chunk)) {                                        \
    statistics<E, V>(y, partial, pixels, chunk);                                                                   \
  }                                                                                                                       \
  KERNEL(normalise_##NAME, (const E* y, const float* coefficients, Bounds bounds, E* z, u32 pixels, u32 chunk)) {         \
    normalise<E, V>(y, coefficients, bounds, z, pixels, chunk);                                                           \
  }                                                                                                                       \
  KERNEL(output_gradient_##NAME, (const E* g, const E* y, const float* coefficients, E* dy, u32 pixels, u32 chunk)) {     \
    output_gradient<E, V>(g, y, coefficients, dy, pixels, chunk);                                                         \
  }                                                                                                                       \
  KERNEL(gate_##NAME, (const E* a, const E* b, E* to, const E* y, const float* coefficients, Bounds bounds, float* partial, \
                       u32 pixels, u32 chunk)) {                                                                          \
    gate<E, V>(a, b, to, y, coefficients, bounds, partial, pixels, chunk);                                                \
  }
FOR_EACH_ELEMENT(ENTRY)
