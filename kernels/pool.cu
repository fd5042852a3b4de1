// Global mean pooling, with the batch norm and bounds before it.
//
// Shapes: y, g [C, plane, N]; features, dfeatures [N, C] f32.
//
//   forward    reads y             4 bytes an element (f32)
//   backward   reads y, writes g   8 bytes
//
// The roofline is the memory bandwidth.
#include "common.cuh"

const u32 THREADS = 128;

// features[n, c] = mean over the plane of z. Grid (ceil(N / THREADS), C): a thread sums one image, in order.
template <class E>
static __device__ __forceinline__ void pool_forward(const E* y, const float* coefficients, Bounds bounds, float* features, u32 plane, u32 batch) {
  const u32 channel = blockIdx.y, image = blockIdx.x * THREADS + threadIdx.x;
  if (image >= batch) return;
  const Norm norm = Norm::of(coefficients, channel, gridDim.y, bounds);
  float sum = 0.0f;
  for (u32 pixel = 0; pixel < plane; pixel++) sum += norm.apply(widen(y[((size_t)channel * plane + pixel) * batch + image]));
  features[(size_t)image * gridDim.y + channel] = sum * (1.0f / plane);
}

// g = dfeatures / plane where the bounds let it through; partial [C, blocks, 2] = Σ g, Σ g·(y − mean). Grid (ceil(N / THREADS), C).
template <class E>
static __device__ __forceinline__ void pool_backward(const E* y, const float* coefficients, Bounds bounds, const float* dfeatures, E* g,
                                                     float* partial, u32 plane, u32 batch) {
  const u32 channel = blockIdx.y, image = blockIdx.x * THREADS + threadIdx.x;
  const Norm norm = Norm::of(coefficients, channel, gridDim.y, bounds);
  float sums[2] = {0.0f, 0.0f};
  if (image < batch) {
    const float share = dfeatures[(size_t)image * gridDim.y + channel] * (1.0f / plane);
    for (u32 pixel = 0; pixel < plane; pixel++) {
      const size_t at = ((size_t)channel * plane + pixel) * batch + image;
      const float raw = widen(y[at]), gradient = norm.gate(raw, share);
      g[at] = narrow<E>(gradient);
      sums[0] += gradient;
      sums[1] = fmaf(gradient, raw - norm.mean, sums[1]);
    }
  }
  block_sums<2, THREADS>(sums, partial + ((size_t)channel * gridDim.x + blockIdx.x) * 2);
}

#define ENTRY(NAME, E)                                                                                                                    \
  KERNEL(pool_forward_##NAME, (const E* y, const float* coefficients, Bounds bounds, float* features, u32 plane, u32 batch)) {            \
    pool_forward<E>(y, coefficients, bounds, features, plane, batch);                                                                    \
  }                                                                                                                                       \
  KERNEL(pool_backward_##NAME, (const E* y, const float* coefficients, Bounds bounds, const float* dfeatures, E* g, float* partial,       \
                                u32 plane, u32 batch)) {                                                                                  \
    pool_backward<E>(y, coefficients, bounds, dfeatures, g, partial, plane, batch);                                                      \
  }
FOR_EACH_SCALAR(ENTRY)
