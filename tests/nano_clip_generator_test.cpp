// The generated clips: repeatable, composed exactly, and with something in them to matte.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "nano/clip_generator.h"

namespace mattec::nano {
namespace {

TEST(ClipGenerator, SameSeedGivesSameFramesInAnyOrder) {
  const ClipGenerator first(7, 96, 54), second(7, 96, 54);
  const ClipFrame late = first.frame(20), early = first.frame(3);
  const ClipFrame early_again = second.frame(3), late_again = second.frame(20);
  EXPECT_EQ(early.frame, early_again.frame);
  EXPECT_EQ(late.frame, late_again.frame);
  EXPECT_EQ(late.alpha, late_again.alpha);
  EXPECT_EQ(late.foreground, late_again.foreground);
}

TEST(ClipGenerator, SeedsAndMomentsDiffer) {
  const ClipGenerator first(7, 96, 54), second(8, 96, 54);
  EXPECT_NE(first.frame(0).alpha, second.frame(0).alpha);
  EXPECT_NE(first.frame(0).background, second.frame(0).background);
  EXPECT_NE(first.frame(0).alpha, first.frame(5).alpha);
}

TEST(ClipGenerator, FrameIsExactlyTheComposite) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const ClipFrame clip = ClipGenerator(seed, 61, 47).frame(static_cast<int>(seed));
    ASSERT_EQ(clip.frame.size(), 61u * 47u * 3u);
    ASSERT_EQ(clip.alpha.size(), 61u * 47u);
    for (size_t i = 0; i < clip.frame.size(); ++i) {
      const int a = clip.alpha[i / 3];
      // The nearest integer to the real composite: at most half a level away, doubled here.
      const int twice = 2 * (clip.foreground[i] * a + clip.background[i] * (255 - a));
      ASSERT_LE(std::abs(2 * 255 * clip.frame[i] - twice), 255) << "seed " << seed << " at " << i;
    }
  }
}

// Every clip has inside, outside and soft edges, at landscape, portrait and larger sizes.
TEST(ClipGenerator, EveryClipHasASubjectWithSoftEdges) {
  const int sizes[][2] = {{96, 54}, {54, 96}, {160, 160}};
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const auto& size = sizes[seed % 3];
    const ClipFrame clip = ClipGenerator(seed, size[0], size[1]).frame(11);
    const auto count = static_cast<double>(clip.alpha.size());
    const auto solid = std::count(clip.alpha.begin(), clip.alpha.end(), 255) / count;
    const auto empty = std::count(clip.alpha.begin(), clip.alpha.end(), 0) / count;
    EXPECT_GT(solid, 0.03) << "seed " << seed;
    EXPECT_GT(empty, 0.15) << "seed " << seed;
    EXPECT_GT(1 - solid - empty, 0.01) << "seed " << seed;
  }
}

// A scene, not a picture: twice the size shows the same alpha, up to edges.
TEST(ClipGenerator, SceneScalesWithTheSize) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const ClipFrame small = ClipGenerator(seed, 80, 60).frame(4),
                    large = ClipGenerator(seed, 160, 120).frame(4);
    double difference = 0;
    for (int y = 0; y < 60; ++y) {
      for (int x = 0; x < 80; ++x) {
        const auto at = [&](int u, int v) { return large.alpha[(2 * y + v) * 160 + 2 * x + u]; };
        const double mean = (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1)) / 4.0;
        difference += std::abs(small.alpha[y * 80 + x] - mean) / 255;
      }
    }
    EXPECT_LT(difference / (80 * 60), 0.04) << "seed " << seed;
  }
}

TEST(ClipGenerator, WorksAtTheSmallestSizesAndRefusesOthers) {
  EXPECT_EQ(ClipGenerator(1, 1, 1).frame(0).frame.size(), 3u);
  EXPECT_EQ(ClipGenerator(1, 200, 1).frame(1000000).alpha.size(), 200u);
  EXPECT_EQ(ClipGenerator(1, 3, 90).frame(0).alpha.size(), 270u);
  EXPECT_THROW(ClipGenerator(1, 0, 10), Error);
  EXPECT_THROW(ClipGenerator(1, 10, -1), Error);
  EXPECT_THROW(ClipGenerator(1, 1 << 20, 10), Error);
}

}  // namespace
}  // namespace mattec::nano
