// A part of a clip, with frames before it that only warm a network up.
#include <cmath>

#include "base/error.h"
#include "media/sound.h"
#include "media/source_kinds.h"

namespace mattec::media {
namespace {

class PartSource : public FrameSource {
 public:
  PartSource(std::unique_ptr<FrameSource> whole, const std::string& path,
             const SourceOptions& options)
      : whole_(std::move(whole)), path_(path), options_(options) {
    clip_ = whole_->clip();
    expect_frames();
    const double first = options.begin - options.warm_up;
    if (first > 0) whole_->seek(first);
  }

  bool next(Image& frame) override {
    if (!whole_->next(frame)) {
      if (!begun_) throw Error(path_ + ": ends before the part that is wanted begins (--from)");
      return false;
    }
    const FrameLabel& label = whole_->label();
    const double time = static_cast<double>(label.start) * clip_.time_base.value();
    if (options_.end && time >= *options_.end - clip_.slack()) return false;
    label_ = label;
    label_.is_warm_up = time < options_.begin - clip_.slack();
    if (!label_.is_warm_up && !begun_) begin_at(label_.start);
    label_.start -= origin_;
    return true;
  }

  void seek(double) override { throw Error(path_ + ": is a part of a clip"); }

 private:
  // With the first wanted frame at 0, parts join without gaps.
  void begin_at(int64_t start) {
    begun_ = true;
    if (options_.begin > 0) origin_ = start;
    const double begin = static_cast<double>(origin_) * clip_.time_base.value();
    if (clip_.sound) clip_.sound->limit(begin, options_.end.value_or(1e18));
  }

  void expect_frames() {
    if (!clip_.expected_frames) return;
    const double rate = clip_.rate.value();
    const double last = static_cast<double>(*clip_.expected_frames) / rate;
    const double end = options_.end ? std::min(*options_.end, last) : last;
    const double begin = std::max(0.0, options_.begin - options_.warm_up);
    clip_.expected_frames = std::max<int64_t>(0, std::llround((end - begin) * rate));
  }

  std::unique_ptr<FrameSource> whole_;
  std::string path_;
  SourceOptions options_;
  bool begun_ = false;
  int64_t origin_ = 0;  // ticks
};

}  // namespace

std::unique_ptr<FrameSource> part_of(std::unique_ptr<FrameSource> whole, const std::string& path,
                                     const SourceOptions& options) {
  return std::make_unique<PartSource>(std::move(whole), path, options);
}

}  // namespace mattec::media
