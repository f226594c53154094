// Object code: kernels by Halide, tables by LLVM, the runtime renamed, all in one archive.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lower/plan.h"
#include "runtime/model.h"
#include "schedules/schedule.h"
#include "targets/target.h"

namespace mattec::targets {

using Bytes = std::vector<uint8_t>;

struct Object {
  std::string name;  // the archive member's
  Bytes bytes;
};

struct CompiledKernel {
  Bytes object;
  int64_t scratch_bytes = 0;  // 0: it takes no such buffer
};

// Compiles one kernel; the object defines `symbol` and `symbol`_argv, and wants the function of its
// micro-kernel (microkernel_symbol). Same input, same bytes, after
// fix_halide_settings().
CompiledKernel compile_kernel(const lower::Kernel& kernel, const schedules::Schedule& schedule,
                              const std::string& symbol, const std::string& prefix,
                              const Target& target);

// Of the arena for one thread; each further one takes plan.scratch_bytes more.
inline int64_t plan_arena_bytes(const lower::Plan& plan) {
  return MATTEC_SESSION_BYTES + plan.tensor_bytes + plan.scratch_bytes;
}

// The records of runtime/model.h with the constants: defines <prefix>_model, wants
// <prefix>_functions and, for step i, `kernel_symbols[i]`_argv. `stack_bytes`: what a thread needs
// inside mattec_step.
Bytes emit_model(const lower::Plan& plan, const std::string& prefix,
                 const std::vector<std::string>& kernel_symbols, uint64_t stack_bytes,
                 const Target& target);

// Room for an archive's checksum (checksums.h) in a section that linkers leave out. Without
// symbols, so that no linker ever takes it for something it needs.
Bytes emit_checksum(const Target& target);

// The runtime's object with its one symbol renamed to <prefix>_functions.
Bytes rename_runtime(const std::string& prefix, const Target& target);

// <prefix>_accumulate_<name>, and the object that defines it.
std::string microkernel_symbol(const std::string& prefix, const std::string& name);
Bytes rename_microkernel(const std::string& prefix, const std::string& name);

// A static library with a symbol table; deterministic (no times, no owners).
Bytes make_archive(const std::vector<Object>& members);

}  // namespace mattec::targets
