// The dictionaries of a checkpoint, and which of them holds a network.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "frontend/networks.h"
#include "frontend/pickle.h"

namespace mattec::frontend {

// A dictionary of tensors, by their names without the prefix that all have.
struct TensorDictionary {
  std::string path;  // its keys from the outermost dictionary on, "/" between; empty = that one
  std::string prefix;
  std::map<std::string, const PickleValue*> tensors;  // opaque ones too
};

// All dictionaries under `root` that hold tensors, in the order in which they are preferred.
// Throws Error where they hold more than any checkpoint of a network.
std::vector<TensorDictionary> tensor_dictionaries(const PickleValue& root);

// Empty where the tensor's shape is none.
std::vector<int64_t> shape_of(const PickleValue& tensor);
Shapes shapes_of(const TensorDictionary& dictionary);

}  // namespace mattec::frontend
