// Masks of all tensors: setting pruned weights to zero, and masks from a threshold. Grid (chunks).
//
//   apply_masks            reads and writes the weights, reads the mask: 8.1 bytes an element
//   masks_from_threshold   reads the weights, writes the mask: 4.1 bytes
//
// The roofline is the memory bandwidth (MobileNetV1: 4.2 M weights, 34 MB).
#include "chunks.cuh"

const u32 THREADS = 256;

// w = 0 where the mask is 0; the others keep their bits.
KERNEL(apply_masks, (float* weights, const u32* words, const Chunk* chunks)) {
  const Chunk chunk = chunks[blockIdx.x];
  for (u32 i = threadIdx.x * 4; i < chunk.count; i += THREADS * 4) {
    const u32 kept = bits4(words, chunk.start + i);
    if (kept == 15u) continue;
    float w[4];
    load4(weights, chunk.start + i, w);
#pragma unroll
    for (u32 v = 0; v < 4; v++) w[v] = kept >> v & 1u ? w[v] : 0.0f;
    store4(weights, chunk.start + i, w);
  }
}

// A weight is kept if its magnitude is at least the threshold and not zero. A NaN sets `nan` to 1.
KERNEL(masks_from_threshold, (const float* weights, float threshold, u32* words, const Chunk* chunks, u32* nan)) {
  const Chunk chunk = chunks[blockIdx.x];
  const u32 least = max(magnitude_key(threshold), 1u);
  for (u32 first = threadIdx.x / WARP * WARP; first < chunk.count; first += THREADS) {
    const u32 i = first + threadIdx.x % WARP;
    const u32 key = i < chunk.count ? magnitude_key(weights[chunk.start + i]) : 0u;
    if (key > INFINITY_KEY) *nan = 1u;
    const u32 word = __ballot_sync(ALL_LANES, key >= least);
    if (threadIdx.x % WARP == 0) words[(chunk.start + first) / 32] = word;
  }
}
