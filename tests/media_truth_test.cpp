// Clips with exact mattes: recorded ones, and ones composed from foregrounds and backgrounds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "nano/clip_generator.h"
#include "tests/truth_clips.h"

namespace mattec::media {
namespace {

namespace fs = std::filesystem;

// Writes set/fgr/walk, set/pha/walk and backs/street.
class Composed : public testing::Test {
 protected:
  void write(const std::vector<Image>& colors, const std::vector<Image>& mattes,
             const std::vector<Image>& background) {
    write_images(scratch_ / "set/fgr/walk", colors);
    write_images(scratch_ / "set/pha/walk", mattes);
    write_images(scratch_ / "backs/street", background);
    options_ = with_backgrounds(scratch_ / "backs");
  }
  // A soft disc off the middle, in white before black: frames must equal mattes.
  void write_white_disc(int frames) {
    Image disc(clip_size, 1);
    size_t i = 0;
    for (int y = 0; y < clip_size.height; ++y)
      for (int x = 0; x < clip_size.width; ++x)
        disc.pixels[i++] =
            static_cast<uint8_t>(std::clamp(255 - 30 * std::hypot(x - 12, y - 8), 0., 255.));
    write(std::vector<Image>(static_cast<size_t>(frames), uniform(clip_size, 3, 255)),
          std::vector<Image>(static_cast<size_t>(frames), disc), {uniform(clip_size, 3, 0)});
  }
  std::vector<TruthClip> find() const { return find_truth({scratch_ / "set"}, options_); }
  Frames play_first(ir::Size size = clip_size) const { return play(find().front(), size); }

  Scratch scratch_;
  TruthOptions options_;
};

// The generator composed its frames from the same parts: fails for exchanged colours and
// backgrounds, another rounding, gamma, a shift by a frame, or exchanged red and blue.
TEST_F(Composed, EqualsTheGeneratedClipToTheLastBit) {
  const nano::ClipGenerator generator(5, clip_size.width, clip_size.height);
  std::vector<Image> colors, mattes, backgrounds, frames;
  const auto add = [](std::vector<Image>& images, const std::vector<uint8_t>& pixels) {
    images.emplace_back(clip_size, static_cast<int>(pixels.size()) / (20 * 32));
    images.back().pixels = pixels;
  };
  for (int i = 0; i < 4; ++i) {
    const nano::ClipFrame frame = generator.frame(5 * i);
    add(colors, frame.foreground);
    add(mattes, frame.alpha);
    add(backgrounds, frame.background);
    add(frames, frame.frame);
  }
  write(colors, mattes, backgrounds);
  const std::vector<TruthClip> clips = find();
  ASSERT_EQ(names_of(clips), std::vector<std::string>{"walk on street"});
  EXPECT_EQ(clips[0].size, clip_size);
  EXPECT_EQ(clips[0].frames, 4);
  EXPECT_TRUE(same(play(clips[0], clip_size), {frames, mattes}));
  EXPECT_TRUE(same(play(clips[0], clip_size), {frames, mattes})) << "the second time";
}

TEST_F(Composed, ShowsOnlyTheForegroundAt255AndOnlyTheBackgroundAt0) {
  for (const int alpha : {0, 255}) {
    Scratch scratch;
    write_images(scratch / "set/fgr/a", {picture(clip_size, 3)});
    write_images(scratch / "set/pha/a", {uniform(clip_size, 1, alpha)});
    write_images(scratch / "backs/b", {picture(clip_size, 9)});
    const auto clips = find_truth({scratch / "set"}, with_backgrounds(scratch / "backs"));
    EXPECT_EQ(play(clips.front(), clip_size).frames.front().pixels,
              picture(clip_size, alpha == 0 ? 9 : 3).pixels);
  }
}

TEST_F(Composed, BackgroundStartsAgainWhenItEnds) {
  write(std::vector<Image>(5, uniform(clip_size, 3, 200)),
        std::vector<Image>(5, uniform(clip_size, 1, 0)),
        {picture(clip_size, 1), picture(clip_size, 2)});
  const Frames played = play_first();
  ASSERT_EQ(played.frames.size(), 5U);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(played.frames[static_cast<size_t>(i)].pixels, picture(clip_size, 1 + i % 2).pixels)
        << i;
}

// Fails if colours and mattes start at different frames, or frames are left out.
TEST_F(Composed, TakesConsecutiveFramesFromARandomOneOn) {
  std::vector<Image> colors, mattes;
  for (int i = 0; i < 12; ++i) {
    colors.push_back(uniform(clip_size, 3, 10 * i));
    mattes.push_back(uniform(clip_size, 1, 100 + i));
  }
  write(colors, mattes, {uniform(clip_size, 3, 0)});
  options_.frames = 3;
  options_.clips = 60;
  std::vector<int> starts;
  for (const TruthClip& clip : find()) {
    EXPECT_EQ(clip.frames, 3);
    const Frames played = play(clip, clip_size);
    ASSERT_EQ(played.frames.size(), 3U);
    const int start = played.mattes[0].pixels[0] - 100;
    for (int i = 0; i < 3; ++i) {
      const int alpha = 100 + start + i;
      EXPECT_EQ(played.mattes[static_cast<size_t>(i)].pixels[0], alpha);
      EXPECT_EQ(played.frames[static_cast<size_t>(i)].pixels[0],
                (alpha * 10 * (start + i) + 127) / 255);
    }
    starts.push_back(start);
  }
  EXPECT_EQ(*std::min_element(starts.begin(), starts.end()), 0);
  EXPECT_EQ(*std::max_element(starts.begin(), starts.end()), 9);
}

// White before black: the frame is the matte, wherever both have moved.
TEST_F(Composed, MotionMovesColoursAndMattesAlike) {
  write_white_disc(6);
  const Frames still = play_first();
  options_.motion = true;
  const Frames moving = play_first();
  ASSERT_EQ(moving.frames.size(), 6U);
  for (size_t i = 0; i < 6; ++i)
    for (size_t pixel = 0; pixel < moving.mattes[i].pixels.size(); ++pixel)
      for (size_t c = 0; c < 3; ++c)
        ASSERT_EQ(moving.frames[i].pixels[3 * pixel + c], moving.mattes[i].pixels[pixel]);
  EXPECT_NE(moving.mattes[0].pixels, still.mattes[0].pixels);
  EXPECT_NE(moving.mattes[0].pixels, moving.mattes[5].pixels);
}

TEST_F(Composed, FollowsFromSeedAndIndexAlone) {
  write_white_disc(8);
  write_images(scratch_ / "backs/forest", {picture(clip_size, 4)});
  write_images(scratch_ / "backs/market", {picture(clip_size, 7)});
  options_.motion = true;
  options_.frames = 4;
  options_.clips = 6;
  const std::vector<TruthClip> clips = find();
  const std::vector<TruthClip> again = find();
  options_.clips = 3;
  const std::vector<TruthClip> fewer = find();
  options_.seed = 1;
  const std::vector<TruthClip> others = find();
  ASSERT_EQ(clips.size(), 6U);
  ASSERT_EQ(fewer.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    const Frames played = play(clips[i], clip_size);
    EXPECT_TRUE(same(played, play(again[i], clip_size))) << i;
    EXPECT_TRUE(same(played, play(fewer[i], clip_size))) << i;
    EXPECT_FALSE(same(played, play(others[i], clip_size))) << i;
    EXPECT_EQ(clips[i].name, clips[i + 3].name);  // three backgrounds, in the same turn
    EXPECT_FALSE(same(played, play(clips[i + 3], clip_size))) << i;
  }
}

TEST_F(Composed, ShufflesBackgroundsBySeed) {
  write_white_disc(1);
  for (const char* name : {"forest", "market", "office"})
    write_images(scratch_ / (std::string("backs/") + name), {picture(clip_size, 4)});
  options_.clips = 4;
  std::set<std::string> firsts;
  for (options_.seed = 0; options_.seed < 20; ++options_.seed) {
    std::vector<std::string> names = names_of(find());
    firsts.insert(names.front());
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"walk on forest", "walk on market", "walk on office",
                                               "walk on street"}));
  }
  EXPECT_EQ(firsts.size(), 4U);
}

TEST_F(Composed, MirrorsForegroundsButNoBackgroundsOnEverySecondRound) {
  Image left = uniform({1, 2}, 1, 0), colours = uniform({1, 2}, 3, 0), street = colours;
  left.pixels[0] = 255;
  colours.pixels = {10, 20, 30, 40, 50, 60};
  street.pixels = {1, 2, 3, 4, 5, 6};
  write({colours}, {left}, {street});
  options_.clips = 3;
  const std::vector<TruthClip> clips = find();
  for (const size_t i : {0, 2})
    EXPECT_EQ(play(clips[i], {1, 2}).frames[0].pixels, (std::vector<uint8_t>{10, 20, 30, 4, 5, 6}));
  const Frames mirrored = play(clips[1], {1, 2});
  EXPECT_EQ(mirrored.mattes[0].pixels, (std::vector<uint8_t>{0, 255}));
  EXPECT_EQ(mirrored.frames[0].pixels, (std::vector<uint8_t>{1, 2, 3, 10, 20, 30}));
}

// A square foreground in a wide frame stands in the middle, undistorted, and all around it the
// background; a background of another shape loses its ends.
TEST_F(Composed, FitsForegroundsAndCoversWithBackgrounds) {
  Image street({2, 8}, 3);
  for (size_t i = 0; i < 16; ++i)
    for (size_t c = 0; c < 3; ++c) street.pixels[3 * i + c] = static_cast<uint8_t>(i % 8);
  write({uniform({4, 4}, 3, 99)}, {uniform({4, 4}, 1, 255)}, {street});
  const Frames played = play_first({2, 4});
  const std::vector<uint8_t> row = {0, 255, 255, 0};
  std::vector<uint8_t> matte = row, greens;
  matte.insert(matte.end(), row.begin(), row.end());
  EXPECT_EQ(played.mattes[0].pixels, matte);
  for (size_t x = 0; x < 4; ++x) greens.push_back(played.frames[0].pixels[3 * x + 1]);
  EXPECT_EQ(greens, (std::vector<uint8_t>{2, 99, 99, 5}));
}

TEST_F(Composed, ASingleImageMovesForAHundredFramesUnlessToldOtherwise) {
  write_still(scratch_, "set/fgr/cat.png", picture(clip_size, 3));
  write_still(scratch_, "set/pha/cat.png", picture(clip_size, 5, 1));
  write_images(scratch_ / "backs/street", {picture(clip_size, 1)});
  options_.backgrounds = scratch_ / "backs";
  const Frames moving = play_first();
  ASSERT_EQ(moving.mattes.size(), 100U);
  EXPECT_NE(moving.mattes[0].pixels, moving.mattes[99].pixels);
  options_.motion = false;
  options_.frames = 4;
  const Frames still = play_first();
  ASSERT_EQ(still.mattes.size(), 4U);
  EXPECT_EQ(still.mattes[3].pixels, picture(clip_size, 5, 1).pixels);
}

TEST_F(Composed, ReadsVideosAndImagesToo) {
  write_white_disc(3);
  fs::remove_all(scratch_ / "set");
  fs::create_directories(scratch_ / "set/fgr");
  fs::create_directories(scratch_ / "set/pha");
  const ir::Size size = {48, 64};
  for (const char* path : {"set/fgr/talk.mp4", "set/pha/talk.mp4", "backs/river.mp4"})
    write_clip(scratch_ / path, size, 3);
  fs::remove_all(scratch_ / "backs/street");
  const std::vector<TruthClip> clips = find();
  ASSERT_EQ(names_of(clips), std::vector<std::string>{"talk on river"});
  const Frames played = play(clips[0], size);
  ASSERT_EQ(played.frames.size(), 3U);
  const size_t middle = size_t{24} * 64 + 32;
  for (size_t i = 0; i < 3; ++i) {  // equal colours before and behind: the matte does not show
    const Image color = picture(size, static_cast<int>(i));
    EXPECT_NEAR(played.frames[i].pixels[3 * middle], color.pixels[3 * middle], 7) << i;
    // .299 R + .587 G + .114 B of a picture whose G is R + 30 and B is R + 60
    EXPECT_NEAR(played.mattes[i].pixels[middle], color.pixels[3 * middle] + 24, 7) << i;
  }
}

TEST_F(Composed, NamesWhatIsMissingOrUnequal) {
  write_white_disc(2);
  const std::string set = scratch_ / "set", backs = scratch_ / "backs";
  expect_error({set}, {}, "walk: is a foreground; name a folder of images or videos");
  expect_error({set}, with_backgrounds(scratch_ / "none"), "none: no such folder");
  fs::create_directory(scratch_ / "empty");
  expect_error({set}, with_backgrounds(scratch_ / "empty"), "empty: holds no clips");
  write_bytes(scratch_ / "backs/broken.png", "no picture");
  options_.clips = 2;
  expect_error({set}, options_, "broken.png: ");
  fs::remove(scratch_ / "backs/broken.png");
  write_images(scratch_ / "set/fgr/run", {picture(clip_size, 1)});
  expect_error({set}, options_, "fgr/run: has no mattes named run in pha");
  fs::rename(scratch_ / "set/fgr/run", scratch_ / "set/pha/run");
  expect_error({set}, options_, "pha/run: has no foreground named run in fgr");
  write_images(scratch_ / "set/fgr/run", {picture({20, 30}, 1)});
  expect_error({set}, options_, "fgr/run: its frames are 30x20");
  fs::remove_all(scratch_ / "set/fgr/run");
  write_images(scratch_ / "set/fgr/run", {picture(clip_size, 1), picture(clip_size, 2)});
  expect_error({set}, options_, "fgr/run: has 2 frames, but ");
  write_bytes(scratch_ / "set/fgr/run.mp4", "");
  expect_error({set}, options_, ": has the name of ");
  fs::remove_all(scratch_ / "set/pha");
  expect_error({set}, options_, "set: has no folder pha");
  fs::remove_all(scratch_ / "set/fgr");
  expect_error({set}, options_, "set: has no folder src");
}

// An image that turns out damaged in the middle of a clip must not end it quietly.
TEST_F(Composed, NamesADamagedImageInsideAClip) {
  write_white_disc(3);
  write_bytes(scratch_ / "set/pha/walk/1001.png", "no picture");
  const std::vector<TruthClip> clips = find();
  EXPECT_NE(error_of([&] { play(clips[0], clip_size); }).find("pha/walk/1001.png: "),
            std::string::npos);
}

void write_video_of_four_that_promises_five(const std::string& path, ir::Size size) {
  write_clip(path, size, 4);
  std::string bytes = read_bytes(path);
  bytes[bytes.find("strh") + 40] = 5;  // the stream's length in frames
  write_bytes(path, bytes);
}

// Containers that know their duration alone promise a frame too many.
TEST_F(Composed, BelievesMattesRatherThanAVideosHeader) {
  const ir::Size size = {48, 64};
  write(std::vector<Image>(4, uniform(size, 3, 9)), std::vector<Image>(4, uniform(size, 1, 9)),
        {uniform(size, 3, 0)});
  fs::remove_all(scratch_ / "set/fgr/walk");
  write_video_of_four_that_promises_five(scratch_ / "set/fgr/walk.avi", size);
  const std::vector<TruthClip> clips = find();
  EXPECT_EQ(clips[0].frames, 4);
  EXPECT_EQ(play(clips[0], size).frames.size(), 4U);
}

// A header that promises 5 frames of 4: counts agree, frames do not.
TEST_F(Composed, NamesTheVideoThatEndsBeforeItsMattes) {
  const ir::Size size = {48, 64};
  write(std::vector<Image>(5, uniform(size, 3, 9)), std::vector<Image>(5, uniform(size, 1, 9)),
        {uniform(size, 3, 0)});
  fs::remove_all(scratch_ / "set/fgr/walk");
  write_video_of_four_that_promises_five(scratch_ / "set/fgr/walk.avi", size);
  const std::vector<TruthClip> clips = find();
  EXPECT_EQ(clips[0].frames, 5);
  EXPECT_NE(error_of([&] { play(clips[0], size); }).find("walk.avi: ends before "),
            std::string::npos);
}

void write_recorded(const std::string& path, const char* frames, int frame_count) {
  std::vector<Image> images, mattes;
  for (int i = 0; i < frame_count; ++i) {
    images.push_back(picture(clip_size, i));
    mattes.push_back(picture(clip_size, i + 3, 1));
  }
  write_images(path + "/" + frames, images);
  write_images(path + "/pha", mattes);
}

TEST(Recorded, IsFoundAloneAndInFoldersUnderItsPath) {
  const Scratch scratch;
  for (const char* name : {"set/motion/0010", "set/motion/0002", "set/static/0000"}) {
    write_recorded(scratch / name, "com", 2);
    write_images(scratch / (std::string(name) + "/fgr"), {picture(clip_size, 8)});
  }
  write_recorded(scratch / "dancer", "src", 2);
  fs::create_directory(scratch / "set/notes");
  const std::vector<TruthClip> clips = find_truth({scratch / "set", scratch / "dancer/"}, {});
  EXPECT_EQ(names_of(clips),
            (std::vector<std::string>{"motion/0002", "motion/0010", "static/0000", "dancer"}));
  for (const TruthClip& clip : clips) {
    const Frames played = play(clip, clip_size);
    ASSERT_EQ(played.frames.size(), 2U);
    EXPECT_EQ(played.frames[1].pixels, picture(clip_size, 1).pixels) << clip.name;
    EXPECT_EQ(played.mattes[1].pixels, picture(clip_size, 4, 1).pixels) << clip.name;
  }
  EXPECT_EQ(play(clips[0], {10, 16}).frames.size(), 2U);
  expect_error({scratch / "set"}, with_backgrounds(scratch / "set"), "no clip needs a background");
}

TEST(Recorded, EndsAfterTheFramesWanted) {
  const Scratch scratch;
  write_recorded(scratch / "clip", "src", 3);
  for (const int frames : {1, 3, 7}) {
    TruthOptions options;
    options.frames = frames;
    const std::vector<TruthClip> clips = find_truth({scratch / "clip"}, options);
    EXPECT_EQ(clips[0].frames, std::min(frames, 3));
    EXPECT_EQ(play(clips[0], clip_size).frames.size(), static_cast<size_t>(std::min(frames, 3)));
  }
}

// Scores on clips that a network was trained on would look too good.
TEST(Recorded, AsksWhichPartOfASplitIsMeant) {
  const Scratch scratch;
  write_recorded(scratch / "set/test/0000", "src", 1);
  write_recorded(scratch / "set/train/0000", "src", 1);
  expect_error({scratch / "set"}, {}, "name its folder test");
  EXPECT_EQ(names_of(find_truth({scratch / "set/test"}, {})), std::vector<std::string>{"0000"});
  fs::remove_all(scratch / "set/train");
  EXPECT_EQ(names_of(find_truth({scratch / "set"}, {})), std::vector<std::string>{"test/0000"});
}

}  // namespace
}  // namespace mattec::media
