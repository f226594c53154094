// Scene cuts are found where they are, and nothing else is taken for one.
#include <gtest/gtest.h>

#include <functional>

#include "media/cut_detector.h"
#include "media/scale.h"
#include "nano/clip_generator.h"

namespace mattec::media {
namespace {

constexpr int width = 256, height = 144;

struct Film {
  std::vector<Image> frames;
  std::vector<Image> mattes;
};

// A figure that moves before a textured room.
Film film(uint64_t seed, int frames) {
  const nano::ClipGenerator generator(seed, width, height);
  Film made;
  for (int i = 0; i < frames; ++i) {
    const nano::ClipFrame frame = generator.frame(i);
    Image color({height, width}, 3), matte({height, width}, 1);
    color.pixels = frame.frame;
    matte.pixels = frame.alpha;
    made.frames.push_back(color);
    made.mattes.push_back(matte);
  }
  return made;
}

// The numbers of the frames that begin a scene.
std::vector<int> cuts_of(const std::vector<Image>& frames) {
  CutDetector detector;
  std::vector<int> cuts;
  for (size_t i = 0; i < frames.size(); ++i)
    if (detector.previous_begins_scene(frames[i])) cuts.push_back(static_cast<int>(i) - 1);
  return cuts;
}

const std::vector<int> none;

TEST(Cuts, BetweenFilmsAreFoundAtTheirFrames) {
  // Generated rooms are smooth, and so alike that not every cut between them can be told from
  // chance; real ones are found in docs/video.md's trial.
  const std::pair<uint64_t, int> parts[] = {{1, 12}, {5, 13}, {2, 6}, {6, 10}};
  std::vector<Image> frames;
  for (const auto& [seed, length] : parts) {
    const Film part = film(seed, length);
    frames.insert(frames.end(), part.frames.begin(), part.frames.end());
  }
  EXPECT_EQ(cuts_of(frames), (std::vector<int>{12, 25, 31}));
}

TEST(Cuts, AreNotInAFilm) {
  for (const uint64_t seed : {1, 2, 3, 4, 5, 6}) EXPECT_EQ(cuts_of(film(seed, 30).frames), none);
}

// The same film with some frames changed.
std::vector<Image> changed(const std::function<void(int, Image&)>& change) {
  std::vector<Image> frames = film(1, 40).frames;
  for (size_t i = 0; i < frames.size(); ++i) change(static_cast<int>(i), frames[i]);
  return frames;
}

void fill(Image& image, uint8_t value) {
  std::fill(image.pixels.begin(), image.pixels.end(), value);
}

TEST(Cuts, FlashesBlinksAndBlackoutsAreNone) {
  const Film other = film(2, 40);
  EXPECT_EQ(cuts_of(changed([](int i, Image& image) {
              if (i == 9 || i == 20 || i == 21) fill(image, 255);
            })),
            none);
  EXPECT_EQ(cuts_of(changed([](int i, Image& image) {
              if (i >= 10 && i < 25) fill(image, 0);
            })),
            none);
  // A flash that leaves something to see, for two frames.
  EXPECT_EQ(cuts_of(changed([](int i, Image& image) {
              if (i / 2 % 8 == 5)
                for (uint8_t& value : image.pixels)
                  value = static_cast<uint8_t>(std::min(255, value + 128));
            })),
            none);
  // One frame of another film, as a splice leaves it.
  EXPECT_EQ(cuts_of(changed([&](int i, Image& image) {
              if (i == 15) image = other.frames[0];
            })),
            none);
  // Both alternate every third frame: a scene that comes back is none that begins. Only the first
  // change can look like one.
  EXPECT_LE(cuts_of(changed([&](int i, Image& image) {
              if (i / 3 % 2 == 1) image = other.frames[static_cast<size_t>(i)];
            })).size(),
            1U);
  // Darker by half from frame to frame, as cameras adjust.
  EXPECT_EQ(cuts_of(changed([](int i, Image& image) {
              if (i / 5 % 2 == 1)
                for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(value / 2);
            })),
            none);
}

TEST(Cuts, PansAreNone) {
  Image still, wide = film(3, 1).frames[0];
  scale(wide, {height * 3, width * 3}, still);
  std::vector<Image> frames;
  for (int i = 0; i < 16; ++i) {
    Image frame({height, width}, 3);
    const int x0 = i * width / 8;  // an eighth of the width a frame
    for (int y = 0; y < height; ++y)
      std::copy_n(&still.pixels[static_cast<size_t>(((y + height) * width * 3 + x0) * 3)],
                  width * 3, &frame.pixels[static_cast<size_t>(y * width * 3)]);
    frames.push_back(frame);
  }
  EXPECT_EQ(cuts_of(frames), none);
}

// The subject goes on before another background: the states know it.
TEST(Cuts, OfTheBackgroundAloneAreNone) {
  const Film subject = film(1, 30), behind = film(5, 1);
  std::vector<Image> frames = subject.frames;
  for (size_t i = 15; i < frames.size(); ++i)
    for (size_t p = 0; p < subject.mattes[i].pixels.size(); ++p)
      for (size_t c = 3 * p; c < 3 * p + 3; ++c) {
        const int alpha = subject.mattes[i].pixels[p];
        frames[i].pixels[c] = static_cast<uint8_t>(
            (alpha * frames[i].pixels[c] + (255 - alpha) * behind.frames[0].pixels[c]) / 255);
      }
  EXPECT_EQ(cuts_of(frames), none);
}

TEST(Cuts, ComeThroughAnySize) {
  std::vector<Image> frames = film(1, 8).frames;
  const std::vector<Image> second = film(6, 8).frames;
  frames.insert(frames.end(), second.begin(), second.end());
  for (const ir::Size size : {ir::Size{54, 96}, {300, 200}, {720, 1280}}) {
    std::vector<Image> scaled(frames.size());
    for (size_t i = 0; i < frames.size(); ++i) scale(frames[i], size, scaled[i]);
    EXPECT_EQ(cuts_of(scaled), std::vector<int>{8}) << size.width;
  }
}

}  // namespace
}  // namespace mattec::media
