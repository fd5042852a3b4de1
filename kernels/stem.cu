// Dense 3×3 convolution, stride 1 or 2: the stem of the network.
//
// Shapes: x [Cin, H, W, N]; y, g [Cout, Ho, Wo, N]; weight, dw [Cout, Cin, 9].
//
//   forward           Cin·9 multiply-adds an output; with 3 -> 32 channels 27 flop for 4.4 bytes (f32): 12 flop a byte, near the ridge
//   weight gradient   as many; reads x once for each output channel and g, y once for each input channel, mostly from the L2 cache
//
// So the roofline is the memory bandwidth, or the f32 rate on devices with little of it.
#include "common.cuh"

const u32 THREADS = 128;
// Output channels of a block: an input is read once for all of them.
const u32 OUTPUTS = 8;

struct Image {
  u32 inputs, outputs, height, width, out_height, out_width, batch, stride, above, left;
};

// The input under a tap of an output pixel, as an offset into its plane; `inside` says whether there is one.
struct Under {
  size_t at;
  bool inside;

  static __device__ __forceinline__ Under of(const Image& i, u32 pixel, u32 tap) {
    const u32 row = pixel / i.out_width * i.stride + tap / 3 - i.above, column = pixel % i.out_width * i.stride + tap % 3 - i.left;
    return {((size_t)row * i.width + column) * i.batch, row < i.height && column < i.width};
  }
};

// y, and partial [Cout, blocks, MOMENTS], the moments of y, where it is given. Grid (blocks, ceil(Cout / OUTPUTS)).
template <class E, u32 V>
static __device__ __forceinline__ void forward(const E* x, const float* weight, E* y, float* partial, const Image i) {
  const u32 first = blockIdx.y * OUTPUTS, runs = i.batch / V, pixels = i.out_height * i.out_width;
  const u32 index = blockIdx.x * THREADS + threadIdx.x, pixel = index / runs, image = index % runs * V;
  __shared__ float taps[OUTPUTS][9];
  float value[OUTPUTS][V];
#pragma unroll
  for (u32 o = 0; o < OUTPUTS; o++) fill<V>(value[o], 0.0f);
  for (u32 input = 0; input < i.inputs; input++) {
    __syncthreads();
    if (threadIdx.x < OUTPUTS * 9) {
      const u32 output = min(first + threadIdx.x / 9, i.outputs - 1);
      taps[threadIdx.x / 9][threadIdx.x % 9] = weight[((size_t)output * i.inputs + input) * 9 + threadIdx.x % 9];
    }
    __syncthreads();
    if (pixel < pixels) {
      const E* plane = x + (size_t)input * i.height * i.width * i.batch + image;
#pragma unroll 3
      for (u32 tap = 0; tap < 9; tap++) {
        const Under under = Under::of(i, pixel, tap);
        float seen[V];
        fill<V>(seen, 0.0f);
        if (under.inside) load<E, V>(plane + under.at, seen);
#pragma unroll
        for (u32 o = 0; o < OUTPUTS; o++) {
#pragma unroll
          for (u32 v = 0; v < V; v++) value[o][v] = fmaf(taps[o][tap], seen[v], value[o][v]);
        }
      }
    }
  }
  if (pixel < pixels) {
    E* out = y + ((size_t)first * pixels + pixel) * i.batch + image;
#pragma unroll
    for (u32 o = 0; o < OUTPUTS; o++) {
      if (first + o < i.outputs) store<E, V>(out + (size_t)o * pixels * i.batch, value[o]);
    }
  }
  if (!partial) return;
#pragma unroll
  for (u32 o = 0; o < OUTPUTS; o++) {
    if (first + o >= i.outputs) break;
    Gathered gathered = {0.0f, 0.0f, 0.0f, 0};
    if (pixel < pixels) {
#pragma unroll
      for (u32 v = 0; v < V; v++) gathered.take(value[o][v]);
    }
    block_moments<THREADS>(gathered, partial + ((size_t)(first + o) * gridDim.x + blockIdx.x) * MOMENTS);
  }
}

// partial [Cout, Cin, blocks, 9]. Grid (blocks, Cin, Cout); a block takes every gridDim.x-th group of outputs. The gradient to the output
// is g, or with `behind` what g becomes on its way through the batch norm behind the convolution, whose raw output is y.
template <class E, u32 V>
static __device__ __forceinline__ void weight_gradient(const E* x, const E* g, const E* y, const float* behind, float* partial, const Image i) {
  const u32 input = blockIdx.y, output = blockIdx.z, runs = i.batch / V, pixels = i.out_height * i.out_width;
  NormGradient through = {0.0f, 0.0f, 0.0f, 0.0f};
  if (behind) through = NormGradient::of(behind, output, i.outputs);
  float totals[9];
#pragma unroll
  for (u32 tap = 0; tap < 9; tap++) totals[tap] = 0.0f;
  for (u32 index = blockIdx.x * THREADS + threadIdx.x; index < pixels * runs; index += gridDim.x * THREADS) {
    const u32 pixel = index / runs, image = index % runs * V;
    const E* plane = x + (size_t)input * i.height * i.width * i.batch + image;
    const size_t at = ((size_t)output * pixels + pixel) * i.batch + image;
    float dy[V];
    load<E, V>(g + at, dy);
    if (behind) {
      float raw[V];
      load<E, V>(y + at, raw);
#pragma unroll
      for (u32 v = 0; v < V; v++) dy[v] = through.apply(dy[v], raw[v]);
    }
#pragma unroll
    for (u32 tap = 0; tap < 9; tap++) {
      const Under under = Under::of(i, pixel, tap);
      if (under.inside) {
        float seen[V];
        load<E, V>(plane + under.at, seen);
#pragma unroll
        for (u32 v = 0; v < V; v++) totals[tap] = fmaf(seen[v], dy[v], totals[tap]);
      }
    }
  }
  block_sums<9, THREADS>(totals, partial + (((size_t)output * i.inputs + input) * gridDim.x + blockIdx.x) * 9);
}

#define ENTRY(NAME, E, V)                                                                                                      \
  KERNEL(stem_forward_##NAME, (const E* x, const float* weight, E* y, float* partial, Image image)) {                          \
    forward<E, V>(x, weight, y, partial, image);                                                                               \
  }                                                                                                                            \
  KERNEL(stem_weight_gradient_##NAME, (const E* x, const E* g, const E* y, const float* behind, float* partial, Image image)) { \
    weight_gradient<E, V>(x, g, y, behind, partial, image);                                                                    \
  }
FOR_EACH_ELEMENT(ENTRY)
