// Comparison sees every field: each is changed alone, once. A field more in one of the structures
// does not compile until it is in this list.
#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "ir/compare.h"

namespace mattec::ir {
namespace {

void change(std::string& text) { text += "x"; }
void change(bool& flag) { flag = !flag; }
void change(Grid& grid) { grid.bits = grid.bits == 8 ? 4 : 8; }

template <typename T>
void change(T& value) {
  static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
  value = static_cast<T>(static_cast<int>(value) + 1);
}

template <typename T>
void change(std::vector<T>& list) {
  if (list.empty())
    list.emplace_back();
  else
    change(list.back());
}

template <typename T>
void change(std::optional<T>& value) {
  if (value)
    change(*value);
  else
    value.emplace();
}

template <typename Visit>
void each_field(Grid& grid, const std::string& place, const Visit& visit) {
  auto& [bits, is_signed, scale, zero_point] = grid;
  visit(place + "bits", bits);
  visit(place + "is_signed", is_signed);
  visit(place + "scale", scale);
  visit(place + "zero_point", zero_point);
}

template <typename Visit>
void each_field(Tensor& tensor, const std::string& place, const Visit& visit) {
  auto& [name, channels, grid] = tensor;
  visit(place + "name", name);
  visit(place + "channels", channels);
  visit(place + "grid", grid);
  if (grid) each_field(*grid, place + "grid.", visit);
}

template <typename Visit>
void each_field(Convolution& conv, const std::string& place, const Visit& visit) {
  auto& [kernel, stride, padding, dilation, depthwise, output_channels, has_residual, pad_value,
         weight, bias, weight_bits, quantized_weight, quantized_bias, accumulator_scale,
         segment_shift] = conv;
  visit(place + "kernel", kernel);
  visit(place + "stride", stride);
  visit(place + "padding", padding);
  visit(place + "dilation", dilation);
  visit(place + "depthwise", depthwise);
  visit(place + "output_channels", output_channels);
  visit(place + "has_residual", has_residual);
  visit(place + "pad_value", pad_value);
  visit(place + "weight", weight);
  visit(place + "bias", bias);
  visit(place + "weight_bits", weight_bits);
  visit(place + "quantized_weight", quantized_weight);
  visit(place + "quantized_bias", quantized_bias);
  visit(place + "accumulator_scale", accumulator_scale);
  visit(place + "segment_shift", segment_shift);
}

// What attribute_difference compares.
template <typename Visit>
void each_attribute(Op& op, const std::string& place, const Visit& visit) {
  auto& [kind, name, inputs, output, activation, rounding, first_channel, channels, conv, factor,
         offset, mean, variance, gamma, beta, epsilon] = op;
  (void)name, (void)inputs, (void)output;
  visit(place + "kind", kind);
  visit(place + "activation", activation);
  visit(place + "rounding", rounding);
  visit(place + "first_channel", first_channel);
  visit(place + "channels", channels);
  each_field(conv, place + "conv.", visit);
  visit(place + "factor", factor);
  visit(place + "offset", offset);
  visit(place + "mean", mean);
  visit(place + "variance", variance);
  visit(place + "gamma", gamma);
  visit(place + "beta", beta);
  visit(place + "epsilon", epsilon);
}

template <typename Visit>
void each_field(Graph& graph, const Visit& visit) {
  auto& [graph_name, tensors, ops, frame, states, outputs, stage] = graph;
  visit("name", graph_name);
  visit("frame", frame);
  visit("stage", stage);
  for (Tensor& tensor : tensors) each_field(tensor, "tensor.", visit);
  for (Op& op : ops) {
    visit("op.name", op.name);
    visit("op.inputs", op.inputs);
    visit("op.output", op.output);
    each_attribute(op, "op.", visit);
  }
  for (auto& [name, input, output] : states) {
    visit("state.name", name);
    visit("state.input", input);
    visit("state.output", output);
  }
  for (auto& [name, tensor, variant] : outputs) {
    visit("output.name", name);
    visit("output.tensor", tensor);
    visit("output.variant", variant);
  }
}

// One of everything; half of the lists are empty.
Graph example() {
  Graph graph;
  graph.name = "example";
  graph.frame = graph.add_tensor("frame", 3);
  const TensorId state = graph.add_tensor("state", 3);
  Op op;
  op.name = "conv";
  op.inputs = {graph.frame, state};
  op.channels = {2, 0};
  op.factor = {2};
  op.mean = {0.5F};
  op.conv.weight = {1, 2};
  op.conv.quantized_weight = {3, -4};
  op.conv.segment_shift = {0, 1};
  const TensorId made = graph.add_op(op, 2);
  graph.tensor(made).grid = Grid{8, false, {0.5F}, {3}};
  graph.states = {{"s", state, made}};
  graph.outputs = {{"pha", made, Variant::both}};
  return graph;
}

TEST(Compare, FindsEveryFieldOfAGraph) {
  const Graph graph = example();
  ASSERT_EQ(first_difference(graph, example(), 0), "");
  Graph changed = graph;
  int fields = 0;
  each_field(changed, [&](const std::string& place, auto& field) {
    const auto before = field;
    change(field);
    EXPECT_NE(first_difference(graph, changed, 0), "") << place;
    EXPECT_NE(first_difference(changed, graph, 0), "") << place;
    field = before;
    ++fields;
  });
  EXPECT_GT(fields, 50);
  EXPECT_EQ(first_difference(graph, changed, 0), "");
}

TEST(Compare, FindsEveryAttributeOfAnOperation) {
  const Op op = example().ops[0];
  Op changed = op;
  each_attribute(changed, "", [&](const std::string& place, auto& field) {
    const auto before = field;
    change(field);
    EXPECT_NE(attribute_difference(op, changed, 0), "") << place;
    field = before;
  });
  // What an operation is called and connected to are no attributes.
  changed.name = "another";
  changed.inputs.clear();
  changed.output = 0;
  EXPECT_EQ(attribute_difference(op, changed, 0), "");
}

TEST(Compare, RealValuesMayDifferByTheTolerance) {
  Graph graph = example();
  graph.ops[0].conv.weight[0] += 0.001F;  // of a largest magnitude of 2
  EXPECT_EQ(first_difference(graph, example(), 0.001), "");
  EXPECT_NE(first_difference(graph, example(), 0.0004), "");
}

}  // namespace
}  // namespace mattec::ir
