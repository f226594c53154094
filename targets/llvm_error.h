// LLVM's errors as ours.
#pragma once

#include <llvm/Support/Error.h>

#include <string>

#include "base/error.h"

namespace mattec::targets {

// LLVM's messages may span lines; ours are one line.
inline std::string text_of(llvm::Error error) {
  std::string text = llvm::toString(std::move(error));
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text;
}

// The value, or an Error "path: what: LLVM's reason".
template <typename T>
T unwrap(const std::string& path, const std::string& what, llvm::Expected<T> value) {
  if (!value) throw Error(path + ": " + what + ": " + text_of(value.takeError()));
  return std::move(*value);
}

}  // namespace mattec::targets
