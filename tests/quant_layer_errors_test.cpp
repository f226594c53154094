// The errors of a quantized network's layers, beside what hooks on its executors show directly.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "base/error.h"
#include "quant/calibrate.h"
#include "quant/layer_errors.h"
#include "quant/play.h"
#include "quant/simulate.h"
#include "quant/weights.h"
#include "small_matting_network.h"

namespace mattec::quant {
namespace {

using testing::moving_pattern;
using testing::op_named;
using testing::SmallMattingNetwork;
using torch::Tensor;

constexpr int frames_played = 3;

class LayerErrors : public ::testing::Test {
 protected:
  void SetUp() override {
    CalibrationOptions options;
    options.window = 5;
    options.positions_per_frame = 300;
    BitPolicy low;
    low.weights = low.activations = 4;
    quantized = quantize(fused, observe(fused, clips, options), low, options);
    comparison = compare_layers(fused, quantized, clips, frames_played);
  }

  const LayerError& of(const std::string& name) const {
    for (const LayerError& error : comparison.layers)
      if (error.name == name) return error;
    throw Error("no layer " + name);
  }

  // What `executor` stores in tensor `name`, in the frames played of all clips.
  std::vector<Tensor> stored(Executor executor, const ir::Graph& graph, const std::string& name) {
    const torch::NoGradGuard no_gradients;
    std::vector<Tensor> found;
    const ir::TensorId wanted = testing::tensor_named(graph, name);
    executor.hooks.on_store = [&, round = executor.hooks.on_store](ir::TensorId id,
                                                                   const Tensor& value) {
      Tensor kept = round ? round(id, value) : value;
      if (id == wanted) found.push_back(kept);
      return kept;
    };
    for (const Clip& clip : clips) {
      std::vector<Tensor> states;
      for (int t = 0; t < frames_played; ++t)
        executor.step(network_input(clip[static_cast<size_t>(t)]), states);
    }
    return found;
  }

  static double relative(const std::vector<Tensor>& values, const std::vector<Tensor>& exact) {
    double error = 0, size = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      error += (values[i] - exact[i]).square().sum().item<double>();
      size += exact[i].square().sum().item<double>();
    }
    return std::sqrt(error / size);
  }

  const ir::Graph fused = SmallMattingNetwork(1).graph;
  const std::vector<Clip> clips = {moving_pattern(34, 26, 5, 1), moving_pattern(26, 34, 5, 2)};
  ir::Graph quantized;
  LayerComparison comparison;
};

TEST_F(LayerErrors, AreOfEveryStoredTensorInTheGraphsOrder) {
  std::vector<std::string> expected, names;
  for (const ir::Op& op : quantized.ops)
    if (op.kind != ir::OpKind::slice) expected.push_back(op.name);
  for (const LayerError& error : comparison.layers) names.push_back(error.name);
  EXPECT_EQ(names, expected);
  EXPECT_GT(names.size(), fused.ops.size() - 2) << "4-bit copies are layers too";
}

TEST_F(LayerErrors, AccumulatedIsTheSimulationsBesideTheFloatNetworks) {
  for (const char* name : {"stem", "h.new", "decode", "last", "pha"}) {
    const double expected = relative(stored(simulator(quantized), quantized, name),
                                     stored(channels_last_executor(fused), fused, name));
    EXPECT_GT(expected, 0) << name;
    EXPECT_NEAR(of(name).accumulated, expected, 1e-4 * expected) << name;
  }
}

// One convolution of several segments and one with a residual, done by hand on float inputs.
TEST_F(LayerErrors, OwnIsOfTheLayersOwnIntegersOnFloatInputs) {
  const auto input = [&](const char* name) {
    return stored(channels_last_executor(fused), fused, name);
  };
  const struct {
    const char* name;
    std::vector<Tensor> x, residual;
  } cases[] = {{"project", input("se"), input("stem")}, {"candidate", {}, {}}};
  for (const auto& one : cases) {
    const ir::Op& op = op_named(quantized, one.name);
    const RealWeights real = real_weights(quantized, op);
    const int64_t outputs = op.conv.output_channels, kernel = op.conv.kernel;
    const Tensor weight = torch::tensor(real.weight).reshape({outputs, -1, kernel, kernel});
    const std::vector<Tensor> exact = input(one.name), b = input("b"), rh = input("rh");
    std::vector<Tensor> sums, rounded;
    for (size_t i = 0; i < exact.size(); ++i) {
      const bool is_project = !one.x.empty();
      const Tensor x = is_project ? one.x[i] : torch::cat({b[i], rh[i]}, 1);
      Tensor y = torch::conv2d(x, weight, torch::tensor(real.bias), 1, op.conv.padding);
      y = is_project ? y + one.residual[i] : torch::tanh(y);
      sums.push_back(y);
      rounded.push_back(round_to_grid(y, *quantized.tensor(op.output).grid));
    }
    EXPECT_NEAR(of(one.name).weights, relative(sums, exact), 1e-4 * relative(sums, exact))
        << one.name;
    // A value on the edge between two steps may fall to either side.
    EXPECT_NEAR(of(one.name).own, relative(rounded, exact), 0.01 * relative(rounded, exact))
        << one.name;
  }
}

TEST_F(LayerErrors, AddUpFromTheFirstLayerOn) {
  EXPECT_EQ(of("stem").own, of("stem").accumulated) << "frames are exact, so it reads no error";
  EXPECT_GT(of("stem").own, of("stem").weights);
  EXPECT_GT(of("pha").accumulated, of("pha").own);
  int copies = 0;
  for (const ir::Op& op : quantized.ops) {
    if (op.kind == ir::OpKind::conv || op.kind == ir::OpKind::slice) continue;
    EXPECT_EQ(of(op.name).weights, 0) << op.name << " has none";
    copies += op.kind == ir::OpKind::requantize && of(op.name).own > 0 ? 1 : 0;
  }
  EXPECT_GT(copies, 0) << "what a copy loses is its own error";
}

TEST_F(LayerErrors, ComeWithTheMattesOfTheLastFrame) {
  const std::vector<Tensor> exact = stored(channels_last_executor(fused), fused, "pha"),
                            simulated = stored(simulator(quantized), quantized, "pha");
  ASSERT_EQ(comparison.clips.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    const ClipMattes& clip = comparison.clips[i];
    double difference = 0;
    for (size_t t = 0; t < frames_played; ++t) {
      const size_t index = i * frames_played + t;
      difference += (exact[index] - simulated[index]).abs().mean().item<double>() / frames_played;
    }
    EXPECT_NEAR(clip.alpha_difference, difference, 1e-6);
    EXPECT_EQ(clip.frame.rgb, clips[i][frames_played - 1].rgb);
    const Tensor last = simulated[i * frames_played + frames_played - 1].flatten() * 255;
    ASSERT_EQ(clip.quantized.size(), static_cast<size_t>(last.numel()));
    for (int64_t p = 0; p < last.numel(); ++p)
      ASSERT_EQ(clip.quantized[static_cast<size_t>(p)], std::lround(last[p].item<float>()));
    EXPECT_NE(clip.exact, clip.quantized);
  }
}

// Without a float value to be relative to, an error is none or whole.
TEST_F(LayerErrors, OfASilentTensorAreZero) {
  ir::Graph silent = fused;
  for (ir::Op& op : silent.ops) {
    if (op.name != "decode") continue;
    op.conv.weight.assign(op.conv.weight.size(), 0);
    op.conv.bias.assign(op.conv.bias.size(), 0);
  }
  const CalibrationOptions options;
  const ir::Graph integers = quantize(silent, observe(silent, clips, options), {}, options);
  for (const LayerError& error : compare_layers(silent, integers, clips, 1).layers) {
    EXPECT_TRUE(std::isfinite(error.accumulated)) << error.name;
    if (error.name != "decode") continue;
    EXPECT_EQ(error.own, 0);
    EXPECT_EQ(error.accumulated, 0);
  }
}

TEST_F(LayerErrors, RefuseNothingToPlay) {
  EXPECT_THROW(compare_layers(fused, quantized, {}, 3), Error);
  EXPECT_THROW(compare_layers(fused, quantized, clips, 0), Error);
}

}  // namespace
}  // namespace mattec::quant
