// Block reconstruction: what is trained is what the integer engine then computes, and it helps.
#include <gtest/gtest.h>

#include "ir/error.h"
#include "played_bytes.h"
#include "quant/block_network.h"
#include "quant/reconstruct.h"
#include "quant/simulate.h"
#include "quant/soft_weights.h"
#include "quantized_small.h"

namespace mattec::quant {
namespace {

using testing::integer_bytes;
using testing::mean_difference;
using testing::moving_pattern;
using testing::quantized;
using testing::RandomMattingNetwork;
using testing::SmallMattingNetwork;
using testing::tensor_of;
using testing::training_clips;
using torch::Tensor;

constexpr int width = testing::small_width, height = testing::small_height;

ReconstructionOptions quick(Reconstruction method) {
  ReconstructionOptions options;
  options.method = method;
  options.steps = 60;
  return options;
}

void expect_same(const ir::Graph& a, const ir::Graph& b) {
  for (size_t i = 0; i < a.tensors.size(); ++i)
    EXPECT_EQ(*a.tensors[i].grid, *b.tensors[i].grid) << a.tensors[i].name;
  for (size_t i = 0; i < a.ops.size(); ++i) {
    const ir::Convolution &x = a.ops[i].conv, &y = b.ops[i].conv;
    EXPECT_EQ(x.quantized_weight, y.quantized_weight) << a.ops[i].name;
    EXPECT_EQ(x.quantized_bias, y.quantized_bias) << a.ops[i].name;
    EXPECT_EQ(x.accumulator_scale, y.accumulator_scale) << a.ops[i].name;
  }
}

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

TEST(Reconstruct, LowersTheErrorOfABadStart) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::minmax, 4);
  const Clip clip = training_clips()[1];  // not trained on; blocks are judged on it
  Executor executor(fused);
  const std::vector<int> exact = testing::bytes_of(executor, clip);
  for (const Reconstruction method : {Reconstruction::brecq, Reconstruction::qdrop}) {
    ReconstructionRecord record;
    const ir::Graph result = reconstruct(fused, start, training_clips(), quick(method), record);
    ASSERT_EQ(record.blocks.size(), blocks_of(start).size());
    size_t steps = 0;
    double left = 1;  // of the error of alpha
    for (const ReconstructedBlock& block : record.blocks) {
      steps += static_cast<size_t>(block.steps);
      if (block.is_kept()) left *= block.alpha_ratio;
    }
    EXPECT_EQ(record.loss.size(), steps);
    EXPECT_LT(left, 1);
    EXPECT_LT(mean_difference(integer_bytes(result, clip), exact),
              mean_difference(integer_bytes(start, clip), exact));
    size_t moved = 0;
    for (size_t i = 0; i < start.ops.size(); ++i)
      for (size_t k = 0; k < start.ops[i].conv.quantized_weight.size(); ++k)
        moved += start.ops[i].conv.quantized_weight[k] != result.ops[i].conv.quantized_weight[k];
    EXPECT_GT(moved, 0U);
  }
}

TEST(Reconstruct, LeavesABlockThatDoesNotGain) {
  const ir::Graph fused = SmallMattingNetwork(3).graph;
  const ir::Graph start = quantized(fused, Method::gptq, 8);
  ReconstructionOptions options = quick(Reconstruction::brecq);
  options.steps = 2;
  ReconstructionRecord record;
  const ir::Graph result = reconstruct(fused, start, training_clips(), options, record);
  const std::vector<Block> blocks = blocks_of(start);
  int refused = 0;
  for (size_t b = 0; b < blocks.size(); ++b) {
    if (record.blocks[b].is_kept()) continue;
    ++refused;
    for (const int i : blocks[b].ops) {
      const auto op = static_cast<size_t>(i);
      EXPECT_EQ(result.ops[op].conv.quantized_weight, start.ops[op].conv.quantized_weight);
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(Reconstruct, IsDeterministicAndStopsWhenTold) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  ReconstructionOptions options = quick(Reconstruction::qdrop);
  options.steps = 20;
  ReconstructionRecord first, second, other;
  const ir::Graph one = reconstruct(fused, start, training_clips(), options, first);
  expect_same(one, reconstruct(fused, start, training_clips(), options, second));
  EXPECT_EQ(first.loss, second.loss);
  options.seed = 1;
  reconstruct(fused, start, training_clips(), options, other);
  EXPECT_NE(first.loss, other.loss);
  options.stop = [] { return true; };
  ReconstructionRecord none;
  expect_same(reconstruct(fused, start, training_clips(), options, none), start);
  EXPECT_TRUE(none.loss.empty());
}

TEST(Reconstruct, GoesOnWhereItWasStopped) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  ReconstructionOptions options = quick(Reconstruction::brecq);
  options.steps = 20;
  ReconstructionRecord whole, parts;
  const ir::Graph one = reconstruct(fused, start, training_clips(), options, whole);
  EXPECT_FALSE(whole.stopped);
  ASSERT_GT(whole.blocks.size(), 2U);
  // In the middle of a block, and at once.
  const auto first = static_cast<size_t>(whole.blocks[0].steps);
  for (const size_t steps : {first + 3, first}) {
    ReconstructionOptions stopped = options;
    stopped.stop = [&parts, steps] { return parts.loss.size() >= steps; };
    reconstruct(fused, start, training_clips(), stopped, parts);
    ASSERT_TRUE(parts.stopped);
    EXPECT_EQ(parts.stopped->blocks, 1U);
  }
  expect_same(reconstruct(fused, start, training_clips(), options, parts), one);
  EXPECT_EQ(parts.loss, whole.loss);
  ASSERT_EQ(parts.blocks.size(), whole.blocks.size());
  for (size_t b = 0; b < parts.blocks.size(); ++b) {
    EXPECT_EQ(parts.blocks[b].ratio, whole.blocks[b].ratio);
    EXPECT_EQ(parts.blocks[b].alpha_ratio, whole.blocks[b].alpha_ratio);
  }
}

TEST(Reconstruct, NamesClipsThatDoNotDo) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  const ir::Graph start = quantized(fused, Method::mse, 8);
  ReconstructionRecord record;
  std::vector<Clip> clips = training_clips();
  clips[2].resize(3);
  try {
    reconstruct(fused, start, clips, quick(Reconstruction::qdrop), record);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "train: calibration clip 3 has 3 frames; training needs 4 of each clip");
  }
}

}  // namespace
}  // namespace mattec::quant
