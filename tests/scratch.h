// Clips, folders and limits that the tests of media/ and tools/ share.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "error_of.h"
#include "media/frame_sink.h"
#include "media/image.h"

namespace mattec {

// An empty folder that vanishes with the test.
class Scratch {
 public:
  Scratch() {
    static int count = 0;
    path_ = std::filesystem::path(::testing::TempDir()) /
            ("mattec_" + std::to_string(getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }
  // Entries of a folder inside, hidden ones too.
  size_t entries(const std::string& name = "") const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_ / name))
      count += !entry.path().empty();
    return count;
  }

 private:
  std::filesystem::path path_;
};

inline void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

// A smooth picture whose brightness tells the frame number: survives lossy video.
inline media::Image picture(ir::Size size, int frame, int channels = 3) {
  media::Image image(size, channels);
  size_t i = 0;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x)
      for (int c = 0; c < channels; ++c)
        image.pixels[i++] = static_cast<uint8_t>((frame * 16 + x / 2 + y / 2 + c * 30) % 256);
  return image;
}

inline void write_clip(const std::string& path, ir::Size size, int frames,
                       media::Rational rate = {25, 1}, int channels = 3) {
  media::SinkOptions options;
  options.clip = media::Clip(size, rate);
  options.channels = channels;
  const std::unique_ptr<media::FrameSink> sink = media::open_sink(path, options);
  for (int i = 0; i < frames; ++i)
    sink->write(picture(size, i, channels), {std::to_string(1000 + i), i});
  sink->finish();
}

// While it lives, files cannot grow beyond `bytes`: what a full disk does, without filling one.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_ = {};
};

}  // namespace mattec
