// The exact selection of the n smallest magnitudes of all tensors of a group, ties by index: the same masks as the host, bit for bit.
//
// A radix select over the 31 bits of a magnitude, 11, 10 and 10 at a time: three passes count the digits of the keys that begin as the
// cutoff does, then ties are counted by chunk and the masks are written. What blocks add up are integers, so no order matters.
//
// Five passes read the weights, 4 bytes each: 84 MB for MobileNetV1's 4.2 M weights. The roofline is the memory bandwidth.
#include "chunks.cuh"

const u32 THREADS = 256;
const u32 BINS = 2048;

// How far the selection of a group is.
struct Selection {
  u32 count;      // weights to prune, those that stay pruned included
  u32 remaining;  // of the keys that begin with `prefix`, how many lie below the cutoff
  u32 prefix;     // the digits that are known; at the end the key of the cutoff
  u32 frozen;     // weights that stay pruned and are not ranked
  u32 first;      // first chunk of the group
  u32 chunks;     // chunks of the group
  u32 nan;        // 1: a weight is NaN
  u32 unused;
};

// Ranked are the weights whose bit in `open` is 1; without it, all.
static __device__ __forceinline__ bool ranked(const u32* open, u32 at) { return !open || (open[at / 32] >> (at % 32) & 1u); }

// histogram [groups, BINS] += the digits at `shift` of the keys that begin with the prefix. Grid (chunks).
KERNEL(count_digits, (const float* weights, const u32* open, const Chunk* chunks, Selection* selections, u32* histogram, u32 shift, u32 bits)) {
  const Chunk chunk = chunks[blockIdx.x];
  Selection* selection = selections + chunk.group;
  const bool first = shift + bits == 31u;
  __shared__ u32 bins[BINS];
  __shared__ u32 frozen;
  for (u32 bin = threadIdx.x; bin < BINS; bin += THREADS) bins[bin] = 0u;
  if (threadIdx.x == 0) frozen = 0u;
  __syncthreads();
  const u32 prefix = selection->prefix;
  for (u32 i = threadIdx.x; i < chunk.count; i += THREADS) {
    const u32 key = magnitude_key(weights[chunk.start + i]);
    if (!ranked(open, chunk.start + i)) {
      if (first) atomicAdd(&frozen, 1u);
      continue;
    }
    if (key > INFINITY_KEY) selection->nan = 1u;
    if (first || key >> (shift + bits) == prefix) atomicAdd(&bins[key >> shift & ((1u << bits) - 1u)], 1u);
  }
  __syncthreads();
  for (u32 bin = threadIdx.x; bin < BINS; bin += THREADS) {
    if (bins[bin]) atomicAdd(&histogram[chunk.group * BINS + bin], bins[bin]);
  }
  if (threadIdx.x == 0 && frozen) atomicAdd(&selection->frozen, frozen);
}

// The digit of the cutoff: the bin in which the remaining count runs out. Empties the histogram for the next pass. If all are to be pruned
// the cutoff lies above infinity. Grid (groups).
KERNEL(narrow_selection, (Selection* selections, u32* histogram, u32 shift, u32 bits)) {
  Selection* selection = selections + blockIdx.x;
  u32* bins = histogram + blockIdx.x * BINS;
  const u32 each = BINS / THREADS, first = threadIdx.x * each;
  __shared__ u32 before[THREADS + 1];
  u32 own = 0u;
  for (u32 i = 0; i < each; i++) own += bins[first + i];
  before[threadIdx.x + 1] = own;
  __syncthreads();
  if (threadIdx.x == 0) {
    before[0] = 0u;
    for (u32 i = 0; i < THREADS; i++) before[i + 1] += before[i];
    if (shift + bits == 31u) {
      selection->remaining = selection->count - min(selection->count, selection->frozen);
      selection->prefix = 0u;
    }
  }
  __syncthreads();
  const u32 remaining = selection->remaining, prefix = selection->prefix;
  __syncthreads();
  if (remaining >= before[THREADS]) {
    if (threadIdx.x == 0) selection->prefix = NONE >> shift;
  } else {
    u32 below = before[threadIdx.x];
    for (u32 i = 0; i < each; i++) {
      const u32 count = bins[first + i];
      if (below <= remaining && remaining < below + count) {
        selection->prefix = prefix << bits | (first + i);
        selection->remaining = remaining - below;
      }
      below += count;
    }
  }
  // Each thread has its own bins.
  for (u32 i = 0; i < each; i++) bins[first + i] = 0u;
}

// ties[chunk] = ranked weights equal to the cutoff. Grid (chunks).
KERNEL(count_ties, (const float* weights, const u32* open, const Chunk* chunks, const Selection* selections, u32* ties)) {
  const Chunk chunk = chunks[blockIdx.x];
  const u32 key = selections[chunk.group].prefix;
  __shared__ u32 count;
  if (threadIdx.x == 0) count = 0u;
  __syncthreads();
  u32 own = 0u;
  for (u32 i = threadIdx.x; i < chunk.count; i += THREADS) {
    own += magnitude_key(weights[chunk.start + i]) == key && ranked(open, chunk.start + i);
  }
  atomicAdd(&count, own);
  __syncthreads();
  if (threadIdx.x == 0) ties[blockIdx.x] = count;
}

// ties[chunk] becomes how many of them are to be pruned: the budget goes to the first. Grid (groups).
KERNEL(spread_budget, (const Selection* selections, u32* ties)) {
  const Selection selection = selections[blockIdx.x];
  const u32 each = (selection.chunks + THREADS - 1) / THREADS;
  const u32 first = min(threadIdx.x * each, selection.chunks), end = min(first + each, selection.chunks);
  u32* own = ties + selection.first;
  __shared__ u32 before[THREADS + 1];
  u32 sum = 0u;
  for (u32 i = first; i < end; i++) sum += own[i];
  before[threadIdx.x + 1] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    before[0] = 0u;
    for (u32 i = 0; i < THREADS; i++) before[i + 1] += before[i];
  }
  __syncthreads();
  u32 left = selection.remaining - min(selection.remaining, before[threadIdx.x]);
  for (u32 i = first; i < end; i++) {
    const u32 taken = min(left, own[i]);
    own[i] = taken;
    left -= taken;
  }
}

// The masks: kept are magnitudes above the cutoff, and ties behind the chunk's budget. Weights that are not ranked stay pruned. Grid (chunks).
KERNEL(masks_from_selection, (const float* weights, const u32* open, const Chunk* chunks, const Selection* selections, const u32* budgets,
                              u32* words)) {
  const Chunk chunk = chunks[blockIdx.x];
  const u32 cutoff = selections[chunk.group].prefix, budget = budgets[blockIdx.x], lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  __shared__ u32 tied[THREADS / WARP];
  u32 seen = 0u;
  for (u32 first = 0; first < chunk.count; first += THREADS) {
    const u32 i = first + threadIdx.x, at = chunk.start + i;
    const bool counts = i < chunk.count && ranked(open, at);
    const u32 key = counts ? magnitude_key(weights[at]) : 0u;
    const u32 ties = __ballot_sync(ALL_LANES, counts && key == cutoff);
    if (lane == 0) tied[warp] = __popc(ties);
    __syncthreads();
    u32 rank = seen + __popc(ties & ((1u << lane) - 1u));
    for (u32 w = 0; w < THREADS / WARP; w++) {
      if (w < warp) rank += tied[w];
      seen += tied[w];
    }
    const u32 word = __ballot_sync(ALL_LANES, counts && (key > cutoff || (key == cutoff && rank >= budget)));
    if (lane == 0 && first + warp * WARP < chunk.count) words[(chunk.start + first) / 32 + warp] = word;
    __syncthreads();
  }
}
