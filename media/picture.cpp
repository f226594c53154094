#include "media/picture.h"

#include <algorithm>
#include <iterator>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "media/opencv_view.h"

namespace mattec::media {

bool is_picture_extension(const std::string& extension) {
  const char* const known[] = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"};
  return std::find(std::begin(known), std::end(known), extension) != std::end(known);
}

std::vector<uint8_t> picture_bytes(const Image& image, const std::string& extension) {
  cv::Mat pixels = view(image);
  if (image.channels == 3) cv::cvtColor(view(image), pixels, cv::COLOR_RGB2BGR);
  if (image.channels == 4) cv::cvtColor(view(image), pixels, cv::COLOR_RGBA2BGRA);
  std::vector<uint8_t> bytes;
  cv::imencode(extension, pixels, bytes);
  return bytes;
}

std::vector<uint8_t> png_of(const Image& image) { return picture_bytes(image, ".png"); }

}  // namespace mattec::media
