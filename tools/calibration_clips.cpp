#include "tools/calibration_clips.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <deque>
#include <filesystem>

#include "ir/error.h"
#include "tools/frame_source.h"
#include "tools/scale.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

bool is_video_name(const fs::path& path) {
  static const char* const extensions[] = {".mp4", ".mov", ".m4v",  ".mkv", ".webm",
                                           ".avi", ".mpg", ".mpeg", ".ts",  ".mts",
                                           ".wmv", ".flv", ".3gp",  ".ogv"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(std::begin(extensions), std::end(extensions), extension) != std::end(extensions);
}

// The clip that a folder itself is; empty if it is none.
std::string clip_in(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder / "src", error)) return (folder / "src").string();
  return images_in(folder.string()).empty() ? "" : folder.string();
}

void add_entries(const fs::path& folder, std::vector<std::string>& clips) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.filename().string()[0] == '.') continue;
    if (fs::is_directory(path)) {
      const std::string clip = clip_in(path);
      if (!clip.empty()) found.push_back(clip);
    } else if (is_video_name(path)) {
      found.push_back(path.string());
    }
  }
  if (found.empty())
    throw Error(folder.string() + ": holds no clips (videos, images, or folders of images)");
  std::sort(found.begin(), found.end(), natural_less);
  clips.insert(clips.end(), found.begin(), found.end());
}

// Scaled so that it covers `size`, the rest cut off evenly on both sides: nothing is distorted.
void cover(const Image& frame, ir::Size size, Image& scaled, quant::Frame& result) {
  const double ratio = std::max(static_cast<double>(size.height) / frame.size.height,
                                static_cast<double>(size.width) / frame.size.width);
  const ir::Size covering = {
      std::max(size.height, static_cast<int>(std::lround(frame.size.height * ratio))),
      std::max(size.width, static_cast<int>(std::lround(frame.size.width * ratio)))};
  scale(frame, covering, scaled);
  const size_t top = static_cast<size_t>(covering.height - size.height) / 2;
  const size_t left = static_cast<size_t>(covering.width - size.width) / 2;
  const size_t row_bytes = static_cast<size_t>(size.width) * 3;
  result.width = size.width;
  result.height = size.height;
  result.rgb.resize(row_bytes * static_cast<size_t>(size.height));
  for (size_t y = 0; y < static_cast<size_t>(size.height); ++y)
    std::memcpy(result.rgb.data() + y * row_bytes,
                scaled.pixels.data() + ((top + y) * static_cast<size_t>(covering.width) + left) * 3,
                row_bytes);
}

}  // namespace

std::vector<std::string> find_clips(const std::vector<std::string>& paths) {
  std::vector<std::string> clips;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::exists(path, error)) throw Error(path + ": no such file or folder");
    if (!fs::is_directory(path, error)) {
      clips.push_back(path);
      continue;
    }
    const std::string clip = clip_in(path);
    if (clip.empty())
      add_entries(path, clips);
    else
      clips.push_back(clip);
  }
  return clips;
}

quant::Clip load_calibration_clip(const std::string& path, ir::Size size, int frames) {
  constexpr int first_frame = 20;
  const std::unique_ptr<FrameSource> source = open_source(path, {});
  if (source->size().height > source->size().width) std::swap(size.height, size.width);
  std::deque<quant::Frame> kept;  // the last `frames` so far
  Image frame, scaled;
  for (int i = 0; i < first_frame + frames && source->next(frame); ++i) {
    if (kept.size() == static_cast<size_t>(frames)) kept.pop_front();
    kept.emplace_back();
    cover(frame, size, scaled, kept.back());
  }
  return {std::make_move_iterator(kept.begin()), std::make_move_iterator(kept.end())};
}

}  // namespace mattec::tools
