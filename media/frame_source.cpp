#include "media/frame_source.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>

#include "base/error.h"
#include "base/note.h"
#include "base/text.h"
#include "media/source_kinds.h"
#include "media/video_input.h"

namespace mattec::media {
namespace fs = std::filesystem;
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A pipe can be read, too, but not twice.
void require_readable_file(const std::string& path) {
  std::error_code error;
  if (fs::is_fifo(path, error)) return;
  if (!fs::is_regular_file(path, error))
    throw Error(path + ": is neither a file nor a folder; name a video or a folder of images");
  if (!std::ifstream(path, std::ios::binary))
    throw Error(path + ": cannot be opened; check its permissions");
  if (fs::file_size(path, error) == 0) throw Error(path + ": is empty (0 bytes)");
}

// In capitals too.
bool has_extension(const std::string& path, std::initializer_list<const char*> extensions) {
  const std::string extension = lower_case(fs::path(path).extension().string());
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

}  // namespace

void FrameSource::skip(int64_t frames) {
  Image passed;
  while (frames > 0 && next(passed)) --frames;
}

bool natural_less(const std::string& a, const std::string& b) {
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
      continue;
    }
    while (i < a.size() && a[i] == '0') ++i;
    while (j < b.size() && b[j] == '0') ++j;
    const size_t start_a = i, start_b = j;
    while (i < a.size() && is_digit(a[i])) ++i;
    while (j < b.size() && is_digit(b[j])) ++j;
    if (i - start_a != j - start_b) return i - start_a < j - start_b;
    const int order = a.compare(start_a, i - start_a, b, start_b, j - start_b);
    if (order != 0) return order < 0;
  }
  if (i < a.size() || j < b.size()) return i >= a.size();
  return a < b;  // differ in leading zeros only
}

bool is_image_name(const std::string& path) {
  return has_extension(path,
                       {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"});
}

bool is_video_name(const std::string& path) {
  return has_extension(path, {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg",
                              ".ts", ".mts", ".wmv", ".flv", ".3gp", ".ogv"});
}

std::string missing_number(const std::vector<std::string>& files) {
  // The last number of each name, where all names are alike but for it.
  std::string frame;
  std::vector<int64_t> numbers;
  for (const std::string& file : files) {
    const std::string name = fs::path(file).filename().string();
    const size_t dot = name.rfind('.');
    const size_t end = name.find_last_of("0123456789", dot) + 1;
    size_t begin = end;
    while (begin > 0 && is_digit(name[begin - 1])) --begin;
    const std::string rest = name.substr(0, begin) + "#" + name.substr(end);
    constexpr size_t most_digits = 18;
    if (begin == end || end - begin > most_digits || (!frame.empty() && rest != frame)) return "";
    frame = rest;
    numbers.push_back(std::stoll(name.substr(begin, end - begin)));
  }
  int64_t step = std::numeric_limits<int64_t>::max();
  for (size_t i = 1; i < numbers.size(); ++i) step = std::min(step, numbers[i] - numbers[i - 1]);
  for (size_t i = 1; i < numbers.size(); ++i)
    if (numbers[i] - numbers[i - 1] > step)
      return fs::path(files[i - 1]).filename().string() + " is followed by " +
             fs::path(files[i]).filename().string();
  return "";
}

std::vector<std::string> images_in(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name[0] != '.' && is_image_name(name)) files.push_back(entry->path().string());
  }
  if (error) throw Error(fmt::format("{}: cannot be listed: {}", folder, error.message()));
  std::sort(files.begin(), files.end(), natural_less);
  return files;
}

namespace {

std::unique_ptr<FrameSource> open_whole(const std::string& path, const SourceOptions& options) {
  if (path == "-") return open_standard_input(options);
  if (is_address(path)) return open_video(path, options);
  std::error_code error;
  if (!fs::exists(path, error)) throw Error(path + ": no such file or folder");
  if (is_camera(path)) return open_video(path, options);
  if (fs::is_directory(path, error)) {
    std::vector<std::string> files = images_in(path);
    if (files.empty()) throw Error(path + ": holds no images (png, jpg, bmp, webp, tif, ppm, pgm)");
    const std::string missing = options.any_size ? "" : missing_number(files);
    if (!missing.empty())
      note(path + ": " + missing + "; are frames missing? They are taken as they come");
    return open_images(std::move(files), options);
  }
  require_readable_file(path);
  return is_image_name(path) ? open_images({path}, options) : open_video(path, options);
}

}  // namespace

std::unique_ptr<FrameSource> open_source(const std::string& path, const SourceOptions& options) {
  std::unique_ptr<FrameSource> whole = open_whole(path, options);
  if (options.begin <= 0 && !options.end) return whole;
  return part_of(std::move(whole), path, options);
}

}  // namespace mattec::media
