// Every kernel on random shapes and parameters: compiled code must equal the interpreter in every
// integer that it stores, whatever the target, the number of threads, and the frames before.
#include <gtest/gtest.h>

#include <random>
#include <tuple>

#include "base/error.h"
#include "ir/verify.h"
#include "tests/compiled_network.h"
#include "tests/ir_graphs.h"
#include "tests/kernel_graphs.h"

namespace mattec::test {
namespace {

// One network at one frame size on one target.
struct Case {
  std::string target;
  uint32_t seed;
  ir::Size size;
  int most_channels;
  bool extreme;
};

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const std::string name =
      test_name(info.param.target) + "_seed" + std::to_string(info.param.seed) + "_" +
      std::to_string(info.param.size.width) + "x" + std::to_string(info.param.size.height);
  return name + (info.param.extreme ? "_extreme" : "");
}

// Noise in every third frame, else a flat colour with some: clamps see both ends of their range.
std::vector<uint8_t> random_frame(ir::Size size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> rgb(static_cast<size_t>(size.height) * size.width * 3);
  const bool noise = seed % 3 == 0;
  const auto base = static_cast<uint8_t>(random() % 2 == 0 ? 0 : 255);
  for (uint8_t& value : rgb)
    value = noise || random() % 4 == 0 ? static_cast<uint8_t>(random()) : base;
  return rgb;
}

class Kernels : public testing::TestWithParam<Case> {};

TEST_P(Kernels, EqualTheInterpreter) {
  const Case& now = GetParam();
  MATTEC_NEED_TARGET(now.target);
  ir::Graph graph = random_matting_graph(now.seed, now.most_channels);
  if (now.extreme) make_extreme(graph, now.seed + 1);
  ir::verify(graph, "random graph");

  targets::CompileOptions options;
  options.target = now.target;
  options.size = now.size;
  options.keep_all = true;
  options.work_per_task = 2e4;  // several tasks a kernel, small as these tensors are
  std::vector<std::vector<uint8_t>> frames;
  for (uint32_t i = 0; i < 5; ++i) frames.push_back(random_frame(now.size, now.seed * 100 + i));
  expect_equal(graph, options, frames, 3);
}

// All inputs at the end of their grid, all weights -8 or 7: the largest sums that 16 bits must
// hold, for every way of dividing a sum (by positions, rows, parts of rows, groups of channels).
class LargestSums : public testing::TestWithParam<const char*> {};

ir::Graph largest_sums(int bits, int channels, int kernel) {
  GraphMaker make(1);
  GraphMaker::ConvolutionShape shape;
  shape.output_channels = channels;
  const auto high = (1 << bits) - 1;
  const ir::TensorId full =
      make.conv_to({make.graph.frame}, shape, ir::Grid{bits, false, {1.0F}, {0}});
  ir::Convolution& constant = make.graph.ops.back().conv;
  constant.quantized_weight.assign(constant.quantized_weight.size(), 0);
  constant.quantized_bias.assign(constant.quantized_bias.size(), 1);
  constant.accumulator_scale.assign(constant.accumulator_scale.size(), 1e6F);

  shape.kernel = kernel;
  shape.padding = kernel / 2;
  shape.output_channels = 16;
  shape.activation = ir::Activation::none;
  const ir::TensorId summed = make.conv_to({full}, shape, ir::Grid{8, false, {1.0F}, {128}});
  ir::Convolution& sums = make.graph.ops.back().conv;
  const size_t row = sums.quantized_weight.size() / 16;
  const float range = static_cast<float>(row) * 8 * static_cast<float>(high);
  sums.weight_bits = 4;
  for (size_t i = 0; i < sums.quantized_weight.size(); ++i)
    sums.quantized_weight[i] = static_cast<int8_t>(i / row % 2 == 0 ? -8 : 7);
  for (size_t o = 0; o < 16; ++o) {
    sums.quantized_bias[o] = 0;
    sums.accumulator_scale[o] = (100 + static_cast<float>(o)) / range;
  }
  make.outputs(summed);
  return make.graph;
}

TEST_P(LargestSums, EqualTheInterpreter) {
  MATTEC_NEED_TARGET(GetParam());
  targets::CompileOptions options;
  options.target = GetParam();
  options.size = {16, 16};
  options.keep_all = true;
  for (const auto& [bits, channels, kernel] :
       {std::tuple(8, 72, 1), std::tuple(8, 40, 3), std::tuple(8, 64, 3), std::tuple(8, 20, 5),
        std::tuple(4, 600, 1), std::tuple(4, 60, 3), std::tuple(4, 64, 3), std::tuple(4, 200, 3)}) {
    SCOPED_TRACE(std::to_string(bits) + " bits, " + std::to_string(channels) + " channels, " +
                 std::to_string(kernel) + "x" + std::to_string(kernel));
    expect_equal(largest_sums(bits, channels, kernel), options, {random_frame({16, 16}, 1)}, 9);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, LargestSums, testing::ValuesIn(target_names()), test_name_of);

// Alpha and foreground need not be two convolutions of the same tensors.
class Outputs : public testing::TestWithParam<const char*> {
 protected:
  static void expect_equal_outputs(const ir::Graph& graph) {
    const ir::Size size = {17, 21};
    std::vector<std::vector<uint8_t>> frames;
    for (uint32_t i = 0; i < 5; ++i) frames.push_back(random_frame(size, i));
    expect_every_tensor(graph, GetParam(), size, frames);
  }
  static ir::TensorId conv(GraphMaker& make, ir::TensorId input, int channels, ir::Grid grid) {
    GraphMaker::ConvolutionShape shape;
    shape.kernel = 3;
    shape.padding = 1;
    shape.output_channels = channels;
    return make.conv_to({input}, shape, std::move(grid));
  }
};

TEST_P(Outputs, AlphaAlone) {
  GraphMaker make(1);
  const ir::TensorId x = conv(make, make.graph.frame, 8, make.grid(8, false));
  make.outputs(x);
  make.graph.outputs.erase(make.graph.outputs.begin());
  expect_equal_outputs(ir::extract(make.graph, ir::Variant::direct));
}

TEST_P(Outputs, OfDifferentTensors) {
  GraphMaker make(2);
  const ir::TensorId x = conv(make, make.graph.frame, 8, make.grid(8, false));
  const ir::TensorId fgr = conv(make, x, 3, unit_grid());
  const ir::TensorId pha = conv(make, make.graph.frame, 1, unit_grid());
  make.graph.outputs = {{"fgr", fgr, ir::Variant::both}, {"pha", pha, ir::Variant::both}};
  expect_equal_outputs(make.graph);
}

// Channels of a wider tensor, and an output that is read again.
TEST_P(Outputs, SlicesThatOthersRead) {
  GraphMaker make(3);
  const ir::TensorId x = conv(make, make.graph.frame, 20, unit_grid());
  const ir::TensorId fgr = make.slice(x, 9, 3);
  const ir::TensorId pha = conv(make, fgr, 1, unit_grid());
  make.graph.outputs = {{"fgr", fgr, ir::Variant::both}, {"pha", pha, ir::Variant::both}};
  expect_equal_outputs(make.graph);
}

// A copy of most channels, which would keep its gaps for a convolution.
TEST_P(Outputs, ChannelsThatAreMovedTogether) {
  GraphMaker make(4);
  const ir::TensorId x = conv(make, make.graph.frame, 4, make.grid(4, false));
  const ir::TensorId fgr = make.take(x, {0, 2, 3}, unit_grid());
  const ir::TensorId pha = conv(make, x, 1, unit_grid());
  make.graph.outputs = {{"fgr", fgr, ir::Variant::both}, {"pha", pha, ir::Variant::both}};
  expect_equal_outputs(make.graph);
}

INSTANTIATE_TEST_SUITE_P(Targets, Outputs, testing::ValuesIn(target_names()), test_name_of);

// Instead of an illegal instruction.
TEST(WrongProcessor, IsRefusedByInit) {
  const std::string target = "arm-64-dotprod";
  MATTEC_NEED_TARGET(target);
  targets::CompileOptions options;
  options.target = target;
  options.size = {16, 16};
  const targets::CompiledLibrary library = targets::compile(random_matting_graph(1, 9), options);
  const auto refusal = [&](const char* cpu) {
    try {
      targets::run_library(library, options.name, cpu)->open(1);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("runs");
  };
  EXPECT_EQ(
      refusal("cortex-a53"),
      "mattec_init answers " + std::to_string(MATTEC_ERROR_UNSUPPORTED_CPU) + " under cortex-a53");
  EXPECT_EQ(refusal("cortex-a76"), "runs");
}

std::vector<Case> cases() {
  std::vector<Case> made;
  for (const char* target : target_names()) {
    made.push_back({target, 2, {33, 17}, 70, false});
    if (!targets::find_target(target).is_hosted) continue;  // the kernels of arm-64
    made.push_back({target, 7, {19, 38}, 36, true});
    if (target == std::string("arm-64-i8mm")) continue;  // dotprod's code, but for the sums
    made.push_back({target, 4, {50, 31}, 40, false});
    if (is_emulated(target)) continue;
    made.push_back({target, 1, {16, 16}, 20, false});
    made.push_back({target, 3, {31, 50}, 9, false});
    made.push_back({target, 5, {64, 48}, 33, false});
    made.push_back({target, 6, {48, 64}, 16, true});
  }
  return made;
}

INSTANTIATE_TEST_SUITE_P(Random, Kernels, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace mattec::test
