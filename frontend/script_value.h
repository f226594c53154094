// Values while a TorchScript network is executed and recorded.
#pragma once

#include <torch/script.h>

#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace mattec::frontend {

// A concrete value and where it came from. The origin of sizes is what makes the recorded graph
// free of sizes: "crop to 37 rows" is recorded as "crop to the size of that tensor".
struct ScriptValue {
  c10::IValue concrete;                             // unless a list or a tuple
  std::shared_ptr<std::vector<ScriptValue>> items;  // list or tuple; lists are shared, as in Python
  bool is_list = false;
  std::string path;  // modules and their attributes: "backbone.features.0"
  // A whole number that is `times` the extent of a recorded tensor along `axis`.
  ir::TensorId size_of = ir::no_tensor;
  int64_t axis = -1, times = 1;
  bool is_downsample_ratio = false;
  // Computed from sizes or from downsample_ratio in a way that no graph expresses.
  bool derived = false;

  ScriptValue() = default;
  explicit ScriptValue(c10::IValue value, std::string from = "")
      : concrete(std::move(value)), path(std::move(from)) {
    if (!concrete.isList() && !concrete.isTuple()) return;
    is_list = concrete.isList();
    items = std::make_shared<std::vector<ScriptValue>>();
    if (is_list)
      for (const c10::IValue& item : concrete.toListRef()) items->emplace_back(item);
    else
      for (const c10::IValue& item : concrete.toTupleRef().elements()) items->emplace_back(item);
    concrete = c10::IValue();
  }
  static ScriptValue sequence(std::vector<ScriptValue> values, bool list) {
    ScriptValue value;
    value.items = std::make_shared<std::vector<ScriptValue>>(std::move(values));
    value.is_list = list;
    return value;
  }

  bool is_none() const { return !items && concrete.isNone(); }
  bool is_tensor() const { return !items && concrete.isTensor(); }
  bool is_exact_size() const { return size_of != ir::no_tensor && times == 1; }
  // Whether it may be another value at another size of the frame or another downsample_ratio.
  bool varies() const {
    if (derived || is_downsample_ratio || size_of != ir::no_tensor) return true;
    if (items)
      for (const ScriptValue& item : *items)
        if (item.varies()) return true;
    return false;
  }
};

}  // namespace mattec::frontend
