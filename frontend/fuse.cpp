#include "frontend/fuse.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "frontend/blend.h"
#include "ir/verify.h"

namespace mattec::frontend {
namespace {

using ir::Activation;
using ir::Op;
using ir::OpKind;
using ir::TensorId;

// Consecutive channels of an imported tensor, in the fused graph. A convolution stays `pending`
// until something needs its result that cannot become part of its epilogue.
struct Part {
  TensorId tensor = ir::no_tensor;
  int pending = -1;  // index into Fuser::pending_, where tensor is not known yet
  int channels = 0;
  // Real value = factor * stored + offset, per channel; empty = as stored. Only a convolution can
  // take it (into its weights).
  std::vector<float> factor, offset;
};

struct Pending {
  Op op;
  TensorId emitted = ir::no_tensor;
};

class Fuser {
 public:
  explicit Fuser(const ir::Graph& imported) : graph_(imported), forms_(imported.tensors.size()) {}
  ir::Graph fuse();

 private:
  using Form = std::vector<Part>;  // a tensor as the concatenation of parts

  Form& form(TensorId id) { return forms_[static_cast<size_t>(id)]; }
  static Form stored(TensorId tensor, int channels) {
    Part part;
    part.tensor = tensor;
    part.channels = channels;
    return {part};
  }
  [[noreturn]] void refuse(const Op& op, const std::string& why) const {
    throw Error("operation '" + op.name + "' (" + ir::name_of(op.kind) + ") " + why);
  }

  TensorId resolve(Part& part, const Op& reader);
  TensorId resolve_single(TensorId imported, const Op& reader);
  // The convolution that `imported` is the sole, still changeable result of; null = none.
  Pending* changeable(TensorId imported);
  Form pending_form(Op op);
  TensorId emit(Op op, int channels);
  // The operation on each part of its first input, with the further inputs as they are.
  Form emit_per_part(const Op& op, const std::vector<TensorId>& further_inputs);

  void process(const Op& op);
  Form convolution(const Op& op);
  Form slice(const Op& op);
  Form product(const Op& op);
  Form addition(const Op& op);
  Form activation(const Op& op);
  Form scale_shift(const Op& op);
  Form split_convolution(const Op& op, const Pending& whole);
  bool read_by_slices_only(TensorId imported) const;
  bool is_gate(TensorId fused) const;

  const ir::Graph& graph_;
  ir::Graph result_;
  std::vector<Form> forms_;  // per imported tensor
  std::vector<Pending> pending_;
  std::vector<int> reads_;
  std::vector<bool> gate_;  // per fused tensor: 1x1
};

TensorId Fuser::emit(Op op, int channels) {
  bool gate = op.kind == OpKind::global_avg_pool;
  if (op.kind == OpKind::conv || op.kind == OpKind::slice || op.kind == OpKind::mul)
    gate = is_gate(op.inputs[0]);
  gate_.push_back(gate);
  return result_.add_op(std::move(op), channels);
}

bool Fuser::is_gate(TensorId fused) const { return gate_[static_cast<size_t>(fused)]; }

TensorId Fuser::resolve(Part& part, const Op& reader) {
  if (!part.factor.empty())
    refuse(reader,
           "reads a scaled tensor; only convolutions can take a scaling into their weights");
  if (part.tensor != ir::no_tensor) return part.tensor;
  Pending& pending = pending_[static_cast<size_t>(part.pending)];
  if (pending.emitted == ir::no_tensor) {
    const int channels = pending.op.conv.output_channels;
    pending.emitted = emit(std::move(pending.op), channels);
  }
  return part.tensor = pending.emitted;
}

TensorId Fuser::resolve_single(TensorId imported, const Op& reader) {
  if (form(imported).size() != 1) refuse(reader, "cannot read a concatenation");
  return resolve(form(imported)[0], reader);
}

Pending* Fuser::changeable(TensorId imported) {
  const Form& parts = form(imported);
  if (reads_[static_cast<size_t>(imported)] != 1 || parts.size() != 1 || parts[0].pending < 0 ||
      !parts[0].factor.empty())
    return nullptr;
  Pending& pending = pending_[static_cast<size_t>(parts[0].pending)];
  return pending.emitted == ir::no_tensor ? &pending : nullptr;
}

Fuser::Form Fuser::pending_form(Op op) {
  Part part;
  part.channels = op.conv.output_channels;
  part.pending = static_cast<int>(pending_.size());
  pending_.push_back({std::move(op), ir::no_tensor});
  return {part};
}

Fuser::Form Fuser::emit_per_part(const Op& op, const std::vector<TensorId>& further_inputs) {
  Form made, &parts = form(op.inputs[0]);
  for (size_t i = 0; i < parts.size(); ++i) {
    Op piece = op;
    piece.inputs = {resolve(parts[i], op)};
    piece.inputs.insert(piece.inputs.end(), further_inputs.begin(), further_inputs.end());
    if (parts.size() > 1) piece.name += ".part" + std::to_string(i);
    const TensorId tensor = emit(std::move(piece), parts[i].channels);
    made.push_back(stored(tensor, parts[i].channels)[0]);
  }
  return made;
}

// Takes the scaling of one segment's channels, starting at `first`, into weights and bias:
// w (f x + o) = (w f) x + w o. Outside the image the scaled value is 0, so the stored one is -o/f.
void absorb_scaling(const Part& part, size_t first, const std::string& name,
                    ir::Convolution& conv) {
  const size_t outputs = conv.bias.size();
  const auto taps = static_cast<size_t>(conv.kernel) * static_cast<size_t>(conv.kernel);
  const size_t inputs = conv.weight.size() / (outputs * taps);
  for (size_t o = 0; o < outputs; ++o) {
    double bias = conv.bias[o];
    for (size_t c = 0; c < part.factor.size(); ++c) {
      if (conv.depthwise && o != first + c) continue;
      float* weight = &conv.weight[(o * inputs + (conv.depthwise ? 0 : first + c)) * taps];
      for (size_t t = 0; t < taps; ++t) {
        bias += double(weight[t]) * part.offset[c];
        weight[t] = static_cast<float>(double(weight[t]) * part.factor[c]);
      }
    }
    conv.bias[o] = static_cast<float>(bias);
  }
  if (conv.padding == 0) return;
  for (size_t c = 0; c < part.factor.size(); ++c) {
    if (part.factor[c] == 0)
      throw Error("operation '" + name + "' (conv) pads a channel that is scaled by zero");
    conv.pad_value[first + c] = -part.offset[c] / part.factor[c];
  }
}

Fuser::Form Fuser::convolution(const Op& op) {
  Op made = op;
  made.inputs.clear();
  Form& parts = form(op.inputs[0]);
  if (op.conv.depthwise && parts.size() > 1) refuse(op, "is depthwise on a concatenation");
  size_t first = 0;
  for (Part& part : parts) {
    if (!part.factor.empty()) {
      if (made.conv.pad_value.empty() && op.conv.padding > 0)
        made.conv.pad_value.assign(static_cast<size_t>(graph_.tensor(op.inputs[0]).channels), 0.0F);
      absorb_scaling(part, first, op.name, made.conv);
    }
    Part unscaled = part;
    unscaled.factor.clear();
    unscaled.offset.clear();
    made.inputs.push_back(resolve(unscaled, op));
    if (part.factor.empty()) part = unscaled;
    first += static_cast<size_t>(part.channels);
  }
  return pending_form(std::move(made));
}

bool Fuser::read_by_slices_only(TensorId imported) const {
  int slices = 0;
  for (int reader : graph_.consumers(imported))
    slices += graph_.ops[static_cast<size_t>(reader)].kind == OpKind::slice;
  return slices == reads_[static_cast<size_t>(imported)];
}

// The rows of a linear convolution that make the sliced channels, as a convolution of their own.
Fuser::Form Fuser::split_convolution(const Op& op, const Pending& whole) {
  const auto first = static_cast<size_t>(op.first_channel);
  const auto count = static_cast<size_t>(graph_.tensor(op.output).channels);
  Op piece = whole.op;
  const std::vector<int> readers = graph_.consumers(op.inputs[0]);
  size_t index = 0;
  while (graph_.ops[static_cast<size_t>(readers[index])].output != op.output) ++index;
  piece.name += ".part" + std::to_string(index);
  const size_t row = piece.conv.weight.size() / piece.conv.bias.size();
  const auto cut = [&](std::vector<float>& values, size_t unit) {
    values = std::vector<float>(values.begin() + static_cast<ptrdiff_t>(first * unit),
                                values.begin() + static_cast<ptrdiff_t>((first + count) * unit));
  };
  cut(piece.conv.weight, row);
  cut(piece.conv.bias, 1);
  piece.conv.output_channels = static_cast<int>(count);
  return pending_form(std::move(piece));
}

Fuser::Form Fuser::slice(const Op& op) {
  Form& parts = form(op.inputs[0]);
  if (parts.size() == 1 && parts[0].pending >= 0 && parts[0].factor.empty()) {
    const Pending pending = pending_[static_cast<size_t>(parts[0].pending)];
    if (pending.emitted == ir::no_tensor && !pending.op.conv.depthwise &&
        !pending.op.conv.has_residual && pending.op.activation == Activation::none &&
        read_by_slices_only(op.inputs[0]))
      return split_convolution(op, pending);
  }
  const int end = op.first_channel + graph_.tensor(op.output).channels;
  Form made;
  int first = 0;  // of the part
  for (Part& part : parts) {
    const int from = std::max(op.first_channel, first) - first;
    const int to = std::min(end, first + part.channels) - first;
    first += part.channels;
    if (from >= to) continue;
    if (from == 0 && to == part.channels) {
      made.push_back(part);
      continue;
    }
    Op piece = op;
    piece.inputs = {resolve(part, op)};
    piece.first_channel = from;
    if (!made.empty()) piece.name += ".part" + std::to_string(made.size());
    made.push_back(stored(emit(std::move(piece), to - from), to - from)[0]);
  }
  return made;
}

Fuser::Form Fuser::product(const Op& op) {
  Op made = op;
  made.inputs = {resolve_single(op.inputs[0], op), resolve_single(op.inputs[1], op)};
  if (is_gate(made.inputs[0]) && !is_gate(made.inputs[1]))
    std::swap(made.inputs[0], made.inputs[1]);  // the gate stands second
  const int channels = graph_.tensor(op.output).channels;
  for (TensorId input : made.inputs)
    if (result_.tensor(input).channels != channels)
      refuse(op, "multiplies tensors of different channel counts");
  return stored(emit(std::move(made), channels), channels);
}

Fuser::Form Fuser::addition(const Op& op) {
  for (size_t i : {size_t{1}, size_t{0}}) {
    Pending* pending = changeable(op.inputs[i]);
    if (!pending || pending->op.activation != Activation::none || pending->op.conv.has_residual)
      continue;
    const int index = form(op.inputs[i])[0].pending;
    const TensorId residual = resolve_single(op.inputs[1 - i], op);
    Op& conv = pending_[static_cast<size_t>(index)].op;
    if (result_.tensor(residual).channels != conv.conv.output_channels)
      refuse(op, "adds tensors of different channel counts");
    conv.inputs.push_back(residual);
    conv.conv.has_residual = true;
    return form(op.inputs[i]);
  }
  refuse(op, "does not add to the result of a convolution");
}

Fuser::Form Fuser::activation(const Op& op) {
  Pending* pending = changeable(op.inputs[0]);
  if (!pending || pending->op.activation != Activation::none)
    refuse(op, "does not follow a convolution");
  const bool piecewise_linear =
      op.activation == Activation::relu || op.activation == Activation::clamp01;
  if (pending->op.conv.has_residual && !piecewise_linear)
    refuse(op, "follows the addition of a residual; only relu and clamping to 0..1 may");
  pending->op.activation = op.activation;
  return form(op.inputs[0]);
}

Fuser::Form Fuser::scale_shift(const Op& op) {
  Form made = form(op.inputs[0]);
  size_t channel = 0;
  for (Part& part : made) {
    const auto count = static_cast<size_t>(part.channels);
    if (part.factor.empty()) {
      part.factor.assign(count, 1.0F);
      part.offset.assign(count, 0.0F);
    }
    for (size_t c = 0; c < count; ++c, ++channel) {
      const float factor = op.factor[op.factor.size() > 1 ? channel : 0];
      part.factor[c] *= factor;
      part.offset[c] = part.offset[c] * factor + op.offset[op.offset.size() > 1 ? channel : 0];
    }
  }
  return made;
}

void Fuser::process(const Op& op) {
  Form made;
  switch (op.kind) {
    case OpKind::conv:
      made = convolution(op);
      break;
    case OpKind::slice:
      made = slice(op);
      break;
    case OpKind::mul:
      made = product(op);
      break;
    case OpKind::add:
      made = addition(op);
      break;
    case OpKind::activation:
      made = activation(op);
      break;
    case OpKind::scale_shift:
      made = scale_shift(op);
      break;
    case OpKind::avg_pool2:
    case OpKind::global_avg_pool:
      made = emit_per_part(op, {});
      break;
    case OpKind::upsample2:
      made = emit_per_part(op, {resolve(form(op.inputs[1])[0], op)});
      break;
    case OpKind::concat:
      for (TensorId input : op.inputs)
        made.insert(made.end(), form(input).begin(), form(input).end());
      break;
    case OpKind::blend: {
      Op blend = op;
      for (TensorId& input : blend.inputs) input = resolve_single(input, op);
      const int channels = graph_.tensor(op.output).channels;
      made = stored(emit(std::move(blend), channels), channels);
      break;
    }
    default:
      refuse(op, "has no integer form; compile for downsample ratio 1, without the refiner");
  }
  form(op.output) = std::move(made);
}

ir::Graph Fuser::fuse() {
  result_.name = graph_.name;
  result_.stage = ir::Stage::fused;
  reads_.assign(graph_.tensors.size(), 0);
  for (const Op& op : graph_.ops)
    for (TensorId input : op.inputs) ++reads_[static_cast<size_t>(input)];
  // A tensor that leaves the graph has its value fixed: one more reader that no epilogue replaces.
  for (const ir::State& state : graph_.states) ++reads_[static_cast<size_t>(state.output)];
  for (const ir::Output& output : graph_.outputs) ++reads_[static_cast<size_t>(output.tensor)];

  const auto add_input = [&](TensorId imported) {
    const ir::Tensor& tensor = graph_.tensor(imported);
    gate_.push_back(false);
    const TensorId made = result_.add_tensor(tensor.name, tensor.channels);
    form(imported) = stored(made, tensor.channels);
    return made;
  };
  result_.frame = add_input(graph_.frame);
  for (const ir::State& state : graph_.states)
    result_.states.push_back({state.name, add_input(state.input), ir::no_tensor});
  for (const Op& op : graph_.ops) process(op);

  Op reader;  // for messages
  for (size_t i = 0; i < graph_.states.size(); ++i) {
    reader.name = graph_.states[i].name;
    result_.states[i].output = resolve_single(graph_.states[i].output, reader);
  }
  for (const ir::Output& output : graph_.outputs) {
    reader.name = output.name;
    const TensorId tensor = resolve_single(output.tensor, reader);
    const int producer = result_.producer(tensor);
    if (producer < 0 || result_.ops[static_cast<size_t>(producer)].kind != OpKind::conv)
      throw Error("output '" + output.name + "' is not the result of a convolution");
    // Alpha and foreground are truncated to bytes, as the metrics' images are.
    result_.ops[static_cast<size_t>(producer)].rounding = ir::Rounding::down;
    result_.outputs.push_back({output.name, tensor, output.variant});
  }
  return std::move(result_);
}

}  // namespace

ir::Graph fuse(const ir::Graph& imported) {
  if (imported.stage != ir::Stage::imported)
    throw Error("network '" + imported.name + "' is " + ir::name_of(imported.stage) +
                " already; only an imported graph can be fused");
  for (const ir::Output& output : imported.outputs)
    if (output.variant != ir::Variant::both)
      throw Error("network '" + imported.name + "' holds two variants; extract one before fusing");
  const ir::Graph prepared = recognise_blend(imported);
  ir::Graph fused = Fuser(prepared).fuse();
  ir::verify(fused, imported.name + ", fused");
  return fused;
}

}  // namespace mattec::frontend
