// Robust Video Matting with its real weights: interpreter and every target agree in every stored
// integer.
#include <gtest/gtest.h>

#include "frontend/fuse.h"
#include "frontend/read_network.h"
#include "targets/inspect.h"
#include "tests/compiled_network.h"
#include "tests/firmware.h"
#include "tests/quantized_network.h"
#include "tests/shared_data.h"

namespace mattec::test {
namespace {

constexpr char weights[] = "models/rvm_mobilenetv3.safetensors";

ir::Graph quantized_rvm(int weight_bits, int activation_bits) {
  static const Quantizable network(frontend::fuse(
      ir::extract(frontend::read_network(shared_file(weights)), ir::Variant::direct)));
  return network.quantized(weight_bits, activation_bits);
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
  const targets::CompiledLibrary library = expect_firmware(quantized_rvm(4, 8), {144, 256}, 2);
  const targets::LibraryContents contents = targets::inspect_archive("librvm.a", library.archive);
  EXPECT_LT(contents.text_bytes + contents.constant_bytes, 3500000U);
  EXPECT_LE(contents.stack_bytes, 16384U);
}

INSTANTIATE_TEST_SUITE_P(Targets, Rvm, testing::ValuesIn(hosted_target_names()), test_name_of);

}  // namespace
}  // namespace mattec::test
