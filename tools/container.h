// A look at the outer structure of video files, which decoders and writers pass over in silence.
#pragma once

#include <string>

namespace mattec::tools {

// What is missing at the end of an MP4/MOV, Matroska/WebM or AVI file whose outermost parts claim
// more bytes than the file has ("its mdat box ends at byte 90211, the file at byte 51200"), or an
// MP4 without its index. Empty for a whole file, and for any other format. Finds recordings that
// were cut off and writers that hit a full disk, without decoding a frame.
std::string missing_end(const std::string& path);

}  // namespace mattec::tools
