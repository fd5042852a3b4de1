// Kernels that walk over [C, pixels], a channel cut into chunks: a block of grid (chunks, C) each.
#pragma once
#include "common.cuh"

const u32 THREADS = 256;

// A block takes `chunk` pixels of one channel, V at a time: EACH is run for each first pixel.
template <u32 V, class Each> static __device__ __forceinline__ void over_chunk(u32 pixels, u32 chunk, Each each) {
  const u32 end = min(pixels, (blockIdx.x + 1) * chunk);
  for (u32 at = blockIdx.x * chunk + threadIdx.x * V; at < end; at += THREADS * V) each((size_t)blockIdx.y * pixels + at);
}
