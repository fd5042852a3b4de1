// All tensors in one launch. Parameters lie behind each other in one run of memory, each from a multiple of 64 elements on, with zeros
// between; masks likewise, a bit for each element. A table cuts what an operation works on into chunks, one block each.
#pragma once
#include "common.cuh"

struct Chunk {
  u32 start;   // first element; a multiple of 64
  u32 count;   // elements
  u32 group;   // what it is ranked with
  u32 masked;  // 0: it has no mask
};

const u32 NONE = 0xffffffffu;

// Four elements from `at` on, which is a multiple of 4; behind the end of a tensor there are zeros.
static __device__ __forceinline__ void load4(const float* from, u32 at, float (&to)[4]) { load<float, 4>(from + at, to); }
static __device__ __forceinline__ void store4(float* to, u32 at, const float (&from)[4]) { store<float, 4>(to + at, from); }

// The bits of four elements.
static __device__ __forceinline__ u32 bits4(const u32* words, u32 at) { return words[at / 32] >> (at % 32) & 15u; }

// Magnitudes in the order of their bits.
static __device__ __forceinline__ u32 magnitude_key(float weight) { return __float_as_uint(weight) & 0x7fffffffu; }
const u32 INFINITY_KEY = 0x7f800000u;
