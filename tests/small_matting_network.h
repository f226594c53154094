// A fused recurrent matting network of every operation, small enough for unit tests, with random
// weights; and a moving pattern to feed it.
#pragma once

#include <cmath>
#include <random>

#include "ir/graph.h"
#include "quant/frames.h"

namespace mattec::testing {

class SmallMattingNetwork {
 public:
  explicit SmallMattingNetwork(uint32_t seed) : engine_(seed) { build(); }
  ir::Graph graph;

 private:
  using Inputs = std::vector<ir::TensorId>;

  float random(float low, float high) {
    return low + (high - low) * static_cast<float>(engine_() % 65536) / 65536;
  }

  ir::TensorId conv(const std::string& name, Inputs inputs, int outputs, int kernel,
                    ir::Activation activation, int stride = 1, bool depthwise = false,
                    ir::TensorId residual = ir::no_tensor) {
    ir::Op op;
    op.name = name;
    op.activation = activation;
    op.conv.kernel = kernel;
    op.conv.stride = stride;
    op.conv.padding = kernel / 2;
    op.conv.depthwise = depthwise;
    op.conv.output_channels = outputs;
    int channels = 0;
    for (const ir::TensorId input : inputs) channels += graph.tensor(input).channels;
    const int fan_in = (depthwise ? 1 : channels) * kernel * kernel;
    const float reach = std::sqrt(4.0F / static_cast<float>(fan_in));
    for (int i = 0; i < outputs * fan_in; ++i) op.conv.weight.push_back(random(-reach, reach));
    for (int o = 0; o < outputs; ++o) op.conv.bias.push_back(random(-0.2F, 0.4F));
    op.inputs = std::move(inputs);
    if (residual != ir::no_tensor) {
      op.conv.has_residual = true;
      op.inputs.push_back(residual);
    }
    return graph.add_op(op, outputs);
  }

  ir::TensorId simple(ir::OpKind kind, const std::string& name, Inputs inputs, int channels,
                      int first_channel = 0) {
    ir::Op op;
    op.kind = kind;
    op.name = name;
    op.inputs = std::move(inputs);
    op.first_channel = first_channel;
    return graph.add_op(op, channels);
  }

  ir::TensorId gru(ir::TensorId x, ir::TensorId h, int channels) {
    using ir::OpKind;
    const auto gates = conv("gates", {x, h}, 2 * channels, 3, ir::Activation::sigmoid);
    const auto r = simple(OpKind::slice, "r", {gates}, channels);
    const auto z = simple(OpKind::slice, "z", {gates}, channels, channels);
    const auto rh = simple(OpKind::mul, "rh", {r, h}, channels);
    const auto c = conv("candidate", {x, rh}, channels, 3, ir::Activation::tanh);
    return simple(OpKind::blend, "h.new", {z, h, c}, channels);
  }

  void output(const std::string& name, ir::TensorId tensor) {
    graph.ops.back().rounding = ir::Rounding::down;
    graph.outputs.push_back({name, tensor, ir::Variant::both});
  }

  void build() {
    using ir::Activation;
    using ir::OpKind;
    graph.name = "small";
    graph.stage = ir::Stage::fused;
    graph.frame = graph.add_tensor("frame", 3);
    const auto h = graph.add_tensor("h", 4);
    auto stem = conv("stem", {graph.frame}, 8, 3, Activation::hardswish, 2);
    graph.ops.back().conv.pad_value = {0.485F, 0.456F, 0.406F};
    auto x = conv("dw", {stem}, 8, 3, Activation::relu, 1, true);
    const auto pool = simple(OpKind::global_avg_pool, "pool", {x}, 8);
    const auto fc1 = conv("fc1", {pool}, 4, 1, Activation::relu);
    const auto fc2 = conv("fc2", {fc1}, 8, 1, Activation::hardsigmoid);
    x = simple(OpKind::mul, "se", {x, fc2}, 8);
    x = conv("project", {x}, 8, 1, Activation::none, 1, false, stem);
    const auto a = simple(OpKind::slice, "a", {x}, 4);
    const auto b = simple(OpKind::slice, "b", {x}, 4, 4);
    const auto state = gru(b, h, 4);
    graph.states.push_back({"r1", h, state});
    const auto pooled = simple(OpKind::avg_pool2, "pooled", {graph.frame}, 3);
    x = conv("decode", {a, state, pooled}, 8, 3, Activation::relu);
    const auto up = simple(OpKind::upsample2, "up", {x, graph.frame}, 8);
    const auto up_state = simple(OpKind::upsample2, "up.h", {state, graph.frame}, 4);
    x = conv("last", {up, up_state, graph.frame}, 8, 3, Activation::relu);
    const auto fgr = conv("fgr", {x}, 3, 1, Activation::clamp01, 1, false, graph.frame);
    output("fgr", fgr);
    const auto pha = conv("pha", {x}, 1, 1, Activation::clamp01);
    output("pha", pha);
  }

  std::mt19937 engine_;
};

// Smooth colours that move, with a little noise.
inline quant::Clip moving_pattern(int width, int height, int frames, uint32_t seed) {
  std::mt19937 engine(seed);
  const double phase = engine() % 100 / 10.0;
  quant::Clip clip;
  for (int t = 0; t < frames; ++t) {
    quant::Frame frame{width, height, {}};
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (int c = 0; c < 3; ++c) {
          const double wave = std::sin(0.3 * (x + 2 * t) + phase + c) + std::cos(0.2 * y + phase);
          frame.rgb.push_back(static_cast<uint8_t>(120 + 50 * wave + engine() % 16));
        }
    clip.push_back(std::move(frame));
  }
  return clip;
}

}  // namespace mattec::testing
