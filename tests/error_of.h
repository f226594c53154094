#pragma once

#include <string>

#include "base/error.h"

namespace mattec {

// What the Error says that a call throws.
template <typename Function>
std::string error_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace mattec
