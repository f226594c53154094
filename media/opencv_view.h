// OpenCV's view of an Image: shares the pixels.
#pragma once

#include <opencv2/core.hpp>

#include "media/image.h"

namespace mattec::media {

inline cv::Mat view(Image& image) {
  return cv::Mat(image.size.height, image.size.width, CV_8UC(image.channels), image.pixels.data());
}
// For reading only; OpenCV has no const matrix.
inline cv::Mat view(const Image& image) {
  return cv::Mat(image.size.height, image.size.width, CV_8UC(image.channels),
                 const_cast<uint8_t*>(image.pixels.data()));
}

// .299 R + .587 G + .114 B: keeps a grey exactly.
void to_luminance(const Image& color, Image& gray);

// OpenCV chats on standard error; what matters of it becomes an Error. Called before its first use
// of a codec.
void silence_opencv();

}  // namespace mattec::media
