// Training after rounding: what is trained is what the integer engine then computes.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "error_of.h"
#include "played_bytes.h"
#include "quant/adjust.h"
#include "quant/play.h"
#include "quant/simulate.h"
#include "quant/train.h"
#include "quant/trainable.h"
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

TrainingOptions quick() {
  TrainingOptions options;
  options.steps = 60;
  options.validation_step = 10;
  return options;
}

// Bytes of every output, as the integer engine rounds them.
std::vector<int> bytes_of(TrainableNetwork& network, const Clip& clip) {
  const torch::NoGradGuard no_gradients;
  std::vector<int> bytes;
  std::vector<Tensor> states;
  for (const Frame& frame : clip)
    for (const Tensor& output : network.step(tensor_of(frame), states)) {
      const Tensor q =
          torch::floor(output.clamp(0, 1) * 255 + 1e-4).permute({0, 2, 3, 1}).contiguous();
      bytes.insert(bytes.end(), q.data_ptr<float>(), q.data_ptr<float>() + q.numel());
    }
  return bytes;
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

TEST(TrainableNetwork, StartsAsWhatItWasMadeOf) {
  for (const int bits : {4, 8}) {
    const ir::Graph graph = quantized(SmallMattingNetwork(1).graph, Method::gptq, bits);
    expect_same(TrainableNetwork(graph).folded(), graph);
  }
}

// A filter that is stored negated is moved as far as any other.
TEST(TrainableNetwork, ShiftsByAnEighthOfTheOutputsRange) {
  const ir::Graph graph = quantized(SmallMattingNetwork(1).graph, Method::gptq, 4);
  for (const ir::Op& op : graph.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    const ir::Grid& grid = *graph.tensor(op.output).grid;
    for (const float scale : {1e-3F, -1e-3F, 1e-12F, -1e-12F}) {
      ir::Op scaled = op;
      for (float& each : scaled.conv.accumulator_scale) each = scale;
      const std::vector<float> units = shift_units(graph, scaled);
      for (int o = 0; o < op.conv.output_channels; ++o) {
        const float eighth =
            grid.scale_of(o) * static_cast<float>(grid.highest() - grid.lowest()) / 8;
        const float wanted = std::fabs(scale) < 1e-6F ? 1e-12F * 0x1p24F : eighth;
        EXPECT_FLOAT_EQ(units[static_cast<size_t>(o)], wanted) << op.name << ", scale " << scale;
      }
    }
  }
}

// Every parameter moved at random: gains, shifts and scales mean the same after folding.
TEST(TrainableNetwork, ComputesWhatItFoldsTo) {
  const Clip clip = moving_pattern(width, height, 5, 9);
  for (uint32_t seed = 1; seed <= 4; ++seed)
    for (const int bits : {4, 8}) {
      const ir::Graph graph = quantized(RandomMattingNetwork(seed).graph, Method::gptq, bits);
      TrainableNetwork network(graph);
      EXPECT_FALSE(network.scales().empty());
      const std::vector<int> before = bytes_of(network, clip);
      {
        const torch::NoGradGuard no_gradients;
        torch::manual_seed(seed);
        for (Tensor parameter : network.affine()) parameter += 0.05 * torch::randn_like(parameter);
        for (Tensor scale : network.scales()) scale += 0.05 * torch::randn_like(scale);
      }
      const std::vector<int> now = bytes_of(network, clip);
      const std::vector<int> integer = integer_bytes(network.folded(), clip);
      EXPECT_GT(mean_difference(before, now), 1.0) << seed;
      // Roundings that fall on the other side, as between simulator and interpreter.
      EXPECT_LT(mean_difference(now, integer), 0.25) << seed << ", " << bits << " bits";
    }
}

TEST(Train, LowersTheErrorOfABadStart) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::minmax, 4);
  for (const bool flow : {false, true}) {
    TrainingOptions options = quick();
    options.flow = flow;
    TrainingRecord record;
    const ir::Graph result = train(fused, start, training_clips(), options, record);
    ASSERT_EQ(record.loss.size(), 60U);
    ASSERT_EQ(record.validation.size(), 7U);
    EXPECT_EQ(record.validation[0].first, 0);
    double least = record.validation[0].second;
    for (const auto& [step, error] : record.validation) least = std::min(least, error);
    EXPECT_LT(least, 0.8 * record.validation[0].second);
    // The best step's network is the one returned: its integers are better on the clip validated.
    const Clip clip = training_clips()[1];
    Executor executor(fused);
    const std::vector<int> exact = testing::bytes_of(executor, clip);
    EXPECT_LT(mean_difference(integer_bytes(result, clip), exact),
              0.9 * mean_difference(integer_bytes(start, clip), exact));
  }
}

TEST(Train, AddsWhatTheMotionDoesNotExplain) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::minmax, 4);
  TrainingOptions options = quick();
  options.steps = 3;
  TrainingRecord without, with;
  train(fused, start, training_clips(), options, without);
  options.flow = true;
  train(fused, start, training_clips(), options, with);
  // The first window is the same, and so is what it has to say but for that.
  EXPECT_GT(with.loss[0], 1.001 * without.loss[0]);
  EXPECT_EQ(with.validation[0], without.validation[0]);
}

// Exact mattes of white; the float network's are not.
TEST(Train, LearnsExactMattesWhereFramesHaveThem) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::minmax, 4);
  std::vector<Clip> clips = training_clips();
  for (Clip& clip : clips)
    for (Frame& frame : clip) frame.alpha.assign(size_t{width} * height, 255);
  TrainingOptions options = quick();
  options.learning_rate = 1e-2;
  const auto distance = [&](const std::vector<Clip>& taught) {
    TrainingRecord record;
    const std::vector<int> bytes =
        integer_bytes(train(fused, start, taught, options, record), clips[1]);
    return mean_difference(bytes, std::vector<int>(bytes.size(), 255));
  };
  EXPECT_LT(distance(clips), 0.9 * distance(training_clips()));
}

// As after Ctrl-C in the last step: nothing to go on from, nothing left to do.
TEST(Train, HasNothingToDoAfterTheLastStep) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  TrainingOptions options = quick();
  options.steps = 4;
  TrainingRecord record;
  record.loss.resize(4, 1);
  record.validation = {{0, 0}};
  expect_same(train(fused, start, training_clips(), options, record), start);
}

TEST(Train, WithoutGacChangesScalesOnly) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::minmax, 4);
  TrainingOptions options = quick();
  options.affine = false;
  options.flow = true;
  TrainingRecord record;
  const ir::Graph result = train(fused, start, training_clips(), options, record);
  ASSERT_GT(record.best_step, 0);
  for (size_t i = 0; i < start.ops.size(); ++i) {
    const ir::Convolution &before = start.ops[i].conv, &after = result.ops[i].conv;
    EXPECT_EQ(after.quantized_weight, before.quantized_weight);
    if (before.accumulator_scale.size() < 2) continue;
    // One factor, of the input's scale, for all filters.
    const float factor = after.accumulator_scale[0] / before.accumulator_scale[0];
    for (size_t o = 0; o < before.accumulator_scale.size(); ++o)
      EXPECT_NEAR(after.accumulator_scale[o] / before.accumulator_scale[o], factor, 1e-5);
  }
}

TEST(Train, IsDeterministicAndStopsWhenTold) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  TrainingOptions options = quick();
  options.steps = 20;
  options.flow = true;
  TrainingRecord first, second;
  const ir::Graph one = train(fused, start, training_clips(), options, first),
                  two = train(fused, start, training_clips(), options, second);
  expect_same(one, two);
  EXPECT_EQ(first.loss, second.loss);
  options.seed = 1;
  TrainingRecord other;
  train(fused, start, training_clips(), options, other);
  EXPECT_NE(first.loss, other.loss);

  int asked = 0;
  options.stop = [&asked] { return ++asked > 3; };
  TrainingRecord stopped;
  train(fused, start, training_clips(), options, stopped);
  EXPECT_EQ(stopped.loss.size(), 3U);
  options.stop = [] { return true; };
  TrainingRecord none;
  expect_same(train(fused, start, training_clips(), options, none), start);
  EXPECT_EQ(none.best_step, 0);
}

TEST(Train, GoesOnWhereItWasStopped) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  TrainingOptions options = quick();
  options.steps = 20;
  options.validation_step = 4;
  TrainingRecord whole, parts;
  const ir::Graph one = train(fused, start, training_clips(), options, whole);
  EXPECT_TRUE(whole.state.empty());
  // Twice, so that what goes on can be stopped, too; in the middle of a round of clips.
  for (const size_t steps : {7, 12}) {
    TrainingOptions stopped = options;
    stopped.stop = [&parts, steps] { return parts.loss.size() == steps; };
    train(fused, start, training_clips(), stopped, parts);
    EXPECT_EQ(parts.loss.size(), steps);
    EXPECT_FALSE(parts.state.empty());
  }
  TrainingRecord damaged = parts, unvalidated = parts;
  expect_same(train(fused, start, training_clips(), options, parts), one);
  EXPECT_EQ(parts.loss, whole.loss);
  EXPECT_EQ(parts.validation, whole.validation);
  EXPECT_EQ(parts.best_step, whole.best_step);

  damaged.state = "damaged";
  unvalidated.validation.clear();
  for (TrainingRecord* record : {&damaged, &unvalidated})
    EXPECT_EQ(error_of([&] { train(fused, start, training_clips(), options, *record); }),
              "train: the state to go on from is damaged, or of another network");
}

// Given up anywhere: while validation is taught, in a step on its way forward or back, in a
// validation; and again where it goes on. What was begun is dropped, and comes again bit for bit.
TEST(Train, GoesOnWhereverItWasAborted) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::mse, 4);
  TrainingOptions options = quick();
  options.steps = 6;
  options.validation_step = 3;
  options.flow = true;
  long asked = 0;
  options.abort = [&asked] { return ++asked < 0; };
  TrainingRecord whole;
  const ir::Graph one = train(fused, start, training_clips(), options, whole);
  const long all = asked;
  ASSERT_GT(all, 500);
  size_t resumed = 0;
  for (long first = 1; first < all; first += all / 23) {
    TrainingRecord parts;
    ir::Graph last;
    for (long after = first; last.ops.empty() || !parts.state.empty(); after += all / 2) {
      ASSERT_LT(after, 9 * all);
      asked = 0;
      options.abort = [&asked, after] { return ++asked >= after; };
      const TrainingRecord before = parts;
      last = train(fused, start, training_clips(), options, parts);
      if (parts.state.empty()) break;
      ++resumed;
      EXPECT_EQ(asked, after);  // at once: not asked again
      EXPECT_GE(parts.loss.size(), before.loss.size());
      EXPECT_LT(parts.loss.size(), 6U);
      EXPECT_EQ(parts.validation.size(), parts.validation.empty() ? 0 : 1 + parts.loss.size() / 3);
    }
    expect_same(last, one);
    EXPECT_EQ(parts.loss, whole.loss);
    EXPECT_EQ(parts.validation, whole.validation);
    EXPECT_EQ(parts.best_step, whole.best_step);
  }
  EXPECT_GT(resumed, 23U);
}

// What is kept is the best so far, not what is being tried.
TEST(Train, AbortedKeepsTheBestSoFar) {
  const ir::Graph fused = SmallMattingNetwork(2).graph;
  const ir::Graph start = quantized(fused, Method::minmax, 4);
  TrainingOptions options = quick();
  options.steps = 30;
  options.validation_step = 10;
  TrainingRecord stopped;
  options.stop = [&stopped] { return stopped.loss.size() == 10; };
  const ir::Graph best = train(fused, start, training_clips(), options, stopped);
  ASSERT_EQ(stopped.best_step, 10);
  options.stop = {};
  TrainingRecord aborted;
  long asked = 0;  // since the tenth step
  options.abort = [&] { return aborted.loss.size() == 10 && ++asked == 40; };
  expect_same(train(fused, start, training_clips(), options, aborted), best);
  EXPECT_EQ(aborted.loss, stopped.loss);
  // Also where it goes on and is given up at once.
  options.abort = [] { return true; };
  expect_same(train(fused, start, training_clips(), options, aborted), best);
}

TEST(Train, NamesClipsThatDoNotDo) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  const ir::Graph start = quantized(fused, Method::mse, 8);
  const auto trained = [&](const std::vector<Clip>& clips) {
    return error_of([&] {
      TrainingRecord record;
      train(fused, start, clips, quick(), record);
    });
  };
  std::vector<Clip> clips = training_clips();
  clips[2].resize(4);
  EXPECT_EQ(trained(clips),
            "train: calibration clip 3 has 4 frames; training needs 5 of each clip");
  clips.resize(1);
  EXPECT_EQ(trained(clips),
            "train: one calibration clip; training needs two at least, one to validate on");
  clips = training_clips();
  for (Frame& frame : clips[1]) {
    frame.width = 48;
    frame.height = 15;
    frame.rgb.resize(size_t{48} * 15 * 3);
  }
  TrainingOptions options = quick();
  options.flow = true;
  EXPECT_EQ(error_of([&] { require_training_clip(Clip(4), "walk", options); }),
            "train: walk has 4 frames; training needs 5 of each clip");
  EXPECT_EQ(error_of([&] { require_training_clips(clips, options); }),
            "train: calibration clip 2 is played at 48x15; optical flow needs 16x16 at least: "
            "another --size, or --ofa off");
}

}  // namespace
}  // namespace mattec::quant
