// Decoded video as calibration takes it.
#pragma once

#include <cstdint>
#include <vector>

namespace mattec::quant {

// RGB, 8 bit, [row][column][3], rows without padding.
struct Frame {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;
  std::vector<uint8_t> alpha = {};  // its exact matte, [row][column]; empty: not known
};

// Consecutive frames of one size; recurrent states start empty at the first.
using Clip = std::vector<Frame>;

}  // namespace mattec::quant
