#include "media/threads.h"

#include <thread>
#include <utility>

#include "media/ring.h"

namespace mattec::media {
namespace {

struct Entry {
  Image image;
  FrameLabel label;
};
constexpr size_t entries = 4;  // of a 1080p clip 25 MB

class AheadSource : public FrameSource {
 public:
  explicit AheadSource(std::unique_ptr<FrameSource> source) : source_(std::move(source)) {
    clip_ = source_->clip();
    thread_ = std::thread([this] { read(); });
  }
  ~AheadSource() override {
    ring_.stop();
    source_->cancel();
    thread_.join();
  }

  bool next(Image& frame) override {
    if (!ring_.take(taken_)) return false;
    std::swap(frame, taken_.image);
    label_ = taken_.label;
    return true;
  }
  void seek(double) override { throw std::logic_error("a source that is read ahead cannot seek"); }

 private:
  void read() {
    try {
      for (Entry entry; source_->next(entry.image);) {
        entry.label = source_->label();
        if (!ring_.put(entry)) return;
      }
      ring_.finish();
    } catch (...) {
      ring_.finish(std::current_exception());
    }
  }

  std::unique_ptr<FrameSource> source_;
  Ring<Entry, entries> ring_;
  Entry taken_;
  std::thread thread_;
};

class BehindSink : public FrameSink {
 public:
  explicit BehindSink(std::unique_ptr<FrameSink> sink) : sink_(std::move(sink)) {
    thread_ = std::thread([this] { write_all(); });
  }
  ~BehindSink() override {
    if (thread_.joinable()) {
      ring_.finish();
      thread_.join();
    }
  }

  void write(const Image& image, const FrameLabel& label) override {
    given_.image = image;
    given_.label = label;
    ring_.put(given_);
  }
  void finish() override {
    ring_.finish();
    thread_.join();
    if (failure_) std::rethrow_exception(failure_);
    sink_->finish();
  }

 private:
  void write_all() {
    try {
      for (Entry entry; ring_.take(entry);) sink_->write(entry.image, entry.label);
    } catch (...) {
      failure_ = std::current_exception();
      ring_.stop(failure_);
    }
  }

  std::unique_ptr<FrameSink> sink_;
  Ring<Entry, entries> ring_;
  Entry given_;
  std::exception_ptr failure_;  // read after the thread has ended
  std::thread thread_;
};

}  // namespace

std::unique_ptr<FrameSource> read_ahead(std::unique_ptr<FrameSource> source) {
  return std::make_unique<AheadSource>(std::move(source));
}

std::unique_ptr<FrameSink> write_behind(std::unique_ptr<FrameSink> sink) {
  return std::make_unique<BehindSink>(std::move(sink));
}

}  // namespace mattec::media
