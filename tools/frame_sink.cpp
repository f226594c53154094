#include "tools/frame_sink.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>

#include "ir/error.h"
#include "tools/container.h"
#include "tools/opencv_view.h"
#include "tools/png.h"
#include "tools/staged_path.h"

namespace mattec::tools {
namespace fs = std::filesystem;
namespace {

class FolderSink : public FrameSink {
 public:
  explicit FolderSink(const std::string& path) : path_(path), staged_(path) {
    std::error_code error;
    if (fs::exists(path, error) && !fs::is_directory(path, error))
      throw Error(path + ": is no folder; name a folder, or a video file (.mp4, .mov, .mkv, .avi)");
    if (fs::exists(path, error) && !fs::is_empty(path, error))
      throw Error(path + ": is not empty; remove what is in it or name another folder");
    fs::create_directory(staged_.path(), error);
    if (error) throw Error(fmt::format("{}: cannot be created: {}", path, error.message()));
  }

  void write(const Image& image, const std::string& name) override {
    const std::string file = name + ".png";
    const fs::path target = fs::path(staged_.path()) / file;
    std::error_code error;
    if (fs::exists(target, error))
      throw Error(
          fmt::format("{}: two frames are named {}; rename one of the images", path_, name));
    const std::vector<uint8_t> bytes = png_of(image);
    write_file(target.string(), bytes.data(), bytes.size(), (fs::path(path_) / file).string());
  }

  void finish() override { staged_.commit(); }

 private:
  std::string path_;
  StagedPath staged_;
};

std::string lower_extension(const std::string& path) {
  std::string extension = fs::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

// In order of preference: H.264 at constant quality, else MPEG-4, which every FFmpeg has.
std::vector<int> codecs_for(const std::string& extension) {
  const int mpeg4 = cv::VideoWriter::fourcc('m', 'p', '4', 'v');
  if (extension == ".mp4" || extension == ".mov")
    return {cv::VideoWriter::fourcc('a', 'v', 'c', '1'), mpeg4};
  if (extension == ".mkv") return {cv::VideoWriter::fourcc('H', '2', '6', '4'), mpeg4};
  if (extension == ".avi") return {cv::VideoWriter::fourcc('M', 'J', 'P', 'G')};
  return {};
}

class VideoSink : public FrameSink {
 public:
  VideoSink(const std::string& path, ir::Size size, double rate) : path_(path), staged_(path) {
    silence_codecs();
    std::error_code error;
    if (fs::is_directory(path, error))
      throw Error(path + ": is a folder; name a video file, or a folder without extension");
    require_disk_space(staged_.path(), path_);
    even_ = {(size.height + 1) & ~1, (size.width + 1) & ~1};
    if (even_ != size)
      fmt::print(stderr, "mattec: note: {}: videos have even sizes; {}x{} becomes {}x{}\n", path,
                 size.width, size.height, even_.width, even_.height);
    for (const int codec : codecs_for(lower_extension(path)))
      if (open(codec, rate)) return;
    throw Error(
        fmt::format("{}: cannot be written as a {}x{} video (permissions, or no encoder "
                    "for this size); name a folder to get images",
                    path, even_.width, even_.height));
  }

  void write(const Image& image, const std::string&) override {
    constexpr int frames_between_checks = 16;
    if (frames_++ % frames_between_checks == 0) require_disk_space(staged_.path(), path_);
    cv::cvtColor(view(image), pixels_,
                 image.channels == 3 ? cv::COLOR_RGB2BGR : cv::COLOR_GRAY2BGR);
    cv::copyMakeBorder(pixels_, bordered_, 0, even_.height - pixels_.rows, 0,
                       even_.width - pixels_.cols, cv::BORDER_REPLICATE);
    writer_.write(bordered_);
  }

  // The writer reports no failed write; a file that is not whole betrays it.
  void finish() override {
    writer_.release();
    std::error_code error;
    const bool written = fs::exists(staged_.path(), error) && fs::file_size(staged_.path(), error);
    std::string missing = written ? missing_end(staged_.path()) : "no data arrived";
    if (missing.empty() && !announces(frames_)) missing = "its frame count is wrong";
    if (!missing.empty())
      throw Error(
          fmt::format("{}: could not be written in full ({}); is the disk full?", path_, missing));
    require_disk_space(staged_.path(), path_);
    staged_.commit();
  }

 private:
  bool open(int codec, double rate) {
    try {
      return writer_.open(staged_.path(), cv::CAP_FFMPEG, codec, rate,
                          cv::Size(even_.width, even_.height), true);
    } catch (const cv::Exception&) {
      return false;
    }
  }

  // A container whose header was never completed announces nothing. Matroska keeps times in
  // milliseconds, so its count is not exact.
  bool announces(int64_t frames) const {
    const cv::VideoCapture capture(staged_.path(), cv::CAP_FFMPEG);
    const double announced = capture.isOpened() ? capture.get(cv::CAP_PROP_FRAME_COUNT) : 0;
    return std::abs(announced - static_cast<double>(frames)) <=
           2 + 0.01 * static_cast<double>(frames);
  }

  std::string path_;
  StagedPath staged_;
  ir::Size even_;
  cv::VideoWriter writer_;
  cv::Mat pixels_, bordered_;
  int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSink> open_sink(const std::string& path, ir::Size size, double rate) {
  std::error_code error;
  const std::string extension = lower_extension(path);
  if (!codecs_for(extension).empty()) return std::make_unique<VideoSink>(path, size, rate);
  if (extension.empty() || fs::is_directory(path, error)) return std::make_unique<FolderSink>(path);
  throw Error(
      fmt::format("{}: no output format is called {}; use .mp4, .mov, .mkv, .avi, or a "
                  "folder for PNG images",
                  path, extension));
}

}  // namespace mattec::tools
