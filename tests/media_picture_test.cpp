// Scaling, composite and foreground arithmetic; text of durations.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "media/composite.h"
#include "media/scale.h"
#include "tests/scratch.h"

namespace mattec::media {
namespace {

Image gray(ir::Size size, const std::vector<uint8_t>& values) {
  Image image(size, 1);
  image.pixels = values;
  return image;
}

std::vector<uint8_t> scaled(const Image& image, ir::Size size) {
  Image result;
  scale(image, size, result);
  EXPECT_EQ(result.size, size);
  return result.pixels;
}

TEST(Scale, SameSizeIsACopy) {
  EXPECT_EQ(scaled(picture({5, 7}, 3), {5, 7}), picture({5, 7}, 3).pixels);
}

TEST(Scale, ShrinksByArea) {
  // Fails for bilinear sampling, which would see only the middle two of four.
  EXPECT_EQ(scaled(gray({1, 4}, {0, 100, 100, 0}), {1, 1}), std::vector<uint8_t>{50});
  EXPECT_EQ(scaled(gray({2, 2}, {0, 20, 40, 60}), {1, 1}), std::vector<uint8_t>{30});
}

TEST(Scale, GrowsBilinearlyBetweenHalfPixelCentres) {
  EXPECT_EQ(scaled(gray({1, 2}, {0, 100}), {1, 4}), (std::vector<uint8_t>{0, 25, 75, 100}));
}

TEST(Scale, ShrinksOneAxisAndGrowsTheOther) {
  EXPECT_EQ(scaled(gray({4, 1}, {0, 100, 100, 0}), {1, 3}), (std::vector<uint8_t>{50, 50, 50}));
  EXPECT_EQ(scaled(gray({1, 4}, {0, 100, 100, 0}), {2, 2}), (std::vector<uint8_t>{50, 50, 50, 50}));
}

TEST(Scale, OnePixelEachWay) {
  EXPECT_EQ(scaled(gray({1, 1}, {7}), {2, 3}), std::vector<uint8_t>(6, 7));
  EXPECT_EQ(scaled(gray({3, 2}, std::vector<uint8_t>(6, 9)), {1, 1}), std::vector<uint8_t>{9});
}

TEST(Composite, RoundsToNearestForEveryAlphaAndColour) {
  Image foreground({1, 1}, 3), background({1, 1}, 3), alpha({1, 1}, 1), out;
  for (int a = 0; a < 256; a += 3)
    for (int f = 0; f < 256; f += 5)
      for (int b = 0; b < 256; b += 5) {
        foreground.pixels = {static_cast<uint8_t>(f), 0, 255};
        background.pixels = {static_cast<uint8_t>(b), 255, 0};
        alpha.pixels = {static_cast<uint8_t>(a)};
        composite(foreground, alpha, background, out);
        const double exact = (a * f + (255 - a) * b) / 255.0;
        ASSERT_EQ(out.pixels[0], std::lround(exact)) << a << " " << f << " " << b;
        ASSERT_EQ(out.pixels[1], 255 - a);
        ASSERT_EQ(out.pixels[2], a);
      }
}

TEST(Foreground, IsTheNetworksOwnAtItsOwnSize) {
  Image out;
  full_size_foreground(picture({4, 4}, 0), picture({4, 4}, 0), picture({4, 4}, 5), out);
  EXPECT_EQ(out.pixels, picture({4, 4}, 5).pixels);
}

// The frame's detail must survive: an upscaled foreground would be blurred.
TEST(Foreground, KeepsTheFramesDetailAtFullSize) {
  Image frame({4, 4}, 3);
  std::mt19937 random(1);
  for (uint8_t& value : frame.pixels) value = static_cast<uint8_t>(20 + random() % 200);
  Image small({2, 2}, 3), foreground({2, 2}, 3), out;
  for (size_t i = 0; i < small.pixels.size(); ++i) {
    small.pixels[i] = 100;
    foreground.pixels[i] = 90;
  }
  full_size_foreground(frame, small, foreground, out);
  for (size_t i = 0; i < frame.pixels.size(); ++i) EXPECT_EQ(out.pixels[i], frame.pixels[i] - 10);
  foreground.pixels.assign(12, 255);
  full_size_foreground(frame, small, foreground, out);
  for (size_t i = 0; i < frame.pixels.size(); ++i)
    EXPECT_EQ(out.pixels[i], std::min(255, frame.pixels[i] + 155));
}

Background behind(const std::string& text, ir::Size size) {
  return Background(text, Clip(size, {25, 1}));
}

TEST(Background, ReadsColours) {
  EXPECT_EQ(behind("#0a14ff", {1, 1}).next().pixels, (std::vector<uint8_t>{10, 20, 255}));
  EXPECT_EQ(behind("#F80", {1, 1}).at(3).pixels, (std::vector<uint8_t>{255, 136, 0}));
  for (const char* green : {"green", "Green", "#0f0"})
    EXPECT_EQ(behind(green, {1, 2}).next().pixels, (std::vector<uint8_t>{0, 255, 0, 0, 255, 0}));
  for (const char* wrong : {"#00ff0", "#00ff0g", "#", "#00ff00ff", "#0f"})
    EXPECT_NE(error_of([&] { behind(wrong, {1, 1}); }).find("is no colour"), std::string::npos);
  for (const char* word : {"gren", ""})
    EXPECT_NE(error_of([&] {
                behind(word, {1, 1});
              }).find("neither a colour nor a file"),
              std::string::npos);
  EXPECT_NE(error_of([] { behind("Gren", {1, 1}); }).find("is it green?"), std::string::npos);
}

TEST(Background, RepeatsAClipAndKeepsAPicture) {
  const Scratch scratch;
  write_clip(scratch / "two", {4, 4}, 2);
  Background moving = behind(scratch / "two", {4, 4});
  for (const int frame : {0, 1, 0, 1, 0})
    EXPECT_EQ(moving.next().pixels, picture({4, 4}, frame).pixels);
  Background still = behind(scratch / "two/1001.png", {4, 4});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(still.next().pixels, picture({4, 4}, 1).pixels);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(still.at(i).pixels, picture({4, 4}, 1).pixels);
  EXPECT_EQ(behind(scratch / "two", {2, 9}).next().size, (ir::Size{2, 9}));
}

}  // namespace
}  // namespace mattec::media
