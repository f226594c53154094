// A folder of images as a clip.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "media/container.h"
#include "media/opencv_view.h"
#include "media/source_kinds.h"

namespace mattec::media {
namespace {

class ImageSource : public FrameSource {
 public:
  ImageSource(std::vector<std::string> files, const SourceOptions& options)
      : files_(std::move(files)), channels_(options.channels) {
    silence_opencv();
    Image first;
    read(files_.front(), first);
    clip_ = Clip(first.size, options.rate);
    clip_.expected_frames = static_cast<int64_t>(files_.size());
    any_size_ = options.any_size;
  }

  bool next(Image& frame) override {
    stop_if_interrupted();
    if (position_ == files_.size()) return false;
    const std::string& file = files_[position_];
    read(file, frame);
    if (!any_size_ && frame.size != clip_.size)
      throw Error(fmt::format(
          "{}: is {}x{}, but the first image of its folder is {}x{}; the "
          "frames of a clip must have one size (--stills for unrelated pictures)",
          file, frame.size.width, frame.size.height, clip_.size.width, clip_.size.height));
    label_.name = std::filesystem::path(file).stem().string();
    label_.start = static_cast<int64_t>(position_++);
    return true;
  }

  // Without decoding them.
  void skip(int64_t frames) override {
    const size_t left = files_.size() - position_;
    position_ += std::min(left, static_cast<size_t>(std::max<int64_t>(frames, 0)));
  }

  void seek(double seconds) override {
    const double frame = std::ceil((seconds - clip_.slack()) * clip_.rate.value());
    position_ = static_cast<size_t>(std::clamp(frame, 0.0, static_cast<double>(files_.size())));
  }

 private:
  void read(const std::string& file, Image& frame) const {
    const std::string missing = missing_end(file);
    if (!missing.empty())
      throw Error(fmt::format("{}: is cut off: {}; copy or render it again", file, missing));
    cv::Mat pixels;
    try {
      pixels = cv::imread(file, cv::IMREAD_COLOR);
    } catch (const cv::Exception&) {
      pixels.release();  // reported below
    }
    if (pixels.empty())
      throw Error(file + ": cannot be read as an image; it is damaged, or not what its name says");
    frame.reset({pixels.rows, pixels.cols}, channels_);
    cv::Mat target = view(frame);
    // Not the decoder's own grey, which depends on the format: this one keeps a grey exactly.
    cv::cvtColor(pixels, target, channels_ == 1 ? cv::COLOR_BGR2GRAY : cv::COLOR_BGR2RGB);
  }

  std::vector<std::string> files_;
  size_t position_ = 0;
  int channels_;
  bool any_size_ = false;
};

}  // namespace

std::unique_ptr<FrameSource> open_images(std::vector<std::string> files,
                                         const SourceOptions& options) {
  return std::make_unique<ImageSource>(std::move(files), options);
}

}  // namespace mattec::media
