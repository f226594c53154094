// Block reconstruction: what is trained is what the integer engine then computes, and it helps.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "error_of.h"
#include "played_bytes.h"
#include "quant/block_data.h"
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

// Nearest rounding, which changes nothing elsewhere: weights of `block` at 4 bits, all else at 8.
ir::Graph with_low_weights(const ir::Graph& fused, const ir::Graph& even, const Block& block) {
  CalibrationOptions options;
  options.method = Method::minmax;
  options.window = 6;
  BitPolicy policy;
  for (const int i : block.ops) {
    const ir::Op& op = even.ops[static_cast<size_t>(i)];
    if (op.kind == ir::OpKind::conv) policy.weight_bits[op.name] = 4;
  }
  return quantize(fused, observe(fused, training_clips(), options), policy, options);
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

TEST(Reconstruct, SpendsStepsWhereErrorIsMade) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const auto steps = [&fused](const ir::Graph& start) {
    ReconstructionOptions options = quick(Reconstruction::qdrop);
    options.steps = 20;
    ReconstructionRecord record;
    reconstruct(fused, start, training_clips(), options, record);
    std::vector<int> steps;
    for (const ReconstructedBlock& block : record.blocks) steps.push_back(block.steps);
    return steps;
  };
  const ir::Graph even = quantized(fused, Method::minmax, 8);
  const std::vector<int> before = steps(even);
  std::vector<size_t> order(before.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return before[a] < before[b]; });
  const size_t middle = order[order.size() / 2];
  ASSERT_GT(before[middle], 0);
  const ir::Graph low = with_low_weights(fused, even, blocks_of(even)[middle]);
  EXPECT_GT(steps(low)[middle], before[middle]);
}

TEST(Reconstruct, GoesOnWhereItWasStopped) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  ReconstructionOptions options = quick(Reconstruction::brecq);
  options.steps = 20;
  ReconstructionRecord whole, parts;
  const ir::Graph one = reconstruct(fused, start, training_clips(), options, whole);
  EXPECT_FALSE(whole.stopped);
  const auto longest = static_cast<size_t>(
      std::max_element(whole.blocks.begin(), whole.blocks.end(),
                       [](const auto& a, const auto& b) { return a.steps < b.steps; }) -
      whole.blocks.begin());
  size_t before = 0;
  for (size_t b = 0; b < longest; ++b) before += static_cast<size_t>(whole.blocks[b].steps);
  // In the middle of a block, and at once.
  for (const size_t steps : {before + 3, before}) {
    ReconstructionOptions stopped = options;
    stopped.stop = [&parts, steps] { return parts.loss.size() >= steps; };
    reconstruct(fused, start, training_clips(), stopped, parts);
    ASSERT_TRUE(parts.stopped);
    EXPECT_EQ(parts.stopped->blocks, longest);
  }
  expect_same(reconstruct(fused, start, training_clips(), options, parts), one);
  EXPECT_FALSE(parts.stopped);
  EXPECT_EQ(parts.loss, whole.loss);
  ASSERT_EQ(parts.blocks.size(), whole.blocks.size());
  for (size_t b = 0; b < parts.blocks.size(); ++b) {
    EXPECT_EQ(parts.blocks[b].steps, whole.blocks[b].steps);
    EXPECT_EQ(parts.blocks[b].ratio, whole.blocks[b].ratio);
    EXPECT_EQ(parts.blocks[b].alpha_ratio, whole.blocks[b].alpha_ratio);
  }
}

// Given up anywhere: while windows are played, in a step on its way forward or back, while a block
// is judged; and again where it goes on. The block begun is dropped, and comes again bit for bit.
TEST(Reconstruct, GoesOnWhereverItWasAborted) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  ReconstructionOptions options = quick(Reconstruction::qdrop);
  options.steps = 6;
  options.windows_per_clip = 1;
  long asked = 0;
  options.abort = [&asked] { return ++asked < 0; };
  ReconstructionRecord whole;
  const ir::Graph one = reconstruct(fused, start, training_clips(), options, whole);
  const long all = asked;
  ASSERT_GT(all, 500);
  size_t resumed = 0;
  for (long first = 1; first < all; first += all / 11) {
    ReconstructionRecord parts;
    ir::Graph last;
    for (long after = first;; after += all / 2) {
      ASSERT_LT(after, 9 * all);
      asked = 0;
      options.abort = [&asked, after] { return ++asked >= after; };
      last = reconstruct(fused, start, training_clips(), options, parts);
      if (!parts.stopped) break;
      ++resumed;
      EXPECT_EQ(asked, after);  // at once: not asked again
      expect_same(last, parts.stopped->network);
      EXPECT_EQ(parts.blocks.size(), parts.stopped->blocks);
      EXPECT_EQ(parts.loss.size(), parts.stopped->steps);
    }
    expect_same(last, one);
    EXPECT_EQ(parts.loss, whole.loss);
    ASSERT_EQ(parts.blocks.size(), whole.blocks.size());
    for (size_t b = 0; b < parts.blocks.size(); ++b)
      EXPECT_EQ(parts.blocks[b].alpha_ratio, whole.blocks[b].alpha_ratio);
  }
  EXPECT_GT(resumed, 11U);
}

TEST(Reconstruct, TellsHowFarItIsAtEachWindowAndStep) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  ReconstructionOptions options = quick(Reconstruction::brecq);
  options.steps = 8;
  ReconstructionRecord record;
  options.stop = [&record] { return record.loss.size() == 10; };
  for (const bool goes_on : {false, true}) {
    std::vector<double> fractions;
    size_t windows = 0, steps = 0;
    const size_t kept = goes_on ? record.stopped->steps : 0;
    reconstruct(fused, start, training_clips(), options, record,
                [&](double fraction, const std::string& what) {
                  fractions.push_back(fraction);
                  windows += what.find("playing windows, ") == 0 ? 1 : 0;
                  steps += what.find(", step ") != std::string::npos ? 1 : 0;
                });
    ASSERT_EQ(record.stopped.has_value(), !goes_on);
    EXPECT_EQ(windows, 8U);
    EXPECT_EQ(steps, record.loss.size() - kept);
    EXPECT_GT(fractions.front(), 0);
    EXPECT_TRUE(std::is_sorted(fractions.begin(), fractions.end()));
    EXPECT_EQ(fractions.back() > 1 - 1e-9, goes_on);
    EXPECT_LT(fractions.back(), 1 + 1e-9);
    options.stop = {};
  }
}

TEST(Reconstruct, StopsBetweenWindows) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  ReconstructionOptions options = quick(Reconstruction::qdrop);
  int told = 0;
  options.stop = [&told] { return told == 2; };
  ReconstructionRecord record;
  expect_same(reconstruct(fused, start, training_clips(), options, record,
                          [&told](double, const std::string&) { ++told; }),
              start);
  EXPECT_EQ(told, 2);
  ASSERT_TRUE(record.stopped);
  EXPECT_EQ(record.stopped->blocks, 0U);
}

TEST(Reconstruct, RefusesADamagedRecord) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  const ir::Graph start = quantized(fused, Method::mse, 8);
  ReconstructionOptions options = quick(Reconstruction::qdrop);
  options.stop = [] { return true; };
  const auto error = [&](ReconstructionRecord record) {
    return error_of([&] { reconstruct(fused, start, training_clips(), options, record); });
  };
  const size_t blocks = blocks_of(start).size();
  ReconstructionRecord good;
  good.blocks.resize(blocks);
  good.loss = {1, 0.5};
  good.stopped = {start, blocks - 1, 2};
  EXPECT_EQ(error(good), "no error");
  std::vector<ReconstructionRecord> damaged(6, good);
  damaged[0].blocks.resize(blocks - 2);
  damaged[1].blocks.resize(blocks + 1);
  damaged[1].stopped->blocks = blocks + 1;
  damaged[2].stopped->steps = 3;
  damaged[3].stopped->network.ops[1].name = "another";
  damaged[4].stopped->network.ops.pop_back();
  damaged[5].stopped->network.tensors.pop_back();
  for (const ReconstructionRecord& record : damaged)
    EXPECT_EQ(error(record),
              "reconstruct: the state to go on from is damaged, or of another network");
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
