// Reading ahead and writing behind: the same frames in the same order, errors where they belong,
// and no thread that waits for nobody. Under ThreadSanitizer, too.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "media/threads.h"
#include "tests/error_of.h"

namespace mattec::media {
namespace {

constexpr ir::Size frame_size = {2, 3};

Image numbered(int number) {
  Image image(frame_size, 1);
  for (uint8_t& pixel : image.pixels) pixel = static_cast<uint8_t>(number);
  return image;
}

// Gives `count` frames, then throws or ends; or waits until it is cancelled.
class Frames : public FrameSource {
 public:
  enum class End { ends, throws, waits };
  Frames(int count, End end, std::atomic<int>& given) : count_(count), end_(end), given_(given) {
    clip_ = Clip(frame_size, {25, 1});
  }
  bool next(Image& frame) override {
    if (label_.start < count_) {
      frame = numbered(static_cast<int>(label_.start));
      label_.name = std::to_string(label_.start);
      ++label_.start;
      ++given_;
      return true;
    }
    if (end_ == End::throws) throw Error("frame is damaged");
    if (end_ == End::ends) return false;
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return cancelled_; });
    throw Error("cancelled");
  }
  void seek(double) override {}
  void cancel() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }

 private:
  int count_;
  End end_;
  std::atomic<int>& given_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
};

TEST(ReadAhead, GivesTheSameFramesInOrder) {
  std::atomic<int> given{0};
  const auto source = read_ahead(std::make_unique<Frames>(100, Frames::End::ends, given));
  EXPECT_EQ(source->size(), frame_size);
  Image frame;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(source->next(frame));
    EXPECT_EQ(frame.pixels, numbered(i).pixels);
    EXPECT_EQ(source->label().name, std::to_string(i));
  }
  EXPECT_FALSE(source->next(frame));
  EXPECT_FALSE(source->next(frame));
}

TEST(ReadAhead, HoldsAFewFramesOnly) {
  std::atomic<int> given{0};
  const auto source = read_ahead(std::make_unique<Frames>(1000, Frames::End::ends, given));
  Image frame;
  ASSERT_TRUE(source->next(frame));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(given, 8);
}

TEST(ReadAhead, FramesBeforeAnErrorComeFirst) {
  std::atomic<int> given{0};
  const auto source = read_ahead(std::make_unique<Frames>(3, Frames::End::throws, given));
  Image frame;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(source->next(frame));
  EXPECT_EQ(error_of([&] { source->next(frame); }), "frame is damaged");
}

TEST(ReadAhead, EndsWhileItsSourceWaits) {
  std::atomic<int> given{0};
  auto source = read_ahead(std::make_unique<Frames>(2, Frames::End::waits, given));
  Image frame;
  EXPECT_TRUE(source->next(frame));
  source.reset();  // would hang
  // And where nobody ever asks for a frame and the ring is full.
  read_ahead(std::make_unique<Frames>(1000, Frames::End::ends, given)).reset();
}

// What a sink was given, outside of it.
struct Written {
  std::vector<int> numbers;
  bool finished = false;
};

class Sink : public FrameSink {
 public:
  // Slow enough that the ring fills; fails at frame `bad`.
  Sink(Written& written, int bad) : written_(written), bad_(bad) {}
  void write(const Image& image, const FrameLabel& label) override {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (label.start == bad_) throw Error("the disk is full");
    written_.numbers.push_back(image.pixels[0]);
  }
  void finish() override { written_.finished = true; }

 private:
  Written& written_;
  int bad_;
};

TEST(WriteBehind, WritesTheSameFramesInOrder) {
  Written written;
  const auto sink = write_behind(std::make_unique<Sink>(written, -1));
  for (int i = 0; i < 60; ++i) sink->write(numbered(i), {"", i});
  sink->finish();
  ASSERT_EQ(written.numbers.size(), 60U);
  for (int i = 0; i < 60; ++i) EXPECT_EQ(written.numbers[static_cast<size_t>(i)], i);
  EXPECT_TRUE(written.finished);
}

TEST(WriteBehind, AnErrorReachesTheNextCallAndNothingIsFinished) {
  Written written;
  const auto sink = write_behind(std::make_unique<Sink>(written, 2));
  EXPECT_EQ(error_of([&] {
              for (int i = 0; i < 100; ++i) sink->write(numbered(i), {"", i});
            }),
            "the disk is full");
  EXPECT_FALSE(written.finished);
  // At the very end, too.
  Written last;
  const auto short_sink = write_behind(std::make_unique<Sink>(last, 2));
  EXPECT_EQ(error_of([&] {
              for (int i = 0; i < 3; ++i) short_sink->write(numbered(i), {"", i});
              short_sink->finish();
            }),
            "the disk is full");
  EXPECT_FALSE(last.finished);
}

TEST(WriteBehind, EndsWithoutFinish) {
  Written written;
  {
    const auto sink = write_behind(std::make_unique<Sink>(written, -1));
    for (int i = 0; i < 10; ++i) sink->write(numbered(i), {"", i});
  }
  EXPECT_FALSE(written.finished);
}

}  // namespace
}  // namespace mattec::media
