#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "quant/weights.h"

namespace mattec::quant {
namespace {

using ir::Grid;

// One convolution of `channels`-wide inputs on the given grids, into a grid of `output_scale`.
struct Fixture {
  ir::Graph graph;
  ir::Op op;
  Moments moments;

  Fixture(const std::vector<Grid>& grids, int channels, int outputs, int kernel, bool depthwise,
          float output_scale = 0.05F) {
    std::mt19937 engine(7);
    std::normal_distribution<float> normal;
    for (size_t j = 0; j < grids.size(); ++j) {
      op.inputs.push_back(graph.add_tensor("x" + std::to_string(j), channels));
      graph.tensors.back().grid = grids[j];
    }
    const int inputs = channels * static_cast<int>(grids.size());
    const int row = (depthwise ? 1 : inputs) * kernel * kernel;
    op.name = "conv";
    op.conv.kernel = kernel;
    op.conv.depthwise = depthwise;
    op.conv.output_channels = outputs;
    for (int i = 0; i < outputs * row; ++i) op.conv.weight.push_back(0.1F * normal(engine));
    for (int i = 0; i < outputs; ++i) op.conv.bias.push_back(normal(engine));
    op.output = graph.add_tensor("y", outputs);
    graph.tensors.back().grid = Grid{8, false, {output_scale}, {128}};
    if (row > 1000) return;  // moments would be as large as they are useless there
    torch::manual_seed(3);
    const torch::TensorOptions real(torch::kDouble);
    if (depthwise) {
      const torch::Tensor x = torch::rand({outputs, row, 50}, real);
      moments = {torch::bmm(x, x.transpose(1, 2)) / 50, x.mean(2)};
    } else {
      const torch::Tensor x = torch::rand({int64_t{4} * row, row}, real);
      moments = {torch::mm(x.t(), x) / (4 * row), x.mean(0)};
    }
  }
};

Grid grid(float scale, int32_t zero_point = 0) { return {8, false, {scale}, {zero_point}}; }

// |real weight - weight| <= half a weight step, in every channel, for nearest rounding.
void expect_nearest(const Fixture& before, const Fixture& after) {
  const RealWeights real = real_weights(after.graph, after.op);
  const ir::Convolution& conv = after.op.conv;
  const size_t row = before.op.conv.weight.size() / before.op.conv.bias.size();
  const size_t taps = static_cast<size_t>(conv.kernel) * conv.kernel;
  for (size_t i = 0; i < real.weight.size(); ++i) {
    const size_t o = i / row, channel = conv.depthwise ? o : i % row / taps;
    size_t segment = 0, first = 0;
    while (channel >= first + static_cast<size_t>(after.graph.tensors[segment].channels))
      first += static_cast<size_t>(after.graph.tensors[segment++].channels);
    const double input =
        after.graph.tensors[segment].grid->scale_of(static_cast<int>(channel - first));
    const double step = std::ldexp(conv.accumulator_scale[o], conv.segment_shift[segment]) / input;
    ASSERT_LE(std::fabs(real.weight[i] - before.op.conv.weight[i]), 0.501 * step) << i;
    ASSERT_LE(std::abs(conv.quantized_weight[i]), 127);
  }
  for (size_t o = 0; o < real.bias.size(); ++o)
    ASSERT_NEAR(real.bias[o], before.op.conv.bias[o], 0.51 * conv.accumulator_scale[o]);
}

WeightOptions plain() {
  WeightOptions options;
  options.rounding = WeightRounding::nearest;
  options.least_squares_scale = false;
  options.bias_correction = false;
  return options;
}

TEST(Weights, OfOneSegmentAreNearest) {
  const Fixture before({grid(0.02F, 7)}, 5, 6, 3, false);
  Fixture after = before;
  quantize_convolution(after.graph, after.op, {}, plain());
  expect_nearest(before, after);
  EXPECT_EQ(after.op.conv.segment_shift, std::vector<int>{0});
  EXPECT_TRUE(after.op.conv.weight.empty());
}

TEST(Weights, OfADepthwiseFilterTakeItsChannelsScale) {
  Grid channels{8, false, {}, {}};
  for (int c = 0; c < 6; ++c) {
    channels.scale.push_back(std::ldexp(0.013F, 2 * c - 8));
    channels.zero_point.push_back(10 * c);
  }
  const Fixture before({channels}, 6, 6, 3, true);
  Fixture after = before;
  quantize_convolution(after.graph, after.op, {}, plain());
  expect_nearest(before, after);
  // The largest weight of every filter uses the whole range, however small its input's scale.
  for (size_t o = 0; o < 6; ++o) {
    int largest = 0;
    for (size_t i = 0; i < 9; ++i)
      largest = std::max(largest, std::abs(int{after.op.conv.quantized_weight[o * 9 + i]}));
    EXPECT_EQ(largest, 127) << o;
  }
}

TEST(Weights, OfSegmentsKeepTheirPrecisionByShifts) {
  const Fixture before({grid(1.0F), grid(1.0F / 1024), grid(1.0F / 16)}, 8, 4, 1, false);
  Fixture after = before;
  quantize_convolution(after.graph, after.op, {}, plain());
  EXPECT_EQ(after.op.conv.segment_shift, (std::vector<int>{10, 0, 6}));
  expect_nearest(before, after);
  int largest[3] = {0, 0, 0};
  for (size_t i = 0; i < after.op.conv.quantized_weight.size(); ++i)
    largest[i % 24 / 8] =
        std::max(largest[i % 24 / 8], std::abs(int{after.op.conv.quantized_weight[i]}));
  for (const int value : largest) EXPECT_GT(value, 60);
}

TEST(Weights, LowerShiftsWhereSumsWouldLeave32Bits) {
  // 127 * 255 * 3000 products is 2^26.5: 15 bits of shift do not fit above that.
  const Fixture before({grid(1.0F), grid(1.0F / 65536)}, 3000, 1, 1, false);
  Fixture after = before;
  quantize_convolution(after.graph, after.op, {}, plain());
  EXPECT_EQ(after.op.conv.segment_shift[1], 0);
  EXPECT_GT(after.op.conv.segment_shift[0], 1);
  EXPECT_LT(after.op.conv.segment_shift[0], 15);
  double reach = std::abs(double{1.0 * after.op.conv.quantized_bias[0]});
  for (size_t i = 0; i < 6000; ++i)
    reach += std::ldexp(std::abs(after.op.conv.quantized_weight[i]) * 255.0,
                        after.op.conv.segment_shift[i / 3000]);
  EXPECT_LT(reach, 0x1p31);
  expect_nearest(before, after);
}

TEST(Weights, BiasCorrectionKeepsTheMean) {
  for (const bool depthwise : {false, true}) {
    const Fixture before({grid(0.5F)}, 6, 6, 3, depthwise);
    Fixture after = before;
    WeightOptions options;
    options.bits = 4;  // large errors
    quantize_convolution(after.graph, after.op, after.moments, options);
    const RealWeights real = real_weights(after.graph, after.op);
    const double* mean = before.moments.first.data_ptr<double>();
    const size_t row = real.weight.size() / 6;
    for (size_t o = 0; o < 6; ++o) {
      double expected = before.op.conv.bias[o], got = real.bias[o], moved = 0;
      for (size_t i = 0; i < row; ++i) {
        const double m = mean[depthwise ? o * row + i : i];
        expected += before.op.conv.weight[o * row + i] * m;
        got += real.weight[o * row + i] * m;
        moved += std::fabs(real.weight[o * row + i] - before.op.conv.weight[o * row + i]);
      }
      EXPECT_GT(moved, 0.01);
      EXPECT_NEAR(got, expected, std::fabs(after.op.conv.accumulator_scale[o]));
    }
  }
}

// Two inputs that always agree, of variance 1. Rounded coarsely, both carry the weight of one; in
// steps so fine that rounding adds nothing it stays where it is.
TEST(Weights, AverageInputsWhoseRoundingIsNoise) {
  for (const bool coarse : {true, false}) {
    Fixture fixture({grid(coarse ? 1 : 1.0F / 64)}, 2, 1, 1, false);
    fixture.op.conv.weight = {0.1F, 0};
    fixture.moments = {torch::ones({2, 2}, torch::kDouble), torch::zeros({2}, torch::kDouble)};
    quantize_convolution(fixture.graph, fixture.op, fixture.moments, {});
    const RealWeights real = real_weights(fixture.graph, fixture.op);
    EXPECT_NEAR(real.weight[0] + real.weight[1], 0.1, 0.002);
    if (coarse)
      EXPECT_GT(real.weight[1], 0.04);
    else
      EXPECT_LT(std::fabs(real.weight[1]), 0.005);
  }
}

// Of two channels that say the same the one that rounding leaves as it is gets the weight.
TEST(Weights, PreferInputsThatRoundingLeavesAsTheyAre) {
  for (const size_t exact : {0, 1}) {
    Fixture fixture({grid(1)}, 2, 1, 1, false);
    fixture.op.conv.weight = {0.05F, 0.05F};
    fixture.moments = {torch::ones({2, 2}, torch::kDouble), torch::zeros({2}, torch::kDouble)};
    std::vector<double> noise = {1.0 / 12, 1.0 / 12};
    noise[exact] = 0;
    quantize_convolution(fixture.graph, fixture.op, fixture.moments, {}, noise);
    const RealWeights real = real_weights(fixture.graph, fixture.op);
    EXPECT_NEAR(real.weight[exact], 0.1, 0.01);
    EXPECT_NEAR(real.weight[1 - exact], 0, 0.01);
  }
}

TEST(Weights, OfDeadFiltersKeepTheBias) {
  for (const float size : {0.0F, 1e-30F, 1e-9F}) {
    Fixture fixture({grid(0.02F), grid(1e-6F)}, 4, 3, 1, false);
    for (size_t i = 0; i < fixture.op.conv.weight.size(); ++i)
      fixture.op.conv.weight[i] = i % 2 == 0 ? size : -size;
    fixture.op.conv.bias = {3.0F, -1e4F, 0.0F};
    quantize_convolution(fixture.graph, fixture.op, {}, plain());
    const RealWeights real = real_weights(fixture.graph, fixture.op);
    EXPECT_NEAR(real.bias[0], 3.0, 1e-5);
    EXPECT_NEAR(real.bias[1], -1e4, 1e-2);
    EXPECT_EQ(real.bias[2], 0);
    for (const float scale : fixture.op.conv.accumulator_scale) {
      EXPECT_GT(scale, 0);
      EXPECT_GE(scale / 0.05F, 0x1p-42F);  // 2^-26 of a step, less 15 bits of shift
    }
  }
}

TEST(Weights, RefuseValuesThatAreNotFinite) {
  Fixture weight({grid(0.02F)}, 4, 3, 1, false), bias = weight;
  weight.op.conv.weight[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(quantize_convolution(weight.graph, weight.op, weight.moments, {}), Error);
  bias.op.conv.bias[1] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(quantize_convolution(bias.graph, bias.op, bias.moments, {}), Error);
}

}  // namespace
}  // namespace mattec::quant
