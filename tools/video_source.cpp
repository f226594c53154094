// A video file as a clip, through OpenCV and FFmpeg.
#include <fmt/core.h>

#include <cmath>
#include <cstdio>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>

#include "ir/error.h"
#include "tools/container.h"
#include "tools/interrupt.h"
#include "tools/opencv_view.h"
#include "tools/source_kinds.h"

namespace mattec::tools {
namespace {

class VideoSource : public FrameSource {
 public:
  VideoSource(const std::string& path, const SourceOptions& options)
      : path_(path), channels_(options.channels) {
    silence_codecs();
    const std::string missing = missing_end(path);
    if (!missing.empty())
      throw Error(
          fmt::format("{}: is cut off: {}; copy or record it again, or repair it with a "
                      "video tool",
                      path, missing));
    // "file:" keeps FFmpeg from taking a colon in the name for a protocol. No other backend: one
    // of them takes digits in a name for a pattern of image files.
    bool opened = false;
    try {
      opened = capture_.open("file:" + path, cv::CAP_FFMPEG);
      opened = opened && capture_.read(ahead_);
    } catch (const cv::Exception&) {
      opened = false;
    }
    if (!opened)
      throw Error(path + ": no video frame can be read from it; it is damaged, or no video");
    size_ = {ahead_.rows, ahead_.cols};
    rate_ = capture_.get(cv::CAP_PROP_FPS);
    if (!(rate_ > 0 && rate_ <= 1000)) rate_ = 25;
    const double count = capture_.get(cv::CAP_PROP_FRAME_COUNT);
    if (count >= 1 && count < 1e9) expected_frames_ = std::llround(count);
  }

  bool next(Image& frame) override {
    stop_if_interrupted();
    if (ahead_.empty() && !read_ahead()) {
      report_lost_frames();
      return false;
    }
    if (ahead_.rows != size_.height || ahead_.cols != size_.width)
      throw Error(
          fmt::format("{}: frame {} is {}x{}, the first one {}x{}; the frames of a clip "
                      "must have one size",
                      path_, frames_, ahead_.cols, ahead_.rows, size_.width, size_.height));
    frame.reset(size_, channels_);
    cv::Mat target = view(frame);
    cv::cvtColor(ahead_, target, channels_ == 1 ? cv::COLOR_BGR2GRAY : cv::COLOR_BGR2RGB);
    ahead_.release();
    frame_name_ = fmt::format("{:06}", frames_++);
    return true;
  }

 private:
  bool read_ahead() {
    try {
      return capture_.read(ahead_) && !ahead_.empty();
    } catch (const cv::Exception& problem) {
      throw Error(fmt::format("{}: frame {} cannot be decoded", path_, frames_));
    }
  }

  // Damage inside a stream shows only as frames that the decoder leaves out. A trimmed phone
  // recording legally announces more frames than it shows, so this is no error.
  void report_lost_frames() {
    if (reported_ || !expected_frames_ || frames_ * 100 >= *expected_frames_ * 95 - 200) return;
    reported_ = true;
    fmt::print(stderr,
               "mattec: note: {}: {} frames could be read where the file announces {}; parts of it "
               "may be damaged\n",
               path_, frames_, *expected_frames_);
  }

  std::string path_;
  int channels_;
  cv::VideoCapture capture_;
  cv::Mat ahead_;  // the first frame is read on opening: it tells the size
  int64_t frames_ = 0;
  bool reported_ = false;
};

}  // namespace

std::unique_ptr<FrameSource> open_video(const std::string& path, const SourceOptions& options) {
  return std::make_unique<VideoSource>(path, options);
}

}  // namespace mattec::tools
