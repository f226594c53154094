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
  // What record() does: append the operation, or only follow which tensors are computed (where the
  // graph is of no interest: a first frame without states).
  enum class Mode { append, follow };
  explicit Recorder(Mode mode = Mode::append) : mode_(mode) {}

  // Whether operations of this kind can be recorded.
  static bool supports(const std::string& kind);

  // Makes `tensor` stand for a new input of the graph.
  ir::TensorId add_input(const at::Tensor& tensor, const std::string& name);
  // The graph's tensor that `tensor` is; no_tensor for constants.
  ir::TensorId find(const at::Tensor& tensor) const;
  // Notes that the tensor's size or values are used: an upsampling that is cropped in one place
  // must not be used uncropped in another.
  void note_use(const at::Tensor& tensor);
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

  void check_sizes(const ScriptCall& call) const;
  void note_uses(const ScriptCall& call);
  void crop(const ScriptCall& call, int64_t axis, const ScriptValue& end);
  void scale(const ScriptCall& call, const at::Tensor& x, std::vector<float> factor,
             std::vector<float> offset);
  void append(const ScriptCall& call, ir::Op op, const at::Tensor& output);
  void bind(const at::Tensor& tensor, ir::TensorId id);
  ir::TensorId input_of(const ScriptCall& call, const char* name) const;

  // An upsampling by 2 in the script's terms.
  struct Upsampling {
    size_t op = 0;
    bool cropped = false;         // somewhere, to the tensor that the operation reads its size from
    bool used_uncropped = false;  // somewhere
  };

  Mode mode_;
  ir::Graph graph_;
  std::unordered_map<const c10::TensorImpl*, ir::TensorId> ids_;
  std::unordered_map<const c10::StorageImpl*, int> tensors_on_;  // how many tensors share a storage
  std::vector<at::Tensor> alive_;  // keeps the keys of the maps from being used again
  std::map<ir::TensorId, Upsampling> upsamplings_;  // of tensors
  // Along which axes (bits 2 and 3) a tensor that stands for an upsampling is cropped.
  std::unordered_map<const c10::TensorImpl*, int> cropped_;
};

}  // namespace mattec::frontend
