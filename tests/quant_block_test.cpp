// What block reconstruction is made of: soft weights, blocks as networks, what each is worth.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "played_bytes.h"
#include "quant/block_data.h"
#include "quant/block_network.h"
#include "quant/reconstruct.h"
#include "quant/simulate.h"
#include "quant/soft_weights.h"
#include "quantized_small.h"

namespace mattec::quant {
namespace {

using testing::moving_pattern;
using testing::quantized;
using testing::RandomMattingNetwork;
using testing::SmallMattingNetwork;
using testing::tensor_of;
using testing::training_clips;
using testing::with_low_weights;
using torch::Tensor;

constexpr int width = testing::small_width, height = testing::small_height;

TEST(SoftWeights, StartAtTheIntegersAndLeanTowardsTheFloatWeights) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  for (const Method method : {Method::minmax, Method::gptq}) {
    const ir::Graph graph = quantized(fused, method, 4);
    double soft = 0, hard = 0;
    for (const ir::Op& op : graph.ops) {
      if (op.kind != ir::OpKind::conv) continue;
      const std::vector<float>& weight = testing::op_named(fused, op.name).conv.weight;
      const SoftWeights weights(graph, op, weight);
      EXPECT_EQ(weights.integers(), op.conv.quantized_weight) << op.name;
      const Tensor target = torch::tensor(weight).reshape_as(weights.soft());
      // Towards the float weight, if maybe beyond one that is nearly met.
      const Tensor leaning = (weights.soft() - weights.hard()) * (target - weights.hard());
      EXPECT_GE(leaning.min().item<double>(), -1e-9) << op.name;
      soft += (weights.soft() - target).abs().sum().item<double>();
      hard += (weights.hard() - target).abs().sum().item<double>();
    }
    EXPECT_LT(soft, 0.9 * hard);
  }
}

TEST(SoftWeights, MoveByOneStepAtMostAndStayInRange) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  const ir::Graph graph = quantized(fused, Method::minmax, 4);
  int moved = 0;
  for (const ir::Op& op : graph.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    const SoftWeights weights(graph, op, testing::op_named(fused, op.name).conv.weight);
    EXPECT_GT(weights.indecision(2).item<double>(), 0);
    for (const double end : {-9.0, 9.0}) {
      {
        const torch::NoGradGuard no_gradients;
        Tensor(weights.rounding()).fill_(end);
      }
      EXPECT_EQ(weights.indecision(2).item<double>(), 0);
      EXPECT_TRUE(torch::equal(weights.soft(), weights.hard()));
      const std::vector<int8_t> integers = weights.integers();
      for (size_t i = 0; i < integers.size(); ++i) {
        EXPECT_GE(integers[i], -8);
        EXPECT_LE(integers[i], 7);
        EXPECT_LE(std::abs(integers[i] - op.conv.quantized_weight[i]), 1);
        moved += integers[i] != op.conv.quantized_weight[i] ? 1 : 0;
      }
    }
  }
  EXPECT_GT(moved, 100);
}

// Every parameter moved at random: they mean the same after folding.
TEST(BlockNetwork, ComputesWhatItFoldsTo) {
  const Clip clip = moving_pattern(width, height, 5, 9);
  for (uint32_t seed = 1; seed <= 4; ++seed)
    for (const int bits : {4, 8}) {
      const ir::Graph fused = RandomMattingNetwork(seed).graph;
      ir::Graph graph = quantized(fused, Method::gptq, bits);
      const torch::NoGradGuard no_gradients;
      torch::manual_seed(seed);
      Values values(graph.tensors.size());
      values[static_cast<size_t>(graph.frame)] = tensor_of(clip[0]);
      values[static_cast<size_t>(graph.states[0].input)] = torch::zeros({1, 4, 13, 17});
      Values folded_values = values;
      for (const Block& block : blocks_of(graph)) {
        BlockNetwork network(graph, fused, block, seed);
        for (Tensor rounding : network.roundings()) rounding += torch::randn_like(rounding);
        for (Tensor bias : network.biases()) bias += 0.05 * torch::randn_like(bias);
        for (Tensor scale : network.scales()) scale += 0.05 * torch::randn_like(scale);
        network.prepare(BlockNetwork::Weights::hard, 0);
        network.run(values);
        graph = network.folded();
        run_block(graph, block, block_simulator(graph), folded_values);
        for (const ir::TensorId id : block.outputs) {
          const Tensor &a = values[static_cast<size_t>(id)],
                       &b = folded_values[static_cast<size_t>(id)];
          // Float sums may round to the other side.
          EXPECT_LT((a - b).abs().mean().item<double>(), 1e-3 * (1 + b.abs().mean().item<double>()))
              << block.name << ", seed " << seed << ", " << bits << " bits";
        }
        folded_values = values;
      }
    }
}

TEST(BlockNetwork, LeavesADroppedShareUnrounded) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  const ir::Graph graph = quantized(fused, Method::mse, 4);
  const Block block = blocks_of(graph)[0];
  BlockNetwork network(graph, fused, block, 1);
  const torch::NoGradGuard no_gradients;
  Values values(graph.tensors.size());
  values[static_cast<size_t>(graph.frame)] = tensor_of(training_clips()[0][0]);
  const ir::TensorId id = block.outputs[0];
  const auto unrounded = [&](double dropped) {
    network.prepare(BlockNetwork::Weights::hard, dropped);
    network.run(values);
    const Tensor& value = values[static_cast<size_t>(id)];
    const Tensor rounded = round_to_grid(value, *graph.tensor(id).grid);
    return ((value - rounded).abs() > 1e-5).to(torch::kFloat).mean().item<double>();
  };
  EXPECT_EQ(unrounded(0), 0);
  const double all = unrounded(1);
  EXPECT_GT(all, 0.3);
  EXPECT_NEAR(unrounded(0.5), all / 2, 0.1 * all);
}

// One channel, the same error and gradient everywhere: the sum of squared changes of alpha, but for
// the little that is added everywhere.
TEST(AlphaChange, IsASquareOfAlphasWhateverTheTensorsUnit) {
  const Tensor even = torch::full({1, 1, 5, 7}, 0.25);
  EXPECT_NEAR(alpha_change(even, 2 * even).item<double>(), 1.05 * 35 * 0.125 * 0.125, 1e-5);
  EXPECT_EQ(alpha_change(even, 0 * even).item<double>(), 0);
  torch::manual_seed(1);
  const Tensor difference = torch::randn({1, 4, 5, 7}), gradient = torch::randn({1, 4, 5, 7});
  const double change = alpha_change(difference, gradient).item<double>();
  EXPECT_NEAR(alpha_change(8 * difference, gradient / 8).item<double>(), change, 1e-4 * change);
}

TEST(StepsOf, GoByTheRootOfGainOverCost) {
  const std::vector<double> gains = {0.1, 0.4, 0.1, 0.4, 0}, costs = {1, 1, 4, 4, 1};
  for (const int mean : {4, 1001}) {
    const std::vector<int> steps = steps_of(gains, costs, mean);
    // Each is rounded by half a step at most.
    EXPECT_NEAR(std::inner_product(steps.begin(), steps.end(), costs.begin(), 0.0), mean * 11, 5.5);
    EXPECT_NEAR(steps[1] - 1, 2 * (steps[0] - 1), 2);
    EXPECT_NEAR(steps[2] - 1, (steps[0] - 1) / 2.0, 1);
    EXPECT_NEAR(steps[3], steps[0], 1);
    EXPECT_EQ(steps[4], 1);
  }
  EXPECT_EQ(steps_of(gains, costs, 1), std::vector<int>(5, 1));
  EXPECT_EQ(steps_of({0, 0}, {1, 4}, 100), std::vector<int>(2, 1));
}

// The sum of all but one.
double rest(const std::vector<double>& values, size_t but) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += i == but ? 0 : values[i];
  return sum;
}

TEST(BlockData, MeasuresWhatEachBlockDoesByItself) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  const ir::Graph even = quantized(fused, Method::minmax, 8);
  const std::vector<Block> blocks = blocks_of(even);
  // One window to train on: shares of others change by one factor.
  const std::vector<Clip> clips = {training_clips()[0], training_clips()[1]};
  ReconstructionOptions options;
  options.windows_per_clip = 1;
  const std::vector<double> before = BlockData(fused, even, blocks, clips, options).gains();
  ASSERT_EQ(before.size(), blocks.size());
  EXPECT_NEAR(std::accumulate(before.begin(), before.end(), 0.0), 1, 0.02);
  size_t measured = 0;
  for (size_t b = 0; b < blocks.size(); ++b) {
    EXPECT_GE(before[b], 0);
    if (before[b] == 0) continue;
    ++measured;
    const ir::Graph low = with_low_weights(fused, even, blocks[b]);
    const std::vector<double> gains = BlockData(fused, low, blocks, clips, options).gains();
    EXPECT_GT(gains[b] / rest(gains, b), 2 * before[b] / rest(before, b)) << blocks[b].name;
    for (size_t other = 0; other < blocks.size(); ++other) {
      if (other == b) continue;
      EXPECT_NEAR(gains[other] / rest(gains, b), before[other] / rest(before, b), 1e-4)
          << blocks[other].name << " beside " << blocks[b].name;
    }
  }
  EXPECT_GT(measured, 2U);
}

}  // namespace
}  // namespace mattec::quant
