// What lower() recognises, and one clear error for each thing that no kernel computes.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <tuple>

#include "base/error.h"
#include "ir/verify.h"
#include "lower/patterns.h"
#include "lower/plan.h"
#include "tests/ir_graphs.h"

namespace mattec::lower {
namespace {

using ir::Activation;
using ir::OpKind;
using ir::TensorId;
using test::GraphMaker;

constexpr ir::Size size{32, 48};

// A stem, a recurrent state and the outputs; tests add to it or damage it.
struct Network {
  GraphMaker make{7};
  TensorId x, state, copy;

  Network() {
    make.only_8_bits = true;
    x = conv({make.graph.frame}, 3, 8);
    state = make.state(6);
    copy = make.recurrent(x, state);
  }

  TensorId conv(const std::vector<TensorId>& inputs, int kernel, int channels,
                Activation activation = Activation::relu) {
    GraphMaker::ConvolutionShape shape;
    shape.kernel = kernel;
    shape.padding = kernel / 2;
    shape.output_channels = channels;
    shape.activation = activation;
    return make.conv(inputs, shape);
  }

  ir::Graph& finish() {
    make.outputs(conv({x, copy}, 1, 9));
    return make.graph;
  }

  ir::Op& producer(TensorId id) {
    return make.graph.ops[static_cast<size_t>(make.graph.producer(id))];
  }
  ir::Op& only(OpKind kind) {
    return *std::find_if(make.graph.ops.begin(), make.graph.ops.end(),
                         [&](const ir::Op& op) { return op.kind == kind; });
  }
};

std::string error_of(const ir::Graph& graph, ir::Size frame = size, const Options& options = {}) {
  try {
    lower(graph, frame, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_ERROR(graph, text)                                      \
  do {                                                                 \
    EXPECT_EQ(ir::violations(graph), std::vector<std::string>{});      \
    const std::string error_text = error_of(graph);                    \
    EXPECT_NE(error_text.find(text), std::string::npos) << error_text; \
    EXPECT_EQ(error_text.find("random: "), 0U) << "names no network";  \
  } while (false)

TEST(Lower, TakesTheExample) {
  Network network;
  const Plan plan = lower(network.finish(), size, {});
  // Stem, gates, update, convolution, matte: slices, products and copies cost nothing.
  ASSERT_EQ(plan.steps.size(), 5U);
  EXPECT_EQ(plan.steps[1].kernel.epilogue, Epilogue::gates);
  EXPECT_EQ(plan.steps[2].kernel.epilogue, Epilogue::blend);
  EXPECT_EQ(plan.states.size(), 2U);
  EXPECT_EQ(plan.alpha.storage, plan.foreground.storage);
  EXPECT_EQ(plan.foreground.first_channel, 0);
  EXPECT_EQ(plan.alpha.first_channel, 3);
  const Storage& matte = plan.storages[static_cast<size_t>(plan.alpha.storage)];
  EXPECT_EQ(matte.channels, 4);
  EXPECT_EQ(matte.size, size);
}

TEST(Lower, FindsTheGruWhicheverFactorComesFirst) {
  Network network;
  ir::Graph graph = network.finish();
  for (int order = 0; order < 2; ++order) {
    const std::vector<Gru> found = find_grus(graph);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].channels, 6);
    EXPECT_EQ(found[0].state, network.state);
    EXPECT_EQ(graph.ops[static_cast<size_t>(found[0].update)].kind, OpKind::blend);
    ir::Op& product = graph.ops[static_cast<size_t>(found[0].product)];
    EXPECT_EQ(product.kind, OpKind::mul);
    std::swap(product.inputs[0], product.inputs[1]);
  }
}

// Foreground first, alpha last, each channel with its own weights and bias.
TEST(Lower, MergesForegroundAndAlpha) {
  Network network;
  const ir::Graph& graph = network.finish();
  const ir::Op& fgr = graph.ops[graph.ops.size() - 2];
  const ir::Op& pha = graph.ops.back();
  const ir::Graph merged = merge_matte(graph);
  ASSERT_EQ(merged.ops.size(), graph.ops.size() + 1);
  const ir::Op& op = merged.ops[merged.ops.size() - 3];
  EXPECT_EQ(op.inputs, fgr.inputs);
  ASSERT_EQ(op.conv.output_channels, 4);
  EXPECT_EQ(op.conv.quantized_bias[2], fgr.conv.quantized_bias[2]);
  EXPECT_EQ(op.conv.quantized_bias[3], pha.conv.quantized_bias[0]);
  EXPECT_EQ(op.conv.accumulator_scale[3], pha.conv.accumulator_scale[0]);
  ASSERT_EQ(op.conv.quantized_weight.size(), 4U * 9);
  EXPECT_TRUE(std::equal(pha.conv.quantized_weight.begin(), pha.conv.quantized_weight.end(),
                         op.conv.quantized_weight.begin() + 27));
  for (const auto& [slice, output, first] :
       {std::tuple(&merged.ops[merged.ops.size() - 2], fgr.output, 0),
        std::tuple(&merged.ops.back(), pha.output, 3)}) {
    EXPECT_EQ(slice->inputs, std::vector<TensorId>{op.output});
    EXPECT_EQ(slice->output, output);
    EXPECT_EQ(slice->first_channel, first);
  }
}

// Outputs that one convolution cannot make are made by their own.
TEST(Lower, KeepsOtherOutputsApart) {
  const auto expect_apart = [](const ir::Graph& graph) {
    const Plan plan = lower(graph, size, {});
    EXPECT_GE(plan.foreground.storage, 0);
    EXPECT_NE(plan.alpha.storage, plan.foreground.storage);
    EXPECT_EQ(plan.alpha.first_channel, 0);
  };
  Network read_again;
  ir::Graph& graph = read_again.finish();
  GraphMaker::ConvolutionShape shape;
  shape.output_channels = 1;
  const TensorId mask =
      read_again.make.conv_to({graph.outputs[0].tensor}, shape, test::unit_grid());
  graph.outputs[1].tensor = mask;
  expect_apart(graph);

  Network different;
  ir::Graph other = different.finish();
  ir::Op& pha = other.ops.back();
  pha.inputs[0] = different.x;
  pha.conv.quantized_weight.resize(8);
  expect_apart(other);
}

TEST(Lower, ComputesNothingForOutputsThatDoNotExist) {
  Network network;
  ir::Graph graph = network.finish();
  const size_t steps = lower(graph, size, {}).steps.size();
  graph.outputs.erase(graph.outputs.begin());
  const Plan alone = lower(ir::extract(graph, ir::Variant::direct), size, {});
  EXPECT_EQ(alone.steps.size(), steps);
  EXPECT_EQ(alone.foreground.storage, -1);
}

// States are updated in every frame; the convolution behind them and the matte are for outputs.
TEST(Lower, SaysWhatEveryStepIsFor) {
  Network network;
  const Plan plan = lower(network.finish(), size, {});
  ASSERT_EQ(plan.steps.size(), 5U);
  const int outputs = wanted_by_alpha | wanted_by_foreground;
  for (const size_t step : {0, 1, 2})
    EXPECT_EQ(plan.steps[step].wanted, wanted_by_states | outputs) << plan.steps[step].name;
  for (const size_t step : {3, 4})
    EXPECT_EQ(plan.steps[step].wanted, outputs) << plan.steps[step].name;
}

TEST(LowerErrors, NotQuantized) {
  Network network;
  ir::Graph graph = network.finish();
  graph.stage = ir::Stage::fused;
  EXPECT_NE(error_of(graph).find("is not quantized; run mattec quantize first"), std::string::npos);
}

TEST(LowerErrors, UnsoundGraph) {
  Network network;
  ir::Graph graph = network.finish();
  graph.ops[0].conv.quantized_weight.pop_back();
  EXPECT_NE(error_of(graph).find("operation conv."), std::string::npos);
}

TEST(LowerErrors, MissingOutput) {
  Network network;
  ir::Graph graph = network.finish();
  graph.outputs[1].name = "mask";
  EXPECT_ERROR(graph, "no output \"pha\"");
}

TEST(LowerErrors, BlendWithoutGru) {
  Network network;
  network.producer(network.producer(network.only(OpKind::blend).output).inputs[2]).activation =
      Activation::hardsigmoid;
  EXPECT_ERROR(network.finish(), "is not the update of a convolutional GRU");
}

TEST(LowerErrors, StatesThatSwap) {
  Network network;
  network.make.recurrent(network.x, network.make.state(6));
  ir::Graph& graph = network.finish();
  std::swap(graph.states[0].output, graph.states[1].output);
  EXPECT_ERROR(graph, "is not updated by a convolutional GRU of its own");
}

// A second GRU in the same frame updates the first one's result.
TEST(LowerErrors, UpdateOfWhatIsNoState) {
  Network network;
  const TensorId updated = network.make.graph.states[0].output;
  network.make.recurrent(network.x, updated);
  EXPECT_ERROR(network.finish(), "updates what is no state");
}

TEST(LowerErrors, OldStateReadAfterItsUpdate) {
  Network network;
  const TensorId old = network.make.op(OpKind::requantize, {network.state}, test::candidate_grid());
  network.x = network.conv({network.make.slice(old, 1, 3)}, 1, 8);
  EXPECT_ERROR(network.finish(), "has replaced it");
}

TEST(LowerErrors, CandidateThatReadsTheStateItself) {
  Network network;
  ir::Op& candidate = network.producer(network.only(OpKind::blend).inputs[2]);
  const ir::Op& gates =
      network.producer(network.producer(network.only(OpKind::mul).inputs[1]).inputs[0]);
  candidate.inputs[0] = gates.inputs[1];  // the state's 8-bit copy in the place of x
  candidate.conv.quantized_weight.resize(size_t{6} * (6 + 6) * 9);
  EXPECT_ERROR(network.finish(), "has replaced it");
}

TEST(LowerErrors, StateWithoutCopy) {
  Network network;
  GraphMaker& make = network.make;
  const TensorId h = make.state(2);
  GraphMaker::ConvolutionShape shape;
  shape.output_channels = 4;
  shape.activation = Activation::sigmoid;
  const TensorId gates = make.conv_to({network.x}, shape, test::unit_grid());
  const TensorId reset = make.op(OpKind::mul, {make.slice(gates, 0, 2), h}, test::candidate_grid());
  shape.output_channels = 2;
  shape.activation = Activation::tanh;
  const TensorId candidate = make.conv_to({network.x, reset}, shape, test::candidate_grid());
  make.graph.states[1].output =
      make.op(OpKind::blend, {make.slice(gates, 2, 2), h, candidate}, test::state_grid());
  EXPECT_ERROR(network.finish(), "has no copy in 8 or 4 bits");
}

TEST(LowerErrors, ThirdCopyOfAState) {
  Network network;
  const TensorId updated = network.make.graph.states[0].output;
  network.make.op(OpKind::requantize, {updated}, test::narrow_grid());
  const TensorId third =
      network.make.op(OpKind::requantize, {updated}, ir::Grid{8, false, {1.0F / 64}, {128}});
  network.x = network.conv({third}, 1, 8);
  EXPECT_ERROR(network.finish(), "is a state's third grid; kernels write two copies of a state");
}

TEST(LowerErrors, CopyIn16Bits) {
  Network network;
  network.make.op(OpKind::requantize, {network.x}, test::state_grid());
  EXPECT_ERROR(network.finish(), "makes 16 bits; only states have a kernel for it");
}

TEST(LowerErrors, PadValuesInsideTheNetwork) {
  Network network;
  network.producer(network.x).conv.pad_value = {0.5F, 0.5F, 0.5F};  // of the frame: legal
  const TensorId y = network.conv({network.x}, 3, 4);
  network.producer(y).conv.pad_value.assign(8, 0.5F);
  network.x = y;
  EXPECT_ERROR(network.finish(), "pads with values of its own");
}

TEST(LowerErrors, PooledState) {
  Network network;
  const TensorId h = network.make.state(2);
  network.make.op(OpKind::avg_pool2, {h}, test::state_grid());
  network.make.recurrent(network.x, h);
  EXPECT_ERROR(network.finish(), "reads a state in 16 bits");
}

// The verifier's bound is that of unsigned inputs.
TEST(LowerErrors, SumsThatLeave32BitsWhereBytesAreSigned) {
  Network network;
  ir::Graph graph = network.finish();
  ir::Convolution& conv = graph.ops[0].conv;
  std::fill(conv.quantized_weight.begin(), conv.quantized_weight.begin() + 27, int8_t{127});
  conv.quantized_bias[0] = 2147483647 - 27 * 127 * 255;
  Options options;
  EXPECT_EQ(lower(graph, size, options).steps.size(), 5U);
  options.isa.signed_inputs = true;
  EXPECT_EQ(error_of(graph, size, options), "random: the accumulator of channel 0 of " +
                                                graph.ops[0].name +
                                                " can leave 32 bits where bytes are signed");
}

TEST(LowerErrors, ProductOfTwoTensors) {
  Network network;
  network.x = network.make.op(OpKind::mul, {network.x, network.conv({network.x}, 1, 8)},
                              network.make.grid(8, false));
  EXPECT_ERROR(network.finish(), "only products with a gate of one pixel");
}

TEST(LowerErrors, ResetGateThatIsNotZeroBased) {
  Network network;
  ir::Graph& graph = network.make.graph;
  const TensorId r = network.only(OpKind::mul).inputs[1];
  const TensorId gates = network.producer(r).inputs[0];
  ir::Grid grid = *graph.tensor(gates).grid;
  grid.scale.assign(12, grid.scale[0]);
  grid.zero_point.assign(12, 0);
  grid.zero_point[4] = 1;
  graph.tensor(gates).grid = grid;
  for (const int reader : graph.consumers(gates)) {
    const ir::Op& slice = graph.ops[static_cast<size_t>(reader)];
    ir::Grid part = grid;
    part.scale.resize(6);
    part.zero_point.assign(grid.zero_point.begin() + slice.first_channel,
                           grid.zero_point.begin() + slice.first_channel + 6);
    graph.tensor(slice.output).grid = part;
  }
  EXPECT_ERROR(network.finish(), "must have zero point 0, as sigmoids have");
}

TEST(LowerErrors, SumThatCanLeave32Bits) {
  Network network;
  const TensorId gate = network.make.op(OpKind::global_avg_pool, {network.x}, test::unit_grid());
  network.x = network.make.op(OpKind::mul, {network.x, gate}, network.make.grid(8, false));
  const std::string error = error_of(network.finish(), {4096, 4096});
  EXPECT_NE(error.find("can leave 32 bits at 4096x4096"), std::string::npos) << error;
}

TEST(LowerErrors, TensorBeyond2GiB) {
  Network network;
  network.x = network.conv({network.x}, 1, 64);
  const std::string error = error_of(network.finish(), {8192, 8192});
  EXPECT_NE(error.find("needs more than 2 GiB at 8192x8192"), std::string::npos) << error;
}

}  // namespace
}  // namespace mattec::lower
