// The way in from Rust.
#include "emulator.h"

#if defined(__x86_64__) && defined(__ELF__)
// void emulator_switch(void** from, void* to)
asm(R"(
  .text
  .globl emulator_switch
  .type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size emulator_switch, .-emulator_switch
)");
#endif

// Runs a kernel by its name; `arguments` are pointers to its arguments, as for the driver. Null, or what went wrong.
extern "C" const char* emulator_launch(const char* name, const unsigned* blocks, const unsigned* threads, void** arguments, uint64_t order) {
  for (const auto& entry : emulator::Entry::all()) {
    if (entry.first != name) continue;
    entry.second({blocks[0], blocks[1], blocks[2]}, {threads[0], threads[1], threads[2]}, arguments, order);
    const std::string& error = emulator::block().error;
    return error.empty() ? nullptr : error.c_str();
  }
  return "there is no kernel of this name";
}
