#include <sstream>
#include <string>

#include "ir/graph.h"

namespace mattec::ir {
namespace {

std::string grid_text(const Tensor& tensor) {
  if (!tensor.grid || tensor.grid->scale.empty() || tensor.grid->zero_point.empty()) return "";
  const Grid& grid = *tensor.grid;
  std::ostringstream out;
  out << (grid.is_signed ? " s" : " u") << grid.bits;
  if (grid.per_channel())
    out << " per channel";
  else
    out << " scale " << grid.scale[0] << " zero " << grid.zero_point[0];
  return out.str();
}

std::string tensor_text(const Graph& graph, TensorId id) {
  if (id < 0 || static_cast<size_t>(id) >= graph.tensors.size()) return "<no tensor>";
  return graph.tensor(id).name + " [" + std::to_string(graph.tensor(id).channels) + "]" +
         grid_text(graph.tensor(id));
}

std::string convolution_text(const Op& op) {
  const Convolution& conv = op.conv;
  std::ostringstream out;
  out << ' ' << conv.kernel << 'x' << conv.kernel;
  if (conv.stride != 1) out << " stride " << conv.stride;
  if (conv.dilation != 1) out << " dilation " << conv.dilation;
  if (conv.padding != 0) out << " padding " << conv.padding;
  if (conv.depthwise) out << " depthwise";
  if (!conv.quantized_weight.empty()) out << " s" << conv.weight_bits;
  if (!conv.segment_shift.empty()) {
    out << " shifts";
    for (int shift : conv.segment_shift) out << ' ' << shift;
  }
  if (op.rounding == Rounding::down) out << " rounded down";
  return out.str();
}

std::string op_text(const Graph& graph, const Op& op) {
  std::ostringstream out;
  out << op.name << ": " << name_of(op.kind);
  if (op.kind == OpKind::conv) out << convolution_text(op);
  if (op.kind == OpKind::slice) out << " from channel " << op.first_channel;
  for (size_t i = 0; i < op.channels.size(); ++i)
    out << (i == 0 ? " of channels " : ",") << op.channels[i];
  if (op.activation != Activation::none) out << ' ' << name_of(op.activation);
  out << " (";
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    if (i > 0) out << (op.conv.has_residual && i + 1 == op.inputs.size() ? " + " : ", ");
    out << tensor_text(graph, op.inputs[i]);
  }
  out << ") -> " << tensor_text(graph, op.output);
  return out.str();
}

}  // namespace

std::string dump(const Graph& graph) {
  std::ostringstream out;
  out << "network " << graph.name << ", " << name_of(graph.stage) << ", " << graph.ops.size()
      << " operations\n";
  out << "frame " << tensor_text(graph, graph.frame) << '\n';
  for (const State& state : graph.states)
    out << "state " << state.name << ": " << tensor_text(graph, state.output) << " -> "
        << tensor_text(graph, state.input) << '\n';
  for (const Op& op : graph.ops) out << op_text(graph, op) << '\n';
  for (const Output& output : graph.outputs) {
    out << "output " << output.name << ": " << tensor_text(graph, output.tensor);
    if (output.variant != Variant::both)
      out << (output.variant == Variant::direct ? " without refiner" : " with refiner");
    out << '\n';
  }
  return out.str();
}

}  // namespace mattec::ir
