// Robust Video Matting with its real weights: interpreter, AVX2 and AVX512-VNNI agree in every
// stored integer. Ranges come from a generated clip: no statement about quality.
#include <gtest/gtest.h>

#include "frontend/fuse.h"
#include "frontend/read_network.h"
#include "nano/clip_generator.h"
#include "quant/calibrate.h"
#include "tests/compiled_network.h"
#include "tests/shared_data.h"

namespace mattec::test {
namespace {

constexpr char weights[] = "models/rvm_mobilenetv3.safetensors";

std::vector<std::vector<uint8_t>> generated_clip(uint64_t seed, ir::Size size, int count) {
  const nano::ClipGenerator generator(seed, size.width, size.height);
  std::vector<std::vector<uint8_t>> frames;
  frames.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) frames.push_back(generator.frame(i).frame);
  return frames;
}

ir::Graph quantized_rvm(int weight_bits, int activation_bits) {
  constexpr ir::Size size{80, 128};
  quant::CalibrationOptions options;
  options.method = quant::Method::minmax;
  options.jitter_copies = 0;
  static const ir::Graph fused = frontend::fuse(
      ir::extract(frontend::read_network(shared_file(weights)), ir::Variant::direct));
  static const quant::Calibration calibration = [&] {
    quant::Clip clip;
    for (const std::vector<uint8_t>& rgb : generated_clip(1, size, 3))
      clip.push_back({size.width, size.height, rgb});
    return quant::observe(fused, {clip}, options);
  }();
  quant::BitPolicy policy;
  policy.weights = weight_bits;
  policy.activations = activation_bits;
  return quant::quantize(fused, calibration, policy, options);
}

class Rvm : public testing::TestWithParam<const char*> {};

TEST_P(Rvm, EqualsTheInterpreterInEveryTensor) {
  MATTEC_NEED_SHARED(weights);
  MATTEC_NEED_TARGET(GetParam());
  targets::CompileOptions options;
  options.target = GetParam();
  options.size = {80, 128};
  options.keep_all = true;
  for (const int bits : {8, 4}) {
    SCOPED_TRACE(bits);
    expect_equal(quantized_rvm(bits, bits), options, generated_clip(2, options.size, 6), 4);
  }
}

TEST_P(Rvm, EqualsTheInterpreterAt512x288) {
  MATTEC_NEED_SHARED(weights);
  MATTEC_NEED_TARGET(GetParam());
  targets::CompileOptions options;
  options.target = GetParam();
  options.size = {288, 512};
  expect_equal(quantized_rvm(4, 8), options, generated_clip(2, options.size, 2), 2);
}

INSTANTIATE_TEST_SUITE_P(Targets, Rvm, testing::ValuesIn(target_names()), test_name_of);

}  // namespace
}  // namespace mattec::test
