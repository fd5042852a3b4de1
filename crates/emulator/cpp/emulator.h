// CUDA kernels on the CPU, for tests: one fiber for each thread of a block, one block after the other.
//
// A fiber runs until it waits at a barrier or for its warp, or ends. Which fiber is next, and which block, follows from an order that the
// caller chooses, so that a missing barrier shows as a result that depends on it. What the hardware leaves undefined is an error here: a
// thread that left before a barrier of its block, a lane that is missing in an exchange of its warp.
#pragma once

#include "fiber.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using std::max;
using std::min;

// ---- Words of the language

#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __shared__ static thread_local

struct Dim3 {
  unsigned x, y, z;
};

// ---- Half precision: storage, and conversions that round to nearest, ties to even

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __half {
  uint16_t bits;
};

static inline uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
static inline float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
static inline float __bfloat162float(__nv_bfloat16 value) { return float_of((uint32_t)value.bits << 16); }
static inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  const uint32_t bits = bits_of(value);
  if (std::isnan(value)) return {0x7fff};
  return {(uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}
static inline float __half2float(__half value) {
  const int exponent = value.bits >> 10 & 31, fraction = value.bits & 1023;
  const float sign = value.bits >> 15 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1024.0f + fraction, exponent - 25) : std::ldexp((float)fraction, -24));
}
static inline __half __float2half_rn(float value) {
  const uint16_t sign = (uint16_t)(bits_of(value) >> 16 & 0x8000u);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return {0x7fff};
  if (magnitude == 0.0f) return {sign};
  if (magnitude >= 65520.0f) return {(uint16_t)(sign | 0x7c00u)};
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // The distance of neighbours: eleven bits of the value, or the smallest step. A count of 2^10 steps and more carries into the exponent.
  const int step = max(exponent - 11, -24);
  const unsigned steps = (unsigned)std::nearbyint(std::ldexp(magnitude, -step));
  return {(uint16_t)(sign | (((unsigned)(step + 24) << 10) + steps))};
}

// ---- Fibers

namespace emulator {

const unsigned LANES = 32;
const size_t STACK = 64 << 10;

struct Fiber {
  Context context;
  Dim3 index;
  unsigned linear;
  bool done;
  // The barrier that it waits at, counted from 1; 0 = none.
  uint64_t barrier;
};

// The lanes of a warp that have come to an exchange, and what they bring.
struct Warp {
  uint64_t values[LANES];
  uint32_t arrived, live;
};

// What runs: one block of one kernel.
struct Block {
  Dim3 index, threads, blocks;
  Context scheduler;
  std::vector<Fiber> fibers;
  std::vector<std::vector<char>> stacks;
  std::vector<Warp> warps;
  Fiber* current;
  unsigned left, waiting;
  uint64_t barriers;
  // Grows whenever a thread comes to a barrier or an end, or lanes have met: if it does not, all wait for each other.
  uint64_t progress;
  std::string error;
  void (*run)(void*);
  void* argument;
};

inline Block& block() {
  static thread_local Block running;
  return running;
}

inline void pause() {
  Block& b = block();
  go(b.current->context, b.scheduler);
}

// Ends the launch; the fiber does not go on.
inline void fail(const std::string& error) {
  if (block().error.empty()) block().error = error;
  for (;;) pause();
}

inline std::string thread_name() {
  return "thread " + std::to_string(block().current->linear) + " of block " + std::to_string(block().index.x) + "," +
         std::to_string(block().index.y) + "," + std::to_string(block().index.z);
}

inline void barrier() {
  Block& b = block();
  const uint64_t passed = b.barriers;
  b.progress++;
  b.waiting++;
  if (b.waiting == b.fibers.size()) {
    b.waiting = 0;
    b.barriers++;
    return;
  }
  b.current->barrier = passed + 1;
  while (block().barriers == passed) pause();
  block().current->barrier = 0;
}

inline Warp& own_warp() { return block().warps[block().current->linear / LANES]; }

inline void meet(uint32_t mask) {
  Warp& warp = own_warp();
  const uint32_t self = 1u << block().current->linear % LANES;
  if (!(mask & self)) fail(thread_name() + " is not in the mask of its exchange");
  if (mask & ~warp.live) fail(thread_name() + " waits for a lane that has left");
  warp.arrived |= self;
  block().progress++;
  if ((warp.arrived & mask) == mask) {
    warp.arrived &= ~mask;
    return;
  }
  while (own_warp().arrived & self) pause();
}

template <class T> T exchange(uint32_t mask, T value, unsigned from) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "at most 64 bits");
  memcpy(&own_warp().values[block().current->linear % LANES], &value, sizeof value);
  meet(mask);
  T result;
  memcpy(&result, &own_warp().values[from % LANES], sizeof result);
  meet(mask);
  return result;
}

// Runs in each fiber.
inline void enter() {
  block().run(block().argument);
  Block& b = block();
  b.current->done = true;
  b.progress++;
  b.left--;
  b.warps[b.current->linear / LANES].live &= ~(1u << b.current->linear % LANES);
  go(b.current->context, b.scheduler);
}

// 0 … count − 1: as they are (order 0), backwards (1), or shuffled by a seed.
inline std::vector<unsigned> ordered(unsigned count, uint64_t order) {
  std::vector<unsigned> indices(count);
  for (unsigned i = 0; i < count; i++) indices[i] = order == 1 ? count - 1 - i : i;
  uint64_t state = order;
  for (unsigned i = count; order > 1 && i > 1; i--) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    std::swap(indices[i - 1], indices[(state >> 33) % i]);
  }
  return indices;
}

inline void run_block(uint64_t order) {
  Block& b = block();
  const unsigned count = b.threads.x * b.threads.y * b.threads.z;
  if (b.stacks.size() < count) b.stacks.resize(count, std::vector<char>(STACK));
  b.fibers.resize(count);
  b.warps.assign((count + LANES - 1) / LANES, Warp());
  b.left = count;
  b.waiting = 0;
  for (unsigned i = 0; i < count; i++) {
    Fiber& fiber = b.fibers[i];
    fiber.index = {i % b.threads.x, i / b.threads.x % b.threads.y, i / (b.threads.x * b.threads.y)};
    fiber.linear = i;
    fiber.done = false;
    fiber.barrier = 0;
    begin(fiber.context, b.stacks[i].data(), STACK, enter);
    b.warps[i / LANES].live |= 1u << i % LANES;
  }
  const std::vector<unsigned> order_of_warps = ordered((count + LANES - 1) / LANES, order), order_of_lanes = ordered(LANES, order);
  while (b.left > 0 && b.error.empty()) {
    const uint64_t at_start = b.progress;
    for (unsigned warp : order_of_warps) {
      // All lanes once in the plain order; in others as long as one can go on, so that a warp runs far ahead of those after it.
      bool moved = true;
      while (moved && b.error.empty()) {
        const uint64_t before = b.progress;
        for (unsigned lane : order_of_lanes) {
          const unsigned i = warp * LANES + lane;
          if (i >= count || b.fibers[i].done || b.fibers[i].barrier > b.barriers || !b.error.empty()) continue;
          b.current = &b.fibers[i];
          go(b.scheduler, b.current->context);
        }
        moved = order != 0 && b.progress != before;
      }
    }
    if (b.left > 0 && b.error.empty() && b.progress == at_start) {
      b.error = b.left == b.waiting ? std::to_string(count - b.left) + " threads left before a barrier that the others wait at"
                                    : std::to_string(b.left) + " threads wait for each other";
    }
  }
}

template <class... P> struct Call {
  void (*kernel)(P...);
  void** arguments;
};

template <class... P, size_t... I> void call(const Call<P...>& c, std::index_sequence<I...>) {
  c.kernel(*reinterpret_cast<std::remove_reference_t<P>*>(c.arguments[I])...);
}

template <class... P> void launch(void (*kernel)(P...), Dim3 blocks, Dim3 threads, void** arguments, uint64_t order) {
  Call<P...> c{kernel, arguments};
  Block& b = block();
  b.threads = threads;
  b.blocks = blocks;
  b.barriers = 0;
  b.error.clear();
  b.argument = &c;
  b.run = [](void* of) { call(*(Call<P...>*)of, std::index_sequence_for<P...>{}); };
  for (unsigned i : ordered(blocks.x * blocks.y * blocks.z, order)) {
    b.index = {i % blocks.x, i / blocks.x % blocks.y, i / (blocks.x * blocks.y)};
    run_block(order == 0 ? 0 : order == 1 ? 1 : order + i);
    if (!b.error.empty()) return;
  }
}

// ---- Kernels by name

typedef void (*Launch)(Dim3 blocks, Dim3 threads, void** arguments, uint64_t order);

struct Entry {
  static std::vector<std::pair<std::string, Launch>>& all() {
    static std::vector<std::pair<std::string, Launch>> entries;
    return entries;
  }
  Entry(const char* name, Launch launch) { all().emplace_back(name, launch); }
};

}  // namespace emulator

#define KERNEL(NAME, PARAMETERS)                                                                                       \
  static void NAME PARAMETERS;                                                                                         \
  static const emulator::Entry entry_##NAME(                                                                           \
      #NAME, [](emulator_dim3 blocks, emulator_dim3 threads, void** arguments, uint64_t order) {                       \
        emulator::launch(NAME, blocks, threads, arguments, order);                                                     \
      });                                                                                                              \
  static void NAME PARAMETERS
typedef Dim3 emulator_dim3;

// ---- What the language offers to kernels

#define threadIdx (emulator::block().current->index)
#define blockIdx (emulator::block().index)
#define blockDim (emulator::block().threads)
#define gridDim (emulator::block().blocks)

static inline void __syncthreads() { emulator::barrier(); }

template <class T> static inline T __shfl_sync(unsigned mask, T value, unsigned from) { return emulator::exchange(mask, value, from); }
template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, unsigned distance) {
  return emulator::exchange(mask, value, emulator::block().current->linear % emulator::LANES ^ distance);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
  const unsigned lane = emulator::block().current->linear % emulator::LANES;
  return emulator::exchange(mask, value, lane + distance < emulator::LANES ? lane + distance : lane);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
  emulator::own_warp().values[emulator::block().current->linear % emulator::LANES] = predicate != 0;
  emulator::meet(mask);
  unsigned result = 0;
  for (unsigned lane = 0; lane < emulator::LANES; lane++) {
    if (mask >> lane & 1u) result |= (unsigned)emulator::own_warp().values[lane] << lane;
  }
  emulator::meet(mask);
  return result;
}
static inline int __popc(unsigned value) { return __builtin_popcount(value); }
static inline unsigned atomicAdd(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to = before + value;
  return before;
}
static inline unsigned __float_as_uint(float value) { return bits_of(value); }
static inline float __uint_as_float(unsigned bits) { return float_of(bits); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
