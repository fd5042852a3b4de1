// A fiber's place: what it takes to leave a stack and to come back to it.
//
// On x86-64 Linux it is our own switch, which saves the six registers that a call keeps; elsewhere that of the C library, which asks the
// system for the signal mask at every switch and is thirty times slower.
#pragma once

#include <cstddef>

#if defined(__x86_64__) && defined(__ELF__)

#include <cstdint>

namespace emulator {

struct Context {
  void* stack;
};

// Defined in launch.cpp: keeps the place in `*from`, and goes on at `to`.
extern "C" void emulator_switch(void** from, void* to);

inline void go(Context& from, Context& to) { emulator_switch(&from.stack, to.stack); }

// The next `go` there calls `enter`, which must not return.
inline void begin(Context& context, char* stack, size_t size, void (*enter)()) {
  void** top = (void**)(((uintptr_t)stack + size) & ~(uintptr_t)15);
  *--top = nullptr;         // a call leaves the stack 8 bytes off a multiple of 16
  *--top = (void*)enter;    // where the switch returns to
  for (int i = 0; i < 6; i++) *--top = nullptr;
  context.stack = top;
}

}  // namespace emulator

#else

#include <ucontext.h>

namespace emulator {

typedef ucontext_t Context;

inline void go(Context& from, Context& to) { swapcontext(&from, &to); }

inline void begin(Context& context, char* stack, size_t size, void (*enter)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = size;
  context.uc_link = nullptr;
  makecontext(&context, enter, 0);
}

}  // namespace emulator

#endif
