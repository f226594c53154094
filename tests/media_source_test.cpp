// Clips as streams of frames: order, counts, rates, and one clear error for everything else.
#include <gtest/gtest.h>

#include <opencv2/imgcodecs.hpp>

#include "media/frame_source.h"
#include "tests/scratch.h"

namespace mattec::media {
namespace {

std::vector<std::string> names_of(const std::string& path) {
  const std::unique_ptr<FrameSource> source = open_source(path, {});
  std::vector<std::string> names;
  Image frame;
  while (source->next(frame)) names.push_back(source->label().name);
  return names;
}

std::string open_error(const std::string& path, const SourceOptions& options = {}) {
  return error_of([&] { open_source(path, options); });
}

void write_png(const std::string& path, ir::Size size) {
  cv::imwrite(path, cv::Mat(size.height, size.width, CV_8UC3, cv::Scalar(10, 20, 30)));
}

TEST(ImageFolder, ComesInTheOrderOfTheNumbersInItsNames) {
  const Scratch scratch;
  for (const char* name : {"f10", "f2", "f1", "f02b", "e99"})
    write_png(scratch / (std::string(name) + ".png"), {2, 2});
  write_bytes(scratch / "notes.txt", "no image");
  write_bytes(scratch / ".hidden.png", "no image");
  EXPECT_EQ(names_of(scratch.path()), (std::vector<std::string>{"e99", "f1", "f2", "f02b", "f10"}));
}

TEST(ImageFolder, GivesRedGreenBlueOrLuminance) {
  const Scratch scratch;
  write_png(scratch / "a.PNG.png", {1, 1});  // OpenCV writes B, G, R = 10, 20, 30
  Image frame;
  EXPECT_TRUE(open_source(scratch.path(), {})->next(frame));
  EXPECT_EQ(frame.pixels, (std::vector<uint8_t>{30, 20, 10}));
  SourceOptions gray;
  gray.channels = 1;
  EXPECT_TRUE(open_source(scratch.path(), gray)->next(frame));
  EXPECT_EQ(frame.pixels, std::vector<uint8_t>{22});  // .299 R + .587 G + .114 B
  cv::imwrite(scratch / "a.PNG.png", cv::Mat(1, 1, CV_8UC1, cv::Scalar(201)));
  EXPECT_TRUE(open_source(scratch.path(), gray)->next(frame));
  EXPECT_EQ(frame.pixels, std::vector<uint8_t>{201});  // a matte stays what it is
}

TEST(ImageFolder, KnowsCountSizeAndGivenRate) {
  const Scratch scratch;
  write_clip(scratch / "clip", {7, 5}, 3);
  SourceOptions options;
  options.rate = {25, 2};
  const std::unique_ptr<FrameSource> source = open_source(scratch / "clip", options);
  EXPECT_EQ(source->size(), (ir::Size{7, 5}));
  EXPECT_EQ(source->clip().expected_frames, 3);
  EXPECT_EQ(source->clip().rate, (Rational{25, 2}));
  Image frame;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(source->next(frame));
    EXPECT_EQ(frame.pixels, picture({7, 5}, i).pixels) << i;
  }
  EXPECT_FALSE(source->next(frame));
  EXPECT_FALSE(source->next(frame));
}

TEST(ImageFolder, NamesTheImageOfAnotherSize) {
  const Scratch scratch;
  write_png(scratch / "1.png", {4, 6});
  write_png(scratch / "2.png", {6, 4});
  const std::string error = error_of([&] { names_of(scratch.path()); });
  expect_contains(error, "2.png: is 4x6, but the first image of its folder is 6x4");
}

// OpenCV fills what is missing of a JPEG with grey and calls it read.
TEST(ImageFolder, NamesAnImageCutOffAnywhere) {
  for (const char* name : {"cut.png", "cut.jpg"}) {
    const Scratch scratch;
    cv::imwrite(scratch / name, cv::Mat(40, 30, CV_8UC3, cv::Scalar(10, 200, 30)));
    EXPECT_EQ(names_of(scratch / name).size(), 1U);
    const std::string bytes = read_bytes(scratch / name);
    for (size_t size = 1; size < bytes.size(); size += 1 + bytes.size() / 50) {
      write_bytes(scratch / name, bytes.substr(0, size));
      expect_contains(error_of([&] { names_of(scratch / name); }), std::string(name) + ": ");
    }
  }
}

TEST(Source, NamesWhatIsMissingOrEmpty) {
  const Scratch scratch;
  EXPECT_EQ(open_error("no/such.mp4"), "no/such.mp4: no such file or folder");
  expect_contains(open_error(scratch.path()), "holds no images");
  write_bytes(scratch / "empty.mp4", "");
  expect_contains(open_error(scratch / "empty.mp4"), "is empty (0 bytes)");
  write_bytes(scratch / "empty.png", "");
  expect_contains(open_error(scratch / "empty.png"), "is empty (0 bytes)");
  write_bytes(scratch / "text.mp4", "this is a text, and no video at all");
  expect_contains(open_error(scratch / "text.mp4"), "no video can be read");
  expect_contains(open_error("/dev/null"), "is neither a file nor a folder");
  expect_contains(open_error("-"), "--input-size WxH");
}

class VideoFormats : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, VideoFormats, testing::Values("mp4", "mov", "mkv", "avi"));

// Fails if a frame is lost, doubled or out of order, or the rate is rounded.
TEST_P(VideoFormats, KeepFramesOrderAndRate) {
  const Scratch scratch;
  const std::string path = scratch / (std::string("clip.") + GetParam());
  write_clip(path, {48, 64}, 12, {30000, 1001});
  const std::unique_ptr<FrameSource> source = open_source(path, {});
  EXPECT_EQ(source->size(), (ir::Size{48, 64}));
  EXPECT_NEAR(source->clip().rate.value(), 30000.0 / 1001, 1e-3);
  EXPECT_EQ(source->clip().expected_frames, 12);
  Image frame;
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(source->next(frame)) << i;
    const size_t middle = size_t{24 * 64 + 32} * 3;
    EXPECT_NEAR(frame.pixels[middle + 1], picture({48, 64}, i).pixels[middle + 1], 7) << i;
  }
  EXPECT_FALSE(source->next(frame));
}

TEST_P(VideoFormats, SkipFramesLikeAFolderDoes) {
  const Scratch scratch;
  const std::string path = scratch / (std::string("clip.") + GetParam());
  write_clip(path, {48, 64}, 6);
  write_clip(scratch / "folder", {48, 64}, 6);
  Image frame;
  for (const std::string& clip : {path, scratch / "folder"}) {
    const std::unique_ptr<FrameSource> source = open_source(clip, {});
    source->skip(0);
    source->skip(4);
    ASSERT_TRUE(source->next(frame));
    EXPECT_NEAR(frame.pixels[0], picture({48, 64}, 4).pixels[0], 7);
    source->skip(7);
    EXPECT_FALSE(source->next(frame));
  }
}

TEST_P(VideoFormats, CutOffAnywhereAreOneError) {
  const Scratch scratch;
  const std::string path = scratch / (std::string("clip.") + GetParam());
  write_clip(path, {48, 64}, 12);
  const std::string bytes = read_bytes(path);
  const std::string cut = scratch / (std::string("cut.") + GetParam());
  for (size_t size = 1; size < bytes.size(); size += 1 + bytes.size() / 40) {
    write_bytes(cut, bytes.substr(0, size));
    expect_contains(error_of([&] { names_of(cut); }), "cut.");
  }
}

TEST_P(VideoFormats, DamagedInsideDoNotCrash) {
  const Scratch scratch;
  const std::string path = scratch / (std::string("clip.") + GetParam());
  write_clip(path, {48, 64}, 12);
  const std::string bytes = read_bytes(path);
  unsigned seed = 1;
  for (int round = 0; round < 30; ++round) {
    std::string damaged = bytes;
    for (int i = 0; i < 20; ++i) {
      seed = seed * 1664525 + 1013904223;
      damaged[seed % damaged.size()] = static_cast<char>(seed >> 24);
    }
    write_bytes(path, damaged);
    const std::string error = error_of([&] { names_of(path); });
    EXPECT_TRUE(error == "no error" || error.find(path) == 0) << error;
  }
}

}  // namespace
}  // namespace mattec::media
