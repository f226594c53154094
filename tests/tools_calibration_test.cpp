// Clips that calibration reads, and the machine's peak.
#include <gtest/gtest.h>

#include "media/truth.h"
#include "tests/scratch.h"
#include "tools/calibration_clips.h"
#include "tools/peak.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

TEST(CalibrationClips, AreFoundInFilesFoldersAndFoldersOfThem) {
  const Scratch scratch;
  write_clip(scratch / "clip.mp4", {16, 16}, 2);
  write_clip(scratch / "images", {4, 4}, 2);
  fs::create_directory(scratch / "truth");
  write_clip(scratch / "truth/src", {4, 4}, 2);
  write_bytes(scratch / "notes.txt", "no clip");
  const std::vector<std::string> all = {scratch / "clip.mp4", scratch / "images",
                                        scratch / "truth/src"};
  EXPECT_EQ(find_clips({scratch.path()}), all);
  EXPECT_EQ(find_clips({all[0], all[1], scratch / "truth"}), all);
}

TEST(CalibrationClips, CoverTheSizeWithoutDistortion) {
  const Scratch scratch;
  const std::unique_ptr<media::FrameSink> sink = media::open_sink(scratch / "clip", {});
  media::Image frame({4, 12}, 3);  // a white square in the middle of black
  for (int y = 0; y < 4; ++y)
    for (int x = 4; x < 8; ++x)
      for (int c = 0; c < 3; ++c)
        frame.pixels[static_cast<size_t>(y * 12 + x) * 3 + static_cast<size_t>(c)] = 255;
  sink->write(frame, {"1"});
  sink->finish();
  const quant::Clip clip = load_calibration_clip(scratch / "clip", {8, 8}, 5);
  ASSERT_EQ(clip.size(), 1U);
  EXPECT_EQ(clip[0].width, 8);
  EXPECT_EQ(clip[0].rgb[size_t{4 * 8 + 4} * 3], 255);  // twice as large, its sides cut off
  EXPECT_GT(clip[0].rgb[size_t{4 * 8 + 0} * 3], 128);
  EXPECT_EQ(load_calibration_clip(scratch / "clip", {4, 8}, 5)[0].rgb[0], 0);
}

TEST(CalibrationClips, TurnTheSizeForPortraitAndSkipTheBeginning) {
  const Scratch scratch;
  write_clip(scratch / "clip", {12, 8}, 30);
  const quant::Clip clip = load_calibration_clip(scratch / "clip", {8, 12}, 4);
  ASSERT_EQ(clip.size(), 4U);
  EXPECT_EQ(clip[0].width, 8);
  EXPECT_EQ(clip[0].height, 12);
  EXPECT_EQ(clip[0].rgb, picture({12, 8}, 20).pixels);
  EXPECT_EQ(clip[3].rgb, picture({12, 8}, 23).pixels);
}

TEST(CalibrationClips, BringTheirExactMattesAlong) {
  const Scratch scratch;
  fs::create_directory(scratch / "walk");
  for (const auto& [part, channels] : {std::pair{"walk/src", 3}, std::pair{"walk/pha", 1}}) {
    const std::unique_ptr<media::FrameSink> sink = media::open_sink(scratch / part, {});
    for (int i = 0; i < 6; ++i)
      sink->write(picture({12, 8}, i, channels), {std::to_string(100 + i)});
    sink->finish();
  }
  const media::TruthClip walk = media::recorded_clip(scratch / "walk");
  const quant::Clip clip = load_truth_clip(walk, {8, 12}, 4);  // upright as the clip is
  ASSERT_EQ(clip.size(), 4U);
  EXPECT_EQ(load_truth_clip(walk, {8, 12}, 9).size(), 6U);
  for (size_t i = 0; i < clip.size(); ++i) {
    EXPECT_EQ(clip[i].width, 8);
    EXPECT_EQ(clip[i].rgb, picture({12, 8}, static_cast<int>(i)).pixels);
    EXPECT_EQ(clip[i].alpha, picture({12, 8}, static_cast<int>(i), 1).pixels);
  }
  // Cut as the frame is: the middle 4 x 4 of 6 x 4 pixels.
  EXPECT_EQ(load_truth_clip(walk, {8, 8}, 1)[0].alpha.size(), 64U);
}

TEST(Peak, GrowsWithTheInstruction) {
  const double avx2 = peak_gmacs(DotProduct::avx2, 1), vnni = peak_gmacs(DotProduct::avx512vnni, 1);
  if (avx2 == 0) GTEST_SKIP() << "this processor has no AVX2";
  EXPECT_GT(avx2, 5);
  EXPECT_TRUE(vnni == 0 || vnni > avx2) << vnni;
}

}  // namespace
}  // namespace mattec::tools
