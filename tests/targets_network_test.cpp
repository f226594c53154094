// A whole trained network, the one inside mattec: interpreter, AVX2 and AVX512-VNNI agree in every
// byte over 30 recurrent frames, with the memory plan that products have.
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

const ir::Graph& quantized_nano() {
  static const ir::Graph graph = [] {
    constexpr ir::Size size{64, 96};
    quant::Clip clip;
    for (const std::vector<uint8_t>& rgb : generated_clip(1, size, 6))
      clip.push_back({size.width, size.height, rgb});
    quant::CalibrationOptions options;
    options.method = quant::Method::mse;
    options.jitter_copies = 0;
    const ir::Graph fused = frontend::fuse(ir::extract(nano::nano_network(), ir::Variant::direct));
    return quant::quantize(fused, quant::observe(fused, {clip}, options), {}, options);
  }();
  return graph;
}

class Network : public testing::TestWithParam<std::tuple<const char*, ir::Size>> {};

TEST_P(Network, EqualsTheInterpreterOver30Frames) {
  targets::CompileOptions options;
  options.target = std::get<0>(GetParam());
  options.size = std::get<1>(GetParam());
  options.work_per_task = 1e5;
  MATTEC_NEED_TARGET(options.target);
  expect_equal(quantized_nano(), options, generated_clip(2, options.size, 30), 20);
}

std::string name_of(const testing::TestParamInfo<Network::ParamType>& info) {
  const ir::Size size = std::get<1>(info.param);
  return std::string(std::get<0>(info.param) == std::string("x86-64-avx2") ? "avx2_" : "vnni_") +
         std::to_string(size.width) + "x" + std::to_string(size.height);
}

INSTANTIATE_TEST_SUITE_P(Nano, Network,
                         testing::Combine(testing::Values("x86-64-avx2", "x86-64-avx512vnni"),
                                          testing::Values(ir::Size{64, 96}, ir::Size{49, 75},
                                                          ir::Size{80, 48})),
                         name_of);

}  // namespace
}  // namespace mattec::test
