// The way in from Rust.
#include "emulator.h"

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
