// The verifier on imported graphs: each single violation is found and named.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <utility>

#include "base/error.h"
#include "tests/ir_violations.h"

namespace mattec::ir {
namespace {

Op op_of(OpKind kind, std::string name, std::vector<TensorId> inputs) {
  Op op;
  op.kind = kind;
  op.name = std::move(name);
  op.inputs = std::move(inputs);
  return op;
}

struct Float {
  Graph graph;
  Op& op(size_t index) { return graph.ops[index]; }
};

Float float_example() {
  Float made;
  Graph& graph = made.graph;
  graph.frame = graph.add_tensor("frame", 3);
  Op conv = op_of(OpKind::conv, "conv", {graph.frame});
  conv.conv.output_channels = 2;
  conv.conv.weight.assign(6, 0.5F);
  conv.conv.bias.assign(2, 0.5F);
  TensorId x = graph.add_op(conv, 2);
  Op norm = op_of(OpKind::batch_norm, "norm", {x});
  norm.mean = norm.variance = norm.gamma = norm.beta = {1, 2};
  x = graph.add_op(norm, 2);
  Op shift = op_of(OpKind::scale_shift, "shift", {x});
  shift.factor = {2};
  shift.offset = {1, 2};
  x = graph.add_op(shift, 2);
  Op relu = op_of(OpKind::activation, "relu", {x});
  relu.activation = Activation::relu;
  x = graph.add_op(relu, 2);
  x = graph.add_op(op_of(OpKind::concat, "concat", {x, graph.frame}), 5);
  x = graph.add_op(op_of(OpKind::channel_mean, "mean", {x}), 1);
  x = graph.add_op(op_of(OpKind::resize_to, "resize", {x, graph.frame}), 1);
  graph.outputs = {{"pha", x, Variant::both}};
  return made;
}

TEST(Verify, FloatGraphs) {
  EXPECT_EQ(violations(float_example().graph), std::vector<std::string>{});
  const std::vector<std::pair<const char*, std::function<void(Float&)>>> list = {
      {"5 weights instead of 6", [](Float& f) { f.op(0).conv.weight.pop_back(); }},
      {"1 biases instead of 2", [](Float& f) { f.op(0).conv.bias.pop_back(); }},
      {"not finite", [](Float& f) { f.op(0).conv.weight[2] = not_a_number; }},
      {"not finite", [](Float& f) { f.op(0).conv.bias[1] = INFINITY; }},
      {"mean, variance, gamma and beta", [](Float& f) { f.op(1).gamma.pop_back(); }},
      {"mean, variance, gamma and beta", [](Float& f) { f.op(1).beta[0] = not_a_number; }},
      {"variance + epsilon", [](Float& f) { f.op(1).variance[0] = -1; }},
      {"factor and offset must",
       [](Float& f) {
         f.op(2).factor = {1, 2, 3};
       }},
      {"factor and offset must", [](Float& f) { f.op(2).offset.clear(); }},
      {"factor or offset is not finite", [](Float& f) { f.op(2).offset[0] = INFINITY; }},
      {"activation without a function", [](Float& f) { f.op(3).activation = Activation::none; }},
      {"do not add up", [](Float& f) { f.op(4).inputs.pop_back(); }},
      {"must have 1 output channel", [](Float& f) { f.graph.tensor(f.op(5).output).channels = 2; }},
      {"channels of input and output differ", [](Float& f) { f.op(6).inputs[0] = f.op(4).output; }},
      {"is not allowed in a graph that is fused", [](Float& f) { f.graph.stage = Stage::fused; }},
  };
  for (const auto& [expected, break_it] : list) {
    Float broken = float_example();
    break_it(broken);
    expect_found(broken.graph, expected);
  }
}

TEST(Verify, ThrowsTheFirstViolation) {
  Float broken = float_example();
  broken.op(0).conv.weight.pop_back();
  broken.op(2).offset.clear();
  try {
    verify(broken.graph, "net.mattec");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "net.mattec: operation conv: 5 weights instead of 6 (and 1 more)");
  }
  EXPECT_NO_THROW(verify(float_example().graph, "net.mattec"));
}

}  // namespace
}  // namespace mattec::ir
