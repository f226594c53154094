#include "targets/halide_settings.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "Halide.h"

namespace mattec::targets {
namespace {

// All that libHalide reads begin with this: HL_LLVM_ARGS, HL_PERMIT_FAILED_UNROLL, HL_TARGET ...
constexpr char prefix[] = "HL_";

void clear_variables() {
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::strncmp(*entry, prefix, sizeof prefix - 1) == 0)
      names.emplace_back(*entry, std::strcspn(*entry, "="));
  for (const std::string& name : names) ::unsetenv(name.c_str());
}

}  // namespace

void fix_halide_settings() {
  static std::once_flag done;
  std::call_once(done, [] {
    clear_variables();
    // HL_COMPILER_STACK_SIZE was read when the library was loaded.
    Halide::set_compiler_stack_size(Halide::default_compiler_stack_size);
    // Halide hands this variable to LLVM before its first use. LLVM's machine combiner makes trees
    // of chains of additions; the sums of pairs then outgrow AVX2's 16 registers and take 7 to 10 %
    // longer. No other kernel's time changes.
    ::setenv("HL_LLVM_ARGS", "-x86-machine-combiner=false", 1);
  });
}

}  // namespace mattec::targets
