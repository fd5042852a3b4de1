// The sum of two results, as at the end of a residual block.
//
// Source: He et al. 2016, arXiv:1512.03385, equation 1.
//
// Shapes: a, b, z [C, pixels] with pixels = H·W·N; coefficients [ROWS, C] or none. Reads a and b, writes z: 12 bytes an element (f32), so the
// roofline is the memory bandwidth. A gradient goes back by `gate` of `batch_norm.cu`.
#include "channels.cuh"

// One of the results, and how it is read.
template <class E> struct Part {
  const E* values;
  Norm norm;
};

// z = a + b, bounded.
template <class E, u32 V>
static __device__ __forceinline__ void sum(const Part<E> a, const Part<E> b, E* z, Bounds bounds, u32 pixels, u32 chunk) {
  over_chunk<V>(pixels, chunk, [&](size_t at) {
    float first[V], second[V];
    load<E, V>(a.values + at, first);
    load<E, V>(b.values + at, second);
#pragma unroll
    for (u32 v = 0; v < V; v++) first[v] = Norm::bound(a.norm.apply(first[v]) + b.norm.apply(second[v]), bounds);
    store<E, V>(z + at, first);
  });
}

#define ENTRY(NAME, E, V)                                                                                                    \
  KERNEL(sum_##NAME, (const E* a, const float* of_a, Bounds bounds_a, const E* b, const float* of_b, Bounds bounds_b, E* z,  \
                      Bounds bounds, u32 pixels, u32 chunk)) {                                                               \
    const Norm norm_a = Norm::of(of_a, blockIdx.y, gridDim.y, bounds_a), norm_b = Norm::of(of_b, blockIdx.y, gridDim.y, bounds_b); \
    sum<E, V>({a, norm_a}, {b, norm_b}, z, bounds, pixels, chunk);                                                           \
  }
FOR_EACH_ELEMENT(ENTRY)
