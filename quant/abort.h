// Work that is given up in the middle of a pass through a network.
#pragma once

#include <exception>
#include <functional>

namespace mattec::quant {

// Asked many times a second; true: what was begun is dropped at once.
using Abort = std::function<bool()>;

// Goes through LibTorch's backward pass, which lets standard exceptions through.
class Aborted : public std::exception {};

inline void throw_if(const Abort& abort) {
  if (abort && abort()) throw Aborted();
}

}  // namespace mattec::quant
