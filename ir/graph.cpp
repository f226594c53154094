#include "ir/graph.h"

#include <algorithm>
#include <utility>

#include "ir/operations.h"

namespace mattec::ir {

TensorId Graph::add_tensor(std::string tensor_name, int channels) {
  Tensor made;
  made.name = std::move(tensor_name);
  made.channels = channels;
  tensors.push_back(std::move(made));
  return static_cast<TensorId>(tensors.size()) - 1;
}

TensorId Graph::add_op(Op op, int channels) {
  op.output = add_tensor(op.name, channels);
  ops.push_back(std::move(op));
  return ops.back().output;
}

int Graph::producer(TensorId id) const {
  for (size_t i = 0; i < ops.size(); ++i)
    if (ops[i].output == id) return static_cast<int>(i);
  return -1;
}

std::vector<int> Graph::consumers(TensorId id) const {
  std::vector<int> found;
  for (size_t i = 0; i < ops.size(); ++i)
    if (std::count(ops[i].inputs.begin(), ops[i].inputs.end(), id) > 0)
      found.push_back(static_cast<int>(i));
  return found;
}

const Output* Graph::find_output(const std::string& output_name, Variant variant) const {
  for (const Output& output : outputs)
    if (output.name == output_name &&
        (output.variant == variant || output.variant == Variant::both))
      return &output;
  return nullptr;
}

const char* name_of(OpKind kind) { return operation_of(kind).name; }

const char* name_of(Activation activation) {
  static const char* const names[] = {"none",        "relu",    "clamp01", "hardswish",
                                      "hardsigmoid", "sigmoid", "tanh"};
  return names[static_cast<size_t>(activation)];
}

const char* name_of(Stage stage) {
  static const char* const names[] = {"imported", "fused", "quantized"};
  return names[static_cast<size_t>(stage)];
}

}  // namespace mattec::ir
