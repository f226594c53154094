// The product targets: one small record each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lower/isa.h"

namespace mattec::targets {

struct Target {
  std::string name;          // "x86-64-avx2"
  std::string halide;        // Halide target string: architecture, system, instruction sets
  std::string llvm_triple;   // of the objects that hold tables and weights
  std::string architecture;  // "x86-64": selects the runtime's object
  bool is_hosted = true;     // an operating system with POSIX threads; else firmware
  int64_t cpu_features = 0;  // runtime/model.h: what mattec_init checks
  lower::Isa isa;
  // For qemu's user mode, the least processor that has these instruction sets; empty: none.
  std::string emulated_cpu = {};
};

// Not among known_targets(): x86-64-avxvnni for tests, on processors that have its dot product with
// AVX-512 alone.
constexpr char avxvnni_stand_in[] = "x86-64-avxvnni.avx512";

// Every target that this compiler emits.
const std::vector<Target>& known_targets();
// Whether this process can run the target's code: no firmware, and this processor has all of it.
bool host_runs(const Target& target);
// Throws UsageError that lists the known targets. "host" picks the best one this processor runs;
// Error where there is none.
const Target& find_target(const std::string& name);

}  // namespace mattec::targets
