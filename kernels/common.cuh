// What the kernels share: element types, vectors of 128 bits, batch norm on the way, and sums in a fixed order.
//
// Activations are [C, H, W, N], batch innermost, as on the host: a channel is one run of memory, and the 32 lanes of a warp read
// neighbouring images or pixels. They are stored as f32, bf16 or f16; all arithmetic is f32.
#pragma once

#ifdef CUDA_EMULATOR
#include "emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

typedef unsigned int u32;
typedef unsigned long long u64;

// ---- Elements

static __device__ __forceinline__ float widen(float value) { return value; }
static __device__ __forceinline__ float widen(__half value) { return __half2float(value); }
static __device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class E> static __device__ __forceinline__ E narrow(float value);
template <> __device__ __forceinline__ float narrow<float>(float value) { return value; }
template <> __device__ __forceinline__ __half narrow<__half>(float value) { return __float2half_rn(value); }
template <> __device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float value) { return __float2bfloat16_rn(value); }

// V elements of type E, moved as one; V · sizeof(E) is 16 bytes, or V is 1.
template <class E, u32 V> struct alignas(V * sizeof(E)) Pack {
  E values[V];
};

template <class E, u32 V> static __device__ __forceinline__ void load(const E* from, float (&to)[V]) {
  const Pack<E, V> pack = *reinterpret_cast<const Pack<E, V>*>(from);
#pragma unroll
  for (u32 v = 0; v < V; v++) to[v] = widen(pack.values[v]);
}

template <class E, u32 V> static __device__ __forceinline__ void store(E* to, const float (&from)[V]) {
  Pack<E, V> pack;
#pragma unroll
  for (u32 v = 0; v < V; v++) pack.values[v] = narrow<E>(from[v]);
  *reinterpret_cast<Pack<E, V>*>(to) = pack;
}

template <u32 V> static __device__ __forceinline__ void fill(float (&to)[V], float value) {
#pragma unroll
  for (u32 v = 0; v < V; v++) to[v] = value;
}

// ---- Batch norm on the way

// Rows of the coefficients of a layer, f32 [ROWS, C].
enum Row {
  MEAN = 0,
  VARIANCE = 1,
  INVERSE = 2,   // 1 / sqrt(variance + epsilon)
  GAIN = 3,      // scale · inverse
  OFFSET = 4,
  CONSTANT = 5,  // Σ g / M
  SLOPE = 6,     // Σ g·(y − mean) / (M · (variance + epsilon))
  ROWS = 7
};

// What bounds values; there may be −∞ and ∞.
struct Bounds {
  float low, high;
};

// z = min(max((y − mean) · gain + offset, low), high) of one channel.
struct Norm {
  float mean, gain, offset;
  Bounds bounds;

  // Without coefficients values are bounded alone.
  static __device__ __forceinline__ Norm of(const float* coefficients, u32 channel, u32 channels, Bounds bounds) {
    if (!coefficients) return {0.0f, 1.0f, 0.0f, bounds};
    return {coefficients[MEAN * channels + channel], coefficients[GAIN * channels + channel],
            coefficients[OFFSET * channels + channel], bounds};
  }
  __device__ __forceinline__ float linear(float y) const { return fmaf(y - mean, gain, offset); }
  // What lies between the bounds; a NaN passes through, so that the loss shows it.
  static __device__ __forceinline__ float bound(float z, Bounds bounds) {
    return z < bounds.low ? bounds.low : (bounds.high < z ? bounds.high : z);
  }
  __device__ __forceinline__ float apply(float y) const { return bound(linear(y), bounds); }
  __device__ __forceinline__ float gate(float y, float gradient) const {
    const float z = linear(y);
    return bounds.low < z && z < bounds.high ? gradient : 0.0f;
  }
};

// dy = gain · (g − constant − (y − mean) · slope) of one channel.
struct NormGradient {
  float mean, gain, constant, slope;

  static __device__ __forceinline__ NormGradient of(const float* coefficients, u32 channel, u32 channels) {
    return {coefficients[MEAN * channels + channel], coefficients[GAIN * channels + channel],
            coefficients[CONSTANT * channels + channel], coefficients[SLOPE * channels + channel]};
  }
  __device__ __forceinline__ float apply(float g, float y) const {
    return gain * fmaf(slope, mean - y, g - constant);
  }
};

// ---- Sums in a fixed order

const u32 WARP = 32;
const u32 ALL_LANES = 0xffffffffu;

// The sum over the lanes of a warp, in lane 0.
template <class T> static __device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (u32 distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_down_sync(ALL_LANES, value, distance);
  return value;
}

// The K sums over all threads of a block of THREADS, written to `to` by the first K threads. Every thread must call it,
// once in a kernel.
template <u32 K, u32 THREADS> static __device__ __forceinline__ void block_sums(const float (&values)[K], float* to) {
  __shared__ float sums[K][THREADS / WARP];
  const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
  for (u32 k = 0; k < K; k++) {
    const float sum = warp_sum(values[k]);
    if (lane == 0) sums[k][warp] = sum;
  }
  __syncthreads();
  if (threadIdx.x < K) {
    float total = 0.0f;
    for (u32 w = 0; w < THREADS / WARP; w++) total += sums[threadIdx.x][w];
    to[threadIdx.x] = total;
  }
}

// Σ partial[i · stride] over `count` entries, by one warp, in lane 0.
static __device__ __forceinline__ double fold(const float* partial, u32 count, u32 stride) {
  double sum = 0.0;
  for (u32 i = threadIdx.x % WARP; i < count; i += WARP) sum += partial[(size_t)i * stride];
  return warp_sum(sum);
}

// ---- Mean and variance in a fixed order

// What is known of some values: how many, their mean, and Σ (value − mean)². Values far from zero keep their digits, unlike in Σ value².
template <class T> struct Moments {
  T count, mean, squares;

  // Of these and others together.
  //
  // Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
  __device__ __forceinline__ Moments with(T n, T m, T q) const {
    const T total = count + n, share = total > T(0) ? n / total : T(0), distance = m - mean;
    return {total, mean + distance * share, squares + q + distance * distance * count * share};
  }
};
const u32 MOMENTS = 3;

// Gathers values one by one, about the first.
struct Gathered {
  float pivot, sum, squares;
  u32 count;

  __device__ __forceinline__ void take(float value) {
    if (count == 0) pivot = value;
    count++;
    const float distance = value - pivot;
    sum += distance;
    squares = fmaf(distance, distance, squares);
  }
  __device__ __forceinline__ Moments<float> moments() const {
    if (count == 0) return {0.0f, 0.0f, 0.0f};
    const float shift = sum / count;
    return {(float)count, pivot + shift, fmaxf(fmaf(-shift, sum, squares), 0.0f)};
  }
};

// Those of all lanes of a warp, in lane 0.
template <class T> static __device__ __forceinline__ Moments<T> warp_moments(Moments<T> own) {
#pragma unroll
  for (u32 distance = WARP / 2; distance > 0; distance /= 2) {
    const T count = __shfl_down_sync(ALL_LANES, own.count, distance), mean = __shfl_down_sync(ALL_LANES, own.mean, distance);
    own = own.with(count, mean, __shfl_down_sync(ALL_LANES, own.squares, distance));
  }
  return own;
}

// Those of what all threads of a block of THREADS gathered, written to `to[MOMENTS]`. Every thread must call it; shared memory of the call
// before is free again when it returns.
template <u32 THREADS> static __device__ __forceinline__ void block_moments(const Gathered& gathered, float* to) {
  __shared__ Moments<float> warps[THREADS / WARP];
  const Moments<float> own = warp_moments(gathered.moments());
  if (threadIdx.x % WARP == 0) warps[threadIdx.x / WARP] = own;
  __syncthreads();
  if (threadIdx.x == 0) {
    Moments<float> total = own;
    for (u32 w = 1; w < THREADS / WARP; w++) total = total.with(warps[w].count, warps[w].mean, warps[w].squares);
    to[0] = total.count;
    to[1] = total.mean;
    to[2] = total.squares;
  }
  __syncthreads();
}

// An entry point: a kernel of blocks of THREADS threads.
#ifndef CUDA_EMULATOR
#define KERNEL(NAME, PARAMETERS) extern "C" __global__ void __launch_bounds__(THREADS) NAME PARAMETERS
#endif

// One definition for each way to store activations and to read them: as vectors of 128 bits, or (_x) one element at a time, for runs
// that are no whole number of vectors. bf16 needs compute capability 8.0, as its products do, so it is compiled apart (BF16 is defined then),
// without the kernels that know no element type.
#define WITH_BF16(DEFINE) DEFINE(bf16, __nv_bfloat16, 8) DEFINE(bf16_x, __nv_bfloat16, 1)
#define WITH_OTHERS(DEFINE) DEFINE(f32, float, 4) DEFINE(f32_x, float, 1) DEFINE(f16, __half, 8) DEFINE(f16_x, __half, 1)
// The same for kernels that move elements one by one.
#define SCALAR_BF16(DEFINE) DEFINE(bf16, __nv_bfloat16)
#define SCALAR_OTHERS(DEFINE) DEFINE(f32, float) DEFINE(f16, __half)

#if defined(CUDA_EMULATOR)
#define FOR_EACH_ELEMENT(DEFINE) WITH_OTHERS(DEFINE) WITH_BF16(DEFINE)
#define FOR_EACH_SCALAR(DEFINE) SCALAR_OTHERS(DEFINE) SCALAR_BF16(DEFINE)
#elif defined(BF16)
#define FOR_EACH_ELEMENT(DEFINE) WITH_BF16(DEFINE)
#define FOR_EACH_SCALAR(DEFINE) SCALAR_BF16(DEFINE)
#else
#define FOR_EACH_ELEMENT(DEFINE) WITH_OTHERS(DEFINE)
#define FOR_EACH_SCALAR(DEFINE) SCALAR_OTHERS(DEFINE)
#endif
