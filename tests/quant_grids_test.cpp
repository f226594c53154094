#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ir/error.h"
#include "quant/grids.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::SmallMattingNetwork;

ir::TensorId find(const ir::Graph& graph, const std::string& name) {
  for (size_t i = 0; i < graph.tensors.size(); ++i)
    if (graph.tensors[i].name == name) return static_cast<ir::TensorId>(i);
  throw Error("no tensor " + name);
}

const ir::Op& op_named(const ir::Graph& graph, const std::string& name) {
  for (const ir::Op& op : graph.ops)
    if (op.name == name) return op;
  throw Error("no operation " + name);
}

TEST(StateCopies, AreSharedAndReadByConvolutionsAndUpsampling) {
  const ir::Graph graph = with_copies(SmallMattingNetwork(1).graph, {}).graph;
  const ir::TensorId old_copy = find(graph, "h.copy"), new_copy = find(graph, "h.new.copy");
  int copies = 0;
  for (const ir::Op& op : graph.ops) copies += op.kind == ir::OpKind::requantize ? 1 : 0;
  EXPECT_EQ(copies, 2);
  EXPECT_EQ(op_named(graph, "gates").inputs[1], old_copy);
  EXPECT_EQ(op_named(graph, "decode").inputs[1], new_copy);
  EXPECT_EQ(op_named(graph, "up.h").inputs[0], new_copy);
  // The gate product, the blend and the state itself keep all 16 bits.
  EXPECT_EQ(op_named(graph, "rh").inputs[1], find(graph, "h"));
  EXPECT_EQ(op_named(graph, "h.new").inputs[1], find(graph, "h"));
  EXPECT_EQ(graph.states[0].output, find(graph, "h.new"));
}

TEST(GridRules, FollowTheOperations) {
  const ir::Graph graph = with_copies(SmallMattingNetwork(1).graph, {}).graph;
  const std::vector<GridRule> rules = grid_rules(graph);
  const auto rule = [&](const std::string& name) {
    return rules[static_cast<size_t>(find(graph, name))];
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
  graph.states[0].output = find(graph, "a");
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

TEST(GridFrom, ClipsRareValuesByPercentile) {
  ObservedRange seen;
  for (int i = 0; i < 100000; ++i) seen.samples.push_back(static_cast<float>(i % 1000) / 1000);
  for (int i = 0; i < 5; ++i) seen.samples.push_back(100);
  seen.lowest = 0;
  seen.highest = 100;
  const auto top = [&](RangeMethod method) {
    const ir::Grid grid = grid_from(seen, GridRule::per_tensor, method);
    return grid.scale[0] * 255;
  };
  EXPECT_NEAR(top(RangeMethod::minmax), 100, 1e-3);
  EXPECT_NEAR(top(RangeMethod::percentile), 0.999, 1e-3);
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
  const auto grid = [&](const std::string& name) { return *graph.tensor(find(graph, name)).grid; };
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

}  // namespace
}  // namespace mattec::quant
