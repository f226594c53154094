// The one exception type of the compiler.
#pragma once

#include <stdexcept>
#include <string>

namespace mattec {

// A failure that the user can act on: `what()` names the file, the place in it and the way out,
// in one line. The command line prints it after "mattec: " and exits with 1.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace mattec
