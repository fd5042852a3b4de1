// Batch norm and ReLU in training: statistics, what follows from them, and the way back.
//
// Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1; variance is biased, as PaddlePaddle keeps it.
//
// Shapes: activations [C, pixels] with pixels = H·W·N; coefficients [ROWS, C]; partial [C, chunks, 2].
//
//   statistics           reads y                     4 bytes an element (f32), 0.75 flop a byte
//   normalise            reads y, writes z           8 bytes
//   output_gradient      reads g, y, writes dy      12 bytes
//   gate                 reads dx, y, writes g      12 bytes
//
// All are far below the ridge of any GPU (about 20 flop a byte in f32), so the roofline is the memory bandwidth. The `close` kernels
// read C numbers and cost a launch.
#include "common.cuh"

const u32 THREADS = 256;

// A block of grid (chunks, C) takes `chunk` pixels of one channel, V at a time: EACH is run for each first pixel.
template <u32 V, class Each> static __device__ __forceinline__ void over_chunk(u32 pixels, u32 chunk, Each each) {
  const u32 end = min(pixels, (blockIdx.x + 1) * chunk);
  for (u32 at = blockIdx.x * chunk + threadIdx.x * V; at < end; at += THREADS * V) each((size_t)blockIdx.y * pixels + at);
}

static __device__ __forceinline__ float* own_partial(float* partial) {
  return partial + ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * 2;
}

// partial = Σ (y − shift), Σ (y − shift)²: a shift near the mean keeps the digits.
template <class E, u32 V>
static __device__ __forceinline__ void statistics(const E* y, const float* shift, float* partial, u32 pixels, u32 chunk) {
  const float centre = shift[blockIdx.y];
  float sums[2] = {0.0f, 0.0f};
  over_chunk<V>(pixels, chunk, [&](size_t at) {
    float values[V];
    load<E, V>(y + at, values);
#pragma unroll
    for (u32 v = 0; v < V; v++) {
      const float centred = values[v] - centre;
      sums[0] += centred;
      sums[1] = fmaf(centred, centred, sums[1]);
    }
  });
  block_sums<2, THREADS>(sums, own_partial(partial));
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
  block_sums<2, THREADS>(sums, own_partial(partial));
}

#define ENTRY(NAME, E, V)                                                                                                 \
  KERNEL(statistics_##NAME, (const E* y, const float* shift, float* partial, u32 pixels, u32 chunk)) {                    \
    statistics<E, V>(y, shift, partial, pixels, chunk);                                                                   \
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

// From partial sums to coefficients; running statistics are blended. Grid (C), one warp does the work. Without `training` the running
// statistics count and `partial` is not read.
KERNEL(close_statistics, (const float* partial, u32 chunks, u32 pixels, float* running_mean, float* running_variance, const float* scale,
                          const float* offset, float momentum, float epsilon, u32 training, float* coefficients)) {
  const u32 channel = blockIdx.x, channels = gridDim.x;
  double sum = 0.0, squares = 0.0;
  if (threadIdx.x >= WARP) return;
  if (training) {
    sum = fold(partial + (size_t)channel * chunks * 2, chunks, 2);
    squares = fold(partial + (size_t)channel * chunks * 2 + 1, chunks, 2);
  }
  if (threadIdx.x != 0) return;
  float mean = running_mean[channel], variance = running_variance[channel];
  if (training) {
    const double shifted = sum / pixels;
    const float old_mean = mean, old_variance = variance;
    mean = (float)(old_mean + shifted);
    variance = (float)fmax(squares / pixels - shifted * shifted, 0.0);
    running_mean[channel] = old_mean * momentum + mean * (1.0f - momentum);
    running_variance[channel] = old_variance * momentum + variance * (1.0f - momentum);
  }
  const double inverse = 1.0 / sqrt((double)variance + epsilon);
  coefficients[MEAN * channels + channel] = mean;
  coefficients[VARIANCE * channels + channel] = variance;
  coefficients[INVERSE * channels + channel] = (float)inverse;
  coefficients[GAIN * channels + channel] = (float)(inverse * scale[channel]);
  coefficients[OFFSET * channels + channel] = offset[channel];
}

// From Σ g and Σ g·(y − mean) to the gradients of scale and offset, and the way of g back. Grid (C), one warp does the work.
// partial [C, chunks, stride] has the two sums at `first` and behind it.
KERNEL(close_gradient, (const float* partial, u32 chunks, u32 stride, u32 first, u32 pixels, float* coefficients, float* dscale,
                        float* doffset)) {
  const u32 channel = blockIdx.x, channels = gridDim.x;
  if (threadIdx.x >= WARP) return;
  const float* own = partial + (size_t)channel * chunks * stride + first;
  const double sum = fold(own, chunks, stride);
  const float product = (float)fold(own + 1, chunks, stride);
  if (threadIdx.x != 0) return;
  const double inverse = coefficients[INVERSE * channels + channel];
  coefficients[CONSTANT * channels + channel] = (float)(sum / pixels);
  coefficients[SLOPE * channels + channel] = (float)(product * inverse * inverse / pixels);
  dscale[channel] = (float)(product * inverse);
  doffset[channel] = (float)sum;
}
