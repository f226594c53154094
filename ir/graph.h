// The network: a list of operations in static single assignment form on tensors without sizes.
//
// One type serves three stages, told apart by `stage()`:
//   imported   what a reader found, primitive operations, float weights;
//   fused      the same function in the operations an integer engine runs: every tensor is one that
//              the engine stores (concatenation became convolution segments, activations and
//              residual additions became convolution epilogues);
//   quantized  a fused graph whose tensors carry integer grids and whose convolutions carry
//              integer weights.
// A tensor has a channel count but no height or width: operations say "half the size", "twice the
// size, cropped to that tensor", so one graph serves every frame size (sizes.h computes them).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mattec::ir {

using TensorId = int;
constexpr TensorId no_tensor = -1;

// The integer grid of a stored tensor: real = scale * (q - zero_point), per tensor (one entry) or
// per channel (`channels` entries). Unsigned grids hold 0 .. 2^bits - 1. The only signed grid is
// the 16-bit one of recurrent states (scale 2^-15, zero point 0).
struct Grid {
  int bits = 8;  // 4, 8 or 16
  bool is_signed = false;
  std::vector<float> scale;
  std::vector<int32_t> zero_point;

  bool per_channel() const { return scale.size() > 1; }
  float scale_of(int channel) const { return scale[per_channel() ? channel : 0]; }
  int32_t zero_point_of(int channel) const { return zero_point[per_channel() ? channel : 0]; }
  int32_t lowest() const { return is_signed ? -(1 << (bits - 1)) : 0; }
  int32_t highest() const { return is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1; }
  bool operator==(const Grid& other) const {
    return bits == other.bits && is_signed == other.is_signed && scale == other.scale &&
           zero_point == other.zero_point;
  }
};

struct Tensor {
  std::string name;  // unique in the graph; from the model where it had one
  int channels = 0;
  std::optional<Grid> grid;  // set in a quantized graph
};

enum class Activation { none, relu, clamp01, hardswish, hardsigmoid, sigmoid, tanh };

enum class OpKind {
  // --- imported, fused and quantized graphs ---
  conv,             // see Convolution; inputs = segments, then the residual if `has_residual`
  avg_pool2,        // 2x2 mean, stride 2, sizes rounded up, border windows average what they have
  global_avg_pool,  // mean over height and width: 1x1
  upsample2,  // twice the size, bilinear (half-pixel centres); inputs = {x, y}: crop to y's size
  slice,      // channels [first_channel, first_channel + tensor.channels); a view, costs nothing
  mul,        // inputs = {x, y}; y may be 1x1 (a gate), else of x's size
  blend,      // inputs = {z, h, c}: h + z (c - h), the GRU's update
  // --- fused and quantized graphs ---
  requantize,  // the same values on another grid (8-bit copy of a 16-bit state, 4-bit copy, ...),
               // of
               // all channels or of those that `channels` lists, in that order
  // --- imported graphs; the fusion pass removes them ---
  batch_norm,   // scale_shift with the four vectors of a batch normalisation, before folding
  scale_shift,  // per channel (or one entry): x * factor + offset
  activation,   // `activation` alone
  add,
  sub,
  concat,
  // --- the refiner (downsample ratio other than 1); imported graphs only ---
  downsample,    // bilinear by the run-time downsample ratio (identity at 1)
  resize_to,     // inputs = {x, y}: bilinear to y's size, half-pixel centres
  channel_mean,  // mean over channels: 1 channel
};

// A convolution, possibly over a virtual concatenation of its inputs ("segments").
// y = activation(conv(x_0 ++ x_1 ++ ...) + bias + residual). Square kernels only.
struct Convolution {
  int kernel = 1;
  int stride = 1;
  int padding = 0;
  int dilation = 1;
  bool depthwise = false;  // one filter per channel; otherwise one group
  int output_channels = 0;
  bool has_residual = false;
  // Real value of the border outside the image, per input channel; empty = 0.
  std::vector<float> pad_value;

  // Imported and fused graphs: [output][input (1 if depthwise)][row][column]; bias has one entry
  // per output channel (zeros where the model has none).
  std::vector<float> weight;
  std::vector<float> bias;

  // Quantized graphs. With x_j the integers of segment j and z_j their zero points:
  //   acc[o] = quantized_bias[o] + sum_j (sum quantized_weight * (x_j - z_j)) << segment_shift[j]
  //   real[o] = accumulator_scale[o] * acc[o]
  // Activation scales, per channel ones too, are inside the weights. numerics.md section 3.
  int weight_bits = 8;
  std::vector<int8_t> quantized_weight;  // same order as `weight`
  std::vector<int32_t> quantized_bias;   // in units of the accumulator
  std::vector<float> accumulator_scale;  // per output channel, not 0; may be negative
  std::vector<int> segment_shift;        // per segment, 0 .. 15, smallest 0
};

enum class Rounding { nearest_even, down };

struct Op {
  OpKind kind = OpKind::conv;
  std::string name;  // unique in the graph
  std::vector<TensorId> inputs;
  TensorId output = no_tensor;
  Activation activation = Activation::none;        // conv, activation
  Rounding rounding = Rounding::nearest_even;      // conv: how the output is rounded
  int first_channel = 0;                           // slice
  std::vector<int> channels;                       // requantize: of the input; empty = all
  Convolution conv;                                // conv
  std::vector<float> factor, offset;               // scale_shift
  std::vector<float> mean, variance, gamma, beta;  // batch_norm
  double epsilon = 0;                              // batch_norm

  // The inputs that are convolved (all of them, less the residual).
  int segment_count() const {
    return static_cast<int>(inputs.size()) - (conv.has_residual ? 1 : 0);
  }
  // requantize: the input's channel that makes `channel` of the output.
  int source_channel(int channel) const {
    return channels.empty() ? channel : channels[static_cast<size_t>(channel)];
  }
  TensorId residual() const { return conv.has_residual ? inputs.back() : no_tensor; }
};

// A recurrent state: `input` holds the previous frame's `output`, zeros before the first frame.
struct State {
  std::string name;
  TensorId input = no_tensor;
  TensorId output = no_tensor;
};

// Which of a network's two forms an output belongs to: without the refiner (downsample ratio 1),
// with it (any other ratio), or both.
enum class Variant { both, direct, refined };

struct Output {
  std::string name;  // "fgr", "pha"
  TensorId tensor = no_tensor;
  Variant variant = Variant::both;
};

enum class Stage { imported, fused, quantized };

struct Graph {
  std::string name;  // the network's: "rvm-mobilenetv3"
  std::vector<Tensor> tensors;
  std::vector<Op> ops;         // in an order that respects the data flow
  TensorId frame = no_tensor;  // the input: 3 channels, RGB, real values 0 .. 1
  std::vector<State> states;
  std::vector<Output> outputs;
  Stage stage = Stage::imported;

  TensorId add_tensor(std::string tensor_name, int channels);
  // Appends an operation that makes a new tensor named like the operation. Returns that tensor.
  TensorId add_op(Op op, int channels);
  const Tensor& tensor(TensorId id) const { return tensors[static_cast<size_t>(id)]; }
  Tensor& tensor(TensorId id) { return tensors[static_cast<size_t>(id)]; }
  // Index into `ops` of the operation that makes the tensor; -1 for the frame and state inputs.
  int producer(TensorId id) const;
  // Indices into `ops` of the operations that read the tensor, ascending.
  std::vector<int> consumers(TensorId id) const;
  const Output* find_output(const std::string& output_name, Variant variant) const;
};

const char* name_of(OpKind kind);
const char* name_of(Activation activation);
const char* name_of(Stage stage);

// The graph with only what the outputs of `variant` (and its states) need, tensors renumbered.
// Outputs keep their order and become Variant::both. With Variant::direct `downsample`, the
// identity at ratio 1, disappears.
Graph extract(const Graph& graph, Variant variant);

// One line per operation: name, kind, attributes, tensors with channels and grids. For people.
std::string dump(const Graph& graph);

}  // namespace mattec::ir
