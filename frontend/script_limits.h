// Bounds on what a TorchScript network may compute while it is imported: a network executes some
// thousands of operations on small frames; one that is broken or hostile must end soon and small.
#pragma once

#include <string>
#include <vector>

#include "frontend/script_value.h"

namespace mattec::frontend {

class ScriptLimits {
 public:
  // All of these throw Error where the network has gone too far.

  // Before an operation (or a turn of a loop). Also lets the user interrupt.
  void count_operation();
  // Before an operator is executed: whether what it will make is too large.
  void check_operator(const std::string& kind, const std::vector<ScriptValue>& in) const;
  // After it: what its outputs take. `constant`: they depend on no input of the network.
  void count_tensors(const std::vector<at::Tensor>& outputs, bool constant);
  // Entries of a new list, characters of a new text.
  void count_entries(size_t entries);

 private:
  int64_t operations_ = 0, constant_bytes_ = 0, bytes_ = 0;
  size_t entries_ = 0;
};

}  // namespace mattec::frontend
