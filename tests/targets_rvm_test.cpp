// Robust Video Matting with its real weights: interpreter and every target agree in every stored
// integer. Ranges come from a generated clip: no statement about quality.
#include <gtest/gtest.h>

#include "frontend/fuse.h"
#include "frontend/read_network.h"
#include "nano/clip_generator.h"
#include "quant/calibrate.h"
#include "targets/inspect.h"
#include "tests/compiled_network.h"
#include "tests/firmware.h"
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
  options.size = is_emulated(GetParam()) ? ir::Size{64, 96} : ir::Size{80, 128};
  options.keep_all = true;
  for (const int bits : {8, 4}) {
    SCOPED_TRACE(bits);
    const int frames = is_emulated(GetParam()) ? 3 : 6;
    expect_equal(quantized_rvm(bits, bits), options, generated_clip(2, options.size, frames),
                 static_cast<size_t>(frames) - 2);
  }
}

// 512x288 where that takes seconds.
TEST_P(Rvm, EqualsTheInterpreterWith4BitWeights) {
  MATTEC_NEED_SHARED(weights);
  MATTEC_NEED_TARGET(GetParam());
  targets::CompileOptions options;
  options.target = GetParam();
  options.size = is_emulated(GetParam()) ? ir::Size{64, 96} : ir::Size{288, 512};
  expect_equal(quantized_rvm(4, 8), options, generated_clip(2, options.size, 2), 2);
}

// 256x144 at W4A8: flash for 3.5 MB.
TEST(Firmware, HoldsTheWholeNetwork) {
  MATTEC_NEED_SHARED(weights);
  MATTEC_NEED_TARGET(firmware_target);
  const ir::Graph graph = quantized_rvm(4, 8);
  targets::CompileOptions options;
  options.target = firmware_target;
  options.size = {144, 256};
  options.name = "rvm";
  const targets::CompiledLibrary library = targets::compile(graph, options);
  const targets::LibraryContents contents = targets::inspect_archive("librvm.a", library.archive);
  EXPECT_EQ(contents.undefined, std::vector<std::string>{});
  EXPECT_LT(contents.text_bytes + contents.constant_bytes, 3500000U);
  EXPECT_LE(contents.stack_bytes, 16384U);
  const Outcome played = run_firmware(library, "-DFRAMES=2");
  EXPECT_EQ(played.output, wanted_firmware_output(graph, options.size, 2));
  EXPECT_EQ(played.status, 0);
}

INSTANTIATE_TEST_SUITE_P(Targets, Rvm, testing::ValuesIn(hosted_target_names()), test_name_of);

}  // namespace
}  // namespace mattec::test
