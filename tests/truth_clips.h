// Clips with exact mattes, written and played by tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "media/truth.h"
#include "tests/scratch.h"

namespace mattec::media {
namespace fs = std::filesystem;

constexpr ir::Size clip_size = {20, 32};

inline Image uniform(ir::Size size, int channels, int value) {
  Image image(size, channels);
  std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(value));
  return image;
}

inline void write_images(const std::string& path, const std::vector<Image>& images) {
  fs::create_directories(fs::path(path).parent_path());
  const std::unique_ptr<FrameSink> sink = open_sink(path, {});
  for (size_t i = 0; i < images.size(); ++i) sink->write(images[i], {std::to_string(1000 + i)});
  sink->finish();
}

inline void write_still(const Scratch& scratch, const std::string& path, const Image& image) {
  write_images(scratch / "one", {image});
  fs::create_directories(fs::path(scratch / path).parent_path());
  fs::rename(scratch / "one/1000.png", scratch / path);
  fs::remove(scratch / "one");
}

struct Frames {
  std::vector<Image> frames, mattes;
};

inline Frames play(const TruthClip& clip, ir::Size size) {
  Frames result;
  Image frame, alpha;
  for (const std::unique_ptr<TruthSource> source = clip.open(size); source->next(frame, alpha);) {
    EXPECT_EQ(frame.size, size);
    EXPECT_EQ(alpha.size, size);
    EXPECT_EQ(frame.channels, 3);
    EXPECT_EQ(alpha.channels, 1);
    result.frames.push_back(frame);
    result.mattes.push_back(alpha);
  }
  return result;
}

inline bool same(const Frames& a, const Frames& b) {
  const auto equal = [](const std::vector<Image>& x, const std::vector<Image>& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                      [](const Image& p, const Image& q) { return p.pixels == q.pixels; });
  };
  return equal(a.frames, b.frames) && equal(a.mattes, b.mattes);
}

inline std::vector<std::string> names_of(const std::vector<TruthClip>& clips) {
  std::vector<std::string> names;
  names.reserve(clips.size());
  for (const TruthClip& clip : clips) names.push_back(clip.name);
  return names;
}

inline TruthOptions with_backgrounds(const std::string& folder) {
  TruthOptions options;
  options.backgrounds = folder;
  return options;
}

inline void expect_error(const std::vector<std::string>& paths, const TruthOptions& options,
                         const std::string& part) {
  const std::string error = error_of([&] { find_truth(paths, options); });
  EXPECT_NE(error.find(part), std::string::npos) << error;
}

}  // namespace mattec::media
