#include "media/codecs.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace mattec::media {
namespace {

bool holds(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// What a container is filled with where nobody asks for a codec.
const char* default_codec(const std::string& extension, int channels) {
  if (extension == ".webm") return "vp9";
  if (extension == ".avi") return "mjpeg";
  if (channels == 4) return extension == ".mkv" ? "ffv1" : "prores";
  return "h264";
}

std::string names_for(const std::string& extension, int channels) {
  std::string names;
  for (const VideoCodec& codec : video_codecs())
    if (holds(codec.containers, extension) && codec.format_for(channels) != AV_PIX_FMT_NONE)
      names += (names.empty() ? "" : ", ") + codec.name;
  return names;
}

}  // namespace

const std::vector<VideoCodec>& video_codecs() {
  // x264 and x265 encode 4:2:0 for every player; ProRes 4444, VP9 and FFV1 are what editors,
  // browsers and archives take with an alpha channel.
  static const std::vector<VideoCodec> codecs = {
      {"h264",
       {"libx264", "libopenh264"},
       {".mp4", ".mov", ".mkv"},
       AV_PIX_FMT_YUV420P,
       AV_PIX_FMT_YUV420P,
       AV_PIX_FMT_NONE,
       Pixels::limited,
       true,
       true},
      {"hevc",
       {"libx265"},
       {".mp4", ".mov", ".mkv"},
       AV_PIX_FMT_YUV420P,
       AV_PIX_FMT_YUV420P,
       AV_PIX_FMT_NONE,
       Pixels::limited,
       true,
       true},
      {"vp9",
       {"libvpx-vp9"},
       {".webm", ".mkv"},
       AV_PIX_FMT_YUV420P,
       AV_PIX_FMT_YUV420P,
       AV_PIX_FMT_YUVA420P,
       Pixels::limited,
       false,
       true},
      {"prores",
       {"prores_ks"},
       {".mov", ".mkv"},
       AV_PIX_FMT_YUV422P10,
       AV_PIX_FMT_YUV422P10,
       AV_PIX_FMT_YUVA444P10,
       Pixels::limited,
       true,
       false},
      {"ffv1",
       {"ffv1"},
       {".mkv"},
       AV_PIX_FMT_GRAY8,
       AV_PIX_FMT_BGR0,
       AV_PIX_FMT_BGRA,
       Pixels::rgb,
       false,
       false},
      {"mjpeg",
       {"mjpeg"},
       {".avi", ".mov", ".mkv"},
       AV_PIX_FMT_YUVJ420P,
       AV_PIX_FMT_YUVJ420P,
       AV_PIX_FMT_NONE,
       Pixels::jpeg,
       true,
       true},
  };
  return codecs;
}

bool is_video_container(const std::string& extension) {
  const std::vector<VideoCodec>& codecs = video_codecs();
  return std::any_of(codecs.begin(), codecs.end(),
                     [&](const VideoCodec& codec) { return holds(codec.containers, extension); });
}

const VideoCodec& find_codec(const std::string& name, const std::string& extension, int channels) {
  const std::string possible = names_for(extension, channels);
  if (possible.empty())
    throw UsageError(
        fmt::format("{} holds no transparency; use .mov, .webm, .mkv or a folder of "
                    "PNG images",
                    extension));
  const std::string wanted = name.empty() ? default_codec(extension, channels) : lower_case(name);
  std::vector<std::string> all;
  for (const VideoCodec& codec : video_codecs()) {
    if (codec.name == wanted) {
      if (!holds(codec.containers, extension) || codec.format_for(channels) == AV_PIX_FMT_NONE)
        throw UsageError(fmt::format("--codec {} does not go into {}{}; use {}", wanted, extension,
                                     channels == 4 ? " with transparency" : "", possible));
      return codec;
    }
    all.push_back(codec.name);
  }
  const std::string near = nearest(wanted, all);
  throw UsageError(fmt::format("--codec {}: unknown; {}use {}", name,
                               near.empty() ? "" : "is it " + near + "? For " + extension + " ",
                               possible));
}

std::vector<std::pair<std::string, std::string>> encoder_options(const VideoCodec& codec,
                                                                 int quality, int channels) {
  // 75 becomes what the encoders' own guides call visually lossless.
  const auto crf = [quality](double worst, double step) {
    return fmt::format("{}", std::lround(worst - step * quality));
  };
  if (codec.name == "h264") return {{"crf", crf(48, 0.4)}, {"preset", "veryfast"}};
  if (codec.name == "hevc")
    return {{"crf", crf(50, 0.4)}, {"preset", "veryfast"}, {"x265-params", "log-level=none"}};
  if (codec.name == "vp9")
    return {{"crf", crf(60, 0.45)},
            {"deadline", "good"},
            {"cpu-used", "5"},
            {"row-mt", "1"},
            {"auto-alt-ref", channels == 4 ? "0" : "1"}};
  if (codec.name == "prores")
    return {{"profile", channels == 4 ? "4444" : "hq"}, {"alpha_bits", "16"}, {"vendor", "apl0"}};
  if (codec.name == "ffv1")
    return {{"level", "3"}, {"coder", "1"}, {"context", "0"}, {"slicecrc", "1"}};
  return {};
}

}  // namespace mattec::media
