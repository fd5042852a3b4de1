// A convolution over all channels as a matrix product: the patches that it sees, and the way of a gradient from them back to the image.
//
// Source: Chellapilla et al. 2006, High performance convolutional neural networks for document processing.
//
// Shapes: x, dx [C, H, W, N]; coefficients [ROWS, C] or none; patches [C · taps, columns], a row for each channel and tap, a column for each
// output pixel and image.
//
//   gather_patches    writes taps times what it reads, which comes from the L2 cache but for the first time
//   scatter_patches   reads patches, writes dx
//
// The roofline is the memory bandwidth; the product that reads the patches is far above the ridge.
#include "window.cuh"

const u32 THREADS = 128;

// The `columns` columns from `first` on. Grid (ceil(columns / (THREADS · V)), C · taps).
template <class E, u32 V>
static __device__ __forceinline__ void gather(const E* x, const float* coefficients, Bounds bounds, E* patches, u32 first, u32 columns,
                                              const Window w) {
  const u32 column = (blockIdx.x * THREADS + threadIdx.x) * V, taps = w.rows * w.columns;
  if (column >= columns) return;
  const u32 channel = blockIdx.y / taps, tap = blockIdx.y % taps;
  const Norm norm = Norm::of(coefficients, channel, gridDim.y / taps, bounds);
  const Under under = Under::of(w, Pixel::of(first + column, w.out_width, w.batch), tap / w.columns, tap % w.columns);
  float z[V];
  fill<V>(z, 0.0f);
  if (under.inside) {
    load<E, V>(x + (size_t)channel * w.plane() + under.at, z);
#pragma unroll
    for (u32 v = 0; v < V; v++) z[v] = norm.apply(z[v]);
  }
  store<E, V>(patches + (size_t)blockIdx.y * columns + column, z);
}

// dx of C channels = the sum of the gradients to all patches that hold the pixel, tap by tap. Grid (ceil(plane / (THREADS · V)), C).
template <class E, u32 V> static __device__ __forceinline__ void scatter(const E* patches, E* dx, const Window w) {
  const u32 at = (blockIdx.x * THREADS + threadIdx.x) * V, taps = w.rows * w.columns;
  if (at >= w.plane()) return;
  const E* rows = patches + (size_t)blockIdx.y * taps * w.out_plane();
  float sum[V];
  fill<V>(sum, 0.0f);
  const size_t row = w.out_plane();
  over_windows(w, Pixel::of(at, w.width, w.batch), [&](const Pixel&, u32 tap, u32 out) {
    float part[V];
    load<E, V>(rows + tap * row + out, part);
#pragma unroll
    for (u32 v = 0; v < V; v++) sum[v] += part[v];
  });
  store<E, V>(dx + (size_t)blockIdx.y * w.plane() + at, sum);
}

#define ENTRY(NAME, E, V)                                                                                                          \
  KERNEL(gather_patches_##NAME, (const E* x, const float* coefficients, Bounds bounds, E* patches, u32 first, u32 columns, Window window)) { \
    gather<E, V>(x, coefficients, bounds, patches, first, columns, window);                                                        \
  }                                                                                                                                \
  KERNEL(scatter_patches_##NAME, (const E* patches, E* dx, Window window)) { scatter<E, V>(patches, dx, window); }
FOR_EACH_ELEMENT(ENTRY)
