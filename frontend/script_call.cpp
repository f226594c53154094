#include "frontend/script_call.h"

#include "base/error.h"

namespace mattec::frontend {

void refuse(const ScriptCall& call, const std::string& why) {
  throw Error("operation " + call.kind + (call.place.empty() ? "" : " in '" + call.place + "'") +
              " " + why);
}

const ScriptValue& argument(const ScriptCall& call, const char* name) {
  const auto found = call.arguments.find(name);
  if (found == call.arguments.end()) refuse(call, std::string("lacks the argument ") + name);
  return found->second;
}

const at::Tensor& tensor_argument(const ScriptCall& call, const char* name) {
  const ScriptValue& value = argument(call, name);
  if (!value.is_tensor()) refuse(call, std::string("has no tensor as ") + name);
  return value.concrete.toTensor();
}

const at::Tensor& first_tensor(const ScriptCall& call) {
  return tensor_argument(call, call.arguments.count("input") ? "input" : "self");
}

int64_t integer(const ScriptCall& call, const ScriptValue& value) {
  if (value.items || !value.concrete.isInt()) refuse(call, "has an argument that is no number");
  return value.concrete.toInt();
}

std::vector<int64_t> integers(const ScriptCall& call, const char* name) {
  const ScriptValue& value = argument(call, name);
  std::vector<int64_t> found;
  if (!value.items) return {integer(call, value)};
  for (const ScriptValue& item : *value.items) found.push_back(integer(call, item));
  return found;
}

int square(const ScriptCall& call, const char* name) {
  const std::vector<int64_t> values = integers(call, name);
  for (int64_t value : values)
    if (value != values[0] || value < 0 || value > 1024)
      refuse(call, std::string("has different or large values as ") + name);
  return values.empty() ? 0 : static_cast<int>(values[0]);
}

bool boolean(const ScriptCall& call, const char* name) {
  const auto found = call.arguments.find(name);
  return found != call.arguments.end() && found->second.concrete.isBool() &&
         found->second.concrete.toBool();
}

int64_t axis_of(const ScriptCall& call, int64_t axis) {
  const int64_t dimensions = first_tensor(call).dim();
  return axis < 0 ? axis + dimensions : axis;
}

std::vector<float> floats(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.detach().to(at::kFloat).contiguous();
  return {plain.data_ptr<float>(), plain.data_ptr<float>() + plain.numel()};
}

std::vector<float> per_channel(const ScriptCall& call, const ScriptValue& value, int64_t channels) {
  if (!value.items && value.concrete.isScalar()) return {value.concrete.toScalar().to<float>()};
  if (!value.is_tensor()) refuse(call, "has an operand that is neither tensor nor number");
  at::Tensor constant = value.concrete.toTensor();
  if (constant.numel() == 1) return floats(constant);
  const bool channels_only = constant.dim() >= 3 && constant.dim() <= 4 &&
                             constant.numel() == channels && constant.size(-3) == channels;
  if (!channels_only) refuse(call, "has a constant operand that is not one value per channel");
  return floats(constant);
}

}  // namespace mattec::frontend
