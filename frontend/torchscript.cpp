#include "frontend/torchscript.h"

#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "frontend/networks.h"
#include "frontend/passes.h"
#include "frontend/script_interpreter.h"
#include "frontend/script_place.h"
#include "frontend/script_sizes.h"
#include "ir/compare.h"
#include "ir/verify.h"

namespace mattec::frontend {
namespace {

using ir::TensorId;
using ir::Variant;

// A frame at which a network is recorded, and with the refiner: divisible by every stride, height
// unlike width, so that no size coincides with another by chance.
struct Trace {
  int64_t height, width;
  double ratio;
};
constexpr Trace first_trace = {128, 192, 0.5};
// Must give the same graph. Portrait, so that a comparison of the sides turns out differently.
constexpr Trace second_trace = {288, 96, 0.75};

constexpr const char* expected =
    "; expected forward(frame, optional states..., downsample_ratio = 1, arguments with defaults) "
    "-> foreground, alpha, states";

// What the arguments of forward() mean.
struct Signature {
  std::vector<std::string> states;
  int ratio = -1;  // index of downsample_ratio, -1 = none
};

Signature signature_of(const c10::FunctionSchema& schema) {
  Signature signature;
  const std::vector<c10::Argument>& arguments = schema.arguments();  // the first is the module
  if (arguments.size() < 2 || arguments[1].type()->kind() != c10::TypeKind::TensorType)
    throw Error(std::string("is no matting network: its forward() takes no frame") + expected);
  for (size_t i = 2; i < arguments.size(); ++i) {
    const c10::Argument& argument = arguments[i];
    const auto optional = argument.type()->cast<c10::OptionalType>();
    if (optional && optional->getElementType()->kind() == c10::TypeKind::TensorType)
      signature.states.push_back(argument.name());
    else if (argument.name() == "downsample_ratio" &&
             argument.type()->kind() == c10::TypeKind::FloatType)
      signature.ratio = static_cast<int>(i);
    else if (!argument.default_value())
      throw Error("is no matting network: argument '" + argument.name() +
                  "' of forward() is neither an optional state nor has it a default" + expected);
  }
  return signature;
}

class Importer {
 public:
  explicit Importer(const torch::jit::Module& module)
      : module_(module),
        forward_(module_.get_method("forward").function()),
        signature_(signature_of(forward_.getSchema())) {}

  ir::Graph import() {
    ir::Graph graph = import_at(first_trace);
    const std::string difference =
        ir::first_difference(canonical(graph), canonical(import_at(second_trace)), 0);
    if (!difference.empty())
      throw Error("does other things at another size of the frame (" + difference + ")" +
                  depends_on_size);
    return graph;
  }

 private:
  ir::Graph import_at(const Trace& trace) {
    trace_ = trace;
    find_state_shapes();
    ir::Graph direct = run(1.0);
    if (signature_.ratio < 0) return direct;
    return merge(std::move(direct), run(trace.ratio));
  }

  // One execution. `states` empty = none given. Returns the tensors that forward() gives.
  std::vector<at::Tensor> execute(Recorder& recorder, const at::Tensor& frame,
                                  const std::vector<at::Tensor>& states, double ratio) {
    std::vector<ScriptValue> arguments = {ScriptValue(module_._ivalue())};
    const std::vector<c10::Argument>& formal = forward_.getSchema().arguments();
    size_t state = 0;
    for (size_t i = 1; i < formal.size(); ++i) {
      const auto optional = formal[i].type()->cast<c10::OptionalType>();
      if (i == 1) {
        arguments.emplace_back(c10::IValue(frame));
      } else if (static_cast<int>(i) == signature_.ratio) {
        arguments.emplace_back(c10::IValue(ratio));
        arguments.back().is_downsample_ratio = true;
      } else if (optional && optional->getElementType()->kind() == c10::TypeKind::TensorType) {
        arguments.push_back(states.empty() ? ScriptValue() : ScriptValue(states[state]));
        ++state;
      } else {
        arguments.emplace_back(*formal[i].default_value());
      }
    }
    const ScriptValue result = ScriptInterpreter(recorder).call(forward_, std::move(arguments));
    std::vector<at::Tensor> outputs;
    if (result.is_tensor()) return {result.concrete.toTensor()};
    if (result.items)
      for (const ScriptValue& item : *result.items)
        if (item.is_tensor()) outputs.push_back(item.concrete.toTensor());
    if (outputs.empty() || outputs.size() != result.items->size())
      throw Error(std::string("is no matting network: its forward() gives no tensors") + expected);
    return outputs;
  }

  at::Tensor frame_for(double ratio) const {
    return at::full({1, 3, std::llround(static_cast<double>(trace_.height) / ratio),
                     std::llround(static_cast<double>(trace_.width) / ratio)},
                    0.5);
  }

  void find_state_shapes() {
    state_shapes_.clear();
    Recorder recorder(Recorder::Mode::follow);
    const at::Tensor frame = frame_for(1);
    recorder.add_input(frame, "frame");
    const std::vector<at::Tensor> outputs = execute(recorder, frame, {}, 1.0);
    const size_t count = signature_.states.size();
    if (outputs.size() <= count)
      throw Error("is no matting network: its forward() gives " + std::to_string(outputs.size()) +
                  " tensors for " + std::to_string(count) + " states" + expected);
    for (size_t i = outputs.size() - count; i < outputs.size(); ++i) {
      if (outputs[i].dim() != 4 || outputs[i].size(0) != 1)
        throw Error("is no matting network: state '" +
                    signature_.states[i - (outputs.size() - count)] + "' is no image" + expected);
      state_shapes_.push_back(outputs[i].sizes().vec());
    }
    results_ = outputs.size() - count;
    without_states_ = outputs;
  }

  // The engine begins with states of zeros; a script may do something else where it has none.
  void check_first_frame(const std::vector<at::Tensor>& with_zeros) const {
    for (size_t i = 0; i < without_states_.size(); ++i) {
      const at::Tensor& expected = without_states_[i];
      if (with_zeros[i].sizes() != expected.sizes() ||
          !at::allclose(with_zeros[i], expected, 1e-4, 1e-5, /*equal_nan=*/true))
        throw Error(
            "does another thing on its first frame than with states of zeros, with which "
            "compiled networks begin; export a network that begins with zeros");
    }
  }

  ir::Graph run(double ratio) {
    Recorder recorder;
    const at::Tensor frame = frame_for(ratio);
    const TensorId frame_id = recorder.add_input(frame, "frame");
    std::vector<at::Tensor> states;
    std::vector<ir::State> graph_states;
    for (size_t i = 0; i < state_shapes_.size(); ++i) {
      states.push_back(at::zeros(state_shapes_[i]));
      const std::string& name = signature_.states[i];
      graph_states.push_back({name, recorder.add_input(states.back(), name), ir::no_tensor});
    }
    const std::vector<at::Tensor> outputs = execute(recorder, frame, states, ratio);
    if (outputs.size() != results_ + states.size())
      throw Error("gives another number of tensors when states are passed");
    if (ratio == 1 && !states.empty()) check_first_frame(outputs);
    std::vector<ir::Output> graph_outputs;
    const Variant variant = signature_.ratio < 0 ? Variant::both
                            : ratio == 1         ? Variant::direct
                                                 : Variant::refined;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const TensorId id = recorder.find(outputs[i]);
      recorder.note_use(outputs[i]);
      if (id == ir::no_tensor)
        throw Error("is no matting network: output " + std::to_string(i) +
                    " does not depend on the frame" + expected);
      if (i >= results_)
        graph_states[i - results_].output = id;
      else
        graph_outputs.push_back({output_name(outputs[i], frame), id, variant});
    }
    ir::Graph graph = recorder.finish();
    graph.frame = frame_id;
    graph.states = std::move(graph_states);
    graph.outputs = std::move(graph_outputs);
    if (!graph.find_output("pha", variant))
      throw Error(std::string("is no matting network: it gives no alpha (1 channel, the frame's "
                              "size)") +
                  expected);
    return graph;
  }

  static std::string output_name(const at::Tensor& output, const at::Tensor& frame) {
    if (output.dim() == 4 && output.size(2) == frame.size(2) && output.size(3) == frame.size(3)) {
      if (output.size(1) == 3) return "fgr";
      if (output.size(1) == 1) return "pha";
    }
    std::ostringstream sizes;
    sizes << output.sizes();
    throw Error("is no matting network: it gives an output of shape " + sizes.str() + " for a " +
                std::to_string(frame.size(2)) + "x" + std::to_string(frame.size(3)) + " frame" +
                expected);
  }

  // Appends the direct graph to the refined one, reading the downsampled frame (which is the frame
  // at ratio 1); the canonical order then finds what both have in common.
  static ir::Graph merge(ir::Graph direct, ir::Graph refined) {
    TensorId low = ir::no_tensor;
    for (const ir::Op& op : refined.ops)
      if (op.kind == ir::OpKind::downsample && op.inputs[0] == refined.frame) low = op.output;
    if (low == ir::no_tensor) throw Error("does not scale the frame by downsample_ratio");
    const auto offset = static_cast<TensorId>(refined.tensors.size());
    std::vector<TensorId> renumbered(direct.tensors.size());
    for (size_t i = 0; i < renumbered.size(); ++i)
      renumbered[i] = offset + static_cast<TensorId>(i);
    refined.tensors.insert(refined.tensors.end(), direct.tensors.begin(), direct.tensors.end());
    // A network that scales even by 1 reads the frame itself.
    const bool always = std::any_of(direct.ops.begin(), direct.ops.end(), [](const ir::Op& op) {
      return op.kind == ir::OpKind::downsample;
    });
    renumbered[static_cast<size_t>(direct.frame)] = always ? refined.frame : low;
    for (size_t i = 0; i < direct.states.size(); ++i)
      renumbered[static_cast<size_t>(direct.states[i].input)] = refined.states[i].input;
    for (ir::Op& op : direct.ops) {
      for (TensorId& input : op.inputs) input = renumbered[static_cast<size_t>(input)];
      op.output = renumbered[static_cast<size_t>(op.output)];
      refined.ops.push_back(std::move(op));
    }
    for (ir::Output& output : direct.outputs)
      output.tensor = renumbered[static_cast<size_t>(output.tensor)];
    refined.outputs.insert(refined.outputs.begin(), direct.outputs.begin(), direct.outputs.end());
    // The states of both as extra outputs, to see that they are the same.
    const size_t outputs = refined.outputs.size();
    for (const ir::State& state : direct.states)
      refined.outputs.push_back(
          {state.name, renumbered[static_cast<size_t>(state.output)], Variant::direct});
    ir::Graph merged = canonical(refined);
    for (size_t i = 0; i < merged.states.size(); ++i)
      if (merged.outputs[outputs + i].tensor != merged.states[i].output)
        throw Error("computes state '" + merged.states[i].name +
                    "' differently with and without downsampling");
    merged.outputs.resize(outputs);
    return merged;
  }

  torch::jit::Module module_;
  const torch::jit::Function& forward_;
  Signature signature_;
  Trace trace_ = first_trace;
  std::vector<std::vector<int64_t>> state_shapes_;
  std::vector<at::Tensor> without_states_;  // outputs at ratio 1
  size_t results_ = 0;                      // outputs that are no states
};

// A known network keeps its name, whichever file it came in.
std::string name_of(const ir::Graph& graph, const std::string& path) {
  Weights weights;
  for (const ir::Op& op : graph.ops)
    if (op.kind == ir::OpKind::conv) {
      const ir::Convolution& conv = op.conv;
      const int64_t outputs = conv.output_channels, kernel = conv.kernel;
      const auto taps = static_cast<size_t>(outputs * kernel * kernel);
      weights[op.name + ".weight"].shape = {
          outputs, static_cast<int64_t>(conv.weight.size() / taps), kernel, kernel};
      weights[op.name + ".bias"].shape = {outputs};
    }
  for (const NetworkShape& network : known_networks()) {
    bool same = true;
    for (const Parameter& parameter : parameters(network)) {
      const auto found = weights.find(parameter.name);
      same = same && found != weights.end() && found->second.shape == parameter.shape;
    }
    if (same) return network.name;
  }
  const std::string file = path.substr(path.find_last_of('/') + 1);
  return file.substr(0, file.find_last_of('.'));
}

torch::jit::Module load(const ZipArchive& archive) {
  // Code of this name would run while loading.
  for (const std::string& name : archive.names())
    if (name.size() > 3 && name.compare(name.size() - 3, 3, ".py") == 0 &&
        archive.content(name).find("def __setstate__") != std::string::npos)
      throw Error("contains code that runs while loading (__setstate__ in " + name +
                  "); export the float network");
  std::istringstream stream(archive.bytes());
  torch::jit::Module module = torch::jit::load(stream, c10::Device(c10::kCPU));
  module.eval();
  return module;
}

}  // namespace

ir::Graph read_torchscript(const ZipArchive& archive, bool fold) {
  const torch::NoGradGuard no_grad;
  ir::Graph graph;
  try {
    torch::jit::Module module = load(archive);
    if (!module.find_method("forward"))
      throw Error(std::string("is no matting network: it has no forward()") + expected);
    graph = Importer(module).import();
    if (fold) fold_constants(graph);
    graph = canonical(graph);
    graph.name = name_of(graph, archive.path());
  } catch (const Error& error) {
    throw Error(archive.path() + ": " + printable(error.what()));
  } catch (const c10::Error& error) {
    throw Error(archive.path() + ": LibTorch cannot execute it: " +
                first_line(error.what_without_backtrace()) + "; export it again");
  } catch (const std::exception& error) {
    throw Error(archive.path() + ": LibTorch cannot read it: " + first_line(error.what()) +
                "; export it again");
  }
  ir::verify(graph, archive.path());
  return graph;
}

}  // namespace mattec::frontend
