// Folds what blocks have summed: to[i] = Σ over the chunks of partial[i / width, chunk, i % width].
//
// Shapes: partial [rows, chunks, stride], of which the first `width` of a chunk count; to [rows, width]. Grid (rows · width), one warp each.
// Reads 4 bytes a partial sum: a launch costs more than the reading.
#include "common.cuh"

const u32 THREADS = WARP;

KERNEL(fold_partial_sums, (const float* partial, u32 chunks, u32 stride, u32 width, float* to)) {
  const u32 row = blockIdx.x / width, column = blockIdx.x % width;
  const double sum = fold(partial + (size_t)row * chunks * stride + column, chunks, stride);
  if (threadIdx.x == 0) to[blockIdx.x] = (float)sum;
}
