// Times of frames: uneven ones, trimmed clips, parts, backgrounds of another rate.
#include <gtest/gtest.h>

#include <cmath>

#include "media/composite.h"
#include "media/frame_sink.h"
#include "media/rational.h"
#include "tests/ffmpeg.h"
#include "tests/scratch.h"

namespace mattec::media {
namespace {

std::vector<double> times_of(const std::string& path) {
  std::vector<double> times;
  for (const ReadFrame& frame : read_frames(path)) times.push_back(frame.seconds);
  return times;
}

// 12 frames of 40 ms, then of 130 ms, as a recorder writes that drops frames in the dark.
constexpr char uneven[] =
    "-f lavfi -i testsrc2=size=64x36:rate=25 -frames:v 24 -vf "
    "\"settb=1/1000,setpts='if(lt(N,12),N*0.04,0.48+(N-12)*0.13)/TB'\" -vsync vfr "
    "-enc_time_base 1/1000 -pix_fmt yuv420p ";

TEST(Times, OfEveryFrameAreReadAndWritten) {
  const Scratch scratch;
  ffmpeg(uneven + scratch / "uneven.mp4");
  const std::vector<double> read = times_of(scratch / "uneven.mp4");
  ASSERT_EQ(read.size(), 24U);
  for (size_t i = 0; i < 24; ++i)
    EXPECT_NEAR(read[i], i < 12 ? 0.04 * i : 0.48 + 0.13 * (i - 12), 2e-3) << i;
  for (const char* name : {"out.mp4", "out.mov", "out.mkv", "out.webm"}) {
    const std::unique_ptr<FrameSource> source = open_source(scratch / "uneven.mp4", {});
    SinkOptions options;
    options.clip = source->clip();
    const std::unique_ptr<FrameSink> sink = open_sink(scratch / name, options);
    for (Image frame; source->next(frame);) sink->write(frame, source->label());
    sink->finish();
    const std::vector<double> written = times_of(scratch / name);
    ASSERT_EQ(written.size(), 24U) << name;
    for (size_t i = 0; i < 24; ++i) EXPECT_NEAR(written[i], read[i], 1e-3) << name << " " << i;
  }
}

TEST(Times, ThatAContainerCannotHoldAreRefused) {
  const Scratch scratch;
  ffmpeg(uneven + scratch / "uneven.mp4");
  const std::unique_ptr<FrameSource> source = open_source(scratch / "uneven.mp4", {});
  SinkOptions options;
  options.clip = source->clip();
  expect_contains(error_of([&] {
                    const std::unique_ptr<FrameSink> sink = open_sink(scratch / "out.avi", options);
                    for (Image frame; source->next(frame);) sink->write(frame, source->label());
                  }),
                  ".avi holds frames of a constant rate alone");
  EXPECT_EQ(scratch.entries(), 1U);
}

// Phones and editors trim by edit lists: frames are stored that are not shown, and none is missing.
TEST(Times, ATrimmedClipBeginsWhereItIsCutAndIsNotCalledDamaged) {
  const Scratch scratch;
  ffmpeg("-f lavfi -i testsrc2=size=64x36:rate=25 -frames:v 50 -g 50 -pix_fmt yuv420p " +
         scratch / "whole.mp4");
  ffmpeg("-ss 1 -i " + scratch / "whole.mp4" + " -c copy " + scratch / "trimmed.mp4");
  ASSERT_GT(std::stoi(ffprobe(scratch / "trimmed.mp4", "v", "stream=nb_frames").substr(10)), 25);
  testing::internal::CaptureStderr();
  const std::vector<ReadFrame> whole = read_frames(scratch / "whole.mp4"),
                               trimmed = read_frames(scratch / "trimmed.mp4");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  ASSERT_EQ(trimmed.size(), 25U);
  EXPECT_EQ(trimmed[0].image.pixels, whole[25].image.pixels);
  EXPECT_NEAR(trimmed[0].seconds, 0, 0.021);
}

// A part is the same frames as in the whole, wherever the key frames are.
TEST(Parts, AreTheFramesOfTheirTimesFromAnyKeyFrame) {
  const Scratch scratch;
  const char* const kinds[] = {"a.mp4 -c:v libx264 -g 12 -pix_fmt yuv420p",
                               "b.mkv -c:v libx264 -g 100 -pix_fmt yuv420p",
                               "c.ts -c:v libx264 -g 12 -pix_fmt yuv420p", "d.avi -c:v mjpeg",
                               "e.webm -c:v libvpx-vp9 -deadline realtime"};
  for (const std::string kind : kinds) {
    const size_t space = kind.find(' ');
    const std::string path = scratch / kind.substr(0, space);
    ffmpeg("-f lavfi -i testsrc2=size=64x36:rate=25 -frames:v 60 " + kind.substr(space) + " " +
           path);
    const std::vector<ReadFrame> whole = read_frames(path);
    for (const double begin : {0.2, 0.96, 1.0, 2.0}) {
      SourceOptions options;
      options.begin = begin;
      options.end = begin + 0.2;
      const std::vector<ReadFrame> part = read_frames(path, options);
      ASSERT_EQ(part.size(), 5U) << path << " " << begin;
      const auto first = static_cast<size_t>(std::lround(begin * 25));
      for (size_t i = 0; i < 5; ++i) {
        EXPECT_EQ(part[i].image.pixels, whole[first + i].image.pixels) << path << " " << begin;
        EXPECT_EQ(part[i].name, whole[first + i].name) << path;
        EXPECT_NEAR(part[i].seconds, 0.04 * static_cast<double>(i), 2e-3) << path;
      }
    }
    SourceOptions late;
    late.begin = 60;
    expect_contains(error_of([&] { read_frames(path, late); }), "ends before the part");
  }
}

TEST(Parts, WarmUpFramesComeFirstAndAreMarked) {
  const Scratch scratch;
  write_clip(scratch / "clip", {4, 4}, 20);
  SourceOptions options;
  options.begin = 0.4;
  options.warm_up = 0.12;
  options.end = 0.48;
  const std::unique_ptr<FrameSource> source = open_source(scratch / "clip", options);
  EXPECT_EQ(source->clip().expected_frames, 5);
  std::vector<std::string> names;
  std::vector<bool> warm_up;
  for (Image frame; source->next(frame);) {
    names.push_back(source->label().name);
    warm_up.push_back(source->label().is_warm_up);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"1007", "1008", "1009", "1010", "1011"}));
  EXPECT_EQ(warm_up, (std::vector<bool>{true, true, true, false, false}));
  EXPECT_EQ(source->label().start, 1);
}

// The background's brightness is its frame number, 10 a second.
TEST(Background, IsSteppedByTime) {
  const Scratch scratch;
  for (int i = 0; i < 5; ++i) {
    const std::unique_ptr<FrameSink> sink = open_sink(scratch / (std::to_string(i) + ".png"), {});
    Image gray({8, 8}, 3);
    std::fill(gray.pixels.begin(), gray.pixels.end(), static_cast<uint8_t>(40 * i));
    sink->write(gray, {});
    sink->finish();
  }
  ffmpeg("-framerate 10 -i " + scratch / "%d.png" + " -c:v ffv1 " + scratch / "ramp.mkv");
  Background background(scratch / "ramp.mkv", Clip({8, 8}, {25, 1}));
  for (int frame = 0; frame < 30; ++frame) {
    const double seconds = frame / 25.0;
    const int expected = 40 * (static_cast<int>(seconds * 10 + 1e-6) % 5);  // and again
    EXPECT_EQ(background.at(seconds).pixels[0], expected) << frame;
  }
}

TEST(Rates, AreExactFractions) {
  const struct {
    const char* text;
    Rational rate;
    const char* written;
  } rates[] = {{"25", {25, 1}, "25"},
               {"30000/1001", {30000, 1001}, "30000/1001"},
               {"29.97", {30000, 1001}, "30000/1001"},
               {"23.976", {24000, 1001}, "24000/1001"},
               {"12.5", {25, 2}, "12.5"},
               {"0.04", {1, 25}, "0.04"},
               {"50/2", {25, 1}, "25"},
               {"7.25", {29, 4}, "7.25"}};
  for (const auto& [text, rate, written] : rates) {
    ASSERT_TRUE(parse_rate(text)) << text;
    EXPECT_EQ(*parse_rate(text), rate) << text;
    EXPECT_EQ(text_of(rate), written);
  }
  for (const char* wrong : {"", "0", "-5", "25/0", "0/25", "nan", "1e3", "25fps", "/", "25/", ".",
                            "99999999999", "1.2.3", "inf"})
    EXPECT_FALSE(parse_rate(wrong)) << wrong;
}

}  // namespace
}  // namespace mattec::media
