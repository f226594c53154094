#include "tools/png.h"

#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "tools/opencv_view.h"

namespace mattec::tools {

std::vector<uint8_t> png_of(const Image& image) {
  cv::Mat pixels = view(image);
  if (image.channels == 3) cv::cvtColor(view(image), pixels, cv::COLOR_RGB2BGR);
  std::vector<uint8_t> bytes;
  cv::imencode(".png", pixels, bytes);
  return bytes;
}

}  // namespace mattec::tools
