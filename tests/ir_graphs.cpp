#include "tests/ir_graphs.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace mattec::test {

using ir::Activation;
using ir::Grid;
using ir::OpKind;
using ir::TensorId;

Grid unit_grid() { return {8, false, {1.0F / 255.0F}, {0}}; }
Grid state_grid() { return {16, true, {1.0F / 32768}, {0}}; }
Grid candidate_grid() { return {8, false, {1.0F / 128}, {128}}; }
Grid narrow_grid() { return {4, false, {1.0F / 8}, {8}}; }

GraphMaker::GraphMaker(uint32_t seed) : random_(seed) {
  graph.name = "random";
  graph.stage = ir::Stage::quantized;
  graph.frame = graph.add_tensor("frame", 3);
  graph.tensor(graph.frame).grid = unit_grid();
}

// Not std::uniform_*_distribution: their results differ between standard libraries.
int GraphMaker::uniform(int low, int high) {
  return low + static_cast<int>(random_() % static_cast<uint32_t>(high - low + 1));
}

float GraphMaker::real(float low, float high) {
  return low + (high - low) * (static_cast<float>(uniform(0, 1 << 20)) / (1 << 20));
}

std::string GraphMaker::fresh(const std::string& what) {
  return what + "." + std::to_string(count_++);
}

Grid GraphMaker::grid(int channels, bool from_zero) {
  Grid made;
  made.bits = !only_8_bits && uniform(0, 3) == 0 ? 4 : 8;
  const int count = uniform(0, 1) == 0 ? 1 : channels;
  for (int c = 0; c < count; ++c) {
    made.scale.push_back(real(0.2F, 6.0F) / static_cast<float>(made.highest()));
    // Both ends more often than one in 256.
    const int zero_point = std::clamp(uniform(-20, made.highest() + 20), 0, made.highest());
    made.zero_point.push_back(from_zero ? 0 : zero_point);
  }
  return made;
}

TensorId GraphMaker::conv(const std::vector<TensorId>& segments, const ConvolutionShape& shape) {
  const bool from_zero = shape.activation == Activation::relu ||
                         shape.activation == Activation::sigmoid || uniform(0, 1) == 0;
  return conv_to(segments, shape, grid(shape.output_channels, from_zero));
}

TensorId GraphMaker::conv_to(const std::vector<TensorId>& segments, const ConvolutionShape& shape,
                             Grid out) {
  ir::Op made;
  made.kind = OpKind::conv;
  made.name = fresh("conv");
  made.inputs = segments;
  made.activation = shape.activation;
  ir::Convolution& conv = made.conv;
  conv.kernel = shape.kernel;
  conv.stride = shape.stride;
  conv.padding = shape.padding;
  conv.dilation = shape.dilation;
  conv.depthwise = shape.depthwise;
  conv.output_channels = shape.output_channels;
  if (shape.residual != ir::no_tensor) {
    conv.has_residual = true;
    made.inputs.push_back(shape.residual);
  }
  int in = 0;
  double variance = 0;  // of the accumulator, roughly
  conv.weight_bits = !only_8_bits && uniform(0, 2) == 0 ? 4 : 8;
  const int largest_weight = conv.weight_bits == 4 ? 7 : 127;
  const int area = conv.kernel * conv.kernel;
  for (size_t s = 0; s < segments.size(); ++s) {
    conv.segment_shift.push_back(s == 0 ? 0 : uniform(0, largest_shift));
    const int channels = channels_of(segments[s]);
    in += channels;
    const double reach = grid_of(segments[s]).highest() * (1 << conv.segment_shift.back());
    variance += reach * reach * area * (conv.depthwise ? 1 : channels) * largest_weight *
                largest_weight / 10;
  }
  std::swap(
      conv.segment_shift.front(),
      conv.segment_shift[static_cast<size_t>(uniform(0, static_cast<int>(segments.size()) - 1))]);
  if (shape.random_pad_value)
    for (int c = 0; c < in; ++c) conv.pad_value.push_back(real(-0.2F, 1.2F));
  const int weights = shape.output_channels * (conv.depthwise ? 1 : in) * area;
  for (int i = 0; i < weights; ++i)
    conv.quantized_weight.push_back(
        static_cast<int8_t>(uniform(-largest_weight - 1, largest_weight)));
  const bool is_linear = shape.activation == Activation::none ||
                         shape.activation == Activation::relu ||
                         shape.activation == Activation::clamp01;
  const double deviation = std::sqrt(variance);
  for (int o = 0; o < shape.output_channels; ++o) {
    const double range = is_linear ? out.scale_of(o) * out.highest() / 2 : 2.0;
    const int sign = uniform(0, 2) == 0 ? -1 : 1;
    conv.accumulator_scale.push_back(
        static_cast<float>(sign * range / deviation * real(0.5F, 2.0F)));
    conv.quantized_bias.push_back(static_cast<int32_t>(deviation * real(-1.0F, 1.0F)));
  }
  const TensorId id = graph.add_op(made, shape.output_channels);
  graph.tensor(id).grid = std::move(out);
  return id;
}

TensorId GraphMaker::op(OpKind kind, const std::vector<TensorId>& inputs, Grid out) {
  ir::Op made;
  made.kind = kind;
  made.name = fresh(ir::name_of(kind));
  made.inputs = inputs;
  const TensorId id = graph.add_op(made, channels_of(inputs[0]));
  graph.tensor(id).grid = std::move(out);
  return id;
}

TensorId GraphMaker::slice(TensorId input, int first_channel, int channels) {
  Grid out = grid_of(input);
  if (out.per_channel()) {
    const Grid all = out;
    out.scale.assign(all.scale.begin() + first_channel,
                     all.scale.begin() + first_channel + channels);
    out.zero_point.assign(all.zero_point.begin() + first_channel,
                          all.zero_point.begin() + first_channel + channels);
  }
  ir::Op made;
  made.kind = OpKind::slice;
  made.name = fresh("slice");
  made.inputs = {input};
  made.first_channel = first_channel;
  const TensorId id = graph.add_op(made, channels);
  graph.tensor(id).grid = std::move(out);
  return id;
}

TensorId GraphMaker::take(TensorId input, const std::vector<int>& channels, Grid out) {
  ir::Op made;
  made.kind = OpKind::requantize;
  made.name = fresh("take");
  made.inputs = {input};
  made.channels = channels;
  const TensorId id = graph.add_op(made, static_cast<int>(channels.size()));
  graph.tensor(id).grid = std::move(out);
  return id;
}

TensorId GraphMaker::state(int channels) {
  const std::string name = "state_" + std::to_string(count_++);
  const TensorId id = graph.add_tensor(name, channels);
  graph.tensor(id).grid = state_grid();
  graph.states.push_back({name, id, ir::no_tensor});
  return id;
}

TensorId GraphMaker::recurrent(TensorId x, TensorId state) {
  const int channels = channels_of(state);
  ConvolutionShape shape;
  shape.kernel = 3;
  shape.padding = 1;
  shape.output_channels = 2 * channels;
  shape.activation = Activation::sigmoid;
  const auto copy_grid = [&] {
    return only_8_bits || uniform(0, 1) == 0 ? candidate_grid() : narrow_grid();
  };
  const Grid convolved = copy_grid();
  const TensorId copy = op(OpKind::requantize, {state}, convolved);
  const TensorId gates = conv_to({x, copy}, shape, unit_grid());
  const TensorId r = slice(gates, 0, channels), z = slice(gates, channels, channels);
  const TensorId reset = op(OpKind::mul, {state, r}, grid(channels, false));
  shape.output_channels = channels;
  shape.activation = Activation::tanh;
  const TensorId c = conv_to({x, reset}, shape, candidate_grid());
  const TensorId updated = op(OpKind::blend, {z, state, c}, state_grid());
  for (ir::State& each : graph.states)
    if (each.input == state) each.output = updated;
  return op(OpKind::requantize, {updated}, copy_grid());
}

void GraphMaker::outputs(TensorId x) {
  ConvolutionShape shape;
  shape.output_channels = 3;
  shape.activation = Activation::clamp01;
  shape.residual = graph.frame;
  const TensorId fgr = conv_to({x}, shape, unit_grid());
  graph.ops.back().rounding = ir::Rounding::down;
  shape.output_channels = 1;
  shape.residual = ir::no_tensor;
  const TensorId pha = conv_to({x}, shape, unit_grid());
  graph.ops.back().rounding = ir::Rounding::down;
  graph.outputs = {{"fgr", fgr, ir::Variant::both}, {"pha", pha, ir::Variant::both}};
}

ir::Graph random_graph(uint32_t seed) {
  GraphMaker make(seed);
  const std::vector<Activation> any = {
      Activation::none,        Activation::relu,    Activation::clamp01, Activation::hardswish,
      Activation::hardsigmoid, Activation::sigmoid, Activation::tanh};
  const std::vector<Activation> linear = {Activation::none, Activation::relu, Activation::clamp01};
  GraphMaker::ConvolutionShape shape;
  shape.kernel = 3;
  shape.stride = 2;
  shape.padding = 1;
  shape.random_pad_value = true;
  shape.output_channels = make.uniform(3, 19);
  shape.activation = make.pick(any);
  const TensorId stem = make.conv({make.graph.frame}, shape);

  // Depthwise with any kernel, stride and dilation that keep the size, then a residual projection.
  GraphMaker::ConvolutionShape depthwise;
  depthwise.depthwise = true;
  depthwise.kernel = make.pick<int>({3, 5});
  depthwise.dilation = make.uniform(1, 2);
  depthwise.padding = depthwise.dilation * (depthwise.kernel / 2);
  depthwise.output_channels = make.channels_of(stem);
  depthwise.activation = make.pick(any);
  const TensorId wide = make.conv({stem}, depthwise);
  const TensorId pooled =
      make.op(OpKind::global_avg_pool, {wide}, make.grid(make.channels_of(wide), false));
  GraphMaker::ConvolutionShape gate;
  gate.output_channels = make.channels_of(wide);
  gate.activation = Activation::hardsigmoid;
  const TensorId factor = make.conv_to({pooled}, gate, unit_grid());
  const TensorId excited =
      make.op(OpKind::mul, {wide, factor}, make.grid(make.channels_of(wide), false));
  GraphMaker::ConvolutionShape project;
  project.output_channels = make.channels_of(stem);
  project.activation = make.pick(linear);
  project.residual = stem;
  const TensorId block = make.conv({excited}, project);

  const TensorId half = make.op(OpKind::avg_pool2, {make.graph.frame}, unit_grid());
  const int channels = make.uniform(1, 9);
  GraphMaker::ConvolutionShape down;
  down.kernel = make.pick<int>({3, 5});
  down.stride = 2;
  down.padding = down.kernel / 2;
  down.activation = make.pick(any);
  down.output_channels = 2 * channels;
  const TensorId deep = make.conv({block}, down);
  const TensorId left = make.slice(deep, 0, channels), right = make.slice(deep, channels, channels);
  const TensorId state = make.recurrent(right, make.state(channels));

  const TensorId up_left = make.op(OpKind::upsample2, {left, block}, make.grid_of(left));
  const TensorId up_state = make.op(OpKind::upsample2, {state, block}, make.grid_of(state));
  GraphMaker::ConvolutionShape decode;
  decode.kernel = make.pick<int>({1, 3});
  decode.padding = decode.kernel / 2;
  decode.activation = make.pick(any);
  decode.output_channels = make.uniform(1, 13);
  decode.random_pad_value = make.uniform(0, 1) == 0;
  const TensorId taken = make.take(block, {make.channels_of(block) - 1, 0}, make.grid(2, false));
  const TensorId decoded = make.conv({up_left, up_state, taken, half}, decode);
  const TensorId full =
      make.op(OpKind::upsample2, {decoded, make.graph.frame}, make.grid_of(decoded));
  make.outputs(full);
  return make.graph;
}

}  // namespace mattec::test
