// 8-bit pixels in memory: what moves between files, engines and reports.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ir/sizes.h"

namespace mattec::media {

// [row][column][channel] without padding. 3 channels = R, G, B; 1 = alpha; 4 = R, G, B, alpha (the
// colours not multiplied by it).
struct Image {
  ir::Size size;
  int channels = 0;
  std::vector<uint8_t> pixels;

  Image() = default;
  Image(ir::Size image_size, int channel_count) { reset(image_size, channel_count); }
  // Keeps the memory where it suffices; pixels are not cleared.
  void reset(ir::Size image_size, int channel_count) {
    size = image_size;
    channels = channel_count;
    pixels.resize(static_cast<size_t>(size.height) * size.width * channels);
  }
  bool empty() const { return pixels.empty(); }
};

}  // namespace mattec::media
