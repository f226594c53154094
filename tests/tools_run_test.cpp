// What `mattec run` makes of people's clips: sound, transparency, pictures, shapes, parts, cuts.
// The network is the fake library (fake_library.c: alpha = max(green, half of the previous alpha),
// 16x8, the foreground has red and blue exchanged).
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/ffmpeg.h"
#include "tests/tools_command.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

std::string film(const std::string& name, const std::string& source, const Scratch& scratch) {
  ffmpeg("-f lavfi -i " + source + " -frames:v 10 -pix_fmt yuv420p " + scratch / name);
  return scratch / name;
}

CommandResult run(const Scratch& scratch, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"run", FAKE_LIBRARY});
  return command(scratch, arguments);
}

void expect_success(const CommandResult& result) { EXPECT_EQ(result.exit_code, 0) << result.err; }

media::Image first_frame(const std::string& path, int channels = 3) {
  media::SourceOptions options;
  options.channels = channels;
  return read_frames(path, options).at(0).image;
}

void write_picture(const std::string& path, const media::Image& image) {
  const std::unique_ptr<media::FrameSink> sink = media::open_sink(path, {});
  sink->write(image, {});
  sink->finish();
}

media::Image flat(ir::Size size, uint8_t red, uint8_t green, uint8_t blue) {
  media::Image image(size, 3);
  const uint8_t color[] = {red, green, blue};
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = color[i % 3];
  return image;
}

// A coded stream's packets and their times, whatever the container's ticks.
std::string sound_of(const std::string& file) {
  return output_of(std::string(MATTEC_FFPROBE) +
                   " -v error -select_streams a:0 -show_entries packet=pts_time,data_hash "
                   "-show_data_hash md5 -of compact=p=0 " +
                   file);
}

std::string with_sound(const Scratch& scratch, const std::string& name, const std::string& codec) {
  ffmpeg(
      "-f lavfi -i testsrc2=size=32x16:rate=25:duration=1 -f lavfi -i "
      "sine=frequency=500:duration=1 -pix_fmt yuv420p -c:a " +
      codec + " " + scratch / name);
  return scratch / name;
}

TEST(RunSound, IsCopiedAsItIs) {
  const Scratch scratch;
  const std::string clip = with_sound(scratch, "clip.mkv", "libopus");
  const std::string packets = sound_of(clip);
  ASSERT_GT(std::count(packets.begin(), packets.end(), '\n'), 40);
  for (const char* name : {"out.mkv", "out.webm"}) {
    const CommandResult result = run(scratch, {clip, "-o", scratch / name});
    expect_success(result);
    EXPECT_EQ(result.err, "");
    EXPECT_EQ(sound_of(scratch / name), packets);
  }
  expect_success(run(scratch, {clip, "-o", scratch / "silent.mkv", "--audio", "off"}));
  EXPECT_EQ(sound_of(scratch / "silent.mkv"), "");
}

TEST(RunSound, ThatTheContainerCannotHoldIsNoted) {
  const Scratch scratch;
  const std::string clip = with_sound(scratch, "clip.mkv", "aac");
  const CommandResult result = run(scratch, {clip, "-o", scratch / "out.webm"});
  expect_success(result);
  expect_contains(result.err, ".webm cannot hold the sound (aac)");
  EXPECT_EQ(sound_of(scratch / "out.webm"), "");
  EXPECT_EQ(read_frames(scratch / "out.webm").size(), 25U);
}

TEST(RunSound, OfAPartBeginsWithThePart) {
  const Scratch scratch;
  const std::string clip = with_sound(scratch, "clip.mkv", "pcm_s16le");
  expect_success(
      run(scratch, {clip, "-o", scratch / "out.mkv", "--from", "0.4", "--to", "0:00.8"}));
  const std::string whole = sound_of(clip), part = sound_of(scratch / "out.mkv");
  const auto hash_at = [](const std::string& text, size_t line) {
    size_t at = 0;
    for (size_t i = 0; i < line; ++i) at = text.find('\n', at) + 1;
    return text.substr(text.find("data_hash", at),
                       text.find('\n', at) - text.find("data_hash", at));
  };
  // Packets of 1024 samples at 44.1 kHz: the 18th is the first that begins at 0.4 s or later.
  EXPECT_EQ(hash_at(part, 0), hash_at(whole, 18));
  const auto packets = std::count(part.begin(), part.end(), '\n');
  EXPECT_NEAR(static_cast<double>(packets), 0.4 * 44100 / 1024, 1);
  EXPECT_EQ(read_frames(scratch / "out.mkv").size(), 10U);
}

TEST(RunTimes, StayExact) {
  const Scratch scratch;
  ffmpeg("-f lavfi -i testsrc2=size=32x16:rate=30000/1001 -frames:v 9 -pix_fmt yuv420p " +
         scratch / "ntsc.mp4");
  expect_success(run(scratch, {scratch / "ntsc.mp4", "-o", scratch / "out.mp4"}));
  expect_contains(ffprobe(scratch / "out.mp4", "v", "stream=r_frame_rate"), "=30000/1001");
  write_clip(scratch / "folder", {8, 16}, 3);
  for (const char* rate : {"24000/1001", "23.976"}) {
    expect_success(
        run(scratch, {scratch / "folder", "-o", scratch / "of_folder.mp4", "--input-rate", rate}));
    expect_contains(ffprobe(scratch / "of_folder.mp4", "v", "stream=r_frame_rate"), "=24000/1001");
  }
  expect_failure(run(scratch, {scratch / "folder", "-o", scratch / "x.mp4", "--input-rate", "nan"}),
                 2, "--input-rate");
}

// Alpha 100 of 255 and the foreground's colours in each format that holds transparency.
TEST(RunRgba, HoldsColoursAndAlphaUnmultiplied) {
  const Scratch scratch;
  fs::create_directory(scratch / "flat");
  for (int i = 0; i < 4; ++i)
    write_picture(scratch / ("flat/" + std::to_string(i) + ".png"), flat({16, 32}, 10, 100, 30));
  const struct {
    const char *name, *format;
    double slack;
  } ways[] = {{"out.mov", "yuva444p12le", 2},
              {"out.webm", "yuv", 4},
              {"out.mkv", "bgra", 0},
              {"folder", "", 0}};
  for (const auto& way : ways) {
    expect_success(
        run(scratch, {scratch / "flat", "-o", scratch / way.name, "--composite", "transparent"}));
    const bool folder = way.format == std::string();
    if (!folder)
      expect_contains(ffprobe(scratch / way.name, "v", "stream=pix_fmt"),
                      std::string("=") + way.format);
    // FFmpeg's own VP9 decoder leaves the alpha out.
    const std::string decoder = way.name == std::string("out.webm") ? "-c:v libvpx-vp9 " : "";
    const std::string file = folder ? scratch / "folder/3.png" : scratch / way.name;
    ffmpeg(decoder + "-i " + file + " -update 1 -f rawvideo -pix_fmt rgba " + scratch / "raw");
    const std::string raw = read_bytes(scratch / "raw");
    ASSERT_GE(raw.size(), 32U * 16 * 4) << way.name;
    const int expected[] = {0x1e, 0x64, 0x0a, 100};
    for (size_t c = 0; c < 4; ++c)
      EXPECT_NEAR(static_cast<uint8_t>(raw[raw.size() - 4 + c]), expected[c], way.slack)
          << way.name << " " << c;
  }
  for (const char* name : {"out.mp4", "out.avi", "out.jpg"})
    expect_failure(run(scratch, {scratch / "flat", "-o", scratch / name, "--output-kind", "rgba"}),
                   2, "holds no transparency");
}

TEST(RunKinds, ForegroundShowsTheSubjectsColours) {
  const Scratch scratch;
  write_clip(scratch / "clip", {8, 16}, 2);
  expect_success(
      run(scratch, {scratch / "clip", "-o", scratch / "out", "--output-kind", "foreground"}));
  const media::Image frame = first_frame(scratch / "clip/1000.png"),
                     foreground = first_frame(scratch / "out/1000.png");
  for (size_t i = 0; i < frame.pixels.size(); ++i)
    ASSERT_EQ(foreground.pixels[i], frame.pixels[i / 3 * 3 + (2 - i % 3)]);
}

TEST(RunKinds, ThatContradictOtherOptionsAreWrongUsage) {
  const Scratch scratch;
  const std::string clip = film("clip.mp4", "testsrc2=size=32x16:rate=25", scratch);
  const struct {
    std::vector<std::string> more;
    const char* error;
  } wrong[] = {
      {{"--output-kind", "composite"}, "needs a background"},
      {{"--output-kind", "alpha", "--composite", "red"}, "shows no background"},
      {{"--output-kind", "composite", "--composite", "transparent"}, "shows no background"},
      {{"--composite", ""}, "neither a colour nor a file"},
      {{"--composite", "Gren"}, "is it green?"},
      {{"--composite", "#12345"}, "is no colour"},
      {{"--codec", "prores"}, "does not go into .mp4"},
      {{"--codec", "h265"}, "unknown"},
      {{"--quality", "0"}, "--quality"},
      {{"--quality", "nan"}, "--quality"},
      {{"--from", "1:75"}, "--from"},
      {{"--from", "nan"}, "--from"}};
  for (const auto& [more, error] : wrong) {
    std::vector<std::string> arguments = {clip, "-o", scratch / "out.mp4"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_failure(run(scratch, arguments), 2, error);
  }
  expect_failure(run(scratch, {clip, "-o", scratch / "out", "--quality", "50"}), 2,
                 "are of videos");
  expect_failure(
      run(scratch, {clip, "-o", scratch / "out.mkv", "--codec", "ffv1", "--quality", "50"}), 2,
      "ffv1 has one quality");
  EXPECT_FALSE(fs::exists(scratch / "out.mp4"));
}

TEST(RunQuality, MoreOfItIsNearerAndLarger) {
  const Scratch scratch;
  ffmpeg("-f lavfi -i testsrc2=size=128x72:rate=25 -frames:v 6 -c:v ffv1 " + scratch / "clip.mkv");
  uintmax_t last = 0;
  for (const char* quality : {"10", "60", "100"}) {
    expect_success(run(scratch, {scratch / "clip.mkv", "-o", scratch / "out.mp4", "--composite",
                                 "red", "--quality", quality}));
    EXPECT_GT(fs::file_size(scratch / "out.mp4"), last);
    last = fs::file_size(scratch / "out.mp4");
  }
}

TEST(RunPictures, OnePhotoBecomesOnePicture) {
  const Scratch scratch;
  ffmpeg("-f lavfi -i color=0x0a641e:size=48x24 -frames:v 1 " + scratch / "photo.png");
  for (const char* name : {"out.png", "out.jpg", "out.webp"}) {
    expect_success(run(scratch, {scratch / "photo.png", "-o", scratch / name}));
    const media::Image matte = first_frame(scratch / name, 1);
    EXPECT_EQ(matte.size, (ir::Size{24, 48}));
    EXPECT_NEAR(matte.pixels[100], 100, 1) << name;
  }
  const std::string clip = film("clip.mp4", "testsrc2=size=32x16:rate=25", scratch);
  expect_failure(run(scratch, {clip, "-o", scratch / "one.png"}), 1, "is one picture");
  EXPECT_FALSE(fs::exists(scratch / "one.png"));
}

// Each picture by itself: the fake network's state would show as half of the one before.
TEST(RunPictures, StillsAreMattedEachByItselfWhateverTheirSize) {
  const Scratch scratch;
  fs::create_directory(scratch / "in");
  const struct {
    const char* name;
    ir::Size size;
    uint8_t green;
  } photos[] = {{"a", {32, 64}, 200}, {"b", {40, 20}, 30}, {"c", {8, 16}, 50}};
  for (const auto& photo : photos)
    write_picture(scratch / "in/" + photo.name + ".png", flat(photo.size, 0, photo.green, 0));
  expect_failure(run(scratch, {scratch / "in", "-o", scratch / "mixed"}), 1, "--stills");
  expect_success(run(scratch, {scratch / "in", "-o", scratch / "out", "--stills"}));
  for (const auto& photo : photos) {
    const media::Image matte =
        first_frame(scratch / (std::string("out/") + photo.name + ".png"), 1);
    EXPECT_EQ(matte.size, photo.size);
    for (const uint8_t alpha : matte.pixels) ASSERT_EQ(alpha, photo.green) << photo.name;
  }
}

TEST(RunPictures, AMissingNumberIsNoted) {
  const Scratch scratch;
  write_clip(scratch / "clip", {8, 16}, 5);
  EXPECT_EQ(run(scratch, {scratch / "clip", "-o", scratch / "whole"}).err, "");
  fs::remove(scratch / "clip/1002.png");
  const CommandResult result = run(scratch, {scratch / "clip", "-o", scratch / "out"});
  expect_success(result);
  expect_contains(result.err, "1001.png is followed by 1003.png");
}

// The fake network is 2:1. Stretched to it, a square would be blurred more along one side.
TEST(RunShapes, AreFittedWithoutDistortion) {
  const Scratch scratch;
  const struct {
    ir::Size size;
    const char* better;  // in the note about padding; empty: no note
  } shapes[] = {{{160, 80}, "--size 16x16"}, {{160, 160}, "--size 16x16"}, {{130, 320}, ""}};
  for (const auto& [size, better] : shapes) {
    media::Image square = flat(size, 0, 0, 0);
    const int side = std::min(size.height, size.width) * 6 / 10;
    for (int y = (size.height - side) / 2; y < (size.height + side) / 2; ++y)
      for (int x = (size.width - side) / 2; x < (size.width + side) / 2; ++x)
        square.pixels[static_cast<size_t>((y * size.width + x) * 3 + 1)] = 255;
    write_picture(scratch / "in.png", square);
    const CommandResult result = run(scratch, {scratch / "in.png", "-o", scratch / "out.png"});
    expect_success(result);
    const media::Image matte = first_frame(scratch / "out.png", 1);
    double mass = 0, x_spread = 0, y_spread = 0;
    for (int y = 0; y < size.height; ++y)
      for (int x = 0; x < size.width; ++x) {
        const double alpha = matte.pixels[static_cast<size_t>(y * size.width + x)];
        mass += alpha;
        x_spread += alpha * std::abs(x + 0.5 - size.width / 2.0);
        y_spread += alpha * std::abs(y + 0.5 - size.height / 2.0);
      }
    EXPECT_NEAR(x_spread / y_spread, 1, 0.1) << size.width;
    EXPECT_NEAR(mass / 255 / side / side, 1, 0.1) << size.width;
    if (*better == 0)
      EXPECT_EQ(result.err, "");
    else
      expect_contains(result.err, better);
  }
}

TEST(RunShapes, CountPixelsThatAreNotSquare) {
  const Scratch scratch;
  // 60x60 pixels of 2:1 are the network's shape: no padding.
  ffmpeg("-f lavfi -i testsrc2=size=60x60:rate=25 -frames:v 2 -vf setsar=2 -pix_fmt yuv420p " +
         scratch / "in.mp4");
  const CommandResult result = run(scratch, {scratch / "in.mp4", "-o", scratch / "out.mp4"});
  expect_success(result);
  EXPECT_EQ(result.err, "");
  expect_contains(ffprobe(scratch / "out.mp4", "v", "stream=width,height,sample_aspect_ratio"),
                  "width=60\nheight=60\nsample_aspect_ratio=2:1");
}

TEST(RunOutput, DashIsRawRowsAndNothingElse) {
  const Scratch scratch;
  write_clip(scratch / "clip", {8, 16}, 3);
  const CommandResult gray = run(scratch, {scratch / "clip", "-o", "-"});
  expect_success(gray);
  EXPECT_EQ(gray.out.size(), 3U * 8 * 16);
  const CommandResult color = run(scratch, {scratch / "clip", "-o", "-", "--composite", "#010203"});
  expect_success(color);
  ASSERT_EQ(color.out.size(), 3U * 8 * 16 * 4);
  for (size_t i = 3; i < color.out.size(); i += 4)
    ASSERT_EQ(static_cast<uint8_t>(color.out[i]), 255);
  expect_success(run(scratch, {scratch / "clip", "-o", scratch / "folder"}));
  const media::Image matte = first_frame(scratch / "folder/1000.png", 1);
  EXPECT_EQ(gray.out.substr(0, 128), std::string(matte.pixels.begin(), matte.pixels.end()));
  EXPECT_FALSE(fs::exists(scratch / "-"));
  expect_contains(color.err, "3 frames");
}

// By another path, a hard or a symbolic link; as input, background or model.
TEST(RunOutput, NeverReplacesWhatItReads) {
  const Scratch scratch;
  const std::string clip = film("clip.mp4", "testsrc2=size=32x16:rate=25", scratch);
  const std::string other = film("other.mp4", "testsrc2=size=32x16:rate=25", scratch);
  const std::string before = read_bytes(clip);
  fs::create_hard_link(clip, scratch / "hard.mp4");
  fs::create_symlink("clip.mp4", scratch / "soft.mp4");
  for (const std::string& name :
       {clip, scratch.path() + "/./clip.mp4", scratch / "hard.mp4", scratch / "soft.mp4"}) {
    expect_failure(run(scratch, {clip, "-o", name}), 1, "is read by the same command");
    expect_failure(run(scratch, {other, "-o", name, "--composite", clip}), 1,
                   "is read by the same command");
  }
  write_clip(scratch / "folder", {8, 16}, 1);
  expect_failure(run(scratch, {scratch / "folder", "-o", scratch / "folder/1000.png"}), 1,
                 "is read by the same command");
  EXPECT_EQ(read_bytes(clip), before);
}

// Each green is the one before it halved, or the frame's: states reach over every boundary.
TEST(RunParts, JoinedAreTheWholeWhereTheyAreWarmedUp) {
  const Scratch scratch;
  fs::create_directory(scratch / "clip");
  for (int i = 0; i < 10; ++i) {
    media::Image image({8, 16}, 3);
    std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(i == 0 ? 255 : 0));
    write_picture(scratch / ("clip/" + std::to_string(i) + ".png"), image);
  }
  expect_success(run(scratch, {scratch / "clip", "-o", scratch / "whole"}));
  expect_success(run(scratch, {scratch / "clip", "-o", scratch / "a", "--to", "0.2"}));
  expect_success(
      run(scratch, {scratch / "clip", "-o", scratch / "b", "--from", "0.2", "--warm-up", "0.2"}));
  expect_success(run(scratch, {scratch / "clip", "-o", scratch / "cold", "--from", "0.2"}));
  for (const auto& entry : fs::directory_iterator(scratch / "whole")) {
    const std::string name = entry.path().filename().string();
    const std::string part = fs::exists(scratch / "a/" + name) ? scratch / "a/" : scratch / "b/";
    EXPECT_EQ(read_bytes(part + name), read_bytes(entry.path().string())) << name;
  }
  EXPECT_EQ(scratch.entries("a") + scratch.entries("b"), 10U);
  EXPECT_NE(read_bytes(scratch / "cold/5.png"), read_bytes(scratch / "whole/5.png"));
}

TEST(RunTurned, OutputsStandUpright) {
  const Scratch scratch;
  const std::string clip = film("clip.mp4", "testsrc2=size=64x32:rate=25", scratch);
  ffmpeg("-i " + clip + " -c copy -metadata:s:v rotate=90 " + scratch / "phone.mp4");
  expect_success(run(scratch, {scratch / "phone.mp4", "-o", scratch / "out.mp4"}));
  EXPECT_EQ(first_frame(scratch / "out.mp4").size, (ir::Size{64, 32}));
}

}  // namespace
}  // namespace mattec::tools
