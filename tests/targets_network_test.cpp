// A whole trained network, the one inside mattec, at 8 and 4 bits: interpreter and every target
// agree in every byte over many recurrent frames, with the memory plan that products have; firmware
// boots.
#include <gtest/gtest.h>

#include "frontend/fuse.h"
#include "nano/clip_generator.h"
#include "nano/embedded.h"
#include "quant/calibrate.h"
#include "targets/inspect.h"
#include "tests/compiled_network.h"
#include "tests/firmware.h"

namespace mattec::test {
namespace {

std::vector<std::vector<uint8_t>> generated_clip(uint64_t seed, ir::Size size, int count) {
  const nano::ClipGenerator generator(seed, size.width, size.height);
  std::vector<std::vector<uint8_t>> frames;
  frames.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) frames.push_back(generator.frame(i).frame);
  return frames;
}

ir::Graph quantized_nano(int weight_bits, int activation_bits) {
  constexpr ir::Size size{64, 96};
  quant::CalibrationOptions options;
  options.method = quant::Method::mse;
  options.jitter_copies = 0;
  static const ir::Graph fused =
      frontend::fuse(ir::extract(nano::nano_network(), ir::Variant::direct));
  static const quant::Calibration calibration = [&] {
    quant::Clip clip;
    for (const std::vector<uint8_t>& rgb : generated_clip(1, size, 6))
      clip.push_back({size.width, size.height, rgb});
    return quant::observe(fused, {clip}, options);
  }();
  quant::BitPolicy policy;
  policy.weights = weight_bits;
  policy.activations = activation_bits;
  return quant::quantize(fused, calibration, policy, options);
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
  const ir::Graph graph = quantized_nano(8, 8);
  targets::CompileOptions options;
  options.target = firmware_target;
  options.size = {48, 64};
  options.name = "rvm";
  const targets::CompiledLibrary library = targets::compile(graph, options);
  EXPECT_EQ(targets::inspect_archive("librvm.a", library.archive).undefined,
            std::vector<std::string>{});
  const Outcome played = run_firmware(library, "");
  EXPECT_EQ(played.output, wanted_firmware_output(graph, options.size, 8));
  EXPECT_EQ(played.status, 0);

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
