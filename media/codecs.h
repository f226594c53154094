// Which codecs go into which containers, and how they are set up.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "media/ffmpeg.h"

namespace mattec::media {

enum class Pixels {
  limited,  // Y'CbCr of BT.709, limited range
  jpeg,     // Y'CbCr of BT.601, full range, as JPEG has it
  rgb       // as they are (gray too)
};

struct VideoCodec {
  std::string name;                     // as --codec has it
  std::vector<std::string> encoders;    // FFmpeg's, the first that is there is taken
  std::vector<std::string> containers;  // extensions
  AVPixelFormat gray, color, with_alpha;
  Pixels pixels;
  bool even_sizes;
  bool has_quality;

  AVPixelFormat format_for(int channels) const {
    return channels == 1 ? gray : channels == 3 ? color : with_alpha;
  }
};

const std::vector<VideoCodec>& video_codecs();

// True for an extension (".mp4") that some codec goes into.
bool is_video_container(const std::string& extension);

// The codec called `name` (empty: the container's own) for images of so many channels. Throws
// UsageError, naming the way out, where the container or the codec cannot hold them.
const VideoCodec& find_codec(const std::string& name, const std::string& extension, int channels);

// The encoder's private options.
std::vector<std::pair<std::string, std::string>> encoder_options(const VideoCodec& codec,
                                                                 int quality, int channels);

}  // namespace mattec::media
