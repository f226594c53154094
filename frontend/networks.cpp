#include "frontend/networks.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <set>
#include <utility>

#include "base/error.h"
#include "frontend/passes.h"
#include "ir/verify.h"

namespace mattec::frontend {
namespace {

using ir::Activation;
using ir::Op;
using ir::OpKind;
using ir::TensorId;
using ir::Variant;

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

size_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (int64_t extent : shape) count *= extent;
  return static_cast<size_t>(count);
}

void require_shape(const Shapes& arrays, const std::string& name, const std::vector<int64_t>& shape,
                   const std::string& network) {
  const auto found = arrays.find(name);
  if (found == arrays.end())
    throw Error("array '" + name + "' of the network '" + network + "' is missing");
  if (found->second != shape)
    throw Error("array '" + name + "' has shape " + text_of(found->second) + ", the network '" +
                network + "' needs " + text_of(shape));
}

// Multiple of 8 nearest to `channels`, at least 90 % of it (the rule of MobileNetV3's
// squeeze-and-excite widths).
int make_divisible(int channels) {
  int rounded = std::max(8, (channels + 4) / 8 * 8);
  return 10 * rounded < 9 * channels ? rounded + 8 : rounded;
}

// "a.b.3" -> "a.b.4": in a Sequential, a convolution's batch normalisation follows it.
std::string next_in_sequence(const std::string& name) {
  const size_t dot = name.rfind('.');
  return name.substr(0, dot + 1) + std::to_string(std::atoi(name.c_str() + dot + 1) + 1);
}

class Builder {
 public:
  // `fetch(name, shape)` gives an array's values; `has(name)` tells whether there is one.
  using Fetch = std::function<std::vector<float>(const std::string&, const std::vector<int64_t>&)>;
  using Has = std::function<bool(const std::string&)>;
  Builder(const NetworkShape& shape, Fetch fetch, Has has)
      : shape_(shape), fetch_(std::move(fetch)), has_(std::move(has)) {}

  ir::Graph build();

 private:
  enum class Bias { own, none, batch_norm };  // where the bias comes from
  struct Window {
    int kernel = 1, stride = 1, dilation = 1;
    bool depthwise = false;
  };

  int channels(TensorId id) const { return graph_.tensor(id).channels; }
  TensorId add(Op op, int channels) {
    op.name = std::to_string(graph_.ops.size());  // canonical names come later
    return graph_.add_op(std::move(op), channels);
  }
  TensorId simple(OpKind kind, std::vector<TensorId> inputs, int channels) {
    Op op;
    op.kind = kind;
    op.inputs = std::move(inputs);
    return add(std::move(op), channels);
  }
  TensorId activation(Activation activation, TensorId x) {
    Op op;
    op.kind = OpKind::activation;
    op.inputs = {x};
    op.activation = activation;
    return add(std::move(op), channels(x));
  }
  TensorId scale_shift(TensorId x, std::vector<float> factor, std::vector<float> offset) {
    Op op;
    op.kind = OpKind::scale_shift;
    op.inputs = {x};
    op.factor = std::move(factor);
    op.offset = std::move(offset);
    return add(std::move(op), channels(x));
  }
  TensorId slice(TensorId x, int first, int count) {
    Op op;
    op.kind = OpKind::slice;
    op.inputs = {x};
    op.first_channel = first;
    return add(std::move(op), count);
  }
  TensorId concat(const std::vector<TensorId>& parts) {
    int total = 0;
    for (TensorId part : parts) total += channels(part);
    return simple(OpKind::concat, parts, total);
  }
  TensorId mul(TensorId x, TensorId y) { return simple(OpKind::mul, {x, y}, channels(x)); }
  TensorId sub(TensorId x, TensorId y) { return simple(OpKind::sub, {x, y}, channels(x)); }
  TensorId sum(TensorId x, TensorId y) { return simple(OpKind::add, {x, y}, channels(x)); }

  TensorId batch_norm(const std::string& name, TensorId x);
  TensorId conv(const std::string& name, TensorId x, int out, Window window, Bias bias);
  TensorId inverted_residual(int index, TensorId x);
  TensorId squeeze_excite(const std::string& name, TensorId x);
  TensorId aspp(TensorId x);
  TensorId gru(int level, TensorId x);
  // Splits x in halves, passes the second through the level's GRU: concatenation of both.
  TensorId halves_through_gru(int level, TensorId x);
  TensorId decode(int level, TensorId x, TensorId skip, TensorId source);
  TensorId refine(TensorId low, TensorId y, TensorId hidden);
  void add_outputs(TensorId y, TensorId source, Variant variant);

  const NetworkShape& shape_;
  Fetch fetch_;
  Has has_;
  ir::Graph graph_;
};

TensorId Builder::batch_norm(const std::string& name, TensorId x) {
  Op op;
  op.kind = OpKind::batch_norm;
  op.inputs = {x};
  const std::vector<int64_t> shape = {channels(x)};
  op.gamma = fetch_(name + ".weight", shape);
  op.beta = fetch_(name + ".bias", shape);
  op.mean = fetch_(name + ".running_mean", shape);
  op.variance = fetch_(name + ".running_var", shape);
  // torchvision's MobileNetV3 has its own epsilon, the rest PyTorch's default.
  op.epsilon = name.rfind("backbone.", 0) == 0 ? 1e-3 : 1e-5;
  return add(std::move(op), channels(x));
}

TensorId Builder::conv(const std::string& name, TensorId x, int out, Window window, Bias bias) {
  Op op;
  op.inputs = {x};
  op.conv.kernel = window.kernel;
  op.conv.stride = window.stride;
  op.conv.dilation = window.dilation;
  op.conv.padding = (window.kernel - 1) / 2 * window.dilation;
  op.conv.depthwise = window.depthwise;
  op.conv.output_channels = out;
  const int in = window.depthwise ? 1 : channels(x);
  op.conv.weight = fetch_(name + ".weight", {out, in, window.kernel, window.kernel});
  const std::string norm = next_in_sequence(name);
  const bool normalised = bias == Bias::batch_norm && has_(norm + ".running_mean");
  if (bias == Bias::none || (normalised && !has_(name + ".bias")))
    op.conv.bias.assign(static_cast<size_t>(out), 0.0F);
  else
    op.conv.bias = fetch_(name + ".bias", {out});
  op.name = name;  // kept by the canonical order; unique but for shared weights, numbered there
  const TensorId y = graph_.add_op(std::move(op), out);
  return normalised ? batch_norm(norm, y) : y;
}

TensorId Builder::squeeze_excite(const std::string& name, TensorId x) {
  const int inner = make_divisible(channels(x) / 4);
  TensorId gate = simple(OpKind::global_avg_pool, {x}, channels(x));
  gate = activation(Activation::relu, conv(name + ".fc1", gate, inner, {}, Bias::own));
  gate = conv(name + ".fc2", gate, channels(x), {}, Bias::own);
  return mul(x, activation(Activation::hardsigmoid, gate));
}

TensorId Builder::inverted_residual(int index, TensorId x) {
  const EncoderBlock& block = shape_.blocks[static_cast<size_t>(index) - 1];
  const std::string prefix = "backbone.features." + std::to_string(index) + ".block.";
  int part = 0;
  const auto next = [&] { return prefix + std::to_string(part++); };
  TensorId y = x;
  if (block.expanded != block.in)
    y = activation(block.activation, conv(next() + ".0", y, block.expanded, {}, Bias::batch_norm));
  const Window window{block.kernel, block.stride, block.dilation, true};
  y = activation(block.activation,
                 conv(next() + ".0", y, block.expanded, window, Bias::batch_norm));
  if (block.squeeze_excite) y = squeeze_excite(next(), y);
  y = conv(next() + ".0", y, block.out, {}, Bias::batch_norm);
  return block.stride == 1 && block.in == block.out ? sum(x, y) : y;
}

TensorId Builder::aspp(TensorId x) {
  const int out = shape_.aspp_channels;
  const TensorId y =
      activation(Activation::relu, conv("aspp.aspp1.0", x, out, {}, Bias::batch_norm));
  const TensorId pooled = simple(OpKind::global_avg_pool, {x}, channels(x));
  return mul(y, activation(Activation::sigmoid, conv("aspp.aspp2.1", pooled, out, {}, Bias::none)));
}

TensorId Builder::gru(int level, TensorId x) {
  const std::string name = "decoder.decode" + std::to_string(level) + ".gru.";
  const int c = channels(x);
  const Window window{3, 1, 1, false};
  ir::State& state = graph_.states[static_cast<size_t>(level) - 1];
  graph_.tensor(state.input).channels = c;
  const TensorId h = state.input;
  const TensorId gates = activation(Activation::sigmoid,
                                    conv(name + "ih.0", concat({x, h}), 2 * c, window, Bias::own));
  const TensorId r = slice(gates, 0, c);
  const TensorId z = slice(gates, c, c);
  const TensorId candidate = activation(
      Activation::tanh, conv(name + "hh.0", concat({x, mul(r, h)}), c, window, Bias::own));
  return state.output = sum(mul(scale_shift(z, {-1.0F}, {1.0F}), h), mul(z, candidate));
}

TensorId Builder::halves_through_gru(int level, TensorId x) {
  const int half = channels(x) / 2;
  const TensorId a = slice(x, 0, half);
  return concat({a, gru(level, slice(x, half, half))});
}

TensorId Builder::decode(int level, TensorId x, TensorId skip, TensorId source) {
  const std::string name = "decoder.decode" + std::to_string(level) + ".conv.0";
  const int out = shape_.decoder_channels[static_cast<size_t>(3 - level)];
  std::vector<TensorId> parts = {simple(OpKind::upsample2, {x, source}, channels(x))};
  if (skip != ir::no_tensor) parts.push_back(skip);
  parts.push_back(source);
  return activation(Activation::relu,
                    conv(name, concat(parts), out, {3, 1, 1, false}, Bias::batch_norm));
}

// The deep guided filter: a linear model of y in the frame, fitted at low resolution, applied at
// the frame's (He et al., "Guided image filtering"; Wu et al., "Fast end-to-end trainable guided
// filter").
TensorId Builder::refine(TensorId low, TensorId y, TensorId hidden) {
  const auto with_mean = [&](TensorId x) {
    return concat({x, simple(OpKind::channel_mean, {x}, 1)});
  };
  const auto box = [&](TensorId x) {
    return conv("refiner.box_filter", x, channels(x), {3, 1, 1, true}, Bias::none);
  };
  const TensorId fine = with_mean(graph_.frame);
  const TensorId base = with_mean(low);
  const TensorId mean_x = box(base);
  const TensorId mean_y = box(y);
  const TensorId covariance = sub(box(mul(base, y)), mul(mean_x, mean_y));
  const TensorId variance = sub(box(mul(base, base)), mul(mean_x, mean_x));
  const int inner = shape_.refiner_channels;
  TensorId a = concat({covariance, variance, hidden});
  a = activation(Activation::relu, conv("refiner.conv.0", a, inner, {}, Bias::batch_norm));
  a = activation(Activation::relu, conv("refiner.conv.3", a, inner, {}, Bias::batch_norm));
  a = conv("refiner.conv.6", a, channels(y), {}, Bias::own);
  const TensorId b = sub(mean_y, mul(a, mean_x));
  const TensorId fine_a = simple(OpKind::resize_to, {a, graph_.frame}, channels(y));
  const TensorId fine_b = simple(OpKind::resize_to, {b, graph_.frame}, channels(y));
  return sum(mul(fine_a, fine), fine_b);
}

void Builder::add_outputs(TensorId y, TensorId source, Variant variant) {
  const TensorId foreground = sum(slice(y, 0, 3), source);
  graph_.outputs.push_back({"fgr", activation(Activation::clamp01, foreground), variant});
  graph_.outputs.push_back({"pha", activation(Activation::clamp01, slice(y, 3, 1)), variant});
}

ir::Graph Builder::build() {
  graph_.name = shape_.name;
  graph_.frame = graph_.add_tensor("frame", 3);
  for (int level = 1; level <= 4; ++level) {
    const std::string name = "r" + std::to_string(level);
    graph_.states.push_back({name, graph_.add_tensor(name, 0), ir::no_tensor});
  }
  const TensorId low = simple(OpKind::downsample, {graph_.frame}, 3);
  // ImageNet's statistics, as torchvision normalises.
  TensorId x = scale_shift(low, {1, 1, 1}, {-0.485F, -0.456F, -0.406F});
  x = scale_shift(x, {1 / 0.229F, 1 / 0.224F, 1 / 0.225F}, {0, 0, 0});
  x = conv("backbone.features.0.0", x, shape_.stem_channels, {3, 2, 1, false}, Bias::batch_norm);
  x = activation(Activation::hardswish, x);
  std::vector<TensorId> block_outputs;
  const int blocks = static_cast<int>(shape_.blocks.size());
  for (int i = 1; i <= blocks; ++i) block_outputs.push_back(x = inverted_residual(i, x));
  const std::string last = "backbone.features." + std::to_string(blocks + 1) + ".0";
  x = activation(Activation::hardswish, conv(last, x, shape_.last_channels, {}, Bias::batch_norm));

  std::vector<TensorId> sources = {low};
  for (int level = 1; level <= 3; ++level)
    sources.push_back(simple(OpKind::avg_pool2, {sources.back()}, 3));
  x = halves_through_gru(4, aspp(x));
  for (int level = 3; level >= 1; --level) {
    const int tap = shape_.taps[static_cast<size_t>(level) - 1];
    x = decode(level, x, block_outputs[static_cast<size_t>(tap) - 1],
               sources[static_cast<size_t>(level)]);
    x = halves_through_gru(level, x);
  }
  TensorId hidden = decode(0, x, ir::no_tensor, low);
  hidden = conv("decoder.decode0.conv.3", hidden, shape_.decoder_channels[3], {3, 1, 1, false},
                Bias::batch_norm);
  hidden = activation(Activation::relu, hidden);
  const TensorId y = conv("project_mat.conv", hidden, 4, {}, Bias::own);
  add_outputs(y, low, Variant::direct);
  add_outputs(refine(low, y, hidden), graph_.frame, Variant::refined);
  return std::move(graph_);
}

}  // namespace

std::vector<Parameter> parameters(const NetworkShape& shape) {
  std::vector<Parameter> found;
  std::map<std::string, bool> seen;
  const auto fetch = [&](const std::string& name, const std::vector<int64_t>& extents) {
    if (!seen[name]) found.push_back({name, extents});
    seen[name] = true;
    return std::vector<float>(element_count(extents), 0.0F);
  };
  Builder(shape, fetch, [](const std::string&) { return false; }).build();
  return found;
}

std::vector<Parameter> needed_parameters(const NetworkShape& shape, const Shapes& arrays) {
  std::vector<Parameter> needed;
  std::set<std::string> seen;
  const auto fetch = [&](const std::string& name, const std::vector<int64_t>& extents) {
    if (seen.insert(name).second) needed.push_back({name, extents});
    return std::vector<float>(element_count(extents), 0.0F);
  };
  Builder(shape, fetch, [&](const std::string& name) { return arrays.count(name) > 0; }).build();
  return needed;
}

void require_shapes(const std::vector<Parameter>& needed, const NetworkShape& network,
                    const Shapes& arrays) {
  for (const Parameter& parameter : needed)
    require_shape(arrays, parameter.name, parameter.shape, network.name);
}

Shapes shapes_of(const Weights& weights) {
  Shapes shapes;
  for (const auto& [name, array] : weights) shapes[name] = array.shape;
  return shapes;
}

ir::Graph build_network(const NetworkShape& shape, const Weights& weights) {
  const Shapes shapes = shapes_of(weights);
  const auto fetch = [&](const std::string& name, const std::vector<int64_t>& extents) {
    require_shape(shapes, name, extents, shape.name);
    return weights.at(name).values;
  };
  const auto has = [&](const std::string& name) { return weights.count(name) > 0; };
  ir::Graph graph = Builder(shape, fetch, has).build();
  fold_constants(graph);
  graph = canonical(graph);
  ir::verify(graph, shape.name);
  return graph;
}

}  // namespace mattec::frontend
