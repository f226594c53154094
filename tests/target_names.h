// Every target that the compiler knows, for tests that run on all of them; AVX-VNNI is played by
// its stand-in where it is missing.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "targets/target.h"

namespace mattec::test {

inline std::vector<const char*> target_names() {
  std::vector<const char*> names;
  for (const targets::Target& target : targets::known_targets()) {
    const bool is_played = target.name == "x86-64-avxvnni" && !targets::host_runs(target);
    names.push_back(is_played ? targets::avxvnni_stand_in : target.name.c_str());
  }
  return names;
}
// Firmware has the kernels of arm-64.
inline std::vector<const char*> hosted_target_names() {
  std::vector<const char*> names = target_names();
  names.erase(
      std::remove_if(names.begin(), names.end(),
                     [](const char* name) { return !targets::find_target(name).is_hosted; }),
      names.end());
  return names;
}

// GoogleTest takes letters, digits and underscores.
inline std::string test_name(std::string target) {
  std::replace(target.begin(), target.end(), '-', '_');
  std::replace(target.begin(), target.end(), '.', '_');
  return target;
}
inline std::string test_name_of(const testing::TestParamInfo<const char*>& info) {
  return test_name(info.param);
}

// Emulated code is 30 times as slow, and the stand-in shares most of its code with AVX2's library:
// tests play fewer frames then.
inline bool is_emulated(const std::string& target) {
  return target == targets::avxvnni_stand_in || !targets::host_runs(targets::find_target(target));
}

// A C compiler for the target's programs, and what stands before such a program to run it; the
// compiler's first word is `native` for this machine's own architecture.
inline std::string c_compiler_of(const targets::Target& target, const std::string& native) {
  return target.emulated_cpu.empty() || targets::host_runs(target)
             ? native
             : "aarch64-linux-gnu-gcc -static";
}
inline std::string emulator_of(const targets::Target& target) {
  return target.emulated_cpu.empty() || targets::host_runs(target)
             ? ""
             : "qemu-aarch64 -cpu " + target.emulated_cpu + " ";
}

}  // namespace mattec::test
