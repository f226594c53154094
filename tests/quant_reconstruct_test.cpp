// Block reconstruction: what is trained is what the integer engine then computes, and it helps.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "error_of.h"
#include "played_bytes.h"
#include "quant/reconstruct.h"
#include "quantized_small.h"

namespace mattec::quant {
namespace {

using testing::integer_bytes;
using testing::mean_difference;
using testing::quantized;
using testing::SmallMattingNetwork;
using testing::training_clips;
using testing::with_low_weights;

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
