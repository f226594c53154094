// Pictures as PNG bytes, for files and pages.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/image.h"

namespace mattec::tools {

// An image of 1 or 3 (RGB) channels, 8 bits each.
std::vector<uint8_t> png_of(const Image& image);

}  // namespace mattec::tools
