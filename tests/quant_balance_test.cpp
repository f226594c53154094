// Scales of channels shared out between activations and 4-bit weights.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "quant/balance.h"
#include "quant/grids.h"
#include "quant/weights.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::op_named;
using testing::RandomMattingNetwork;
using testing::SmallMattingNetwork;
using testing::tensor_named;

Moments random_moments(const ir::Op& op, const ir::Graph& graph, uint32_t seed) {
  torch::manual_seed(seed);
  const int64_t taps = int64_t{op.conv.kernel} * op.conv.kernel;
  int64_t inputs = 0;
  for (int j = 0; j < op.segment_count(); ++j)
    inputs += graph.tensor(op.inputs[static_cast<size_t>(j)]).channels;
  const int64_t size = op.conv.depthwise ? taps : inputs * taps;
  // Channels of sizes that differ by orders.
  const torch::Tensor spread = torch::exp(torch::randn({size, 1}, torch::kDouble));
  const torch::Tensor mix = torch::randn({size, 2 * size}, torch::kDouble) * spread;
  Moments moments;
  moments.first = torch::zeros({size}, torch::kDouble);
  moments.second = torch::mm(mix, mix.t()) / static_cast<double>(2 * size);
  if (op.conv.depthwise) {
    moments.first = moments.first.repeat({op.conv.output_channels, 1});
    moments.second = moments.second.repeat({op.conv.output_channels, 1, 1});
  } else {
    moments.sensitivity = torch::diag(torch::rand({op.conv.output_channels}, torch::kDouble) + 0.1);
  }
  return moments;
}

std::vector<ObservedRange> random_ranges(const ir::Graph& fused, uint32_t seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(0.1F, 1);
  std::vector<ObservedRange> ranges;
  for (const ir::Tensor& tensor : fused.tensors) {
    ObservedRange range;
    for (int c = 0; c < tensor.channels; ++c) {
      range.channel_lowest.push_back(-uniform(engine));
      range.channel_highest.push_back(uniform(engine) * 2);
    }
    for (int i = 0; i < 64 * tensor.channels; ++i)
      range.channel_samples.push_back(uniform(engine) * 2 - 0.5F);
    range.samples = {-1, 0, 2};
    range.lowest = -1;
    range.highest = 2;
    ranges.push_back(range);
  }
  return ranges;
}

struct Case {
  explicit Case(const ir::Graph& fused, uint32_t seed, const BitPolicy& policy) : bits(policy) {
    for (const ir::Op& op : fused.ops)
      if (op.kind == ir::OpKind::conv) moments[op.name] = random_moments(op, fused, seed);
    plain = with_copies(fused, policy);
    assign_grids(plain, random_ranges(fused, seed), RangeMethod::channels, {});
    balanced = plain;
    balance_channels(balanced, moments, policy, WeightOptions{}.damping);
  }
  BitPolicy bits;
  std::map<std::string, Moments> moments;
  StoredGraph plain, balanced;
};

BitPolicy low_weights() {
  BitPolicy policy;
  policy.weights = 4;
  return policy;
}

// Expected squared error of one convolution's outputs, weighted by their sensitivity: of its
// rounded weights, and of inputs rounded to `stored`'s grids.
double expected_error(const StoredGraph& stored, const Case& of, const std::string& name) {
  ir::Op op = op_named(stored.graph, name);
  const torch::Tensor weight = torch::tensor(op.conv.weight, torch::kDouble);
  const Moments& moments = of.moments.at(name);
  const int64_t outputs = op.conv.output_channels, taps = int64_t{op.conv.kernel} * op.conv.kernel;
  std::vector<double> noise;
  for (int j = 0; j < op.segment_count(); ++j) {
    const ir::Tensor& input = stored.graph.tensor(op.inputs[static_cast<size_t>(j)]);
    for (int c = 0; c < input.channels; ++c)
      noise.push_back(std::pow(double{input.grid->scale_of(c)}, 2) / 12);
  }
  quantize_convolution(stored.graph, op, moments, {4});
  const RealWeights real = real_weights(stored.graph, op);
  const torch::Tensor wanted = weight.reshape({outputs, -1});
  const torch::Tensor lost =
      wanted - torch::tensor(real.weight, torch::kDouble).reshape({outputs, -1});
  const torch::Tensor input_noise =
      torch::diag(torch::tensor(noise, torch::kDouble).repeat_interleave(taps));
  const auto change = [&](const torch::Tensor& matrix, const torch::Tensor& covariance) {
    return (moments.sensitivity * torch::mm(torch::mm(matrix, covariance), matrix.t()))
        .sum()
        .item<double>();
  };
  return change(lost, covariance_of(moments)) + change(wanted, input_noise);
}

// Sums over the dense convolutions that read a balanced tensor.
TEST(Balance, LessensWhatRoundingDoesToTheOutputs) {
  double before = 0, after = 0;
  for (uint32_t seed = 0; seed < 10; ++seed) {
    const Case of(SmallMattingNetwork(seed).graph, seed, low_weights());
    for (const char* name : {"project", "decode", "last"}) {
      before += expected_error(of.plain, of, name);
      after += expected_error(of.balanced, of, name);
    }
  }
  EXPECT_LT(after, 0.93 * before);
}

TEST(Balance, OnlyWidensAndByEightAtMost) {
  int widened = 0;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const Case of(RandomMattingNetwork(seed).graph, seed, low_weights());
    for (size_t id = 0; id < of.plain.bits.size(); ++id) {
      const ir::Grid &plain = *of.plain.graph.tensors[id].grid,
                     &balanced = *of.balanced.graph.tensors[id].grid;
      for (int c = 0; c < of.plain.graph.tensors[id].channels; ++c) {
        const double low = -balanced.scale_of(c) * balanced.zero_point_of(c),
                     high = low + double{balanced.scale_of(c)} * balanced.highest(),
                     plain_low = -plain.scale_of(c) * plain.zero_point_of(c),
                     plain_high = plain_low + double{plain.scale_of(c)} * plain.highest();
        ASSERT_GE(balanced.scale_of(c), plain.scale_of(c) * 0.9999) << seed;
        ASSERT_LE(balanced.scale_of(c), plain.scale_of(c) * 8.001) << seed;
        // Nothing that was inside is outside, but for the rounding of the zero point.
        ASSERT_LE(low, plain_low + balanced.scale_of(c) * 0.51) << seed;
        ASSERT_GE(high, plain_high - balanced.scale_of(c) * 0.51) << seed;
        widened += balanced.scale_of(c) > plain.scale_of(c) * 1.2;
      }
    }
  }
  EXPECT_GT(widened, 100);
}

TEST(Balance, LeavesGridsAloneThatEightBitWeightsOrDepthwiseConvolutionsRead) {
  const ir::Graph fused = SmallMattingNetwork(3).graph;
  const Case high(fused, 3, {});
  for (size_t id = 0; id < high.plain.bits.size(); ++id)
    EXPECT_EQ(high.plain.graph.tensors[id].grid, high.balanced.graph.tensors[id].grid);
  const Case low(fused, 3, low_weights());
  const std::vector<GridRule> rules = grid_rules(low.plain.graph);
  for (size_t id = 0; id < low.plain.bits.size(); ++id)
    if (rules[id] != GridRule::per_tensor && rules[id] != GridRule::inherited) {
      EXPECT_EQ(low.plain.graph.tensors[id].grid, low.balanced.graph.tensors[id].grid)
          << low.plain.graph.tensors[id].name;
    }
}

TEST(Balance, KeepsInheritedGridsEqualToTheirSources) {
  const Case of(SmallMattingNetwork(4).graph, 4, low_weights());
  const auto grid = [&](const char* name) {
    return *of.balanced.graph.tensor(tensor_named(of.balanced.graph, name)).grid;
  };
  EXPECT_EQ(grid("up"), grid("decode"));
  const ir::Grid whole = grid("project"), part = grid("b");
  for (int c = 0; c < 4; ++c) EXPECT_EQ(part.scale_of(c), whole.scale_of(c + 4));
}

TEST(Balance, LeavesTensorsBesideABorderValueAlone) {
  ir::Graph fused = SmallMattingNetwork(5).graph;
  for (ir::Op& op : fused.ops)
    if (op.name == "decode") {
      int channels = 0;
      for (int j = 0; j < op.segment_count(); ++j)
        channels += fused.tensor(op.inputs[static_cast<size_t>(j)]).channels;
      op.conv.pad_value.assign(static_cast<size_t>(channels), 0.25F);
    }
  const Case of(fused, 5, low_weights());
  const auto id = static_cast<size_t>(tensor_named(of.plain.graph, "project"));
  EXPECT_EQ(of.plain.graph.tensors[id].grid, of.balanced.graph.tensors[id].grid);
}

}  // namespace
}  // namespace mattec::quant
