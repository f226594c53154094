// The exceptions that the user reads.
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

// The command line itself is wrong, whatever the files hold: exits with 2.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(message) {}
};

}  // namespace mattec
