// One rank's part of what batch norm sums over all ranks: its own sums, each in the slot of that rank. The slots of the others hold zero, so
// that adding the buffers of all ranks up gathers them, and the kernels that fold the chunks of one device fold the slots of all.
//
// Grid (C), a warp each. Reads 4 bytes a partial sum: a launch costs more.
#include "common.cuh"

const u32 THREADS = WARP;

// From the moments of chunks, partial [C, chunks, MOMENTS], to those of the rank, to [C, ranks, MOMENTS].
KERNEL(share_moments, (const float* partial, u32 chunks, u32 rank, u32 ranks, float* to)) {
  const u32 channel = blockIdx.x;
  Moments<double> total = {0.0, 0.0, 0.0};
  for (u32 i = threadIdx.x; i < chunks; i += WARP) {
    const float* own = partial + ((size_t)channel * chunks + i) * MOMENTS;
    total = total.with(own[0], own[1], own[2]);
  }
  total = warp_moments(total);
  if (threadIdx.x != 0) return;
  float* slot = to + ((size_t)channel * ranks + rank) * MOMENTS;
  slot[0] = (float)total.count;
  slot[1] = (float)total.mean;
  slot[2] = (float)total.squares;
}

// From the partial sums of a gradient, partial [C, chunks, stride] with the two at `first` and behind it, to those of the rank, to [C, ranks, 2].
KERNEL(share_gradient_sums, (const float* partial, u32 chunks, u32 stride, u32 first, u32 rank, u32 ranks, float* to)) {
  const u32 channel = blockIdx.x;
  const float* own = partial + (size_t)channel * chunks * stride + first;
  const double sum = fold(own, chunks, stride), product = fold(own + 1, chunks, stride);
  if (threadIdx.x != 0) return;
  float* slot = to + ((size_t)channel * ranks + rank) * 2;
  slot[0] = (float)sum;
  slot[1] = (float)product;
}
