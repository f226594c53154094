// Which operators of a TorchScript network are executed, and values in LibTorch's form and ours.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "frontend/script_value.h"

namespace mattec::frontend {

// Operators on sizes, numbers, text and constant tensors: free of side effects.
bool is_harmless(const std::string& kind);

// What may be asked about a recorded tensor without the answer depending on its values.
bool asks_about_form(const std::string& kind);

// "aten::relu_", which changes its first argument.
bool is_in_place(const std::string& kind);

c10::IValue to_ivalue(const ScriptValue& value, const c10::TypePtr& type);

std::vector<at::Tensor> tensors_in(const std::vector<c10::IValue>& values);
// All tensors in `values`, those in lists and tuples too.
std::vector<at::Tensor> tensors_in(const std::vector<ScriptValue>& values);

// Floating-point tensors of other types (half, bfloat16, double) as float: the engine's networks
// compute in float. Each is converted once, however often a script asks for it.
class ConstantsInFloat {
 public:
  // Throws Error for a tensor with more elements than the file stores for it.
  ScriptValue of(ScriptValue value);

 private:
  std::unordered_map<const c10::TensorImpl*, at::Tensor> converted_;
};

}  // namespace mattec::frontend
