// A whole trained network, the one inside mattec, at 8 and 4 bits: interpreter and every target
// agree in every byte over many recurrent frames, with the memory plan that products have; firmware
// boots.
#include <gtest/gtest.h>

#include "frontend/fuse.h"
#include "nano/embedded.h"
#include "tests/compiled_network.h"
#include "tests/firmware.h"
#include "tests/quantized_network.h"

namespace mattec::test {
namespace {

ir::Graph quantized_nano(int weight_bits, int activation_bits) {
  static const Quantizable network(
      frontend::fuse(ir::extract(nano::nano_network(), ir::Variant::direct)));
  return network.quantized(weight_bits, activation_bits);
}

struct Case {
  const char* target;
  int weight_bits, activation_bits;
  ir::Size size;
};

class Network : public testing::TestWithParam<Case> {};

TEST_P(Network, EqualsTheInterpreterOverManyFrames) {
  const Case& now = GetParam();
  targets::CompileOptions options;
  options.target = now.target;
  options.size = now.size;
  options.work_per_task = 1e5;
  MATTEC_NEED_TARGET(options.target);
  const int frames = is_emulated(options.target) ? 9 : 30;
  expect_equal(quantized_nano(now.weight_bits, now.activation_bits), options,
               generated_clip(2, options.size, frames), static_cast<size_t>(frames) * 2 / 3);
}

// The board boots, and prints the checksum that the interpreter has.
TEST(Firmware, MattesLikeTheInterpreter) {
  MATTEC_NEED_TARGET(firmware_target);
  const targets::CompiledLibrary library = expect_firmware(quantized_nano(8, 8), {48, 64}, 8);
  const Outcome faulty = run_firmware(library, "-DPROVOKE_FAULT");
  EXPECT_NE(faulty.output.find("data at            00000000c0000000"), std::string::npos)
      << faulty.output;
  EXPECT_EQ(faulty.status, 99);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* target : hosted_target_names()) {
    // Every size once and every bit width once: one does not change what the other tests.
    all.push_back({target, 8, 8, {49, 75}});
    all.push_back({target, 4, 4, {80, 48}});
    if (!is_emulated(target)) all.push_back({target, 4, 8, {64, 96}});
  }
  return all;
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const Case& now = info.param;
  return test_name(now.target) + "_w" + std::to_string(now.weight_bits) + "a" +
         std::to_string(now.activation_bits) + "_" + std::to_string(now.size.width) + "x" +
         std::to_string(now.size.height);
}

INSTANTIATE_TEST_SUITE_P(Nano, Network, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace mattec::test
