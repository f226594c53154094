// Frames and mattes from one size to another.
#pragma once

#include "tools/image.h"

namespace mattec::tools {

// Area average along an axis that shrinks, bilinear (half-pixel centres, in exact fixed point, so
// the same on every machine) along one that grows. `size` must not be empty. Same size: a copy.
void scale(const Image& from, ir::Size size, Image& to);

}  // namespace mattec::tools
