// Convolution over all channels with a sparse weight: the product, the product with the transposed weight, and the gradient at kept positions.
//
// Shapes: weight [rows, inner]; x [inner, pixels], y [rows, pixels] for a product; for the gradient dy [rows, pixels], x [inner, pixels].
// Pixels may be a part of longer rows; from one row to the next there are so many elements.
// The pattern of the mask is `pattern.cu`'s: starts [rows + 1], indices and positions [kept], in rising order.
//
//   product    2 · kept · pixels flop; reads `kept` rows of x (from the L2 cache but for the first time), writes y
//   gradient   2 · kept · pixels flop; reads dy once and `kept` rows of x, likewise
//
// A warp makes 32 vectors of one row, so a weight is loaded once for 128 pixels (f32). Two flop for every 4 bytes from the L2 cache: its
// bandwidth is the roofline (H100: about 5.5 TB/s, 2.7 TFLOP/s), against 50 TFLOP/s and more of a dense product. It pays above about
// 95 % zeros in f32.
#include "common.cuh"

const u32 THREADS = 128;
const u32 WARPS = THREADS / WARP;

// Elements from one row to the next, of both activations that a kernel walks over.
struct Strides {
  u32 first, second;
};

// y[row, ·] = Σ weight[position] · x[index, ·], for `rows` rows, to which `starts` points. Grid (ceil(pixels / (32 · V)), ceil(rows / WARPS)).
template <class E, u32 V>
static __device__ __forceinline__ void product(const float* weight, const u32* starts, const u32* indices, const u32* positions, const E* x, E* y,
                                               u32 rows, u32 pixels, const Strides strides) {
  const u32 row = blockIdx.y * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP, pixel = (blockIdx.x * WARP + lane) * V;
  if (row >= rows) return;
  const bool inside = pixel < pixels;
  // A lane behind the last pixel reads the first, and drops what it makes of it.
  const E* column = x + (inside ? pixel : 0u);
  float sums[V];
  fill<V>(sums, 0.0f);
  const u32 end = starts[row + 1];
  for (u32 first = starts[row]; first < end; first += WARP) {
    // Each lane loads one weight, and hands it to all.
    const bool own = first + lane < end;
    const float mine = own ? weight[positions[first + lane]] : 0.0f;
    const u32 index = own ? indices[first + lane] : 0u, count = min(WARP, end - first);
    for (u32 i = 0; i < count; i++) {
      const float factor = __shfl_sync(ALL_LANES, mine, i);
      const u32 from = __shfl_sync(ALL_LANES, index, i);
      float values[V];
      load<E, V>(column + (size_t)from * strides.first, values);
#pragma unroll
      for (u32 v = 0; v < V; v++) sums[v] = fmaf(factor, values[v], sums[v]);
    }
  }
  if (inside) store<E, V>(y + (size_t)row * strides.second + pixel, sums);
}

// Pixels of dy that a block keeps in shared memory.
const u32 SPAN = 1024;

// partial [capacity, blocks], capacity ≥ kept: dy[row, ·] · x[index, ·] over the spans of a block, for the kept weights of a row.
// Grid (blocks, rows).
template <class E, u32 V>
static __device__ __forceinline__ void gradient(const u32* starts, const u32* indices, const E* dy, const E* x, float* partial, u32 pixels,
                                                const Strides strides) {
  __shared__ float span[SPAN];
  const u32 row = blockIdx.y, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, begin = starts[row], end = starts[row + 1];
  for (u32 i = begin + threadIdx.x; i < end; i += THREADS) partial[(size_t)i * gridDim.x + blockIdx.x] = 0.0f;
  for (u32 start = blockIdx.x * SPAN; start < pixels; start += gridDim.x * SPAN) {
    const u32 length = min(SPAN, pixels - start);
    __syncthreads();
    for (u32 i = threadIdx.x * V; i < length; i += THREADS * V) {
      float values[V];
      load<E, V>(dy + (size_t)row * strides.first + start + i, values);
#pragma unroll
      for (u32 v = 0; v < V; v++) span[i + v] = values[v];
    }
    __syncthreads();
    for (u32 k = begin + warp; k < end; k += WARPS) {
      const E* from = x + (size_t)indices[k] * strides.second + start;
      float sum = 0.0f;
      // All lanes go through the whole span, so that they stay together.
      for (u32 i = lane * V; i < SPAN; i += WARP * V) {
        const bool inside = i < length;
        float values[V];
        load<E, V>(from + (inside ? i : 0u), values);
#pragma unroll
        for (u32 v = 0; v < V; v++) sum = inside ? fmaf(span[i + v], values[v], sum) : sum;
      }
      sum = warp_sum(sum);
      if (lane == 0) partial[(size_t)k * gridDim.x + blockIdx.x] += sum;
    }
  }
}

#define ENTRY(NAME, E, V)                                                                                                              \
  KERNEL(sparse_product_##NAME, (const float* weight, const u32* starts, const u32* indices, const u32* positions, const E* x, E* y,   \
                                 u32 rows, u32 pixels, Strides strides)) {                                                             \
    product<E, V>(weight, starts, indices, positions, x, y, rows, pixels, strides);                                                    \
  }                                                                                                                                    \
  KERNEL(sparse_gradient_##NAME, (const u32* starts, const u32* indices, const E* dy, const E* x, float* partial, u32 pixels,          \
                                  Strides strides)) {                                                                                  \
    gradient<E, V>(starts, indices, dy, x, partial, pixels, strides);                                                                  \
  }
FOR_EACH_ELEMENT(ENTRY)
