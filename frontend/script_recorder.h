// From the tensor operations of an executed TorchScript network to operations of the graph.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "frontend/script_call.h"

namespace mattec::frontend {

class Recorder {
 public:
  // Whether operations of this kind can be recorded.
  static bool supports(const std::string& kind);

  // Makes `tensor` stand for a new input of the graph.
  ir::TensorId add_input(const at::Tensor& tensor, const std::string& name);
  // The graph's tensor that `tensor` is; no_tensor for constants.
  ir::TensorId find(const at::Tensor& tensor) const;
  // Appends what `call` does. Throws Error naming the operation where the graph has no such form.
  void record(const ScriptCall& call);
  // The operations so far, frame and outputs not set. Throws Error where something is unfinished.
  ir::Graph finish();

 private:
  using Handler = void (Recorder::*)(const ScriptCall&);
  static const std::map<std::string, Handler>& handlers();

  void convolution(const ScriptCall& call);
  void batch_norm(const ScriptCall& call);
  void activation(const ScriptCall& call);
  void clamp(const ScriptCall& call);
  void same(const ScriptCall& call);
  void global_pool(const ScriptCall& call);
  void mean(const ScriptCall& call);
  void avg_pool(const ScriptCall& call);
  void resize(const ScriptCall& call);
  void concat(const ScriptCall& call);
  void split(const ScriptCall& call);
  void slice(const ScriptCall& call);
  void arithmetic(const ScriptCall& call);
  void negate(const ScriptCall& call);

  void crop(const ScriptCall& call, int64_t axis, const ScriptValue& end);
  void scale(const ScriptCall& call, const at::Tensor& x, std::vector<float> factor,
             std::vector<float> offset);
  void append(const ScriptCall& call, ir::Op op, const at::Tensor& output);
  void bind(const at::Tensor& tensor, ir::TensorId id);
  ir::TensorId input_of(const ScriptCall& call, const char* name) const;

  ir::Graph graph_;
  std::unordered_map<const c10::TensorImpl*, ir::TensorId> ids_;
  std::unordered_map<const c10::StorageImpl*, int> tensors_on_;  // how many tensors share a storage
  std::vector<at::Tensor> alive_;               // keeps the keys of the maps from being used again
  std::map<ir::TensorId, size_t> upsamplings_;  // tensor -> its operation
};

}  // namespace mattec::frontend
