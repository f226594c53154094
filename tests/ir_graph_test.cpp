// extract and dump.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "ir/graph.h"
#include "ir/verify.h"
#include "tests/ir_graphs.h"

namespace mattec::ir {
namespace {

Op op_of(OpKind kind, std::string name, std::vector<TensorId> inputs) {
  Op op;
  op.kind = kind;
  op.name = std::move(name);
  op.inputs = std::move(inputs);
  if (kind == OpKind::activation) op.activation = Activation::relu;
  return op;
}

// frame -> small (downsample) -> body (reads a state) -> fgr | refiner -> fgr; an unused branch.
Graph two_variants() {
  Graph graph;
  graph.name = "two";
  graph.frame = graph.add_tensor("frame", 3);
  const TensorId state = graph.add_tensor("state", 3);
  const TensorId idle = graph.add_tensor("idle", 3);
  const TensorId small = graph.add_op(op_of(OpKind::downsample, "small", {graph.frame}), 3);
  const TensorId body = graph.add_op(op_of(OpKind::add, "body", {small, state}), 3);
  const TensorId memory = graph.add_op(op_of(OpKind::activation, "memory", {body}), 3);
  const TensorId unused = graph.add_op(op_of(OpKind::activation, "unused", {idle}), 3);
  const TensorId refined =
      graph.add_op(op_of(OpKind::resize_to, "refined", {body, graph.frame}), 3);
  graph.states = {{"s", state, memory}, {"t", idle, unused}};
  graph.outputs = {{"fgr", body, Variant::direct},
                   {"fgr", refined, Variant::refined},
                   {"err", small, Variant::both}};
  return graph;
}

std::vector<std::string> op_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Op& op : graph.ops) names.push_back(op.name);
  return names;
}

TEST(Extract, DirectHasNoRefinerAndNoDownsample) {
  const Graph whole = two_variants();
  ASSERT_EQ(violations(whole), std::vector<std::string>{});
  const Graph direct = extract(whole, Variant::direct);
  EXPECT_EQ(violations(direct), std::vector<std::string>{});
  EXPECT_EQ(op_names(direct), (std::vector<std::string>{"body", "memory"}));
  ASSERT_EQ(direct.states.size(), 1U);
  EXPECT_EQ(direct.states[0].name, "s");
  EXPECT_EQ(direct.tensor(direct.states[0].output).name,
            "memory");  // kept though no output reads it
  EXPECT_EQ(direct.tensor(direct.ops[0].inputs[0]).name, "frame");
  ASSERT_EQ(direct.outputs.size(), 2U);
  EXPECT_EQ(direct.tensor(direct.outputs[0].tensor).name, "body");
  EXPECT_EQ(direct.tensor(direct.outputs[1].tensor).name, "frame");
  for (const Output& output : direct.outputs) EXPECT_EQ(output.variant, Variant::both);
  EXPECT_EQ(direct.tensors.size(), 4U);
}

TEST(Extract, RefinedKeepsBoth) {
  const Graph refined = extract(two_variants(), Variant::refined);
  EXPECT_EQ(violations(refined), std::vector<std::string>{});
  EXPECT_EQ(op_names(refined), (std::vector<std::string>{"small", "body", "memory", "refined"}));
  EXPECT_EQ(refined.tensor(refined.outputs[0].tensor).name, "refined");
  EXPECT_EQ(refined.outputs[1].name, "err");
}

TEST(Extract, OfAnExtractedGraphIsTheSame) {
  const Graph graph = test::random_graph(1);
  for (Variant variant : {Variant::both, Variant::direct, Variant::refined})
    EXPECT_EQ(dump(extract(graph, variant)), dump(graph));
}

TEST(Extract, RefusesAMissingVariant) {
  Graph graph = two_variants();
  graph.outputs = {{"fgr", 4, Variant::direct}};
  EXPECT_THROW(extract(graph, Variant::refined), Error);
}

TEST(Dump, HasOneLinePerOperation) {
  const Graph graph = test::random_graph(2);
  const std::string text = dump(graph);
  EXPECT_EQ(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')),
            2 + graph.states.size() + graph.ops.size() + graph.outputs.size());
  for (const Op& op : graph.ops)
    EXPECT_NE(text.find("\n" + op.name + ": " + name_of(op.kind)), std::string::npos);
  EXPECT_NE(text.find("rounded down"), std::string::npos);
  EXPECT_NE(text.find(" + frame [3] u8 scale 0.00392157 zero 0) -> "), std::string::npos);
}

}  // namespace
}  // namespace mattec::ir
