// Networks built from weights alone, the passes on them, and fusion.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "error_of.h"
#include "frontend/fuse.h"
#include "frontend/networks.h"
#include "frontend/passes.h"
#include "ir/compare.h"
#include "quant/executor.h"
#include "tests/frontend_networks.h"

namespace mattec {
namespace {

using ir::Op;
using ir::OpKind;
using ir::Variant;

// Largest difference of outputs and states of two graphs over a recurrent sequence, in double.
double difference(const ir::Graph& a, const ir::Graph& b, int64_t height, int64_t width,
                  double ratio = 1) {
  const torch::NoGradGuard no_grad;
  quant::Executor first(a), second(b);
  for (quant::Executor* executor : {&first, &second})
    for (auto& [name, entry] : executor->parameters.of)
      entry = {entry.weight.to(torch::kDouble), entry.bias.to(torch::kDouble)};
  std::vector<torch::Tensor> first_states, second_states;
  double largest = 0;
  for (int time = 0; time < 4; ++time) {
    const torch::Tensor frame = testing::moving_picture(height, width, time).to(torch::kDouble);
    const auto x = first.step(frame, first_states, ratio);
    const auto y = second.step(frame, second_states, ratio);
    for (size_t i = 0; i < x.size(); ++i)
      largest = std::max(largest, testing::largest_difference(x[i], y[i]));
    for (size_t i = 0; i < first_states.size(); ++i)
      largest = std::max(largest, testing::largest_difference(first_states[i], second_states[i]));
  }
  return largest;
}

ir::Graph nano_network(uint64_t seed = 1) {
  const frontend::NetworkShape shape = frontend::nano();
  return frontend::build_network(shape, testing::random_weights(shape, seed));
}

// y = activation(conv(x)) with a 1x1 convolution: the smallest fusable network around `ops`.
struct SmallNetwork {
  ir::Graph graph;

  SmallNetwork() {
    graph.name = "small";
    graph.frame = graph.add_tensor("frame", 3);
  }
  ir::TensorId conv(ir::TensorId x, int outputs, int kernel = 1, bool depthwise = false) {
    Op op;
    op.name = "conv" + std::to_string(graph.ops.size());
    op.inputs = {x};
    op.conv.kernel = kernel;
    op.conv.padding = kernel / 2;
    op.conv.depthwise = depthwise;
    op.conv.output_channels = outputs;
    const int inputs = depthwise ? 1 : graph.tensor(x).channels;
    for (int i = 0; i < outputs * inputs * kernel * kernel; ++i)
      op.conv.weight.push_back(0.3F * std::sin(1.7F * static_cast<float>(i + 1)));
    for (int i = 0; i < outputs; ++i) op.conv.bias.push_back(0.1F * static_cast<float>(i));
    return graph.add_op(std::move(op), outputs);
  }
  ir::TensorId add(OpKind kind, std::vector<ir::TensorId> inputs, int channels,
                   ir::Activation activation = ir::Activation::none) {
    Op op;
    op.kind = kind;
    op.name = "op" + std::to_string(graph.ops.size());
    op.inputs = std::move(inputs);
    op.activation = activation;
    return graph.add_op(std::move(op), channels);
  }
  ir::Graph finished(ir::TensorId alpha) {
    graph.outputs = {{"pha", alpha, Variant::both}};
    return graph;
  }
};

TEST(Network, FusedEqualsImported) {
  for (uint64_t seed : {1, 2}) {
    const ir::Graph direct = ir::extract(nano_network(seed), Variant::direct);
    const ir::Graph fused = frontend::fuse(direct);
    for (const auto& [height, width] : {std::pair{48, 80}, {51, 33}, {80, 48}})
      EXPECT_LT(difference(direct, fused, height, width), 1e-6) << width << "x" << height;
  }
}

TEST(Network, AtRatioOneTheDownsamplingVanishes) {
  const ir::Graph network = nano_network();
  const ir::Graph refined = ir::extract(network, Variant::refined);
  const ir::Graph direct = ir::extract(network, Variant::direct);
  const auto has = [](const ir::Graph& graph, OpKind kind) {
    return std::any_of(graph.ops.begin(), graph.ops.end(),
                       [&](const Op& op) { return op.kind == kind; });
  };
  EXPECT_FALSE(has(direct, OpKind::downsample));
  EXPECT_FALSE(has(direct, OpKind::resize_to));
  EXPECT_TRUE(has(refined, OpKind::downsample));
  EXPECT_EQ(direct.outputs.size(), 2U);
  EXPECT_EQ(refined.outputs.size(), 2U);
}

TEST(Network, BatchNormIsFolded) {
  const frontend::NetworkShape shape = frontend::nano();
  frontend::Weights weights = testing::random_weights(shape, 3);
  testing::add_random_batch_norms(weights, 4);
  const ir::Graph folded = frontend::build_network(shape, weights);
  for (const Op& op : folded.ops) EXPECT_NE(op.kind, OpKind::batch_norm);
  // One filter by hand: the stem's epsilon is 1e-3, the decoder's 1e-5.
  for (const auto& [conv, norm, epsilon] :
       {std::tuple{"backbone.features.0.0", "backbone.features.0.1", 1e-3},
        {"decoder.decode1.conv.0", "decoder.decode1.conv.1", 1e-5}}) {
    const std::string name = conv, bn = norm;
    const auto op = std::find_if(folded.ops.begin(), folded.ops.end(),
                                 [&](const Op& candidate) { return candidate.name == name; });
    ASSERT_NE(op, folded.ops.end()) << name;
    const double factor = weights[bn + ".weight"].values[2] /
                          std::sqrt(double(weights[bn + ".running_var"].values[2]) + epsilon);
    const size_t row = op->conv.weight.size() / op->conv.bias.size();
    EXPECT_NEAR(op->conv.weight[2 * row + 5],
                weights[name + ".weight"].values[2 * row + 5] * factor, 1e-7);
    const double bias =
        (weights[name + ".bias"].values[2] - double(weights[bn + ".running_mean"].values[2])) *
            factor +
        weights[bn + ".bias"].values[2];
    EXPECT_NEAR(op->conv.bias[2], bias, 1e-6);
  }
}

TEST(Network, FoldingKeepsTheFunction) {
  SmallNetwork small;
  const ir::TensorId normalised = small.add(OpKind::batch_norm, {small.conv(0, 4, 3)}, 4);
  Op& norm = small.graph.ops.back();
  norm.gamma = {1, 2, -0.5F, 0.1F};
  norm.beta = {0, 0.1F, 0.2F, 0.3F};
  norm.mean = {0.5F, 0, -0.5F, 1};
  norm.variance = {1, 0.01F, 4, 0.5F};
  norm.epsilon = 1e-3;
  const ir::TensorId twice = small.add(OpKind::scale_shift, {normalised}, 4);
  small.graph.ops.back().factor = {2};
  small.graph.ops.back().offset = {1};
  const ir::TensorId alpha =
      small.add(OpKind::activation, {small.conv(twice, 1)}, 1, ir::Activation::sigmoid);
  const ir::Graph before = small.finished(alpha);
  ir::Graph after = before;
  frontend::fold_constants(after);
  EXPECT_EQ(after.ops.size(), 3U);
  EXPECT_LT(difference(before, after, 9, 7), 1e-6);
}

TEST(Network, CanonicalOrderDependsOnStructureOnly) {
  const ir::Graph network = nano_network();
  std::mt19937 random(5);
  // Another order that respects the data flow: operations picked at random among the ready ones.
  ir::Graph shuffled = network;
  shuffled.ops.clear();
  std::vector<bool> known(network.tensors.size(), false);
  known[static_cast<size_t>(network.frame)] = true;
  for (const ir::State& state : network.states) known[static_cast<size_t>(state.input)] = true;
  std::vector<Op> waiting = network.ops;
  while (!waiting.empty()) {
    const size_t i = random() % waiting.size();
    const auto& inputs = waiting[i].inputs;
    if (!std::all_of(inputs.begin(), inputs.end(),
                     [&](ir::TensorId id) { return known[static_cast<size_t>(id)]; }))
      continue;
    known[static_cast<size_t>(waiting[i].output)] = true;
    shuffled.ops.push_back(waiting[i]);
    waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(i));
  }
  EXPECT_NE(ir::first_difference(network, shuffled, 0), "");
  EXPECT_EQ(ir::first_difference(network, frontend::canonical(shuffled), 0), "");
}

TEST(Network, CanonicalMergesEqualOperations) {
  SmallNetwork small;
  const ir::TensorId a = small.conv(0, 2), b = small.conv(0, 2);  // equal weights and input
  const ir::TensorId sum = small.add(OpKind::add, {a, b}, 2);
  small.conv(0, 2, 3);  // read by nothing
  const ir::TensorId alpha = small.conv(sum, 1);
  const ir::Graph graph = frontend::canonical(small.finished(alpha));
  ASSERT_EQ(graph.ops.size(), 3U);
  EXPECT_EQ(graph.ops[1].inputs[0], graph.ops[1].inputs[1]);
}

TEST(Network, ComparisonFindsEveryKindOfDifference) {
  const ir::Graph network = nano_network();
  const auto differs = [&](const std::function<void(ir::Graph&)>& change) {
    ir::Graph changed = network;
    change(changed);
    return ir::first_difference(network, changed, 1e-6);
  };
  EXPECT_EQ(differs([](ir::Graph&) {}), "");
  EXPECT_EQ(differs([](ir::Graph& g) { g.ops[2].conv.weight[3] *= 1 + 1e-7F; }), "");
  EXPECT_NE(differs([](ir::Graph& g) { g.ops[2].conv.weight[3] += 1e-4F; }), "");
  EXPECT_NE(differs([](ir::Graph& g) { g.ops[2].conv.stride = 1; }), "");
  EXPECT_NE(differs([](ir::Graph& g) { g.ops[3].activation = ir::Activation::relu; }), "");
  EXPECT_NE(differs([](ir::Graph& g) { g.ops.back().inputs[0] = 0; }), "");
  EXPECT_NE(differs([](ir::Graph& g) { g.ops.pop_back(); }), "");
  EXPECT_NE(differs([](ir::Graph& g) { std::swap(g.states[0], g.states[1]); }), "");
  EXPECT_NE(differs([](ir::Graph& g) { g.outputs.pop_back(); }), "");
}

TEST(Network, WeightsThatDoNotFitAreNamed) {
  const frontend::NetworkShape shape = frontend::nano();
  const frontend::Weights good = testing::random_weights(shape, 1);
  frontend::Weights missing = good;
  missing.erase("decoder.decode2.gru.hh.0.bias");
  EXPECT_NE(error_of([&] {
              frontend::build_network(shape, missing);
            }).find("'decoder.decode2.gru.hh.0.bias' of the network 'mattec-nano' is missing"),
            std::string::npos);
  frontend::Weights reshaped = good;
  reshaped["project_mat.conv.weight"].shape = {4, 16, 1, 1};
  EXPECT_NE(error_of([&] {
              frontend::build_network(shape, reshaped);
            }).find("shape [4, 16, 1, 1], the network 'mattec-nano' needs [4, 8, 1, 1]"),
            std::string::npos);
  frontend::Weights infinite = good;
  infinite["project_mat.conv.weight"].values[0] = INFINITY;
  EXPECT_NE(error_of([&] { frontend::build_network(shape, infinite); }), "no error");
  EXPECT_EQ(frontend::recognise(frontend::shapes_of(good), "").name, "mattec-nano");
  EXPECT_EQ(frontend::recognise(frontend::shapes_of(missing), "").name, "mattec-nano");
  EXPECT_NE(error_of([&] { frontend::recognise({}, ""); }).find("no known network"),
            std::string::npos);
}

TEST(Fuse, WhatItCannotExpressIsNamed) {
  const auto refused = [](const ir::Graph& graph) {
    return error_of([&] { frontend::fuse(graph); });
  };
  const ir::Graph network = nano_network();
  EXPECT_NE(refused(network).find("two variants"), std::string::npos);
  EXPECT_NE(refused(ir::extract(network, Variant::refined)).find("downsample ratio 1"),
            std::string::npos);
  const ir::Graph fused = frontend::fuse(ir::extract(network, Variant::direct));
  EXPECT_NE(refused(fused).find("fused already"), std::string::npos);
  {
    SmallNetwork small;
    const ir::TensorId twice =
        small.add(OpKind::activation, {small.conv(0, 1)}, 1, ir::Activation::relu);
    EXPECT_NE(
        refused(small.finished(small.add(OpKind::activation, {twice}, 1, ir::Activation::tanh)))
            .find("does not follow a convolution"),
        std::string::npos);
  }
  {
    SmallNetwork small;
    EXPECT_NE(refused(small.finished(small.add(OpKind::avg_pool2, {small.conv(0, 1)}, 1)))
                  .find("'pha' is not the result of a convolution"),
              std::string::npos);
  }
}

// A tensor that two operations read must not disappear into an epilogue.
TEST(Fuse, SharedResultsAreKept) {
  SmallNetwork small;
  const ir::TensorId x = small.conv(0, 2, 3);
  const ir::TensorId y = small.conv(x, 2, 3);
  const ir::TensorId sum = small.add(OpKind::add, {x, y}, 2);
  const ir::TensorId alpha =
      small.add(OpKind::activation, {small.conv(sum, 1)}, 1, ir::Activation::clamp01);
  const ir::Graph imported = small.finished(alpha);
  const ir::Graph fused = frontend::fuse(imported);
  ASSERT_EQ(fused.ops.size(), 3U);
  EXPECT_EQ(fused.ops[1].residual(), fused.ops[0].output);
  EXPECT_LT(difference(imported, fused, 8, 9), 1e-6);
}

// A scaling before a padded convolution: the border is the real value that scales to zero.
TEST(Fuse, PadValueKeepsTheBorderExact) {
  SmallNetwork small;
  const ir::TensorId scaled = small.add(OpKind::scale_shift, {0}, 3);
  small.graph.ops.back().factor = {4, 5, 2};
  small.graph.ops.back().offset = {-2, -1, 0.5F};
  const ir::Graph imported = small.finished(small.conv(scaled, 1, 3));
  const ir::Graph fused = frontend::fuse(imported);
  ASSERT_EQ(fused.ops.size(), 1U);
  EXPECT_EQ(fused.ops[0].conv.pad_value, (std::vector<float>{0.5F, 0.2F, -0.25F}));
  EXPECT_LT(difference(imported, fused, 5, 6), 1e-6);
}

TEST(Fuse, BothFormsOfTheBlendAreRecognised) {
  for (bool weighted : {true, false}) {
    SmallNetwork small;
    const ir::TensorId z =
        small.add(OpKind::activation, {small.conv(0, 2)}, 2, ir::Activation::sigmoid);
    const ir::TensorId c =
        small.add(OpKind::activation, {small.conv(0, 2, 3)}, 2, ir::Activation::tanh);
    const ir::TensorId h = small.graph.add_tensor("h", 2);
    ir::TensorId blend = ir::no_tensor;
    if (weighted) {  // c z + h (1 - z)
      const ir::TensorId rest = small.add(OpKind::scale_shift, {z}, 2);
      small.graph.ops.back().factor = {-1};
      small.graph.ops.back().offset = {1};
      blend =
          small.add(OpKind::add,
                    {small.add(OpKind::mul, {c, z}, 2), small.add(OpKind::mul, {h, rest}, 2)}, 2);
    } else {  // h + z (c - h)
      const ir::TensorId change = small.add(OpKind::sub, {c, h}, 2);
      blend = small.add(OpKind::add, {h, small.add(OpKind::mul, {z, change}, 2)}, 2);
    }
    small.graph.states = {{"h", h, blend}};
    const ir::Graph imported = small.finished(small.conv(blend, 1));
    const ir::Graph fused = frontend::fuse(imported);
    ASSERT_EQ(fused.ops.size(), 4U);
    EXPECT_EQ(fused.ops[2].kind, OpKind::blend);
    EXPECT_LT(difference(imported, fused, 6, 6), 1e-6);
  }
}

TEST(DeadChannels, ConstantsAreAbsorbed) {
  const frontend::NetworkShape shape = frontend::nano();
  frontend::Weights weights = testing::random_weights(shape, 7);
  const auto kill = [&](const std::string& name, size_t filter, float bias) {
    std::vector<float>& weight = weights[name + ".weight"].values;
    const size_t row = weight.size() / weights[name + ".bias"].values.size();
    std::fill_n(weight.begin() + static_cast<ptrdiff_t>(filter * row), row, 1e-12F);
    weights[name + ".bias"].values[filter] = bias;
  };
  // Block 2: expansion and depthwise dead, so both and the projection's column go.
  kill("backbone.features.2.block.0.0", 3, 0.7F);
  kill("backbone.features.2.block.1.0", 3, 0.4F);
  // Block 4 with squeeze-and-excite: silent after relu, so the gate's filter goes too.
  kill("backbone.features.4.block.0.0", 5, -1);
  kill("backbone.features.4.block.1.0", 5, -1);
  // Expansion dead but not silent: the depthwise border differs, so nothing may go.
  kill("backbone.features.3.block.0.0", 1, 0.7F);
  // A projection's output that the residual needs: stays.
  kill("backbone.features.3.block.2.0", 2, 0.1F);
  const ir::Graph fused =
      frontend::fuse(ir::extract(frontend::build_network(shape, weights), Variant::direct));
  ir::Graph smaller = fused;
  // Block 2: exp, dw. Block 4: exp, dw, pool, fc2, mul.
  EXPECT_EQ(frontend::remove_dead_channels(smaller), 7);
  const auto outputs = [&](const std::string& name) {
    for (const Op& op : smaller.ops)
      if (op.name == name) return op.conv.output_channels;
    return -1;
  };
  EXPECT_EQ(outputs("backbone.features.2.block.0.0"), 23);
  EXPECT_EQ(outputs("backbone.features.2.block.1.0"), 23);
  EXPECT_EQ(outputs("backbone.features.3.block.0.0"), 36);
  EXPECT_EQ(outputs("backbone.features.4.block.2.fc2"), 35);
  EXPECT_LT(difference(fused, smaller, 48, 80), 1e-5);
}

TEST(Executor, IsDifferentiable) {
  const ir::Graph fused = frontend::fuse(ir::extract(nano_network(), Variant::direct));
  quant::Executor executor(fused);
  for (auto& [name, entry] : executor.parameters.of) {
    entry.weight.requires_grad_();
    entry.bias.requires_grad_();
  }
  std::vector<torch::Tensor> states;
  torch::Tensor loss = torch::zeros({});
  for (int time = 0; time < 2; ++time)
    loss = loss + executor.step(testing::moving_picture(32, 48, time), states)[1].square().sum();
  for (const torch::Tensor& state : states) loss = loss + state.square().sum();
  loss.backward();
  for (const auto& [name, entry] : executor.parameters.of) {
    if (name == "project_mat.conv.part0") continue;  // the foreground is not in the loss
    ASSERT_TRUE(entry.weight.grad().defined()) << name;
    EXPECT_GT(entry.weight.grad().abs().max().item<double>(), 0) << name;
  }
}

TEST(Executor, HooksSeeAndReplaceEveryStoredTensor) {
  const torch::NoGradGuard no_grad;
  const ir::Graph fused = frontend::fuse(ir::extract(nano_network(), Variant::direct));
  quant::Executor executor(fused);
  std::vector<int> stored(fused.tensors.size(), 0);
  std::map<std::string, int64_t> convolved;
  executor.hooks.on_store = [&](ir::TensorId id, const torch::Tensor& value) {
    ++stored[static_cast<size_t>(id)];
    EXPECT_EQ(value.size(1), fused.tensor(id).channels);
    return id == fused.outputs[1].tensor ? torch::full_like(value, 0.25) : value;
  };
  executor.hooks.on_convolution = [&](const Op& op, const torch::Tensor& input) {
    convolved[op.name] = input.size(1);
  };
  std::vector<torch::Tensor> states;
  const auto outputs = executor.step(testing::moving_picture(33, 47, 0), states);
  EXPECT_EQ(stored, std::vector<int>(fused.tensors.size(), 1));
  EXPECT_EQ(outputs[1].max().item<float>(), 0.25F);
  EXPECT_EQ(convolved.at("decoder.decode0.conv.0"), 11);  // 4 + 4 + 3 channels in three segments
  EXPECT_EQ(convolved.at("project_mat.conv.part0"), 8);   // without the residual
}

}  // namespace
}  // namespace mattec
