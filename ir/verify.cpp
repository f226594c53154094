#include "ir/verify.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "ir/names.h"
#include "ir/operations.h"

namespace mattec::ir {
namespace {

// Far above any network, low enough that no product of attributes leaves 64 bits.
constexpr int most_channels = 1 << 20;

constexpr const char* network_rule =
    "its name must be a letter or _, then letters, digits, _ . and -, 64 at most";
constexpr const char* identifier_rule =
    "its name must be a letter or _, then letters, digits and _, 64 at most";
constexpr const char* element_rule = "its name is empty, overlong or has unsafe characters";

bool between(int value, int low, int high) { return value >= low && value <= high; }

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

bool is_allowed(OpKind kind, Stage stage) {
  const Stages stages = operation_of(kind).stages;
  return stages == Stages::all || (stages == Stages::imported) == (stage == Stage::imported);
}

class Verifier {
 public:
  explicit Verifier(const Graph& graph) : graph_(graph), makers_(graph.tensors.size()) {}

  std::vector<std::string> run() {
    // A reader may still have a file's name; from then on the name goes into headers.
    if (graph_.stage != Stage::imported && !is_network_name(graph_.name))
      complain("network " + shown_name(graph_.name), network_rule);
    tensors();
    sources();
    for (const Op& op : graph_.ops) operation(op);
    for (size_t id = 0; id < makers_.size(); ++id)
      if (makers_[id] == 0)
        complain("tensor " + shown_name(graph_.tensors[id].name), "nothing makes it");
    for (const State& state : graph_.states) check_state(state);
    outputs();
    return found_;
  }

 private:
  void complain(const std::string& place, const std::string& what) {
    found_.push_back(place + ": " + what);
  }

  bool exists(TensorId id) const {
    return id >= 0 && static_cast<size_t>(id) < graph_.tensors.size();
  }

  // Notes that something makes the tensor; false if it cannot.
  bool make(TensorId id, const std::string& place) {
    if (!exists(id)) {
      complain(place, "tensor " + std::to_string(id) + " does not exist");
      return false;
    }
    if (makers_[static_cast<size_t>(id)]++ > 0) {
      complain(place, "tensor " + shown_name(graph_.tensor(id).name) + " is made twice");
      return false;
    }
    return true;
  }

  void tensors() {
    std::set<std::string> names;
    for (const Tensor& tensor : graph_.tensors) {
      const std::string place = "tensor " + shown_name(tensor.name);
      if (!is_element_name(tensor.name)) complain(place, element_rule);
      if (!names.insert(tensor.name).second) complain(place, "name is not unique");
      bool sound = between(tensor.channels, 1, most_channels);
      if (!sound)
        complain(place, std::to_string(tensor.channels) + " channels, must be 1 to " +
                            std::to_string(most_channels));
      if (sound && (graph_.stage == Stage::quantized || tensor.grid))
        sound = check_grid(tensor, [&](const std::string& what) { complain(place, what); });
      sound_.push_back(sound);
    }
  }

  void sources() {
    if (make(graph_.frame, "frame")) {
      const Tensor& frame = graph_.tensor(graph_.frame);
      if (frame.channels != 3) complain("frame", "must have 3 channels");
      if (graph_.stage == Stage::quantized && sound(graph_.frame) &&
          !(*frame.grid == Grid{8, false, {1.0F / 255.0F}, {0}}))
        complain("frame", "its grid must be u8, scale 1/255, zero point 0");
    }
    std::set<std::string> names;
    for (const State& state : graph_.states) {
      const std::string place = "state " + shown_name(state.name);
      if (!is_identifier(state.name)) complain(place, identifier_rule);
      if (!names.insert(state.name).second) complain(place, "name is not unique");
      make(state.input, place);
    }
  }

  bool sound(TensorId id) const { return sound_[static_cast<size_t>(id)]; }

  void operation(const Op& op) {
    const std::string place = "operation " + shown_name(op.name);
    const Report report = [&](const std::string& what) { complain(place, what); };
    if (!is_element_name(op.name)) report(element_rule);
    if (!op_names_.insert(op.name).second) report("name is not unique");
    bool usable = true;
    for (TensorId input : op.inputs) {
      if (!exists(input))
        report("input tensor " + std::to_string(input) + " does not exist");
      else if (makers_[static_cast<size_t>(input)] == 0)
        report("reads " + shown_name(graph_.tensor(input).name) + " before it is made");
      usable = usable && exists(input) && sound(input);
    }
    usable = make(op.output, place) && usable && sound(op.output);
    if (!is_allowed(op.kind, graph_.stage))
      report(std::string(name_of(op.kind)) + " is not allowed in a graph that is " +
             name_of(graph_.stage));
    const Operation& operation = operation_of(op.kind);
    const bool has_residual = op.kind == OpKind::conv && op.conv.has_residual;
    if (op.inputs.size() < operation.least_inputs + (has_residual ? 1 : 0) ||
        op.inputs.size() > operation.most_inputs) {
      report(std::to_string(op.inputs.size()) + " inputs are not what " + name_of(op.kind) +
             " takes");
      return;
    }
    if (!usable) return;
    const size_t before = found_.size();
    attributes(op, report);
    if (graph_.stage == Stage::quantized && found_.size() == before && operation.check != nullptr)
      operation.check(graph_, op, report);
  }

  int channels(TensorId id) const { return graph_.tensor(id).channels; }

  void attributes(const Op& op, const Report& report) {
    if (op.kind != OpKind::conv && op.conv.has_residual) report("only a conv has a residual");
    if (op.kind == OpKind::activation) {
      if (op.activation == Activation::none) report("activation without a function");
    } else if (op.kind != OpKind::conv && op.activation != Activation::none) {
      report("has an activation, which only conv and activation take");
    }
    if (op.kind != OpKind::requantize && !op.channels.empty())
      report("lists channels, which only requantize does");
    if (op.kind != OpKind::conv && op.rounding != Rounding::nearest_even)
      report("only a conv can round down");
    if (op.kind == OpKind::conv) convolution(op, report);
    if (op.kind == OpKind::scale_shift) scale_shift(op, report);
    if (op.kind == OpKind::batch_norm) batch_norm(op, report);
    channel_counts(op, report);
  }

  void channel_counts(const Op& op, const Report& report) {
    const int out = channels(op.output);
    int sum = 0;
    for (TensorId input : op.inputs) sum += channels(input);
    switch (operation_of(op.kind).channels) {
      case ChannelRule::convolution:
        break;
      case ChannelRule::summed:
        if (sum != out) report("channels of the inputs do not add up to the output's");
        break;
      case ChannelRule::part:
        if (op.first_channel < 0 || op.first_channel > channels(op.inputs[0]) - out)
          report("channels " + std::to_string(op.first_channel) + " and up are not in its input");
        break;
      case ChannelRule::listed:
        requantized_channels(op, report);
        break;
      case ChannelRule::one:
        if (out != 1) report("must have 1 output channel");
        break;
      case ChannelRule::of_first:  // the second input gives a size only
        if (channels(op.inputs[0]) != out) report("channels of input and output differ");
        break;
      case ChannelRule::equal:
        for (TensorId input : op.inputs)
          if (channels(input) != out) {
            report("channels of " + graph_.tensor(input).name + " and the output differ");
            break;
          }
    }
  }

  void requantized_channels(const Op& op, const Report& report) {
    const int in = channels(op.inputs[0]);
    const int count = op.channels.empty() ? in : static_cast<int>(op.channels.size());
    if (count != channels(op.output))
      report("makes another number of channels than its output has");
    std::vector<bool> taken(static_cast<size_t>(in), false);
    for (const int channel : op.channels) {
      if (!between(channel, 0, in - 1) || taken[static_cast<size_t>(channel)]) {
        report("channel " + std::to_string(channel) + " is taken twice or not in its input");
        return;
      }
      taken[static_cast<size_t>(channel)] = true;
    }
  }

  void convolution(const Op& op, const Report& report) {
    const Convolution& conv = op.conv;
    if (!between(conv.kernel, 1, 31) || !between(conv.stride, 1, 8) ||
        !between(conv.padding, 0, 255) || !between(conv.dilation, 1, 64)) {
      report("kernel must be 1 to 31, stride 1 to 8, padding 0 to 255, dilation 1 to 64");
      return;
    }
    int in = 0;
    for (int i = 0; i < op.segment_count(); ++i) in += channels(op.inputs[static_cast<size_t>(i)]);
    const int out = conv.output_channels;
    if (out != channels(op.output)) {
      report("output_channels differs from the output's channels");
      return;
    }
    if (conv.depthwise && (op.segment_count() != 1 || in != out))
      report("a depthwise conv takes one segment with as many channels as its output");
    if (conv.has_residual && channels(op.residual()) != out)
      report("channels of the residual and the output differ");
    if (conv.has_residual && op.activation != Activation::none &&
        op.activation != Activation::relu && op.activation != Activation::clamp01)
      report(std::string("a residual cannot be added before ") + name_of(op.activation));
    if (!conv.pad_value.empty() &&
        (conv.pad_value.size() != static_cast<size_t>(in) || !all_finite(conv.pad_value)))
      report("pad_value must be empty or one finite value per input channel");
    if (graph_.stage == Stage::quantized) return;
    const int64_t weights =
        static_cast<int64_t>(out) * (conv.depthwise ? 1 : in) * conv.kernel * conv.kernel;
    if (static_cast<int64_t>(conv.weight.size()) != weights)
      report(std::to_string(conv.weight.size()) + " weights instead of " + std::to_string(weights));
    if (conv.bias.size() != static_cast<size_t>(out))
      report(std::to_string(conv.bias.size()) + " biases instead of " + std::to_string(out));
    if (!all_finite(conv.weight) || !all_finite(conv.bias)) report("weight or bias is not finite");
  }

  void scale_shift(const Op& op, const Report& report) {
    const auto fits = [&](size_t size) {
      return size == 1 || size == static_cast<size_t>(channels(op.output));
    };
    if (!fits(op.factor.size()) || !fits(op.offset.size()))
      report("factor and offset must have one entry or one per channel");
    if (!all_finite(op.factor) || !all_finite(op.offset)) report("factor or offset is not finite");
  }

  void batch_norm(const Op& op, const Report& report) {
    const auto count = static_cast<size_t>(channels(op.output));
    for (const auto* values : {&op.mean, &op.variance, &op.gamma, &op.beta})
      if (values->size() != count || !all_finite(*values)) {
        report("mean, variance, gamma and beta must have one finite entry per channel");
        return;
      }
    for (float variance : op.variance)
      if (!(variance + op.epsilon > 0)) {
        report("variance + epsilon must be above 0");
        return;
      }
  }

  void check_state(const State& state) {
    const std::string place = "state " + shown_name(state.name);
    if (!exists(state.input)) return;  // already reported
    if (!exists(state.output))
      complain(place, "its output does not exist");
    else if (graph_.producer(state.output) < 0)
      complain(place, "its output is not made by an operation");
    else if (channels(state.input) != channels(state.output))
      complain(place, "channels of input and output differ");
    else if (graph_.stage == Stage::quantized && sound(state.input) && sound(state.output) &&
             !(*graph_.tensor(state.input).grid == *graph_.tensor(state.output).grid))
      complain(place, "grids of input and output differ");
  }

  void outputs() {
    if (graph_.outputs.empty()) complain("network " + shown_name(graph_.name), "has no outputs");
    for (size_t i = 0; i < graph_.outputs.size(); ++i) {
      const Output& output = graph_.outputs[i];
      const std::string place = "output " + shown_name(output.name);
      if (!is_identifier(output.name)) complain(place, identifier_rule);
      for (size_t j = 0; j < i; ++j)
        if (graph_.outputs[j].name == output.name &&
            (graph_.outputs[j].variant == output.variant || output.variant == Variant::both ||
             graph_.outputs[j].variant == Variant::both))
          complain(place, "name is not unique");
      if (!exists(output.tensor))
        complain(place, "its tensor does not exist");
      else
        check_output(output, place);
    }
  }

  void check_output(const Output& output, const std::string& place) {
    const Tensor& tensor = graph_.tensor(output.tensor);
    const bool is_alpha = output.name == "pha", is_foreground = output.name == "fgr";
    if (is_alpha && tensor.channels != 1) complain(place, "alpha must have 1 channel");
    if (is_foreground && tensor.channels != 3) complain(place, "foreground must have 3 channels");
    if (graph_.stage != Stage::quantized || !sound(output.tensor)) return;
    if (tensor.grid->bits != 8)
      complain(place, "its grid must have 8 bits");
    else if ((is_alpha || is_foreground) && !(*tensor.grid == Grid{8, false, {1.0F / 255.0F}, {0}}))
      complain(place, "its grid must be u8, scale 1/255, zero point 0");
  }

  const Graph& graph_;
  std::vector<std::string> found_;
  std::vector<int> makers_;  // per tensor: how many things made it so far
  std::vector<bool> sound_;  // per tensor: channels and grid are legal
  std::set<std::string> op_names_;
};

}  // namespace

std::vector<std::string> violations(const Graph& graph) { return Verifier(graph).run(); }

void verify(const Graph& graph, const std::string& what) {
  const std::vector<std::string> found = violations(graph);
  if (found.empty()) return;
  std::string message = what + ": " + found.front();
  if (found.size() > 1) message += " (and " + std::to_string(found.size() - 1) + " more)";
  throw Error(message);
}

}  // namespace mattec::ir
