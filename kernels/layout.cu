// Changes of layout and of element type.
//
//   batch_innermost   images [N, pixels] f32 to [pixels, N] E, pixels = C·H·W; a tile of 32 × 32 in shared memory makes both sides coalesced
//   narrow_weights    f32 to E, the copy that half precision products read
//
// 8 bytes an element in f32, 6 into a half type: memory bandwidth.
#include "common.cuh"

const u32 THREADS = 256;
const u32 TILE = 32;

// Grid (ceil(pixels / TILE), ceil(N / TILE)).
template <class E> static __device__ __forceinline__ void batch_innermost(const float* images, E* x, u32 pixels, u32 batch) {
  __shared__ float tile[TILE][TILE + 1];
  const u32 lane = threadIdx.x % TILE, first_pixel = blockIdx.x * TILE, first_image = blockIdx.y * TILE;
  for (u32 i = threadIdx.x / TILE; i < TILE; i += THREADS / TILE) {
    const u32 image = first_image + i, pixel = first_pixel + lane;
    if (image < batch && pixel < pixels) tile[i][lane] = images[(size_t)image * pixels + pixel];
  }
  __syncthreads();
  for (u32 i = threadIdx.x / TILE; i < TILE; i += THREADS / TILE) {
    const u32 image = first_image + lane, pixel = first_pixel + i;
    if (image < batch && pixel < pixels) x[(size_t)pixel * batch + image] = narrow<E>(tile[lane][i]);
  }
}

#define ENTRY(NAME, E)                                                                       \
  KERNEL(batch_innermost_##NAME, (const float* images, E* x, u32 pixels, u32 batch)) {       \
    batch_innermost<E>(images, x, pixels, batch);                                            \
  }                                                                                          \
  KERNEL(narrow_weights_##NAME, (const float* from, E* to, u32 count)) {                     \
    for (u32 i = blockIdx.x * THREADS + threadIdx.x; i < count; i += gridDim.x * THREADS) to[i] = narrow<E>(from[i]); \
  }
FOR_EACH_SCALAR(ENTRY)
