// Raw pixels on standard input as a clip: what `ffmpeg -f rawvideo -pix_fmt rgb24 -` writes.
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ir/error.h"
#include "tools/interrupt.h"
#include "tools/source_kinds.h"

namespace mattec::tools {
namespace {

class RawSource : public FrameSource {
 public:
  explicit RawSource(const SourceOptions& options) {
    if (!options.raw_size)
      throw Error(
          "-: the size of the frames on standard input is not known; give it by --input-size WxH");
    size_ = *options.raw_size;
    rate_ = options.rate;
    ahead_.reset(size_, 3);
    if (!read_ahead()) throw Error("-: standard input is empty; it should hold raw RGB24 frames");
  }

  bool next(Image& frame) override {
    stop_if_interrupted();
    if (!has_ahead_ && !read_ahead()) return false;
    has_ahead_ = false;
    frame = ahead_;
    frame_name_ = fmt::format("{:06}", frames_++);
    return true;
  }

 private:
  // False at the end of the stream, which must lie between two frames.
  bool read_ahead() {
    size_t filled = 0;
    while (filled < ahead_.pixels.size()) {
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
                      frames_, filled, ahead_.pixels.size(), size_.width, size_.height));
    return has_ahead_;
  }

  Image ahead_;
  bool has_ahead_ = false;
  int64_t frames_ = 0;
};

}  // namespace

std::unique_ptr<FrameSource> open_standard_input(const SourceOptions& options) {
  return std::make_unique<RawSource>(options);
}

}  // namespace mattec::tools
