#include "media/scale.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "media/opencv_view.h"

namespace mattec::media {

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

void cover(const Image& from, ir::Size size, Image& to) {
  const double ratio = std::max(static_cast<double>(size.height) / from.size.height,
                                static_cast<double>(size.width) / from.size.width);
  const ir::Size covering = {
      std::max(size.height, static_cast<int>(std::lround(from.size.height * ratio))),
      std::max(size.width, static_cast<int>(std::lround(from.size.width * ratio)))};
  if (covering == size) {
    scale(from, size, to);
    return;
  }
  Image scaled;
  scale(from, covering, scaled);
  const cv::Rect middle((covering.width - size.width) / 2, (covering.height - size.height) / 2,
                        size.width, size.height);
  to.reset(size, from.channels);
  cv::Mat target = view(to);
  view(scaled)(middle).copyTo(target);
}

ir::Size fitting(ir::Size from, ir::Size frame) {
  const double ratio = std::min(static_cast<double>(frame.height) / from.height,
                                static_cast<double>(frame.width) / from.width);
  const auto extent = [ratio](int length, int limit) {
    return std::clamp(static_cast<int>(std::lround(length * ratio)), 1, limit);
  };
  return {extent(from.height, frame.height), extent(from.width, frame.width)};
}

Fit fit(ir::Size from, const Rational& pixel_shape, ir::Size outer) {
  Fit made;
  made.outer = outer;
  // Only the shape matters; pixels of odd shapes make the picture wider.
  const double width = from.width * pixel_shape.value();
  const double ratio =
      std::min(outer.height / static_cast<double>(from.height), outer.width / width);
  const auto extent = [ratio](double length, int limit) {
    return static_cast<int>(std::clamp<int64_t>(std::llround(length * ratio), 1, limit));
  };
  made.inner = {extent(from.height, outer.height), extent(width, outer.width)};
  made.x = (outer.width - made.inner.width) / 2;
  made.y = (outer.height - made.inner.height) / 2;
  return made;
}

void scale_into(const Image& from, const Fit& fit, Image& to) {
  if (fit.inner == fit.outer) return scale(from, fit.outer, to);
  Image inner;
  scale(from, fit.inner, inner);
  to.reset(fit.outer, from.channels);
  cv::Mat target = view(to);
  cv::copyMakeBorder(view(inner), target, fit.y, fit.outer.height - fit.inner.height - fit.y, fit.x,
                     fit.outer.width - fit.inner.width - fit.x, cv::BORDER_REPLICATE);
}

void crop(const Image& from, const Fit& fit, Image& to) {
  if (fit.inner == fit.outer) {
    to = from;
    return;
  }
  to.reset(fit.inner, from.channels);
  cv::Mat target = view(to);
  view(from)(cv::Rect(fit.x, fit.y, fit.inner.width, fit.inner.height)).copyTo(target);
}

}  // namespace mattec::media
