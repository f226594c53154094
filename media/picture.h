// Single pictures as bytes, for files and pages.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "media/image.h"

namespace mattec::media {

// True for extensions (".png", in small letters) that picture_bytes() takes.
bool is_picture_extension(const std::string& extension);

// An image of 1, 3 (R, G, B) or 4 (with alpha) channels in the format of the extension. Lossy
// formats (.jpg, .webp) at OpenCV's default quality, 95 and 100.
std::vector<uint8_t> picture_bytes(const Image& image, const std::string& extension);
std::vector<uint8_t> png_of(const Image& image);

}  // namespace mattec::media
