// OpenCV's view of an Image: shares the pixels.
#pragma once

#include <opencv2/core.hpp>

#include "tools/image.h"

namespace mattec::tools {

inline cv::Mat view(Image& image) {
  return cv::Mat(image.size.height, image.size.width, CV_8UC(image.channels), image.pixels.data());
}
// For reading only; OpenCV has no const matrix.
inline cv::Mat view(const Image& image) {
  return cv::Mat(image.size.height, image.size.width, CV_8UC(image.channels),
                 const_cast<uint8_t*>(image.pixels.data()));
}

// Decoders and encoders chat on standard error; what matters of it becomes an Error. Called before
// the first use of one.
void silence_codecs();

}  // namespace mattec::tools
