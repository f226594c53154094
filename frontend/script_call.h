// One executed operation of a TorchScript network, and its arguments in plain types.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "frontend/script_value.h"

namespace mattec::frontend {

// Arguments by their name in the operator's schema.
struct ScriptCall {
  std::string kind;   // "aten::conv2d"
  std::string place;  // module path, for messages
  std::map<std::string, ScriptValue> arguments;
  std::vector<at::Tensor> outputs;
};

// Throws Error: "operation <kind> in '<place>' <why>".
[[noreturn]] void refuse(const ScriptCall& call, const std::string& why);

// All of these throw Error where the argument is missing or of another kind.
const ScriptValue& argument(const ScriptCall& call, const char* name);
const at::Tensor& tensor_argument(const ScriptCall& call, const char* name);
const at::Tensor& first_tensor(const ScriptCall& call);  // "input" or "self": operators disagree
int64_t integer(const ScriptCall& call, const ScriptValue& value);
std::vector<int64_t> integers(const ScriptCall& call, const char* name);
// The value of a pair whose two entries must agree (square kernels only), 0 .. 1024.
int square(const ScriptCall& call, const char* name);
bool boolean(const ScriptCall& call, const char* name);  // false where it is missing
int64_t axis_of(const ScriptCall& call, int64_t axis);   // counted from the front

std::vector<float> floats(const at::Tensor& tensor);
// A constant operand as one value, or one per channel of [N, channels, H, W].
std::vector<float> per_channel(const ScriptCall& call, const ScriptValue& value, int64_t channels);

}  // namespace mattec::frontend
