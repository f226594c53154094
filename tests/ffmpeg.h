// Clips for tests, made by the ffmpeg command from its own sources, and what ffprobe says of files.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "media/frame_source.h"

namespace mattec {

// What a shell command prints; fails the test where it fails.
inline std::string output_of(const std::string& command) {
  std::string text;
  std::FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> block = {};
  for (size_t count = 0; (count = std::fread(block.data(), 1, block.size(), pipe)) > 0;)
    text.append(block.data(), count);
  EXPECT_EQ(pclose(pipe), 0) << command << "\n" << text;
  return text;
}

// `arguments` as a shell takes them: "-f lavfi -i testsrc2=size=64x36 -frames:v 5 out.mp4".
inline void ffmpeg(const std::string& arguments) {
  output_of(std::string(MATTEC_FFMPEG) + " -nostdin -v error -y " + arguments);
}

// Entries of the first video stream ("v"), sound ("a") or container, as ffprobe names them, one a
// line: "stream=width,height".
inline std::string ffprobe(const std::string& file, const std::string& stream,
                           const std::string& entries) {
  return output_of(std::string(MATTEC_FFPROBE) + " -v error -select_streams " + stream +
                   ":0 -show_entries " + entries + " -of default=nw=1 " + file);
}

struct ReadFrame {
  media::Image image;
  double seconds = 0;
  std::string name;
};

inline std::vector<ReadFrame> read_frames(const std::string& path,
                                          const media::SourceOptions& options = {}) {
  const std::unique_ptr<media::FrameSource> source = media::open_source(path, options);
  std::vector<ReadFrame> frames;
  for (media::Image frame; source->next(frame);)
    frames.push_back({frame,
                      static_cast<double>(source->label().start) * source->clip().time_base.value(),
                      source->label().name});
  return frames;
}

}  // namespace mattec
