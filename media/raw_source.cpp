// Raw pixels on standard input as a clip: what `ffmpeg -f rawvideo -pix_fmt rgb24 -` writes.
#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"
#include "media/source_kinds.h"

namespace mattec::media {
namespace {

class RawSource : public FrameSource {
 public:
  explicit RawSource(const SourceOptions& options) {
    if (!options.raw_size)
      throw Error(
          "-: the size of the frames on standard input is not known; give it by --input-size WxH");
    clip_ = Clip(*options.raw_size, options.rate);
    ahead_.reset(clip_.size, 3);
    if (!read_ahead()) throw Error("-: standard input is empty; it should hold raw RGB24 frames");
  }

  bool next(Image& frame) override {
    stop_if_interrupted();
    if (!has_ahead_ && !read_ahead()) return false;
    has_ahead_ = false;
    frame = ahead_;
    label_.name = fmt::format("{:06}", frames_);
    label_.start = frames_++;
    return true;
  }

  void cancel() override { cancelled_ = true; }

  void seek(double seconds) override {
    const auto first =
        static_cast<int64_t>(std::ceil((seconds - clip_.slack()) * clip_.rate.value()));
    skip(first - frames_);
  }

 private:
  // False at the end of the stream, which must lie between two frames.
  bool read_ahead() {
    size_t filled = 0;
    while (filled < ahead_.pixels.size()) {
      wait_for_bytes();
      const ssize_t count =
          read(STDIN_FILENO, ahead_.pixels.data() + filled, ahead_.pixels.size() - filled);
      if (count < 0 && errno == EINTR) {
        stop_if_interrupted();
        continue;
      }
      if (count < 0) throw Error(fmt::format("-: standard input: {}", std::strerror(errno)));
      if (count == 0) break;
      filled += static_cast<size_t>(count);
    }
    has_ahead_ = filled == ahead_.pixels.size();
    if (filled != 0 && !has_ahead_)
      throw Error(
          fmt::format("-: standard input ends inside frame {} ({} of {} bytes); check "
                      "--input-size {}x{} and that the pixels are RGB24",
                      frames_, filled, ahead_.pixels.size(), clip_.size.width, clip_.size.height));
    return has_ahead_;
  }

  // Looks up from waiting now and then: another thread may have no use for more.
  void wait_for_bytes() const {
    constexpr int milliseconds = 50;
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    while (poll(&input, 1, milliseconds) <= 0) {
      stop_if_interrupted();
      if (cancelled_) throw Error("-: standard input is not read any further");
    }
  }

  std::atomic<bool> cancelled_{false};
  Image ahead_;
  bool has_ahead_ = false;
  int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSource> open_standard_input(const SourceOptions& options) {
  return std::make_unique<RawSource>(options);
}

}  // namespace mattec::media
