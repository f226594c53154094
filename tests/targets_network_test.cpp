// A whole trained network, the one inside mattec, at 8 and 4 bits: interpreter, AVX2 and
// AVX512-VNNI agree in every byte over 30 recurrent frames, with the memory plan that products
// have.
#include <gtest/gtest.h>

#include "frontend/fuse.h"
#include "nano/clip_generator.h"
#include "nano/embedded.h"
#include "quant/calibrate.h"
#include "tests/compiled_network.h"

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

TEST_P(Network, EqualsTheInterpreterOver30Frames) {
  const Case& now = GetParam();
  targets::CompileOptions options;
  options.target = now.target;
  options.size = now.size;
  options.work_per_task = 1e5;
  MATTEC_NEED_TARGET(options.target);
  expect_equal(quantized_nano(now.weight_bits, now.activation_bits), options,
               generated_clip(2, options.size, 30), 20);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* target : target_names()) {
    // Every size once and every bit width once: one does not change what the other tests.
    all.push_back({target, 8, 8, {49, 75}});
    all.push_back({target, 4, 8, {64, 96}});
    all.push_back({target, 4, 4, {80, 48}});
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
