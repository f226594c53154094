// Output: whole or not at all.
#include <gtest/gtest.h>

#include <random>

#include "base/staged_path.h"
#include "media/frame_sink.h"
#include "media/frame_source.h"
#include "tests/scratch.h"

namespace mattec::media {
namespace {

namespace fs = std::filesystem;

SinkOptions video(ir::Size size) {
  SinkOptions options;
  options.clip = Clip(size, {25, 1});
  return options;
}

int frames_in(const std::string& path) {
  const std::unique_ptr<FrameSource> source = open_source(path, {});
  Image frame;
  int count = 0;
  while (source->next(frame)) ++count;
  return count;
}

TEST(FolderSink, WritesEightBitAlphaExactly) {
  const Scratch scratch;
  write_clip(scratch / "matte", {3, 5}, 2, {25, 1}, 1);
  SourceOptions gray;
  gray.channels = 1;
  const std::unique_ptr<FrameSource> source = open_source(scratch / "matte", gray);
  Image alpha;
  ASSERT_TRUE(source->next(alpha));
  EXPECT_EQ(source->label().name, "1000");
  EXPECT_EQ(alpha.pixels, picture({3, 5}, 0, 1).pixels);
}

TEST(FolderSink, KeepsColours) {
  const Scratch scratch;
  write_clip(scratch / "colour", {3, 5}, 1);
  Image frame;
  ASSERT_TRUE(open_source(scratch / "colour", {})->next(frame));
  EXPECT_EQ(frame.pixels, picture({3, 5}, 0).pixels);
}

TEST(FolderSink, TakesAnEmptyFolderAndATrailingSlashButNoFullOne) {
  const Scratch scratch;
  fs::create_directory(scratch / "out");
  write_clip(scratch / "out/", {2, 2}, 1);
  EXPECT_EQ(scratch.entries("out"), 1U);
  expect_contains(error_of([&] { write_clip(scratch / "out", {2, 2}, 1); }), "is not empty");
  expect_contains(error_of([&] { write_clip("/dev/full", {2, 2}, 1); }), "is no folder");
  EXPECT_EQ(scratch.entries("out"), 1U);
  EXPECT_EQ(scratch.entries(), 1U);
}

TEST(FolderSink, RefusesTwoFramesOfOneName) {
  const Scratch scratch;
  const std::unique_ptr<FrameSink> sink = open_sink(scratch / "out", video({2, 2}));
  sink->write(picture({2, 2}, 0), {"a"});
  expect_contains(error_of([&] {
                    sink->write(picture({2, 2}, 0), {"a"});
                  }),
                  "two frames are named a");
}

TEST(Sink, LeavesNothingWithoutFinish) {
  const Scratch scratch;
  for (const char* name : {"out", "out.mp4", "out.mkv", "out.avi"}) {
    open_sink(scratch / name, video({16, 16}))->write(picture({16, 16}, 0), {"a"});
    EXPECT_EQ(scratch.entries(), 0U) << name;
  }
}

TEST(Sink, NamesUnknownFormatsAndMissingFolders) {
  const Scratch scratch;
  expect_contains(error_of([&] {
                    open_sink(scratch / "a.gif", video({2, 2}));
                  }),
                  "no output format is called .gif");
  expect_contains(error_of([&] {
                    open_sink(scratch / "x/y.mp4", video({2, 2}));
                  }),
                  "does not exist");
  expect_contains(error_of([&] { open_sink(scratch / "x/y", video({2, 2})); }), "does not exist");
  fs::create_directory(scratch / "folder.mp4");
  expect_contains(error_of([&] {
                    open_sink(scratch / "folder.mp4", video({2, 2}));
                  }),
                  "is a folder");
}

TEST(VideoSink, ReplacesAnExistingFileOnlyWhenComplete) {
  const Scratch scratch;
  write_clip(scratch / "out.mp4", {32, 32}, 3);
  {
    const std::unique_ptr<FrameSink> sink = open_sink(scratch / "out.mp4", video({32, 32}));
    sink->write(picture({32, 32}, 0), {"a", 0});
    EXPECT_EQ(frames_in(scratch / "out.mp4"), 3);
    sink->write(picture({32, 32}, 1), {"b", 1});
    sink->finish();
  }
  EXPECT_EQ(frames_in(scratch / "out.mp4"), 2);
}

TEST(VideoSink, OddAndTinySizesBecomeEven) {
  const Scratch scratch;
  for (const char* name : {"a.mp4", "a.mkv", "a.avi"}) {
    write_clip(scratch / name, {35, 67}, 2);
    EXPECT_EQ(open_source(scratch / name, {})->size(), (ir::Size{36, 68})) << name;
    write_clip(scratch / name, {1, 1}, 2);
    EXPECT_EQ(frames_in(scratch / name), 2) << name;
  }
}

// Incompressible: about 10 KiB a frame.
void write_noise(const std::string& path) {
  std::mt19937 random(1);
  const std::unique_ptr<FrameSink> sink = open_sink(path, video({64, 64}));
  Image noise({64, 64}, 3);
  for (int i = 0; i < 20; ++i) {
    for (uint8_t& value : noise.pixels) value = static_cast<uint8_t>(random());
    sink->write(noise, {std::to_string(i), i});
  }
  sink->finish();
}

// OpenCV's video writer says nothing when the disk is full: the container does.
TEST(Sink, FullDiskIsOneErrorAndNothingIsLeft) {
  const Scratch scratch;
  for (const char* name : {"out.mp4", "out.mkv", "out.avi", "out"}) {
    std::string error;
    {
      const FileSizeLimit limit(2000);
      error = error_of([&] { write_noise(scratch / name); });
    }
    EXPECT_NE(error, "no error") << name;
    expect_contains(error, std::string(name) + (name == std::string("out") ? "/" : ": could not"));
    EXPECT_EQ(scratch.entries(), 0U) << name;
  }
}

}  // namespace
}  // namespace mattec::media
