// Pooling of windows, with the batch norm and bounds before it: the greatest value, or the mean.
//
// Shapes: x, dx [C, H, W, N]; y, dy [C, Ho, Wo, N]; coefficients [ROWS, C] or none. What lies outside of the image does not count.
//
//   forward    reads x, writes y
//   backward   reads x and dy, writes dx; the greatest value of a window is found anew, so that nothing is kept of it
//
// Taps overlap in the L1 cache, so the roofline is the memory bandwidth.
#include "window.cuh"

const u32 THREADS = 128;

// What is taken of a window.
enum Pool {
  GREATEST = 0,
  AVERAGE = 1,         // over all taps
  AVERAGE_INSIDE = 2,  // over those inside the image
};

// The greatest value of the window at `out` for V images, and the tap that has it first. A NaN is greater than all.
template <class E, u32 V>
static __device__ __forceinline__ void greatest(const E* plane, const Norm& norm, const Window& w, const Pixel& out, float (&most)[V],
                                                u32 (&first)[V]) {
  fill<V>(most, __uint_as_float(0xff800000u));
#pragma unroll
  for (u32 v = 0; v < V; v++) first[v] = 0u;
  for (u32 tap = 0; tap < w.rows * w.columns; tap++) {
    const Under under = Under::of(w, out, tap / w.columns, tap % w.columns);
    if (!under.inside) continue;
    float z[V];
    load<E, V>(plane + under.at, z);
#pragma unroll
    for (u32 v = 0; v < V; v++) {
      const float value = norm.apply(z[v]);
      if (most[v] < value) first[v] = tap;
      if (most[v] < value || value != value) most[v] = value;
    }
  }
}

// What a sum over the window at `out` is multiplied with.
static __device__ __forceinline__ float share(const Window& w, const Pixel& out, u32 pool) {
  u32 count = 0u;
  for (u32 tap = 0; tap < w.rows * w.columns; tap++) count += pool == AVERAGE || Under::of(w, out, tap / w.columns, tap % w.columns).inside;
  return 1.0f / max(count, 1u);
}

// Grid (ceil(out plane / (THREADS · V)), C).
template <class E, u32 V>
static __device__ __forceinline__ void forward(const E* x, const float* coefficients, Bounds bounds, E* y, Bounds behind, u32 pool, const Window w) {
  const u32 at = (blockIdx.x * THREADS + threadIdx.x) * V, channel = blockIdx.y;
  if (at >= w.out_plane()) return;
  const Norm norm = Norm::of(coefficients, channel, gridDim.y, bounds);
  const Pixel out = Pixel::of(at, w.out_width, w.batch);
  const E* plane = x + (size_t)channel * w.plane();
  float value[V];
  if (pool == GREATEST) {
    u32 first[V];
    greatest<E, V>(plane, norm, w, out, value, first);
  } else {
    fill<V>(value, 0.0f);
    for (u32 tap = 0; tap < w.rows * w.columns; tap++) {
      const Under under = Under::of(w, out, tap / w.columns, tap % w.columns);
      if (!under.inside) continue;
      float z[V];
      load<E, V>(plane + under.at, z);
#pragma unroll
      for (u32 v = 0; v < V; v++) value[v] += norm.apply(z[v]);
    }
    const float factor = share(w, out, pool);
#pragma unroll
    for (u32 v = 0; v < V; v++) value[v] *= factor;
  }
#pragma unroll
  for (u32 v = 0; v < V; v++) value[v] = Norm::bound(value[v], behind);
  store<E, V>(y + (size_t)channel * w.out_plane() + at, value);
}

// Grid (ceil(plane / (THREADS · V)), C).
template <class E, u32 V>
static __device__ __forceinline__ void backward(const E* x, const float* coefficients, Bounds bounds, const E* dy, E* dx, u32 pool, const Window w) {
  const u32 at = (blockIdx.x * THREADS + threadIdx.x) * V, channel = blockIdx.y;
  if (at >= w.plane()) return;
  const Norm norm = Norm::of(coefficients, channel, gridDim.y, bounds);
  const E* plane = x + (size_t)channel * w.plane();
  const E* results = dy + (size_t)channel * w.out_plane();
  float sum[V];
  fill<V>(sum, 0.0f);
  over_windows(w, Pixel::of(at, w.width, w.batch), [&](const Pixel& out, u32 tap, u32 from) {
    float gradient[V];
    load<E, V>(results + from, gradient);
    if (pool == GREATEST) {
      float most[V];
      u32 first[V];
      greatest<E, V>(plane, norm, w, out, most, first);
#pragma unroll
      for (u32 v = 0; v < V; v++) sum[v] += first[v] == tap ? gradient[v] : 0.0f;
    } else {
      const float factor = share(w, out, pool);
#pragma unroll
      for (u32 v = 0; v < V; v++) sum[v] = fmaf(gradient[v], factor, sum[v]);
    }
  });
  store<E, V>(dx + (size_t)channel * w.plane() + at, sum);
}

#define ENTRY(NAME, E, V)                                                                                                     \
  KERNEL(window_pool_forward_##NAME, (const E* x, const float* coefficients, Bounds bounds, E* y, Bounds behind, u32 pool, Window window)) { \
    forward<E, V>(x, coefficients, bounds, y, behind, pool, window);                                                          \
  }                                                                                                                           \
  KERNEL(window_pool_backward_##NAME, (const E* x, const float* coefficients, Bounds bounds, const E* dy, E* dx, u32 pool, Window window)) { \
    backward<E, V>(x, coefficients, bounds, dy, dx, pool, window);                                                            \
  }
FOR_EACH_ELEMENT(ENTRY)
