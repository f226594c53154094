// Altered copies of calibration clips: what a network sees in the field is more varied than a
// handful of clips, and ranges and weight rounding fitted on the copies too hold up better there
// (at W8A8 as good, at 4 bits far better).
#pragma once

#include <cstdint>

#include "quant/frames.h"

namespace mattec::quant {

// One alteration, constant over a clip: channel order, gamma, gain and offset per channel,
// saturation, mirror (of an exact matte, too). The same seed gives the same alteration with every
// compiler.
class ColourJitter {
 public:
  explicit ColourJitter(uint64_t seed);
  Frame operator()(const Frame& frame) const;

 private:
  int source_channel_[3] = {0, 1, 2};
  float value_[3][256];  // of the source channel's byte; may leave 0 .. 1
  float saturation_ = 1;
  bool mirrored_ = false;
};

}  // namespace mattec::quant
