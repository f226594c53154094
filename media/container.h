// A look at the outer structure of video and image files: decoders fill a missing end with grey or
// leave it out, writers do not tell that the disk was full, and neither says a word.
#pragma once

#include <string>

namespace mattec::media {

// What is missing at the end of an MP4/MOV, Matroska/WebM or AVI file whose outermost parts claim
// more bytes than the file has ("its mdat box ends at byte 90211, the file at byte 51200"), of an
// MP4 without its index, or of a PNG or JPEG without its end mark. Empty for a whole file, and for
// any other format. Decodes nothing.
std::string missing_end(const std::string& path);

}  // namespace mattec::media
