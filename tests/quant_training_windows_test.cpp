// What training plays.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "quant/training_windows.h"

namespace mattec::quant {
namespace {

constexpr int length = 3, warm_up = 2;

Clip clip_of(int width, int height, uint8_t value = 255) {
  return Clip(8, Frame{width, height, std::vector<uint8_t>(size_t(width) * height * 3, value)});
}

// However colours are altered, black stays below 21 and white above 104.
bool is_white(const Frame& frame) {
  return *std::min_element(frame.rgb.begin(), frame.rgb.end()) > 60;
}

TEST(Windows, ComposeClipsOfOneSizeOnly) {
  // The second clip, which validates, is black; the third is alone in its size.
  const std::vector<Clip> clips = {clip_of(6, 4), clip_of(6, 4, 0), clip_of(4, 6), clip_of(6, 4)};
  Windows windows(clips, length, warm_up, 7);
  int wide = 0, composed = 0, warm = 0;
  for (int i = 0; i < 300; ++i) {
    const Window window = windows.next();
    ASSERT_EQ(window.frames.size(), static_cast<size_t>(window.warm_up + length));
    for (const Clip& part : {window.frames, window.behind})
      for (const Frame& frame : part) ASSERT_TRUE(is_white(frame));
    ASSERT_TRUE(window.behind.empty() || window.behind.size() == window.frames.size());
    for (const Frame& frame : window.behind) ASSERT_EQ(frame.width, window.frames[0].width);
    warm += window.warm_up > 0 ? 1 : 0;
    if (window.frames[0].width == 4) {
      EXPECT_TRUE(window.behind.empty());
      continue;
    }
    ++wide;
    composed += window.behind.empty() ? 0 : 1;
  }
  EXPECT_EQ(wide, 200);  // every clip once a round
  // In half of the windows, two thirds of which draw the clip itself or one of another size.
  EXPECT_NEAR(composed / 200.0, 1 / 6.0, 0.08);
  EXPECT_NEAR(warm / 300.0, 0.5, 0.1);
}

TEST(Windows, GoOnWhereTheyWereWritten) {
  std::vector<Clip> clips;
  for (int i = 0; i < 8; ++i) clips.push_back(clip_of(4 + i, 4));
  Windows one(clips, length, warm_up, 7);
  for (int i = 0; i < 4; ++i) one.next();
  torch::serialize::OutputArchive written;
  one.write(written);
  std::ostringstream bytes;
  written.save_to(bytes);
  torch::serialize::InputArchive archive;
  std::istringstream stream(bytes.str());
  archive.load_from(stream);
  Windows other(clips, length, warm_up, 8);
  other.read(archive);
  for (int i = 0; i < 20; ++i) {
    const Window a = one.next(), b = other.next();
    EXPECT_EQ(a.frames[0].width, b.frames[0].width);
    EXPECT_EQ(a.warm_up, b.warm_up);
    EXPECT_EQ(a.frames[0].rgb, b.frames[0].rgb);
  }
  // Written of more clips than there are.
  const std::vector<Clip> few(clips.begin(), clips.begin() + 3);
  Windows of_few(few, length, warm_up, 7);
  EXPECT_THROW(of_few.read(archive), c10::Error);
}

TEST(Composed, BlendsByTheMatte) {
  const Frame subject{3, 1, {200, 100, 0, 200, 100, 0, 200, 100, 0}},
      behind{3, 1, {10, 20, 255, 10, 20, 255, 10, 20, 255}};
  const torch::Tensor alpha = torch::tensor({1.0F, 0.25F, 0.0F}).reshape({1, 1, 1, 3});
  const std::vector<uint8_t> wanted = {200, 100, 0, 58, 40, 191, 10, 20, 255};
  EXPECT_EQ(composed(subject, alpha, behind).rgb, wanted);  // 57.5, 40, 191.25
}

}  // namespace
}  // namespace mattec::quant
