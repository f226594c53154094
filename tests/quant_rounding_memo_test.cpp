// What was rounded before is taken where all arguments are equal, and nowhere else.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "quant/measure_policy.h"
#include "quant/rounding_memo.h"
#include "quant/split.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::moving_pattern;
using testing::RandomMattingNetwork;

// The arguments of one call.
struct Arguments {
  ir::Graph graph;
  ir::Op op;
  Moments moments;
  WeightOptions options;
  std::vector<double> noise;

  Arguments() {
    constexpr int inputs = 6, outputs = 4;
    std::mt19937 engine(5);
    std::normal_distribution<float> normal;
    op.name = "conv";
    op.inputs = {graph.add_tensor("x", inputs)};
    graph.tensors.back().grid = ir::Grid{4, false, {0.1F}, {3}};
    op.output = graph.add_tensor("y", outputs);
    graph.tensors.back().grid = ir::Grid{8, false, {0.05F}, {128}};
    op.conv.output_channels = outputs;
    for (int i = 0; i < outputs * inputs; ++i) op.conv.weight.push_back(normal(engine));
    for (int i = 0; i < outputs; ++i) op.conv.bias.push_back(normal(engine));
    torch::manual_seed(3);
    const torch::Tensor x = torch::rand({30, inputs}, torch::kDouble),
                        g = torch::rand({30, outputs}, torch::kDouble);
    moments = {torch::mm(x.t(), x) / 30, x.mean(0), torch::mm(g.t(), g)};
    options.bits = 4;
    noise.assign(inputs, 1e-3);
  }
};

void expect_same(const ir::Convolution& a, const ir::Convolution& b, const std::string& what) {
  EXPECT_EQ(a.weight_bits, b.weight_bits) << what;
  EXPECT_EQ(a.quantized_weight, b.quantized_weight) << what;
  EXPECT_EQ(a.quantized_bias, b.quantized_bias) << what;
  EXPECT_EQ(a.accumulator_scale, b.accumulator_scale) << what;
  EXPECT_EQ(a.segment_shift, b.segment_shift) << what;
  EXPECT_EQ(a.pad_value, b.pad_value) << what;
  EXPECT_EQ(a.stride, b.stride) << what;
  EXPECT_EQ(a.weight, b.weight) << what;
}

TEST(RoundingMemo, RoundsAgainWhatDiffersInAnything) {
  const std::vector<std::pair<const char*, std::function<void(Arguments&)>>> changes = {
      {"weight", [](Arguments& a) { a.op.conv.weight[5] *= 2; }},
      {"bias", [](Arguments& a) { a.op.conv.bias[1] += 1; }},
      {"stride", [](Arguments& a) { a.op.conv.stride = 2; }},
      {"padding's value", [](Arguments& a) { a.op.conv.pad_value.assign(6, 0.5F); }},
      {"input's scale", [](Arguments& a) { a.graph.tensors[0].grid->scale[0] *= 2; }},
      {"input's bits", [](Arguments& a) { a.graph.tensors[0].grid->bits = 8; }},
      {"output's scale", [](Arguments& a) { a.graph.tensors[1].grid->scale[0] *= 2; }},
      {"bits", [](Arguments& a) { a.options.bits = 8; }},
      {"rounding", [](Arguments& a) { a.options.rounding = WeightRounding::nearest; }},
      {"scale", [](Arguments& a) { a.options.least_squares_scale = false; }},
      {"bias correction", [](Arguments& a) { a.options.bias_correction = false; }},
      {"damping", [](Arguments& a) { a.options.damping = 0.1; }},
      {"noise", [](Arguments& a) { a.noise[2] = 1; }},
      {"second moments", [](Arguments& a) { a.moments.second = a.moments.second * 2; }},
      {"first moments", [](Arguments& a) { a.moments.first = a.moments.first * 0.9; }},
      {"sensitivity", [](Arguments& a) { a.moments.sensitivity = torch::Tensor(); }},
  };
  for (const auto& [what, change] : changes) {
    const Arguments start;
    RoundingMemo memo;
    const auto rounded = [&memo](Arguments a, bool known) {
      EXPECT_EQ(memo.quantize(a.graph, a.op, a.moments, a.options, a.noise), known);
      return a.op.conv;
    };
    const auto directly = [](Arguments a) {
      quantize_convolution(a.graph, a.op, a.moments, a.options, a.noise);
      return a.op.conv;
    };
    expect_same(rounded(start, false), directly(start), "first");
    expect_same(rounded(start, true), directly(start), "the same again");
    Arguments changed = start;
    change(changed);
    expect_same(rounded(changed, false), directly(changed), what);
  }
}

// The network that comes of measuring has other bits, grids and split convolutions under the same
// names.
TEST(RoundingMemo, ChangesNothingAfterMeasuring) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    const ir::Graph fused = RandomMattingNetwork(seed).graph;
    std::vector<Clip> clips;
    for (uint32_t i = 0; i < 4; ++i) clips.push_back(moving_pattern(34, 26, 6, i));
    CalibrationOptions options;
    options.window = 6;
    options.jitter_copies = 0;
    Calibration calibration = observe(fused, clips, options);
    RoundingMemo memo;
    const std::vector<SiteError> errors =
        measure_sites(fused, clips, calibration, options, {}, &memo);
    const BitPolicy policy = best_policy(fused, errors, {}, {26, 34});
    const Split split = split_channels(fused, std::move(calibration), policy);
    const ir::Graph with =
        quantize(split.fused, split.calibration, split.policy, options, {}, &memo);
    const ir::Graph without = quantize(split.fused, split.calibration, split.policy, options);
    ASSERT_EQ(with.ops.size(), without.ops.size());
    for (size_t i = 0; i < with.ops.size(); ++i)
      expect_same(with.ops[i].conv, without.ops[i].conv, with.ops[i].name);
  }
}

}  // namespace
}  // namespace mattec::quant
