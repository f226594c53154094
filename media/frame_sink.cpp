#include "media/frame_sink.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/staged_path.h"
#include "base/text.h"
#include "media/codecs.h"
#include "media/frame_source.h"
#include "media/picture.h"
#include "media/sink_kinds.h"

namespace mattec::media {
namespace fs = std::filesystem;
namespace {

class FolderSink : public FrameSink {
 public:
  explicit FolderSink(const std::string& path)
      : path_(checked(path)), staged_(path, StagedPath::Kind::folder) {}

  void write(const Image& image, const FrameLabel& label) override {
    const std::string file = label.name + ".png";
    const fs::path target = fs::path(staged_.path()) / file;
    std::error_code error;
    if (fs::exists(target, error))
      throw Error(
          fmt::format("{}: two frames are named {}; rename one of the images", path_, label.name));
    const std::vector<uint8_t> bytes = picture_bytes(image, ".png");
    write_file(target.string(), bytes.data(), bytes.size(), (fs::path(path_) / file).string());
  }

  void finish() override { staged_.commit(); }

 private:
  static const std::string& checked(const std::string& path) {
    std::error_code error;
    if (fs::exists(path, error) && !fs::is_directory(path, error))
      throw Error(path +
                  ": is no folder; name a folder, a video (.mp4, .mov, .mkv, .webm, .avi) or a "
                  "picture (.png, .jpg)");
    if (fs::exists(path, error) && !fs::is_empty(path, error))
      throw Error(path + ": is not empty; remove what is in it or name another folder");
    return path;
  }

  std::string path_;
  StagedPath staged_;
};

class PictureSink : public FrameSink {
 public:
  PictureSink(const std::string& path, const SinkOptions& options)
      : path_(path),
        extension_(lower_case(fs::path(path).extension().string())),
        staged_(path, StagedPath::Kind::file) {
    if (options.channels == 4 &&
        (extension_ == ".jpg" || extension_ == ".jpeg" || extension_ == ".bmp"))
      throw UsageError(fmt::format("{} holds no transparency; use .png", extension_));
    if (options.clip.expected_frames.value_or(1) > 1) refuse_more();
  }

  void write(const Image& image, const FrameLabel&) override {
    if (written_) refuse_more();
    const std::vector<uint8_t> bytes = picture_bytes(image, extension_);
    write_file(staged_.path(), bytes.data(), bytes.size(), path_);
    written_ = true;
  }

  void finish() override { staged_.commit(); }

 private:
  [[noreturn]] void refuse_more() const {
    throw Error(path_ +
                ": is one picture, but the input has several frames; name a folder or a "
                "video");
  }

  std::string path_, extension_;
  StagedPath staged_;
  bool written_ = false;
};

class StandardOutput : public FrameSink {
 public:
  void write(const Image& image, const FrameLabel&) override {
    if (image.channels != 3) return put(image.pixels);
    const size_t pixels = image.pixels.size() / 3;
    rgba_.resize(4 * pixels);
    for (size_t i = 0; i < pixels; ++i) {
      std::memcpy(&rgba_[4 * i], &image.pixels[3 * i], 3);
      rgba_[4 * i + 3] = 255;
    }
    put(rgba_);
  }
  void finish() override {}

 private:
  static void put(const std::vector<uint8_t>& bytes) {
    for (size_t done = 0; done < bytes.size();) {
      stop_if_interrupted();
      const ssize_t count = ::write(STDOUT_FILENO, &bytes[done], bytes.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0)
        throw Error(fmt::format("-: standard output cannot be written: {}", std::strerror(errno)));
      done += static_cast<size_t>(count);
    }
  }

  std::vector<uint8_t> rgba_;
};

}  // namespace

std::unique_ptr<FrameSink> open_sink(const std::string& path, const SinkOptions& options) {
  if (path == "-") return std::make_unique<StandardOutput>();
  std::error_code error;
  const std::string extension = lower_case(fs::path(path).extension().string());
  const bool is_folder = fs::is_directory(path, error);
  const bool is_video = is_video_container(extension);
  if (is_folder && (is_video || is_image_name(path)))
    throw Error(path + ": is a folder; name a file, or a folder without extension");
  if (is_video) return open_video_sink(path, options);
  if (!options.codec.empty() || options.quality)
    throw UsageError("--codec and --quality are of videos; name a .mp4, .mov, .mkv, .webm or .avi");
  if (is_picture_extension(extension)) return std::make_unique<PictureSink>(path, options);
  if (extension.empty() || is_folder) return std::make_unique<FolderSink>(path);
  throw UsageError(
      fmt::format("{}: no output format is called {}; use .mp4, .mov, .mkv, .webm, "
                  ".avi, .png, .jpg, or a folder for PNG images",
                  path, extension));
}

}  // namespace mattec::media
