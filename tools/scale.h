// Frames and mattes from one size to another.
#pragma once

#include "tools/image.h"

namespace mattec::tools {

// Area average along an axis that shrinks, bilinear (half-pixel centres, in exact fixed point, so
// the same on every machine) along one that grows. `size` must not be empty. Same size: a copy.
void scale(const Image& from, ir::Size size, Image& to);

// Scaled without distortion so that it covers `size`; what sticks out is cut off evenly on both
// sides.
void cover(const Image& from, ir::Size size, Image& to);

// The largest size of the shape of `from` inside `frame`; at least 1x1.
ir::Size fitting(ir::Size from, ir::Size frame);

}  // namespace mattec::tools
