// A folder of images as a clip.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "ir/error.h"
#include "tools/container.h"
#include "tools/interrupt.h"
#include "tools/opencv_view.h"
#include "tools/source_kinds.h"

namespace mattec::tools {
namespace {

class ImageSource : public FrameSource {
 public:
  ImageSource(std::vector<std::string> files, const SourceOptions& options)
      : files_(std::move(files)), channels_(options.channels) {
    silence_codecs();
    expected_frames_ = static_cast<int64_t>(files_.size());
    rate_ = options.rate;
    Image first;
    read(files_.front(), first);
    size_ = first.size;
  }

  bool next(Image& frame) override {
    stop_if_interrupted();
    if (position_ == files_.size()) return false;
    const std::string& file = files_[position_++];
    read(file, frame);
    if (frame.size != size_)
      throw Error(
          fmt::format("{}: is {}x{}, but the first image of its folder is {}x{}; the "
                      "frames of a clip must have one size",
                      file, frame.size.width, frame.size.height, size_.width, size_.height));
    frame_name_ = std::filesystem::path(file).stem().string();
    return true;
  }

  // Without decoding them.
  void skip(int64_t frames) override {
    const size_t left = files_.size() - position_;
    position_ += std::min(left, static_cast<size_t>(std::max<int64_t>(frames, 0)));
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
};

}  // namespace

std::unique_ptr<FrameSource> open_images(std::vector<std::string> files,
                                         const SourceOptions& options) {
  return std::make_unique<ImageSource>(std::move(files), options);
}

}  // namespace mattec::tools
