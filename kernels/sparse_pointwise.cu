// Pointwise convolution with a sparse weight: the product, the product with the transposed weight, and the gradient at kept positions.
//
// Shapes: weight [rows, inner]; x [inner, pixels], y [rows, pixels] for a product; for the gradient dy [rows, pixels], x [inner, pixels].
// A pattern of the mask is made on the device: starts [rows + 1], indices and positions [kept], in rising order.
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

// Where the weights of a row lie in the mask: position = row · by_row + i · by_inner.
struct Walk {
  u32 rows, inner, by_row, by_inner;
};

static __device__ __forceinline__ bool kept(const u32* words, const Walk& walk, u32 row, u32 i) {
  const u32 position = row * walk.by_row + i * walk.by_inner;
  return i < walk.inner && (words[position / 32] >> (position % 32) & 1u);
}

// starts[row + 1] = kept weights of the row. Grid (ceil(rows / WARPS)).
KERNEL(count_kept, (const u32* words, Walk walk, u32* starts)) {
  const u32 row = blockIdx.x * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (row >= walk.rows) return;
  u32 count = 0u;
  for (u32 i = lane; i < (walk.inner + WARP - 1) / WARP * WARP; i += WARP) count += __popc(__ballot_sync(ALL_LANES, kept(words, walk, row, i)));
  if (lane == 0) starts[row + 1] = count;
}

// Running sums of starts. Grid (1).
KERNEL(add_up_starts, (u32* starts, u32 rows)) {
  __shared__ u32 sums[THREADS + 1];
  const u32 each = (rows + THREADS - 1) / THREADS, first = min(threadIdx.x * each, rows), end = min(first + each, rows);
  u32 sum = 0u;
  for (u32 row = first; row < end; row++) sum += starts[row + 1];
  sums[threadIdx.x + 1] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    sums[0] = 0u;
    starts[0] = 0u;
    for (u32 i = 0; i < THREADS; i++) sums[i + 1] += sums[i];
  }
  __syncthreads();
  sum = sums[threadIdx.x];
  for (u32 row = first; row < end; row++) {
    sum += starts[row + 1];
    starts[row + 1] = sum;
  }
}

// indices and positions. Grid (ceil(rows / WARPS)).
KERNEL(fill_kept, (const u32* words, Walk walk, const u32* starts, u32* indices, u32* positions)) {
  const u32 row = blockIdx.x * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP;
  if (row >= walk.rows) return;
  u32 next = starts[row];
  for (u32 i = lane; i < (walk.inner + WARP - 1) / WARP * WARP; i += WARP) {
    const bool own = kept(words, walk, row, i);
    const u32 all = __ballot_sync(ALL_LANES, own), at = next + __popc(all & ((1u << lane) - 1u));
    if (own) {
      indices[at] = i;
      positions[at] = row * walk.by_row + i * walk.by_inner;
    }
    next += __popc(all);
  }
}

// y[row, ·] = Σ weight[position] · x[index, ·]. Grid (ceil(pixels / (32 · V)), ceil(rows / WARPS)).
template <class E, u32 V>
static __device__ __forceinline__ void product(const float* weight, const u32* starts, const u32* indices, const u32* positions, const E* x, E* y,
                                               u32 rows, u32 pixels) {
  const u32 row = blockIdx.y * WARPS + threadIdx.x / WARP, lane = threadIdx.x % WARP, pixel = (blockIdx.x * WARP + lane) * V;
  if (row >= rows) return;
  const bool inside = pixel < pixels;
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
      if (inside) {
        float values[V];
        load<E, V>(x + (size_t)from * pixels + pixel, values);
#pragma unroll
        for (u32 v = 0; v < V; v++) sums[v] = fmaf(factor, values[v], sums[v]);
      }
    }
  }
  if (inside) store<E, V>(y + (size_t)row * pixels + pixel, sums);
}

// Pixels of dy that a block keeps in shared memory.
const u32 SPAN = 1024;

// partial [capacity, blocks], capacity ≥ kept: dy[row, ·] · x[index, ·] over the spans of a block, for the kept weights of a row.
// Grid (blocks, rows).
template <class E, u32 V>
static __device__ __forceinline__ void gradient(const u32* starts, const u32* indices, const E* dy, const E* x, float* partial, u32 pixels) {
  __shared__ float span[SPAN];
  const u32 row = blockIdx.y, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, begin = starts[row], end = starts[row + 1];
  for (u32 i = begin + threadIdx.x; i < end; i += THREADS) partial[(size_t)i * gridDim.x + blockIdx.x] = 0.0f;
  for (u32 start = blockIdx.x * SPAN; start < pixels; start += gridDim.x * SPAN) {
    const u32 length = min(SPAN, pixels - start);
    __syncthreads();
    for (u32 i = threadIdx.x * V; i < length; i += THREADS * V) {
      float values[V];
      load<E, V>(dy + (size_t)row * pixels + start + i, values);
#pragma unroll
      for (u32 v = 0; v < V; v++) span[i + v] = values[v];
    }
    __syncthreads();
    for (u32 k = begin + warp; k < end; k += WARPS) {
      const E* from = x + (size_t)indices[k] * pixels + start;
      float sum = 0.0f;
      for (u32 i = lane * V; i < length; i += WARP * V) {
        float values[V];
        load<E, V>(from + i, values);
#pragma unroll
        for (u32 v = 0; v < V; v++) sum = fmaf(span[i + v], values[v], sum);
      }
      sum = warp_sum(sum);
      if (lane == 0) partial[(size_t)k * gridDim.x + blockIdx.x] += sum;
    }
  }
}

#define ENTRY(NAME, E, V)                                                                                                              \
  KERNEL(sparse_product_##NAME, (const float* weight, const u32* starts, const u32* indices, const u32* positions, const E* x, E* y,   \
                                 u32 rows, u32 pixels)) {                                                                              \
    product<E, V>(weight, starts, indices, positions, x, y, rows, pixels);                                                             \
  }                                                                                                                                    \
  KERNEL(sparse_gradient_##NAME, (const u32* starts, const u32* indices, const E* dy, const E* x, float* partial, u32 pixels)) {       \
    gradient<E, V>(starts, indices, dy, x, partial, pixels);                                                                           \
  }
FOR_EACH_ELEMENT(ENTRY)

// dw[position] = the sum of its partial sums, 0 elsewhere (dw is zero before). Grid (rows).
KERNEL(close_sparse_gradient, (const u32* starts, const u32* positions, const float* partial, u32 blocks, float* dw)) {
  const u32 row = blockIdx.x, warp = threadIdx.x / WARP;
  for (u32 k = starts[row] + warp; k < starts[row + 1]; k += WARPS) {
    const double sum = fold(partial + (size_t)k * blocks, blocks, 1);
    if (threadIdx.x % WARP == 0) dw[positions[k]] = (float)sum;
  }
}
