#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "quant/grids.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::op_named;
using testing::SmallMattingNetwork;
using testing::tensor_named;

TEST(StateCopies, AreSharedAndReadByConvolutionsAndUpsampling) {
  const ir::Graph graph = with_copies(SmallMattingNetwork(1).graph, {}).graph;
  const ir::TensorId old_copy = tensor_named(graph, "h.copy"),
                     new_copy = tensor_named(graph, "h.new.copy");
  int copies = 0;
  for (const ir::Op& op : graph.ops) copies += op.kind == ir::OpKind::requantize ? 1 : 0;
  EXPECT_EQ(copies, 2);
  EXPECT_EQ(op_named(graph, "gates").inputs[1], old_copy);
  EXPECT_EQ(op_named(graph, "decode").inputs[1], new_copy);
  EXPECT_EQ(op_named(graph, "up.h").inputs[0], new_copy);
  // The gate product, the blend and the state itself keep all 16 bits.
  EXPECT_EQ(op_named(graph, "rh").inputs[1], tensor_named(graph, "h"));
  EXPECT_EQ(op_named(graph, "h.new").inputs[1], tensor_named(graph, "h"));
  EXPECT_EQ(graph.states[0].output, tensor_named(graph, "h.new"));
}

TEST(GridRules, FollowTheOperations) {
  const ir::Graph graph = with_copies(SmallMattingNetwork(1).graph, {}).graph;
  const std::vector<GridRule> rules = grid_rules(graph);
  const auto rule = [&](const std::string& name) {
    return rules[static_cast<size_t>(tensor_named(graph, name))];
  };
  EXPECT_EQ(rule("frame"), GridRule::unit);
  EXPECT_EQ(rule("stem"), GridRule::per_channel);  // read by a depthwise convolution
  EXPECT_EQ(rule("dw"), GridRule::per_tensor);
  EXPECT_EQ(rule("fc2"), GridRule::unit);
  EXPECT_EQ(rule("se"), GridRule::per_tensor);
  EXPECT_EQ(rule("gates"), GridRule::unit);
  EXPECT_EQ(rule("r"), GridRule::inherited);
  EXPECT_EQ(rule("rh"), GridRule::symmetric);
  EXPECT_EQ(rule("candidate"), GridRule::symmetric);
  EXPECT_EQ(rule("h"), GridRule::state);
  EXPECT_EQ(rule("h.new"), GridRule::state);
  EXPECT_EQ(rule("h.copy"), GridRule::symmetric);
  EXPECT_EQ(rule("up.h"), GridRule::inherited);
  EXPECT_EQ(rule("pha"), GridRule::unit);
}

TEST(GridRules, RefuseAStateThatMayLeaveOne) {
  ir::Graph graph = SmallMattingNetwork(1).graph;
  graph.states[0].output = tensor_named(graph, "a");
  EXPECT_THROW(grid_rules(graph), Error);
}

TEST(AffineGrid, CoversTheRangeAndZero) {
  const struct {
    float low, high;
  } ranges[] = {{0, 6}, {-3, 1}, {0.5F, 2}, {-4, -1}, {0, 0}, {-0.375F, 50}};
  for (const auto& [low, high] : ranges)
    for (const int bits : {4, 8}) {
      const ir::Grid grid = affine_grid(low, high, bits);
      const float scale = grid.scale[0];
      ASSERT_GT(scale, 0);
      ASSERT_GE(grid.zero_point[0], 0);
      ASSERT_LE(grid.zero_point[0], grid.highest());
      const auto zero = static_cast<float>(grid.zero_point[0]);
      EXPECT_NEAR(-zero * scale, std::min(low, 0.0F), 0.51F * scale);
      EXPECT_GE((static_cast<float>(grid.highest()) - zero) * scale, high - 0.51F * scale);
      if (low >= 0) {
        EXPECT_EQ(grid.zero_point[0], 0);
      }
    }
}

// Channels 0 to 2 with values of up to 0.5, 1 and 0.01, the second with rare ones of 100, the third
// with negative ones down to -0.9.
TEST(GridFrom, GivesEachChannelItsRangeWithoutRareValues) {
  ObservedRange seen;
  for (int i = 0; i < 100000; ++i) seen.samples.push_back(static_cast<float>(i % 1000) / 1000);
  for (int i = 0; i < 5; ++i) seen.samples.push_back(100);
  for (int i = 0; i < 500; ++i) seen.samples.push_back(-0.9F);
  seen.lowest = -0.9F;
  seen.highest = 100;
  seen.channel_lowest = {0, 0.1F, -0.9F};
  seen.channel_highest = {0.5F, 100, 0.01F};
  EXPECT_NEAR(grid_from(seen, GridRule::per_tensor, RangeMethod::minmax).scale[0] * 255, 100.9,
              1e-3);
  const ir::Grid grid = grid_from(seen, GridRule::per_tensor, RangeMethod::channels);
  const float ends[][2] = {{0, 0.55F}, {0, 0.999F}, {-0.9F, 0.011F}};
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(grid.scale[c] * 255, ends[c][1] - ends[c][0], 0.001) << c;
    EXPECT_NEAR(-grid.scale[c] * static_cast<float>(grid.zero_point[c]), ends[c][0], 0.004) << c;
  }
}

TEST(GridFrom, LeavesSmallChannelsRoom) {
  ObservedRange seen;
  for (int i = -1000; i < 1000; ++i) seen.samples.push_back(static_cast<float>(i) / 1000);
  seen.channel_lowest = {0, 0, -1e-3F};
  seen.channel_highest = {0.6F, 1e-3F, 0};
  const ir::Grid grid = grid_from(seen, GridRule::per_tensor, RangeMethod::channels);
  EXPECT_NEAR(grid.scale[0] * 255, 0.66, 1e-4);
  EXPECT_NEAR(grid.scale[1] * 255, 0.11, 1e-4);
  EXPECT_EQ(grid.zero_point[1], 0);
  EXPECT_NEAR(grid.scale[2] * 255, 0.11, 1e-4);
  EXPECT_NEAR(grid.zero_point[2], 128, 2);  // what it sees stays in the middle
}

TEST(GridFrom, LeastSquaresTradesClippingForSteps) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  ObservedRange seen;
  for (int i = 0; i < 20000; ++i) seen.samples.push_back(normal(engine));
  seen.lowest = *std::min_element(seen.samples.begin(), seen.samples.end());
  seen.highest = *std::max_element(seen.samples.begin(), seen.samples.end());
  // At 4 bits a normal variable is best clipped near 2.5 deviations; at 8 bits hardly at all.
  const ir::Grid four = least_squares_grid(seen, 4);
  EXPECT_NEAR(four.scale[0] * 15, 5.1, 0.6);
  const ir::Grid eight = grid_from(seen, GridRule::per_tensor, RangeMethod::mse);
  EXPECT_GT(eight.scale[0] * 255, 6.5);
}

TEST(AssignGrids, SharesInheritedGridsAndMovesPads) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  StoredGraph stored = with_copies(fused, {});
  const ir::Graph& graph = stored.graph;
  std::vector<ObservedRange> ranges(fused.tensors.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    ranges[i].lowest = -1;
    ranges[i].highest = 2;
    for (int c = 0; c < graph.tensors[i].channels; ++c) {
      ranges[i].channel_lowest.push_back(-1);
      ranges[i].channel_highest.push_back(static_cast<float>(c + 1));
    }
  }
  assign_grids(stored, ranges, RangeMethod::minmax, {});
  const auto grid = [&](const std::string& name) {
    return *graph.tensor(tensor_named(graph, name)).grid;
  };
  EXPECT_EQ(grid("a"), grid("project"));
  EXPECT_EQ(grid("up"), grid("decode"));
  EXPECT_EQ(grid("up.h"), grid("h.new.copy"));
  EXPECT_EQ(grid("pooled"), grid("frame"));
  EXPECT_EQ(grid("h"), (ir::Grid{16, true, {0x1p-15F}, {0}}));
  EXPECT_EQ(grid("rh"), (ir::Grid{8, false, {0x1p-7F}, {128}}));
  EXPECT_EQ(grid("gates"), (ir::Grid{8, false, {1.0F / 255}, {0}}));
  EXPECT_EQ(grid("stem").scale.size(), 8U);
  EXPECT_FLOAT_EQ(op_named(graph, "stem").conv.pad_value[0], 124.0F / 255);
  EXPECT_FLOAT_EQ(op_named(graph, "stem").conv.pad_value[1], 116.0F / 255);
  EXPECT_FLOAT_EQ(op_named(graph, "stem").conv.pad_value[2], 104.0F / 255);
}

// Channels of very different spread, some of them never negative, the last one never positive.
ObservedRange spread_channels(uint32_t seed, size_t channels) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  ObservedRange seen;
  seen.channel_lowest.assign(channels, 0);
  seen.channel_highest.assign(channels, 0);
  for (int i = 0; i < 2000; ++i)
    for (size_t c = 0; c < channels; ++c) {
      float value = normal(engine) * std::ldexp(1.0F, static_cast<int>(c * 5 % 7) - 3);
      if (c % 3 == 0) value = std::max(value, 0.0F);
      if (c + 1 == channels) value = -std::fabs(value);
      seen.channel_samples.push_back(value);
      seen.samples.push_back(value);
      seen.channel_lowest[c] = std::min(seen.channel_lowest[c], value);
      seen.channel_highest[c] = std::max(seen.channel_highest[c], value);
    }
  seen.lowest = *std::min_element(seen.samples.begin(), seen.samples.end());
  seen.highest = *std::max_element(seen.samples.begin(), seen.samples.end());
  return seen;
}

double squared_error(const ir::Grid& grid, const std::vector<float>& samples) {
  double error = 0;
  const double scale = grid.scale[0], zero = grid.zero_point[0];
  for (const float sample : samples) {
    const double q = std::clamp(std::nearbyint(sample / scale) + zero, 0.0, double(grid.highest()));
    error += std::pow((q - zero) * scale - sample, 2);
  }
  return error;
}

// Against every clip of either end, the other as chosen: none may round the samples better.
TEST(LeastSquaresGrid, IsNotWorseThanItsNeighbours) {
  for (uint32_t seed = 0; seed < 8; ++seed)
    for (const int bits : {4, 8}) {
      const ObservedRange seen = spread_channels(seed, 3 + seed);
      const ir::Grid best = least_squares_grid(seen, bits);
      const auto steps = static_cast<float>(best.highest());
      const float low = -static_cast<float>(best.zero_point[0]) * best.scale[0];
      const float high = low + steps * best.scale[0];
      const double least = squared_error(best, seen.samples);
      for (int i = 0; i <= 20; ++i) {
        const float share = static_cast<float>(i) / 20;
        EXPECT_GE(squared_error(affine_grid(seen.lowest * share, high, bits), seen.samples),
                  least * 0.99)
            << seed << " low " << i;
        EXPECT_GE(squared_error(affine_grid(low, seen.highest * share, bits), seen.samples),
                  least * 0.99)
            << seed << " high " << i;
      }
    }
}

TEST(LowBitGrid, HasScalesBetweenTheChannelsClipAndTheTensors) {
  for (uint32_t seed = 0; seed < 5; ++seed) {
    const ObservedRange seen = spread_channels(seed, 9);
    const ir::Grid clips = clipped_channels_grid(seen);
    const ir::Grid grid = folded_channels_grid(seen, {0}, {});
    const double tensor = least_squares_grid(seen, 4).scale[0];
    const double largest = *std::max_element(clips.scale.begin(), clips.scale.end());
    EXPECT_EQ(grid.bits, 4);
    for (size_t c = 0; c < 9; ++c) {
      const double own = 1.2 * std::max(double{clips.scale[c]}, largest / 6);
      const double wanted = std::max(own, std::pow(own, 0.75) * std::pow(tensor, 0.25));
      EXPECT_NEAR(grid.scale[c] / wanted, 1, 1e-5) << c;
      // The widened clip stays inside, to half a step of rounding the zero point.
      const double low = -clips.zero_point[c] * 1.2 * clips.scale[c],
                   high = (15 - clips.zero_point[c]) * 1.2 * clips.scale[c];
      ASSERT_GE(grid.zero_point[c], 0);
      ASSERT_LE(grid.zero_point[c], 15);
      EXPECT_LE(-grid.zero_point[c] * double{grid.scale[c]},
                low + 0.51 * grid.scale[c] + 0.6 * 1.2 * clips.scale[c])
          << c;
      EXPECT_GE((15 - grid.zero_point[c]) * double{grid.scale[c]},
                high - 0.51 * grid.scale[c] - 0.6 * 1.2 * clips.scale[c])
          << c;
      if (seen.channel_lowest[c] >= 0) {
        EXPECT_EQ(grid.zero_point[c], 0) << c;
      }
    }
  }
}

TEST(LowBitGrid, ExponentAndFloorDoWhatTheySay) {
  const ObservedRange seen = spread_channels(1, 9);
  const ir::Grid clips = clipped_channels_grid(seen);
  const ir::Grid own = folded_channels_grid(seen, {0}, {1, 0, 1});
  for (size_t c = 0; c < 9; ++c) EXPECT_NEAR(own.scale[c] / clips.scale[c], 1, 1e-5);
  const ir::Grid even = folded_channels_grid(seen, {0}, {1, 1, 1});
  for (size_t c = 1; c < 9; ++c) EXPECT_EQ(even.scale[c], even.scale[0]);
}

TEST(LowBitGrid, KeepsGroupsOfChannelsApart) {
  ObservedRange seen = spread_channels(2, 8);
  const ir::Grid before = folded_channels_grid(seen, {0, 4}, {}),
                 together = folded_channels_grid(seen, {0}, {});
  for (size_t i = 0; i < seen.channel_samples.size(); ++i)
    if (i % 8 >= 4) seen.channel_samples[i] *= 1000;
  for (size_t c = 4; c < 8; ++c) seen.channel_lowest[c] *= 1000, seen.channel_highest[c] *= 1000;
  const ir::Grid after = folded_channels_grid(seen, {0, 4}, {}),
                 drowned = folded_channels_grid(seen, {0}, {});
  for (size_t c = 0; c < 4; ++c) {
    EXPECT_EQ(after.scale[c], before.scale[c]);
    EXPECT_EQ(after.zero_point[c], before.zero_point[c]);
    EXPECT_GT(drowned.scale[c], 10 * together.scale[c]);  // a sixth of the largest channel's
  }
  EXPECT_GT(after.scale[5], 100 * before.scale[5]);
}

TEST(AssignGrids, At4BitsSharesInheritedGridsAndCalibratesCopiesOfStates) {
  const ir::Graph fused = SmallMattingNetwork(1).graph;
  BitPolicy low;
  low.weights = low.activations = 4;
  StoredGraph stored = with_copies(fused, low);
  std::vector<ObservedRange> ranges;
  for (size_t i = 0; i < fused.tensors.size(); ++i)
    ranges.push_back(
        spread_channels(static_cast<uint32_t>(i), static_cast<size_t>(fused.tensors[i].channels)));
  assign_grids(stored, ranges, RangeMethod::channels, {});
  const auto grid = [&](const std::string& name) {
    return *stored.graph.tensor(tensor_named(stored.graph, name)).grid;
  };
  for (size_t id = 0; id < stored.bits.size(); ++id)
    EXPECT_EQ(stored.graph.tensors[id].grid->bits, stored.bits[id])
        << stored.graph.tensors[id].name;
  for (const auto& [name, source] : {std::pair{"rh", "rh"}, {"h.copy4", "h"}})
    EXPECT_EQ(grid(name), folded_channels_grid(
                              ranges[static_cast<size_t>(tensor_named(fused, source))], {0}, {}))
        << name;
  EXPECT_EQ(grid("h.new.copy"), (ir::Grid{8, false, {0x1p-7F}, {128}}));
  EXPECT_EQ(grid("up"), grid("decode"));
  // The slices' channels, made as groups of their own.
  ir::Grid both = grid("a");
  for (size_t c = 0; c < 4; ++c) {
    both.scale.push_back(grid("b").scale[c]);
    both.zero_point.push_back(grid("b").zero_point[c]);
  }
  EXPECT_EQ(grid("project"), both);
  const auto& seen = ranges[static_cast<size_t>(tensor_named(fused, "project"))];
  EXPECT_EQ(grid("project"), folded_channels_grid(seen, {0, 4}, {}));
  EXPECT_EQ(grid("stem.copy4"),
            clipped_channels_grid(ranges[static_cast<size_t>(tensor_named(fused, "stem"))]));
}

}  // namespace
}  // namespace mattec::quant
