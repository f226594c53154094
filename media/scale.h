// Frames and mattes from one size to another.
#pragma once

#include "media/image.h"
#include "media/rational.h"

namespace mattec::media {

// Area average along an axis that shrinks, bilinear (half-pixel centres, in exact fixed point, so
// the same on every machine) along one that grows. `size` must not be empty. Same size: a copy.
void scale(const Image& from, ir::Size size, Image& to);

// Scaled without distortion so that it covers `size`; what sticks out is cut off evenly on both
// sides.
void cover(const Image& from, ir::Size size, Image& to);

// The largest size of the shape of `from` inside `frame`; at least 1x1.
ir::Size fitting(ir::Size from, ir::Size frame);

// Where a frame lies, without distortion, in the middle of one of another shape.
struct Fit {
  ir::Size outer, inner;
  int x = 0, y = 0;  // of the inner one's first pixel

  // The share of `outer` that shows nothing of the frame, 0 .. 1.
  double padding() const {
    return 1 - static_cast<double>(inner.width) * inner.height /
                   (static_cast<double>(outer.width) * outer.height);
  }
};

// `from`: pixels; `pixel_shape`: width over height of one of them, as it is to be shown.
Fit fit(ir::Size from, const Rational& pixel_shape, ir::Size outer);

// A frame of the size that `fit` was made for, scaled to its place; around it its edge is repeated.
void scale_into(const Image& from, const Fit& fit, Image& to);

// The inner part of an image of fit.outer.
void crop(const Image& from, const Fit& fit, Image& to);

}  // namespace mattec::media
