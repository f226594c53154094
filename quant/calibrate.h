// Post-training quantization from calibration clips, in closed form: one pass of the float network
// over the clips, then grids and integer weights. No labels, no gradients.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/frames.h"
#include "quant/grids.h"
#include "quant/observers.h"
#include "quant/policy.h"
#include "quant/rounding_memo.h"

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

// What one pass of the float network over the clips tells; every bit policy starts from it.
struct Calibration {
  std::vector<ObservedRange> ranges;       // by tensor of the fused graph
  std::map<std::string, Moments> moments;  // by convolution; none for Method::minmax
};

// Plays a fused float graph of one variant (ir::extract). The clips' frames have the size that
// the network will run at (or one like it: several sizes may be mixed between clips).
// Throws Error for a graph of another stage, no clips, frames of unequal size within a clip or of
// wrong byte count, and values that are not finite.
Calibration observe(const ir::Graph& fused, const std::vector<Clip>& clips,
                    const CalibrationOptions& options, const Progress& progress = {});

// Grids and integer weights; the result is verified. Same clips, options and number of LibTorch
// threads give the same graph. Throws Error for a policy that names what is not there or that has
// high channels (see split.h). `memo`: what was rounded before is not rounded again.
ir::Graph quantize(const ir::Graph& fused, const Calibration& calibration, const BitPolicy& policy,
                   const CalibrationOptions& options, const Progress& progress = {},
                   RoundingMemo* memo = nullptr);

}  // namespace mattec::quant
