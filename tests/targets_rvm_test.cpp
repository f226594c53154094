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

ir::Graph quantized_rvm() {
  constexpr ir::Size size{80, 128};
  quant::Clip clip;
  for (const std::vector<uint8_t>& rgb : generated_clip(1, size, 3))
    clip.push_back({size.width, size.height, rgb});
  quant::CalibrationOptions options;
  options.method = quant::Method::minmax;
  options.jitter_copies = 0;
  const ir::Graph fused = frontend::fuse(
      ir::extract(frontend::read_network(shared_file(weights)), ir::Variant::direct));
  return quant::quantize(fused, quant::observe(fused, {clip}, options), {}, options);
}

class Rvm : public testing::TestWithParam<const char*> {};

TEST_P(Rvm, EqualsTheInterpreterInEveryTensor) {
  MATTEC_NEED_SHARED(weights);
  MATTEC_NEED_TARGET(GetParam());
  targets::CompileOptions options;
  options.target = GetParam();
  options.size = {80, 128};
  options.keep_all = true;
  expect_equal(quantized_rvm(), options, generated_clip(2, options.size, 6), 4);
}

TEST_P(Rvm, EqualsTheInterpreterAt512x288) {
  MATTEC_NEED_SHARED(weights);
  MATTEC_NEED_TARGET(GetParam());
  targets::CompileOptions options;
  options.target = GetParam();
  options.size = {288, 512};
  expect_equal(quantized_rvm(), options, generated_clip(2, options.size, 2), 2);
}

std::string name_of(const testing::TestParamInfo<const char*>& info) {
  return info.param == std::string("x86-64-avx2") ? "avx2" : "vnni";
}

INSTANTIATE_TEST_SUITE_P(Targets, Rvm, testing::Values("x86-64-avx2", "x86-64-avx512vnni"),
                         name_of);

}  // namespace
}  // namespace mattec::test
