#include "frontend/script_recorder.h"

#include <algorithm>

#include "base/error.h"

namespace mattec::frontend {
namespace {

using ir::Activation;
using ir::Op;
using ir::OpKind;

Op make(OpKind kind, std::vector<ir::TensorId> inputs) {
  Op op;
  op.kind = kind;
  op.inputs = std::move(inputs);
  return op;
}

// Rounding to half, or computing in double, is nothing that a graph says.
void need_float(const ScriptCall& call, const at::Tensor& output) {
  if (output.scalar_type() != at::kFloat)
    refuse(call, std::string("makes a computed tensor ") + c10::toString(output.scalar_type()) +
                     ", but networks are computed in float; export the network without the cast");
}

// "decoder.gru.ih.0.weight" -> "decoder.gru.ih.0"
std::string module_of(const std::string& path) { return path.substr(0, path.rfind('.')); }

}  // namespace

const std::map<std::string, Recorder::Handler>& Recorder::handlers() {
  static const std::map<std::string, Handler> table = {
      {"aten::conv2d", &Recorder::convolution},
      {"aten::_convolution", &Recorder::convolution},
      {"aten::convolution", &Recorder::convolution},
      {"aten::batch_norm", &Recorder::batch_norm},
      {"aten::relu", &Recorder::activation},
      {"aten::hardswish", &Recorder::activation},
      {"aten::hardsigmoid", &Recorder::activation},
      {"aten::sigmoid", &Recorder::activation},
      {"aten::tanh", &Recorder::activation},
      {"aten::clamp", &Recorder::clamp},
      {"aten::hardtanh", &Recorder::clamp},
      {"aten::contiguous", &Recorder::same},
      {"aten::clone", &Recorder::same},
      {"aten::detach", &Recorder::same},
      {"aten::dropout", &Recorder::same},
      {"aten::to", &Recorder::same},
      {"aten::type_as", &Recorder::same},
      {"aten::adaptive_avg_pool2d", &Recorder::global_pool},
      {"aten::mean", &Recorder::mean},
      {"aten::avg_pool2d", &Recorder::avg_pool},
      {"aten::upsample_bilinear2d", &Recorder::resize},
      {"aten::cat", &Recorder::concat},
      {"aten::split", &Recorder::split},
      {"aten::split_with_sizes", &Recorder::split},
      {"aten::chunk", &Recorder::split},
      {"aten::slice", &Recorder::slice},
      {"aten::narrow", &Recorder::slice},
      {"aten::add", &Recorder::arithmetic},
      {"aten::sub", &Recorder::arithmetic},
      {"aten::rsub", &Recorder::arithmetic},
      {"aten::mul", &Recorder::arithmetic},
      {"aten::div", &Recorder::arithmetic},
      {"aten::neg", &Recorder::negate},
  };
  return table;
}

namespace {
// "aten::relu_", the in-place form, does what "aten::relu" does.
std::string functional_form(const std::string& kind) {
  return !kind.empty() && kind.back() == '_' ? kind.substr(0, kind.size() - 1) : kind;
}
}  // namespace

bool Recorder::supports(const std::string& kind) {
  return handlers().count(functional_form(kind)) > 0;
}

ir::TensorId Recorder::add_input(const at::Tensor& tensor, const std::string& name) {
  const ir::TensorId id = graph_.add_tensor(name, static_cast<int>(tensor.size(1)));
  bind(tensor, id);
  return id;
}

void Recorder::bind(const at::Tensor& tensor, ir::TensorId id) {
  if (ids_.count(tensor.unsafeGetTensorImpl()) == 0) {
    alive_.push_back(tensor);
    ++tensors_on_[tensor.storage().unsafeGetStorageImpl()];
  }
  ids_[tensor.unsafeGetTensorImpl()] = id;
}

ir::TensorId Recorder::find(const at::Tensor& tensor) const {
  const auto found = ids_.find(tensor.unsafeGetTensorImpl());
  return found == ids_.end() ? ir::no_tensor : found->second;
}

ir::TensorId Recorder::input_of(const ScriptCall& call, const char* name) const {
  const ir::TensorId id = find(tensor_argument(call, name));
  if (id == ir::no_tensor) refuse(call, "applies to a constant");
  return id;
}

void Recorder::append(const ScriptCall& call, Op op, const at::Tensor& output) {
  if (output.dim() != 4 || output.size(0) != 1)
    refuse(call, "gives a tensor that is no batch of images");
  need_float(call, output);
  if (op.name.empty()) op.name = call.place + "." + std::to_string(graph_.ops.size());
  bind(output, graph_.add_op(std::move(op), static_cast<int>(output.size(1))));
}

void Recorder::record(const ScriptCall& call) {
  if (call.kind.back() == '_')
    for (const at::Tensor& output : call.outputs) {
      const auto sharing = tensors_on_.find(output.storage().unsafeGetStorageImpl());
      if (sharing != tensors_on_.end() && sharing->second > 1)
        refuse(call, "changes a tensor in place of which there are views");
    }
  const auto handler = handlers().find(functional_form(call.kind));
  if (handler == handlers().end()) refuse(call, "is not supported");
  if (mode_ == Mode::follow) {
    for (const at::Tensor& output : call.outputs) bind(output, 0);
    return;
  }
  check_sizes(call);
  note_uses(call);
  (this->*handler->second)(call);
}

void Recorder::convolution(const ScriptCall& call) {
  Op op = make(OpKind::conv, {input_of(call, "input")});
  const ScriptValue& weight = argument(call, "weight");
  const at::Tensor& w = tensor_argument(call, "weight");
  if (find(w) != ir::no_tensor) refuse(call, "has computed weights");
  if (boolean(call, "transposed")) refuse(call, "is transposed");
  if (w.dim() != 4 || w.size(2) != w.size(3)) refuse(call, "has a kernel that is not square");
  if (call.arguments.count("padding") && !argument(call, "padding").items &&
      argument(call, "padding").concrete.isString())
    refuse(call, "has its padding as text");
  op.conv.kernel = static_cast<int>(w.size(2));
  op.conv.stride = square(call, "stride");
  op.conv.padding = square(call, "padding");
  op.conv.dilation = square(call, "dilation");
  op.conv.output_channels = static_cast<int>(w.size(0));
  const int64_t groups = integer(call, argument(call, "groups"));
  const int64_t channels = tensor_argument(call, "input").size(1);
  op.conv.depthwise = groups > 1;
  if (groups > 1 && (groups != channels || w.size(0) != channels))
    refuse(call, "has groups; only depthwise and ungrouped convolutions are supported");
  op.conv.weight = floats(w);
  const ScriptValue& bias = argument(call, "bias");
  op.conv.bias = bias.is_none() ? std::vector<float>(static_cast<size_t>(w.size(0)), 0.0F)
                                : floats(bias.concrete.toTensor());
  op.name = weight.path.empty() ? call.place : module_of(weight.path);
  if (op.name.empty()) op.name = "conv";
  append(call, std::move(op), call.outputs[0]);
}

void Recorder::batch_norm(const ScriptCall& call) {
  Op op = make(OpKind::batch_norm, {input_of(call, "input")});
  if (boolean(call, "training")) refuse(call, "is in training mode; export model.eval()");
  const auto channels = static_cast<size_t>(call.outputs[0].size(1));
  const auto vector = [&](const char* name, float absent) {
    const ScriptValue& value = argument(call, name);
    return value.is_none() ? std::vector<float>(channels, absent)
                           : floats(tensor_argument(call, name));
  };
  op.gamma = vector("weight", 1);
  op.beta = vector("bias", 0);
  op.mean = vector("running_mean", 0);
  op.variance = vector("running_var", 1);
  op.epsilon = argument(call, "eps").concrete.toDouble();
  append(call, std::move(op), call.outputs[0]);
}

void Recorder::activation(const ScriptCall& call) {
  static const std::map<std::string, Activation> activations = {
      {"aten::relu", Activation::relu},
      {"aten::hardswish", Activation::hardswish},
      {"aten::hardsigmoid", Activation::hardsigmoid},
      {"aten::sigmoid", Activation::sigmoid},
      {"aten::tanh", Activation::tanh}};
  Op op = make(OpKind::activation, {input_of(call, "self")});
  op.activation = activations.at(functional_form(call.kind));
  append(call, std::move(op), call.outputs[0]);
}

void Recorder::clamp(const ScriptCall& call) {
  const bool hardtanh = call.arguments.count("min_val") > 0;
  const ScriptValue& low = argument(call, hardtanh ? "min_val" : "min");
  const ScriptValue& high = argument(call, hardtanh ? "max_val" : "max");
  const auto is = [](const ScriptValue& value, double bound) {
    return !value.items && value.concrete.isScalar() &&
           value.concrete.toScalar().toDouble() == bound;
  };
  Op op = make(OpKind::activation, {input_of(call, "self")});
  op.activation = Activation::clamp01;
  if (is(low, 0) && high.is_none())
    op.activation = Activation::relu;
  else if (!is(low, 0) || !is(high, 1))
    refuse(call, "has other bounds than 0 and 1");
  append(call, std::move(op), call.outputs[0]);
}

void Recorder::same(const ScriptCall& call) {
  if (boolean(call, "train")) refuse(call, "is in training mode; export model.eval()");
  const at::Tensor &x = first_tensor(call), &output = call.outputs[0];
  need_float(call, output);
  if (output.dim() != 4 || find(x) == ir::no_tensor) refuse(call, "is not supported");
  bind(output, find(x));
  const auto cropped = cropped_.find(x.unsafeGetTensorImpl());
  if (cropped != cropped_.end()) cropped_[output.unsafeGetTensorImpl()] = cropped->second;
}

void Recorder::global_pool(const ScriptCall& call) {
  if (square(call, "output_size") != 1) refuse(call, "has another output size than 1x1");
  append(call, make(OpKind::global_avg_pool, {input_of(call, "self")}), call.outputs[0]);
}

void Recorder::mean(const ScriptCall& call) {
  if (!call.arguments.count("dim") || argument(call, "dim").is_none() || !boolean(call, "keepdim"))
    refuse(call, "does not keep its dimensions");
  std::vector<int64_t> axes;
  for (int64_t axis : integers(call, "dim")) axes.push_back(axis_of(call, axis));
  std::sort(axes.begin(), axes.end());
  if (axes == std::vector<int64_t>{2, 3})
    append(call, make(OpKind::global_avg_pool, {input_of(call, "self")}), call.outputs[0]);
  else if (axes == std::vector<int64_t>{1})
    append(call, make(OpKind::channel_mean, {input_of(call, "self")}), call.outputs[0]);
  else
    refuse(call, "is over other dimensions than channels or height and width");
}

void Recorder::avg_pool(const ScriptCall& call) {
  const bool strided = !argument(call, "stride").items || !argument(call, "stride").items->empty();
  if (square(call, "kernel_size") != 2 || (strided && square(call, "stride") != 2) ||
      square(call, "padding") != 0 || !boolean(call, "ceil_mode") ||
      boolean(call, "count_include_pad") || !argument(call, "divisor_override").is_none())
    refuse(call, "is another than 2x2, stride 2, ceil_mode=True, count_include_pad=False");
  append(call, make(OpKind::avg_pool2, {input_of(call, "self")}), call.outputs[0]);
}

void Recorder::concat(const ScriptCall& call) {
  const ScriptValue& tensors = argument(call, "tensors");
  const int64_t axis = integer(call, argument(call, "dim"));
  Op op = make(OpKind::concat, {});
  for (const ScriptValue& item : *tensors.items) {
    const ir::TensorId id = find(item.concrete.toTensor());
    if (id == ir::no_tensor) refuse(call, "concatenates a constant");
    op.inputs.push_back(id);
  }
  if (axis != 1 && axis != -3) refuse(call, "is not along the channels");
  // An upsampling that is not cropped explicitly has the size of what it is concatenated with.
  const auto size_giver = std::find_if(op.inputs.begin(), op.inputs.end(), [&](ir::TensorId id) {
    return upsamplings_.count(id) == 0;
  });
  for (ir::TensorId id : op.inputs) {
    const auto upsampling = upsamplings_.find(id);
    if (upsampling == upsamplings_.end() || size_giver == op.inputs.end()) continue;
    ir::TensorId& like = graph_.ops[upsampling->second.op].inputs[1];
    if (like == ir::no_tensor) like = *size_giver;
  }
  append(call, std::move(op), call.outputs[0]);
}

void Recorder::split(const ScriptCall& call) {
  if (axis_of(call, integer(call, argument(call, "dim"))) != 1)
    refuse(call, "is not along the channels");
  const ir::TensorId id = input_of(call, "self");
  int first = 0;
  for (const at::Tensor& output : call.outputs) {
    Op op = make(OpKind::slice, {id});
    op.first_channel = first;
    first += static_cast<int>(output.size(1));
    append(call, std::move(op), output);
  }
}

void Recorder::scale(const ScriptCall& call, const at::Tensor& x, std::vector<float> factor,
                     std::vector<float> offset) {
  Op op = make(OpKind::scale_shift, {find(x)});
  const size_t entries = std::max(factor.size(), offset.size());
  if (factor.size() != entries) factor.assign(entries, factor[0]);
  if (offset.size() != entries) offset.assign(entries, offset[0]);
  op.factor = std::move(factor);
  op.offset = std::move(offset);
  append(call, std::move(op), call.outputs[0]);
}

void Recorder::negate(const ScriptCall& call) { scale(call, first_tensor(call), {-1}, {0}); }

void Recorder::arithmetic(const ScriptCall& call) {
  const std::string kind = functional_form(call.kind);
  const ScriptValue &self = argument(call, "self"), &other = argument(call, "other");
  if (call.arguments.count("alpha") && argument(call, "alpha").concrete.toScalar().toDouble() != 1)
    refuse(call, "has a factor alpha");
  if (call.arguments.count("rounding_mode") && !argument(call, "rounding_mode").is_none())
    refuse(call, "rounds");
  const auto recorded = [&](const ScriptValue& value) {
    return value.is_tensor() ? find(value.concrete.toTensor()) : ir::no_tensor;
  };
  const ir::TensorId x = recorded(self), y = recorded(other);
  if (x != ir::no_tensor && y != ir::no_tensor) {
    const bool reverse = kind == "aten::rsub";
    if (kind == "aten::div") refuse(call, "divides by a computed tensor");
    const OpKind made = kind == "aten::add"   ? OpKind::add
                        : kind == "aten::mul" ? OpKind::mul
                                              : OpKind::sub;
    return append(call, reverse ? make(made, {y, x}) : make(made, {x, y}), call.outputs[0]);
  }
  // One operand is constant: y = factor x + offset, or offset - x.
  const bool first = x != ir::no_tensor;
  const at::Tensor& tensor = (first ? self : other).concrete.toTensor();
  const std::vector<float> constant =
      per_channel(call, first ? other : self, call.outputs[0].size(1));
  if (call.outputs[0].sizes() != tensor.sizes()) refuse(call, "changes the tensor's shape");
  std::vector<float> changed = constant;
  if (kind == "aten::add") return scale(call, tensor, {1}, constant);
  if (kind == "aten::mul") return scale(call, tensor, constant, {0});
  if (kind == "aten::div") {
    if (!first) refuse(call, "divides by a computed tensor");
    for (float& value : changed) value = 1 / value;
    return scale(call, tensor, changed, {0});
  }
  // x - constant, or constant - x.
  if ((kind == "aten::rsub") == first) return scale(call, tensor, {-1}, constant);
  for (float& value : changed) value = -value;
  scale(call, tensor, {1}, changed);
}

}  // namespace mattec::frontend
