// How a network is calibrated; free of LibTorch, for whoever only asks for it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "quant/grids.h"

namespace mattec::quant {

enum class Method {
  minmax,  // the textbook: full ranges, weights rounded to nearest
  mse,     // least-squares ranges and weight scales, bias correction
  gptq     // ranges of channels, second-order weight rounding, bias correction: the best of them
};
RangeMethod range_method(Method method);

struct CalibrationOptions {
  Method method = Method::gptq;
  uint64_t seed = 0;
  // Of each clip every `frame_step`-th of the first `window` frames is played; beside them, colour-
  // altered copies of the windows that follow. A clip should have (1 + jitter_copies) * window.
  int window = 16;
  int frame_step = 2;
  int jitter_copies = 2;
  int positions_per_frame = 400;  // second moments: positions drawn, over clip and copies
  int samples_per_frame = 3000;   // ranges: random values, over clip and copies
  int pixels_per_frame = 48;      // ranges of channels: random pixels, over clip and copies
  double damping = 0.01;          // GPTQ
  ChannelScales channel_scales;   // of 4-bit grids
};

// Told how far a long job is: fraction 0 .. 1 and what it is doing.
using Progress = std::function<void(double fraction, const std::string& what)>;

}  // namespace mattec::quant
