// Momentum SGD with L2 decay and masks over all tensors: v = μ·v + (g + λ·w), w −= lr·v. One launch, and two more if gradients are clipped.
//
// Source: PaddlePaddle `Momentum` with `L2Decay`, as PaddleSlim's demo builds it.
//
// Reads g, v, w and writes v, w: 20 bytes an element, 85 MB for MobileNetV1. The roofline is the memory bandwidth.
#include "chunks.cuh"

const u32 THREADS = 256;

struct Rule {
  float learning_rate, momentum, l2_decay;
  u32 masked;       // 1: the gradient of a pruned weight counts as zero
  u32 hold_pruned;  // 1: its velocity is zero too, so that it cannot come back
};

// Whether each of four weights gets its gradient.
static __device__ __forceinline__ u32 kept4(const u32* words, const Chunk& chunk, u32 masked, u32 at) {
  return masked && chunk.masked ? bits4(words, at) : 15u;
}

// Grid (chunks). `scale` is a factor on the gradients, null = 1.
KERNEL(momentum_step, (float* weights, const float* gradients, float* velocities, const u32* words, const Chunk* chunks, Rule rule,
                       const float* scale)) {
  const Chunk chunk = chunks[blockIdx.x];
  const float factor = scale ? *scale : 1.0f;
  for (u32 i = threadIdx.x * 4; i < chunk.count; i += THREADS * 4) {
    const u32 at = chunk.start + i, kept = kept4(words, chunk, rule.masked, at);
    float w[4], g[4], v[4];
    load4(weights, at, w);
    load4(gradients, at, g);
    load4(velocities, at, v);
#pragma unroll
    for (u32 k = 0; k < 4; k++) {
      const bool open = kept >> k & 1u;
      // No contraction into fused products, which round otherwise than the host.
      const float decayed = __fadd_rn(open ? __fmul_rn(g[k], factor) : 0.0f, __fmul_rn(rule.l2_decay, w[k]));
      const float next = __fadd_rn(__fmul_rn(rule.momentum, v[k]), decayed);
      v[k] = open || !rule.hold_pruned ? next : 0.0f;
      w[k] = __fsub_rn(w[k], __fmul_rn(rule.learning_rate, v[k]));
    }
    store4(velocities, at, v);
    store4(weights, at, w);
  }
}

// partial[chunk] = Σ g² over the weights that get their gradient. Grid (chunks).
KERNEL(squared_norms, (const float* gradients, const u32* words, const Chunk* chunks, u32 masked, float* partial)) {
  const Chunk chunk = chunks[blockIdx.x];
  float sums[1] = {0.0f};
  for (u32 i = threadIdx.x * 4; i < chunk.count; i += THREADS * 4) {
    const u32 at = chunk.start + i, kept = kept4(words, chunk, masked, at);
    float g[4];
    load4(gradients, at, g);
#pragma unroll
    for (u32 k = 0; k < 4; k++) sums[0] = kept >> k & 1u ? fmaf(g[k], g[k], sums[0]) : sums[0];
  }
  block_sums<1, THREADS>(sums, partial + blockIdx.x);
}

// scale = min(1, longest / norm). Grid (1), one warp does the work.
KERNEL(clip_scale, (const float* partial, u32 chunks, float longest, float* scale)) {
  if (threadIdx.x >= WARP) return;
  const double norm = sqrt(fold(partial, chunks, 1));
  if (threadIdx.x == 0) *scale = norm > longest ? (float)(longest / norm) : 1.0f;
}
