#include "tools/scale.h"

#include <opencv2/imgproc.hpp>

#include "tools/opencv_view.h"

namespace mattec::tools {

void scale(const Image& from, ir::Size size, Image& to) {
  if (from.size == size) {
    to = from;
    return;
  }
  // OpenCV's area mode averages only if both axes shrink: first shrink what shrinks, then grow.
  const ir::Size shrunk = {std::min(from.size.height, size.height),
                           std::min(from.size.width, size.width)};
  Image small;
  if (shrunk != from.size) {
    Image& target = shrunk == size ? to : small;
    target.reset(shrunk, from.channels);
    cv::Mat pixels = view(target);
    cv::resize(view(from), pixels, pixels.size(), 0, 0, cv::INTER_AREA);
    if (shrunk == size) return;
  }
  to.reset(size, from.channels);
  cv::Mat pixels = view(to);
  cv::resize(view(small.empty() ? from : small), pixels, pixels.size(), 0, 0,
             cv::INTER_LINEAR_EXACT);
}

}  // namespace mattec::tools
