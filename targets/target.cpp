#include "targets/target.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "microkernels/accumulate.h"
#include "runtime/cpu_features.h"

namespace mattec::targets {
namespace {

const char* const avx2 = "x86-64-linux-sse41-avx-f16c-fma-avx2";
// Halide's zen4 feature set emits nothing beyond Ice Lake's (no BF16, no SSE4a): one library runs
// on Ice Lake, Sapphire Rapids and Zen 4. Its sapphirerapids set would emit FP16.
const char* const avx512 =
    "x86-64-linux-sse41-avx-f16c-fma-avx2-avx512-avx512_skylake-avx512_cannonlake-avx512_zen4";

// No dot product of bytes: vpmaddwd of 16-bit factors, and vpmaddubsw for 4-bit operands.
lower::Isa avx2_isa() {
  lower::Isa isa;
  isa.vector_bytes = 32;
  isa.vector_registers = 16;
  isa.dot_product_depth = 2;
  isa.factor_bits = 16;
  isa.short_products = 2;
  isa.value_lanes = 8;
  isa.accumulators = 12;
  // With 12 of them the 32-bit ones beside them cost 4 % more.
  isa.accumulators_16_bits = 8;
  return isa;
}

// vpdpbusd.
lower::Isa avx512vnni_isa() {
  lower::Isa isa;
  isa.vector_bytes = 64;
  isa.vector_registers = 32;
  isa.dot_product_depth = 4;
  isa.factor_bits = 8;
  isa.accumulators = 26;
  return isa;
}

// AVX-VNNI's vpdpbusd by a micro-kernel, and what Halide makes of AVX2.
lower::Isa avxvnni_isa() {
  lower::Isa isa = avx2_isa();
  isa.short_products = 0;  // vpdpbusd multiplies as many bytes as vpmaddubsw
  isa.microkernel = {"vpdpbusd", 4, 1, 8, 3, MATTEC_MOST_SEGMENTS, MATTEC_MOST_RUNS};
  return isa;
}

// What all of 64-bit ARM has.
lower::Isa arm_isa() {
  lower::Isa isa;
  isa.vector_bytes = 16;
  isa.vector_registers = 32;
  isa.signed_inputs = true;
  isa.by_element = true;
  isa.widening_products = true;
  isa.saturating_narrowing = true;
  isa.value_lanes = 8;
  return isa;
}

// smlal and smlal2 by element: 8 products of 16-bit factors, in two registers of sums.
lower::Isa neon_isa() {
  lower::Isa isa = arm_isa();
  isa.dot_product_depth = 1;
  isa.factor_bits = 16;
  isa.accumulators = 12;
  isa.short_products = 1;
  isa.short_microkernel = {"smlal", 4, 8, 8, 4, MATTEC_MOST_SEGMENTS, MATTEC_MOST_RUNS};
  return isa;
}

// sdot by element, of signed by signed bytes.
lower::Isa dotprod_isa() {
  lower::Isa isa = arm_isa();
  isa.dot_product_depth = 4;
  isa.factor_bits = 8;
  isa.accumulators = 16;
  return isa;
}

// smmla: of 2 by 2 sums, 8 products each.
lower::Isa i8mm_isa() {
  lower::Isa isa = dotprod_isa();
  isa.microkernel = {"smmla", 8, 1, 4, 5, MATTEC_MOST_SEGMENTS, MATTEC_MOST_RUNS};
  return isa;
}

// The same dot products in AVX-512's encoding: what find_target gives to tests on processors
// without AVX-VNNI. Nobody is told of it.
Target make_stand_in(Target avxvnni) {
  avxvnni.name = avxvnni_stand_in;
  avxvnni.isa.microkernel.name = "vpdpbusd_avx512";
  avxvnni.cpu_features = MATTEC_CPU_AVX2 | MATTEC_CPU_AVX512_ICELAKE;
  return avxvnni;
}

std::vector<Target> make_targets() {
  const std::string triple = "x86_64-unknown-linux-gnu";
  const std::string arm_triple = "aarch64-unknown-linux-gnu";
  return {
      {"x86-64-avx2", avx2, triple, "x86-64", true, MATTEC_CPU_AVX2, avx2_isa()},
      {"x86-64-avxvnni", avx2, triple, "x86-64", true, MATTEC_CPU_AVX2 | MATTEC_CPU_AVX_VNNI,
       avxvnni_isa()},
      {"x86-64-avx512vnni", avx512, triple, "x86-64", true,
       MATTEC_CPU_AVX2 | MATTEC_CPU_AVX512_ICELAKE, avx512vnni_isa()},
      {"arm-64", "arm-64-linux", arm_triple, "arm-64", true, 0, neon_isa(), "cortex-a53"},
      {"arm-64-dotprod", "arm-64-linux-arm_dot_prod", arm_triple, "arm-64", true,
       MATTEC_CPU_ARM_DOTPROD, dotprod_isa(), "cortex-a76"},
      // Halide emits no more than for dotprod; the micro-kernel is i8mm's.
      {"arm-64-i8mm", "arm-64-linux-arm_dot_prod", arm_triple, "arm-64", true,
       MATTEC_CPU_ARM_DOTPROD | MATTEC_CPU_ARM_I8MM, i8mm_isa(), "max"},
      {"arm-64-baremetal", "arm-64-noos", "aarch64-unknown-none-elf", "arm-64", false, 0,
       neon_isa(), "cortex-a53"},
  };
}

}  // namespace

const std::vector<Target>& known_targets() {
  static const std::vector<Target> targets = make_targets();
  return targets;
}

bool host_runs(const Target& target) {
#if defined(__x86_64__)
  const char* const architecture = "x86-64";
#else
  const char* const architecture = "arm-64";
#endif
  return target.is_hosted && target.architecture == architecture &&
         (target.cpu_features & ~mattec_cpu_features()) == 0;
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
  if (name == avxvnni_stand_in) {
    static const Target stand_in = make_stand_in(find_target("x86-64-avxvnni"));
    return stand_in;
  }
  std::vector<std::string> known = {"host"};
  for (const Target& target : targets) known.push_back(target.name);
  throw UsageError(fmt::format("unknown target \"{}\"{}; known are {}", name,
                               hint_at_nearest(name, known), fmt::join(known, ", ")));
}

}  // namespace mattec::targets
