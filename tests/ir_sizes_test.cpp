#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "ir/sizes.h"
#include "ir/verify.h"
#include "tests/ir_graphs.h"

namespace mattec::ir {
namespace {

std::string error_of(const Graph& graph, Size frame, double ratio = 1.0) {
  try {
    infer_sizes(graph, frame, ratio);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

Op op_of(OpKind kind, std::string name, std::vector<TensorId> inputs) {
  Op op;
  op.kind = kind;
  op.name = std::move(name);
  op.inputs = std::move(inputs);
  return op;
}

TEST(Sizes, ConvolutionExtentFollowsTheDefinition) {
  for (int kernel = 1; kernel <= 5; ++kernel)
    for (int stride = 1; stride <= 3; ++stride)
      for (int dilation = 1; dilation <= 3; ++dilation)
        for (int padding = 0; padding <= 3; ++padding)
          for (int extent = 1; extent <= 12; ++extent) {
            Convolution conv;
            conv.kernel = kernel;
            conv.stride = stride;
            conv.dilation = dilation;
            conv.padding = padding;
            int positions = 0;  // at which the whole kernel lies inside the padded line
            for (int first = -padding; first + dilation * (kernel - 1) < extent + padding;
                 first += stride)
              ++positions;
            ASSERT_EQ(convolution_extent(conv, extent), positions);
          }
}

TEST(Sizes, OddAndPortraitFrames) {
  Graph graph;
  graph.frame = graph.add_tensor("frame", 3);
  const TensorId half = graph.add_op(op_of(OpKind::avg_pool2, "half", {graph.frame}), 3);
  const TensorId quarter = graph.add_op(op_of(OpKind::avg_pool2, "quarter", {half}), 3);
  const TensorId up = graph.add_op(op_of(OpKind::upsample2, "up", {quarter, half}), 3);
  const TensorId pooled = graph.add_op(op_of(OpKind::global_avg_pool, "pooled", {up}), 3);
  const TensorId gated = graph.add_op(op_of(OpKind::mul, "gated", {up, pooled}), 3);
  graph.outputs = {{"y", gated, Variant::both}};
  ASSERT_TRUE(violations(graph).empty());
  const auto sizes = infer_sizes(graph, {513, 287});
  const auto at = [&](TensorId id) { return sizes[static_cast<size_t>(id)]; };
  EXPECT_EQ(at(half), (Size{257, 144}));
  EXPECT_EQ(at(quarter), (Size{129, 72}));
  EXPECT_EQ(at(up), (Size{257, 144}));
  EXPECT_EQ(at(pooled), (Size{1, 1}));
  EXPECT_EQ(at(gated), (Size{257, 144}));
  EXPECT_EQ(infer_sizes(graph, {1, 1})[static_cast<size_t>(gated)], (Size{1, 1}));
}

// The state's size comes through the loop: the first reader of the state knows it only later.
TEST(Sizes, StatesTakeTheSizeOfTheirOutput) {
  const Graph graph = test::random_graph(3);
  for (const Size frame : {Size{37, 53}, Size{96, 32}, Size{1, 1}, Size{2, 7}}) {
    const auto sizes = infer_sizes(graph, frame);
    const State& state = graph.states[0];
    EXPECT_EQ(sizes[static_cast<size_t>(state.input)], sizes[static_cast<size_t>(state.output)]);
    EXPECT_EQ(sizes[static_cast<size_t>(state.input)],
              (Size{((frame.height + 1) / 2 + 1) / 2, ((frame.width + 1) / 2 + 1) / 2}));
    EXPECT_EQ(sizes[static_cast<size_t>(graph.outputs[0].tensor)], frame);
  }
}

TEST(Sizes, DownsampleRoundsDown) {
  Graph graph;
  graph.frame = graph.add_tensor("frame", 3);
  const TensorId small = graph.add_op(op_of(OpKind::downsample, "small", {graph.frame}), 3);
  const TensorId back = graph.add_op(op_of(OpKind::resize_to, "back", {small, graph.frame}), 3);
  graph.outputs = {{"y", back, Variant::both}};
  const auto sizes = infer_sizes(graph, {1080, 1918}, 0.25);
  EXPECT_EQ(sizes[static_cast<size_t>(small)], (Size{270, 479}));
  EXPECT_EQ(sizes[static_cast<size_t>(back)], (Size{1080, 1918}));
  EXPECT_EQ(infer_sizes(graph, {10, 10}, 1.0)[static_cast<size_t>(small)], (Size{10, 10}));
  EXPECT_NE(error_of(graph, {3, 3}, 0.25).find("operation small"), std::string::npos);
  for (double ratio : {0.0, -1.0, 1.5, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_NE(error_of(graph, {10, 10}, ratio).find("downsample ratio"), std::string::npos);
}

TEST(Sizes, ErrorsNameTheOperation) {
  Graph graph;
  graph.frame = graph.add_tensor("frame", 3);
  const TensorId half = graph.add_op(op_of(OpKind::avg_pool2, "half", {graph.frame}), 3);
  const TensorId sum = graph.add_op(op_of(OpKind::add, "sum", {half, graph.frame}), 3);
  graph.outputs = {{"y", sum, Variant::both}};
  EXPECT_EQ(error_of(graph, {8, 10}),
            "operation sum (add): input frame is 10x8 pixels instead of 5x4");
  EXPECT_EQ(error_of(graph, {1, 1}), "");  // half of one pixel is one pixel
  graph.ops[1] = op_of(OpKind::upsample2, "sum", {half, graph.frame});
  graph.ops[1].output = sum;
  EXPECT_EQ(error_of(graph, {9, 11}), "");
  graph.ops[0].kind = OpKind::conv;
  graph.ops[0].conv.stride = 4;
  EXPECT_EQ(error_of(graph, {9, 11}),
            "operation sum (upsample2): twice 3x3 does not cover 11x9 pixels");
  graph.ops[0].conv.kernel = 5;
  EXPECT_NE(error_of(graph, {4, 11}).find("operation half (conv): nothing is left"),
            std::string::npos);
  for (Size frame : {Size{0, 5}, Size{5, 0}, Size{-1, 5}, Size{5, 32769}})
    EXPECT_NE(error_of(graph, frame).find("frame size"), std::string::npos);
}

TEST(Sizes, AStateThatNothingSizesIsAnError) {
  Graph graph;
  graph.frame = graph.add_tensor("frame", 3);
  const TensorId state = graph.add_tensor("state", 3);
  const TensorId next = graph.add_op(op_of(OpKind::activation, "next", {state}), 3);
  graph.states = {{"s", state, next}};
  EXPECT_NE(error_of(graph, {4, 4}).find("does not follow"), std::string::npos);
}

}  // namespace
}  // namespace mattec::ir
