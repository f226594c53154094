// Places in a TorchScript network's code, for messages.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace torch::jit {
struct Node;
}

namespace mattec::frontend {

// An error that already names a line of the script.
class PlacedError : public Error {
 public:
  explicit PlacedError(const std::string& message) : Error(message) {}
};

// "model.py:57: y = x[:, :, :256]": the author's file where the network brings its lines along,
// otherwise the code in the archive. `nodes`: the calls under way, the innermost last; a line of
// torch.nn's own functions says little, so the one that called them is named.
std::string line_of(const std::vector<const torch::jit::Node*>& nodes);

// LibTorch's messages carry source lines and a stack trace; the first line that is not empty says
// what happened, with a colon where the source follows. Printable.
std::string first_line(const std::string& text);

}  // namespace mattec::frontend
