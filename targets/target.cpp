#include "targets/target.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "runtime/model.h"

namespace mattec::targets {
namespace {

const char* const avx2 = "x86-64-linux-sse41-avx-f16c-fma-avx2";
// Halide's zen4 feature set emits nothing beyond Ice Lake's (no BF16, no SSE4a): one library runs
// on Ice Lake, Sapphire Rapids and Zen 4. Its sapphirerapids set would emit FP16.
const char* const avx512 =
    "x86-64-linux-sse41-avx-f16c-fma-avx2-avx512-avx512_skylake-avx512_cannonlake-avx512_zen4";

std::vector<Target> make_targets() {
  const std::string triple = "x86_64-unknown-linux-gnu";
  schedules::Machine avx2_machine;
  avx2_machine.vector_bytes = 32;
  avx2_machine.dot_product_lanes = 2;
  avx2_machine.pair_sums = true;
  schedules::Machine avx512_machine;
  avx512_machine.vector_bytes = 64;
  avx512_machine.dot_product_lanes = 4;
  return {
      {"x86-64-avx2",
       avx2,
       triple,
       "x86-64",
       MATTEC_CPU_AVX2,
       avx2_machine,
       {"vpmaddwd", "vpmaddubsw"}},
      {"x86-64-avx512vnni",
       avx512,
       triple,
       "x86-64",
       MATTEC_CPU_AVX2 | MATTEC_CPU_AVX512_ICELAKE,
       avx512_machine,
       {"vpdpbusd", "vpdpwssd"}},
  };
}

}  // namespace

const std::vector<Target>& known_targets() {
  static const std::vector<Target> targets = make_targets();
  return targets;
}

bool host_runs(const Target& target) {
#if defined(__x86_64__)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 =
      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi2") &&
      __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq") &&
      __builtin_cpu_supports("gfni");
  return (target.cpu_features & MATTEC_CPU_AVX512_ICELAKE) ? has_avx512 : has_avx2;
#else
  (void)target;
  return false;
#endif
}

const Target& find_target(const std::string& name) {
  const std::vector<Target>& targets = known_targets();
  if (name == "host") {
    const auto best = std::find_if(targets.rbegin(), targets.rend(), host_runs);
    if (best == targets.rend())
      throw Error(
          "target host: this processor has none of the instruction sets that mattec emits; "
          "name a target with --target");
    return *best;
  }
  const auto found = std::find_if(targets.begin(), targets.end(),
                                  [&](const Target& target) { return target.name == name; });
  if (found != targets.end()) return *found;
  std::vector<std::string> known = {"host"};
  for (const Target& target : targets) known.push_back(target.name);
  throw UsageError(fmt::format("unknown target \"{}\"{}; known are {}", name,
                               hint_at_nearest(name, known), fmt::join(known, ", ")));
}

}  // namespace mattec::targets
