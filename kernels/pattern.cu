// The kept positions of a mask, row by row, and gradients put to their places.
//
// Shapes: words, a bit for each weight [rows, inner] or of its transpose; starts [rows + 1]; indices, positions [kept]. Reads the mask twice
// and writes 8 bytes a kept weight: little beside the activations of the layer.
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

// dw[position] += the sum of its partial sums. Grid (rows).
KERNEL(close_sparse_gradient, (const u32* starts, const u32* positions, const float* partial, u32 blocks, float* dw)) {
  const u32 row = blockIdx.x, warp = threadIdx.x / WARP;
  for (u32 k = starts[row] + warp; k < starts[row + 1]; k += WARPS) {
    const double sum = fold(partial + (size_t)k * blocks, blocks, 1);
    if (threadIdx.x % WARP == 0) dw[positions[k]] += (float)sum;
  }
}
