// The random motion of single pictures.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "media/motion.h"

namespace mattec::media {
namespace {

constexpr int side = 120;
constexpr double middle = side / 2.0;

size_t at(int x, int y) { return static_cast<size_t>(y) * side + static_cast<size_t>(x); }

// Mean of the coordinates across a bar, where `along` runs along it.
double bar_position(const Image& image, bool horizontal, int along) {
  double sum = 0, moment = 0;
  for (int across = 0; across < side; ++across) {
    const int x = horizontal ? along : across, y = horizontal ? across : along;
    const double value = image.pixels[at(x, y)];
    sum += value;
    moment += value * across;
  }
  return moment / sum;
}

// What a bar of 9 pixels through the middle becomes at moments 0 and 1.
struct Bar {
  double slope[2], shift[2];
};

Image drawn_bar(bool horizontal) {
  Image bar({side, side}, 1);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x)
      bar.pixels[at(x, y)] = std::abs((horizontal ? y : x) - side / 2) <= 4 ? 255 : 0;
  return bar;
}

Bar moved_bar(uint64_t seed, bool horizontal) {
  const Image bar = drawn_bar(horizontal);
  Image moved;
  Random random(seed);
  const Motion motion(random);
  Bar result = {};
  for (const int moment : {0, 1}) {
    motion.move(bar, moment, moved);
    const double low = bar_position(moved, horizontal, side / 2 - 30);
    const double high = bar_position(moved, horizontal, side / 2 + 30);
    result.slope[moment] = (high - low) / 60;
    result.shift[moment] = (high + low) / 2 - middle;
  }
  return result;
}

// Fails for degrees taken as radians, shifts in pixels or of the wrong extent, motion about a
// corner, and for no motion at all.
TEST(Motion, StaysWithinItsRanges) {
  const double degree = std::acos(-1.0) / 180;
  double steepest = 0, sheared = 0, farthest = 0, changed = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const Bar level = moved_bar(seed, true), upright = moved_bar(seed, false);
    for (const int moment : {0, 1}) {
      const double rotation = std::atan(level.slope[moment]);
      const double shear = std::atan(upright.slope[moment]) + rotation;
      EXPECT_LE(std::abs(rotation), 10.2 * degree) << seed;
      EXPECT_LE(std::abs(shear), 5.3 * degree) << seed;
      EXPECT_LE(std::abs(level.shift[moment]), 0.125 * side) << seed;  // the bar turns meanwhile
      steepest = std::max(steepest, std::abs(rotation));
      sheared = std::max(sheared, std::abs(shear));
      farthest = std::max(farthest, std::abs(level.shift[moment]));
    }
    changed = std::max(changed, std::abs(level.slope[1] - level.slope[0]));
  }
  EXPECT_GE(steepest, 9 * degree);
  EXPECT_GE(sheared, 4.3 * degree);
  EXPECT_GE(farthest, 0.09 * side);
  EXPECT_GE(changed, 8 * degree);
}

TEST(Motion, FillsMattesWithNothingAndFramesWithTheirBorder) {
  Image matte({side, side}, 1), frame({side, side}, 3), moved;
  std::fill(matte.pixels.begin(), matte.pixels.end(), uint8_t{255});
  std::fill(frame.pixels.begin(), frame.pixels.end(), uint8_t{200});
  Random random(3);
  const Motion motion(random);
  motion.move(frame, 0, moved);
  EXPECT_EQ(moved.pixels, frame.pixels);
  motion.move(matte, 0, moved);
  EXPECT_EQ(*std::min_element(moved.pixels.begin(), moved.pixels.end()), 0);
  EXPECT_EQ(moved.pixels[at(side / 2, side / 2)], 255);
}

// Fails for a motion that jumps or turns back: half the time is half the way.
TEST(Motion, ChangesEvenly) {
  const Image bar = drawn_bar(true);
  Image moved;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Random random(seed);
    const Motion motion(random);
    const auto height = [&](double moment) {
      motion.move(bar, moment, moved);
      return bar_position(moved, true, side / 2);
    };
    EXPECT_NEAR(height(0.5), (height(0) + height(1)) / 2, 0.5) << seed;
  }
}

}  // namespace
}  // namespace mattec::media
