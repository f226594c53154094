// Fused recurrent matting networks small enough for unit tests, with random weights: one of every
// operation, and random ones; and a moving pattern to feed them.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "ir/graph.h"
#include "quant/frames.h"

namespace mattec::testing {

inline ir::TensorId tensor_named(const ir::Graph& graph, const std::string& name) {
  for (size_t i = 0; i < graph.tensors.size(); ++i)
    if (graph.tensors[i].name == name) return static_cast<ir::TensorId>(i);
  throw Error("no tensor " + name);
}

inline const ir::Op& op_named(const ir::Graph& graph, const std::string& name) {
  for (const ir::Op& op : graph.ops)
    if (op.name == name) return op;
  throw Error("no operation " + name);
}

class NetworkBuilder {
 public:
  ir::Graph graph;

 protected:
  explicit NetworkBuilder(uint32_t seed) : engine_(seed) {
    graph.stage = ir::Stage::fused;
    graph.frame = graph.add_tensor("frame", 3);
  }
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

  // 8 channels at half the frame's size; the border holds the mean colour.
  ir::TensorId stem() {
    const auto made = conv("stem", {graph.frame}, 8, 3, ir::Activation::hardswish, 2);
    graph.ops.back().conv.pad_value = {0.485F, 0.456F, 0.406F};
    return made;
  }

  std::mt19937 engine_;
};

class SmallMattingNetwork : public NetworkBuilder {
 public:
  explicit SmallMattingNetwork(uint32_t seed) : NetworkBuilder(seed) {
    using ir::Activation;
    using ir::OpKind;
    graph.name = "small";
    const auto h = graph.add_tensor("h", 4);
    const auto stem = this->stem();
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
};

// Convolutions of several segments, residuals, gates, slices and resampling on randomly chosen
// tensors, so that tensors have readers of every kind in every mix; a recurrent state; `fgr` and
// `pha`.
class RandomMattingNetwork : public NetworkBuilder {
 public:
  explicit RandomMattingNetwork(uint32_t seed) : NetworkBuilder(seed) {
    using ir::OpKind;
    graph.name = "random";
    const auto h = graph.add_tensor("h", 4);
    half_ = {stem(), simple(OpKind::avg_pool2, "pooled", {graph.frame}, 3)};
    for (int i = 0; i < 6; ++i) add_random();
    const auto x = conv("into.gru", {any(), any()}, 4, 1, ir::Activation::none);
    const auto state = gru(x, h, 4);
    graph.states.push_back({"r1", h, state});
    half_.insert(half_.end(), {x, state});
    for (int i = 0; i < 6; ++i) add_random();
    const auto read = any();
    const auto up =
        simple(OpKind::upsample2, "last.up", {read, graph.frame}, graph.tensor(read).channels);
    const auto last = conv("last", {up, graph.frame}, 8, 3, ir::Activation::relu);
    output("fgr", conv("fgr", {last}, 3, 1, ir::Activation::clamp01, 1, false, graph.frame));
    output("pha", conv("pha", {last}, 1, 1, ir::Activation::clamp01));
  }

 private:
  size_t below(size_t bound) { return engine_() % bound; }
  ir::TensorId any() { return half_[below(half_.size())]; }

  ir::Activation any_activation() {
    using ir::Activation;
    const Activation all[] = {Activation::none, Activation::relu, Activation::hardswish,
                              Activation::tanh, Activation::sigmoid};
    return all[below(5)];
  }

  void add_random() {
    using ir::Activation;
    using ir::OpKind;
    const std::string name = "op" + std::to_string(graph.ops.size());
    const ir::TensorId x = any();
    const int channels = graph.tensor(x).channels;
    switch (below(7)) {
      case 0:
        half_.push_back(conv(name, {x, any()}, 8, 1, any_activation()));
        break;
      case 1:
        half_.push_back(conv(name, {x}, 4, 3, any_activation()));
        break;
      case 2:
        half_.push_back(conv(name, {x}, channels, 3, any_activation(), 1, true));
        break;
      case 3:
        half_.push_back(conv(name, {any()}, channels, 1, Activation::relu, 1, false, x));
        break;
      case 4: {
        const auto pool = simple(OpKind::global_avg_pool, name + ".pool", {x}, channels);
        const auto gate = conv(name + ".gate", {pool}, channels, 1, Activation::hardsigmoid);
        half_.push_back(simple(OpKind::mul, name, {x, gate}, channels));
        break;
      }
      case 5:
        half_.push_back(simple(OpKind::slice, name + ".a", {x}, std::max(channels / 2, 1)));
        half_.push_back(
            simple(OpKind::slice, name + ".b", {x}, std::max(channels / 2, 1), channels / 2));
        break;
      default: {
        const auto small = simple(OpKind::avg_pool2, name + ".small", {x}, channels);
        half_.push_back(simple(OpKind::upsample2, name, {small, x}, channels));
      }
    }
  }

  std::vector<ir::TensorId> half_;  // tensors of half the frame's size
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
