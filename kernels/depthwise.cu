// Depthwise 3×3 convolution, stride 1 or 2, with the batch norm and bounds before it, the statistics behind it, and the way back.
//
// Source: Howard et al. 2017, arXiv:1704.04861, section 3.1.
//
// Shapes: x, dx [C, H, W, N]; y, g, dy [C, Ho, Wo, N]; weight, dw [C, 9]; coefficients [ROWS, C] or none.
// `above` and `left` are the zeros before the first row and column: 1, or 0 (TensorFlow's SAME, stride 2, even sides).
//
//   forward    reads x, writes y       9 multiply-adds for 8 bytes (f32, stride 1): 2.3 flop a byte
//   backward   reads x, g, y, writes dx   18 for 16 bytes
//
// Both lie below the ridge, so the roofline is the memory bandwidth. Taps overlap in the L1 cache: a thread walks down ROWS_EACH rows and
// keeps in registers the rows of its window that the next output sees again.
#include "common.cuh"

const u32 THREADS = 128;
const u32 ROWS_EACH = 4;

struct Plane {
  u32 height, width, out_height, out_width, batch, above, left;
};

// Where a thread works: a vector of images at a column, and the first of ROWS_EACH rows; behind the last row there is nothing to do. Grid
// (blocks, C).
template <u32 V> struct Place {
  u32 image, column, row;
  bool inside;

  static __device__ __forceinline__ Place of(u32 rows, u32 columns, u32 batch) {
    const u32 runs = batch / V, index = blockIdx.x * THREADS + threadIdx.x;
    const u32 image = index % runs * V, column = index / runs % columns, row = index / runs / columns * ROWS_EACH;
    return {image, column, row, row < rows};
  }
};

// y, and partial [C, blocks, MOMENTS], the moments of y, where `partial` is given.
template <class E, u32 V, u32 S>
static __device__ __forceinline__ void forward(const E* x, const float* coefficients, Bounds bounds, const float* weight,
                                               E* y, float* partial, const Plane p) {
  const u32 channel = blockIdx.y;
  const Norm norm = Norm::of(coefficients, channel, gridDim.y, bounds);
  float kernel[9];
#pragma unroll
  for (u32 tap = 0; tap < 9; tap++) kernel[tap] = weight[channel * 9 + tap];
  const Place<V> place = Place<V>::of(p.out_height, p.out_width, p.batch);
  Gathered gathered = {0.0f, 0.0f, 0.0f, 0};
  if (place.inside) {
    const E* plane = x + (size_t)channel * p.height * p.width * p.batch + place.image;
    E* out = y + (size_t)channel * p.out_height * p.out_width * p.batch + place.image;
    float window[3][3][V];
    // Reads one row of the window; outside the plane there are zeros. Rows and columns before the plane wrap and so lie outside too.
    auto read_row = [&](float (&line)[3][V], u32 row) {
#pragma unroll
      for (u32 q = 0; q < 3; q++) {
        const u32 column = place.column * S + q - p.left;
        if (row < p.height && column < p.width) {
          load<E, V>(plane + (row * p.width + column) * p.batch, line[q]);
#pragma unroll
          for (u32 v = 0; v < V; v++) line[q][v] = norm.apply(line[q][v]);
        } else {
          fill<V>(line[q], 0.0f);
        }
      }
    };
    const u32 kept = 3 - S;
#pragma unroll
    for (u32 r = 0; r < kept; r++) read_row(window[r], place.row * S + r - p.above);
#pragma unroll 1
    for (u32 step = 0; step < ROWS_EACH; step++) {
      const u32 row = place.row + step;
      if (row >= p.out_height) break;
#pragma unroll
      for (u32 r = kept; r < 3; r++) read_row(window[r], row * S + r - p.above);
      float value[V];
      fill<V>(value, 0.0f);
#pragma unroll
      for (u32 tap = 0; tap < 9; tap++) {
#pragma unroll
        for (u32 v = 0; v < V; v++) value[v] = fmaf(kernel[tap], window[tap / 3][tap % 3][v], value[v]);
      }
      store<E, V>(out + (row * p.out_width + place.column) * p.batch, value);
#pragma unroll
      for (u32 v = 0; v < V; v++) gathered.take(value[v]);
#pragma unroll
      for (u32 r = 0; r < kept; r++) {
#pragma unroll
        for (u32 q = 0; q < 3; q++) {
#pragma unroll
          for (u32 v = 0; v < V; v++) window[r][q][v] = window[r + S][q][v];
        }
      }
    }
  }
  if (partial) block_moments<THREADS>(gathered, partial + ((size_t)channel * gridDim.x + blockIdx.x) * MOMENTS);
}

// What a block sums: nine gradients to its weights, Σ g and Σ g·(y − mean) of the gated gradient to the input.
const u32 TOTALS = 11;

// dx, shut where the bounds before the convolution were, and partial [C, blocks, TOTALS], whose sums over dx are 0 without `coefficients`.
// The gradient to the output is g itself, or with `behind` what g becomes on its way through the batch norm behind the convolution, whose
// raw output is y.
template <class E, u32 V, u32 S>
static __device__ __forceinline__ void backward(const E* x, const float* coefficients, Bounds bounds, const float* weight, const E* g,
                                                const E* y, const float* behind, E* dx, float* partial, const Plane p) {
  const u32 channel = blockIdx.y;
  const Norm norm = Norm::of(coefficients, channel, gridDim.y, bounds);
  NormGradient through = {0.0f, 0.0f, 0.0f, 0.0f};
  if (behind) through = NormGradient::of(behind, channel, gridDim.y);
  float kernel[9], totals[TOTALS];
#pragma unroll
  for (u32 tap = 0; tap < 9; tap++) kernel[tap] = weight[channel * 9 + tap];
#pragma unroll
  for (u32 k = 0; k < TOTALS; k++) totals[k] = 0.0f;
  const Place<V> place = Place<V>::of(p.height, p.width, p.batch);
  if (place.inside) {
    const size_t in = (size_t)channel * p.height * p.width * p.batch + place.image;
    const size_t out = (size_t)channel * p.out_height * p.out_width * p.batch + place.image;
    const u32 end = min(place.row + ROWS_EACH, p.height);
    const E *of_g = g + out, *of_y = y + out;
#pragma unroll 1
    for (u32 row = place.row; row < end; row++) {
      const size_t at = in + ((size_t)row * p.width + place.column) * p.batch;
      float raw[V], value[V], gradient[V];
      load<E, V>(x + at, raw);
      fill<V>(gradient, 0.0f);
#pragma unroll
      for (u32 v = 0; v < V; v++) value[v] = norm.apply(raw[v]);
      // The output that saw this input through a tap, if there is one.
#pragma unroll
      for (u32 tap = 0; tap < 9; tap++) {
        const u32 r = row + p.above - tap / 3, q = place.column + p.left - tap % 3;
        if (r % S == 0 && q % S == 0 && r / S < p.out_height && q / S < p.out_width) {
          const u32 from = (r / S * p.out_width + q / S) * p.batch;
          float dy[V];
          load<E, V>(of_g + from, dy);
          if (behind) {
            float output[V];
            load<E, V>(of_y + from, output);
#pragma unroll
            for (u32 v = 0; v < V; v++) dy[v] = through.apply(dy[v], output[v]);
          }
#pragma unroll
          for (u32 v = 0; v < V; v++) {
            gradient[v] = fmaf(kernel[tap], dy[v], gradient[v]);
            totals[tap] = fmaf(value[v], dy[v], totals[tap]);
          }
        }
      }
#pragma unroll
      for (u32 v = 0; v < V; v++) gradient[v] = norm.gate(raw[v], gradient[v]);
      if (coefficients) {
#pragma unroll
        for (u32 v = 0; v < V; v++) {
          totals[9] += gradient[v];
          totals[10] = fmaf(gradient[v], raw[v] - norm.mean, totals[10]);
        }
      }
      store<E, V>(dx + at, gradient);
    }
  }
  block_sums<TOTALS, THREADS>(totals, partial + ((size_t)channel * gridDim.x + blockIdx.x) * TOTALS);
}

#define ENTRY(NAME, E, V)                                                                                                            \
  KERNEL(depthwise_forward_s1_##NAME, (const E* x, const float* coefficients, Bounds bounds, const float* weight,                     \
                                       E* y, float* partial, Plane plane)) {                                                         \
    forward<E, V, 1>(x, coefficients, bounds, weight, y, partial, plane);                                                           \
  }                                                                                                                                  \
  KERNEL(depthwise_forward_s2_##NAME, (const E* x, const float* coefficients, Bounds bounds, const float* weight,                     \
                                       E* y, float* partial, Plane plane)) {                                                         \
    forward<E, V, 2>(x, coefficients, bounds, weight, y, partial, plane);                                                           \
  }                                                                                                                                  \
  KERNEL(depthwise_backward_s1_##NAME, (const E* x, const float* coefficients, Bounds bounds, const float* weight, const E* g,       \
                                        const E* y, const float* behind, E* dx, float* partial, Plane plane)) {                      \
    backward<E, V, 1>(x, coefficients, bounds, weight, g, y, behind, dx, partial, plane);                                           \
  }                                                                                                                                  \
  KERNEL(depthwise_backward_s2_##NAME, (const E* x, const float* coefficients, Bounds bounds, const float* weight, const E* g,       \
                                        const E* y, const float* behind, E* dx, float* partial, Plane plane)) {                      \
    backward<E, V, 2>(x, coefficients, bounds, weight, g, y, behind, dx, partial, plane);                                           \
  }
FOR_EACH_ELEMENT(ENTRY)
