// Videos as people's devices and programs write them: turned, in several colour matrices, with
// frames at odd times, with sound and cover art; and the same bits whatever the processor.
#include <gtest/gtest.h>
#include <sys/stat.h>

extern "C" {
#include <libavutil/cpu.h>
}

#include <thread>

#include "media/frame_sink.h"
#include "media/rgb_converter.h"
#include "media/threads.h"
#include "tests/ffmpeg.h"
#include "tests/scratch.h"

namespace mattec::media {
namespace {

// Without loss.
constexpr char lossless[] = " -pix_fmt yuv444p -c:v libx264 -qp 0 -preset ultrafast ";
constexpr char small_film[] = "-f lavfi -i testsrc2=size=64x36:rate=25 -frames:v 6 ";

void expect_same_frames(const std::string& a, const std::string& b) {
  const std::vector<ReadFrame> one = read_frames(a), two = read_frames(b);
  ASSERT_EQ(one.size(), two.size());
  ASSERT_GT(one.size(), 0U);
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].image.size, two[i].image.size) << i;
    EXPECT_EQ(one[i].image.pixels, two[i].image.pixels) << i;
  }
}

// The tag says how to turn what is stored; phones write 90 and 270.
TEST(Turned, FramesAreThoseOfThePhysicallyTurnedClip) {
  const Scratch scratch;
  const struct {
    const char *stored, *tag;  // together they show the film upright
  } ways[] = {{"transpose=2", "270"}, {"transpose=1", "90"}, {"hflip,vflip", "180"}};
  // Chroma at full size before anything turns: a filter would move it.
  const std::string full = small_film + std::string("-vf format=yuv444p");
  ffmpeg(full + lossless + scratch / "upright.mp4");
  for (const auto& way : ways) {
    ffmpeg(full + "," + way.stored + lossless + scratch / "stored.mp4");
    ffmpeg("-i " + scratch / "stored.mp4" + " -c copy -metadata:s:v rotate=" + way.tag + " " +
           scratch / "tagged.mp4");
    EXPECT_NE(read_bytes(scratch / "tagged.mp4"), read_bytes(scratch / "stored.mp4"));
    expect_same_frames(scratch / "tagged.mp4", scratch / "upright.mp4");
  }
}

// Front cameras mirror: all eight display matrices, by where they put the corners of 3 x 2 pixels.
TEST(Turned, EveryMatrixPutsTheOriginWhereItSays) {
  constexpr int32_t one = 1 << 16;
  const struct {
    int32_t a, b, c, d;
  } matrices[] = {{one, 0, 0, one}, {-one, 0, 0, one}, {one, 0, 0, -one}, {-one, 0, 0, -one},
                  {0, one, one, 0}, {0, one, -one, 0}, {0, -one, one, 0}, {0, -one, -one, 0}};
  for (const auto& m : matrices) {
    const int32_t matrix[9] = {m.a, m.b, 0, m.c, m.d, 0, 0, 0, 1 << 30};
    Turn turn;
    ASSERT_TRUE(turn_of(matrix, turn));
    // x' = a x + c y, y' = b x + d y, moved so that the picture begins at 0.
    const bool swapped = m.a == 0;
    EXPECT_EQ(turn.of({2, 3}), swapped ? (ir::Size{3, 2}) : (ir::Size{2, 3}));
    const bool x_falls = (swapped ? m.c : m.a) < 0, y_falls = (swapped ? m.b : m.d) < 0;
    EXPECT_EQ(turn.transpose, swapped);
    EXPECT_EQ(turn.mirror_x, x_falls);
    EXPECT_EQ(turn.mirror_y, y_falls);
  }
  Turn turn;
  const int32_t oblique[9] = {one, one, 0, -one, one, 0, 0, 0, 1 << 30};
  EXPECT_FALSE(turn_of(oblique, turn));
}

// Two flat halves; the pixel in the middle of each.
std::vector<int> halves_of(const std::string& path) {
  const std::vector<ReadFrame> frames = read_frames(path);
  const Image& image = frames.at(0).image;
  std::vector<int> colors;
  for (const int x : {image.size.width / 4, image.size.width * 3 / 4})
    for (size_t c = 0; c < 3; ++c)
      colors.push_back(
          image.pixels[static_cast<size_t>(image.size.height / 2 * image.size.width + x) * 3 + c]);
  return colors;
}

void expect_colors(const std::string& path, const std::vector<int>& expected) {
  const std::vector<int> colors = halves_of(path);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(colors[i], expected[i], 3) << path << " " << i;
}

std::string halves(const std::string& size, const std::string& conversion) {
  const std::string half = "size=" + size + ":rate=25:duration=0.1";
  return "-f lavfi -i color=0xE02020:" + half + " -f lavfi -i color=0x20A040:" + half +
         " -filter_complex '[0]format=gbrp[a];[1]format=gbrp[b];[a][b]hstack," + conversion +
         "' -c:v libx264 -qp 0 -preset ultrafast -frames:v 2 ";
}

// E02020 and 20A040: read with the other matrix they are off by 17 and more. The conversion that
// makes the clips is off by up to 3.
TEST(Colors, TheStreamsMatrixAndRangeAreObeyed) {
  const Scratch scratch;
  const std::vector<int> truth = {0xe0, 0x20, 0x20, 0x20, 0xa0, 0x40};
  const struct {
    const char *name, *size, *conversion, *tags;
  } ways[] = {{"hd709.mp4", "640x720", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p",
               "-colorspace bt709 -color_range tv"},
              {"untagged_hd.mp4", "640x720",
               "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p", ""},
              {"untagged_sd.mp4", "320x576",
               "scale=out_color_matrix=bt601:out_range=tv,format=yuv420p", ""},
              {"hd601.mp4", "640x720", "scale=out_color_matrix=bt601:out_range=tv,format=yuv420p",
               "-colorspace smpte170m -color_range tv"},
              {"sd709.mp4", "64x36", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p",
               "-colorspace bt709 -color_range tv"},
              {"full.mp4", "64x36", "scale=out_color_matrix=bt709:out_range=pc,format=yuv420p",
               "-colorspace bt709 -color_range pc"},
              {"bt2020.mp4", "64x36", "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10",
               "-colorspace bt2020nc -color_range tv"},
              {"rgb.mkv", "64x36", "format=gbrp", "-c:v ffv1"}};
  for (const auto& way : ways) {
    ffmpeg(halves(way.size, way.conversion) + way.tags + " " + scratch / way.name);
    expect_colors(scratch / way.name, truth);
  }
}

TEST(Colors, AMatrixThatIsNoneIsRefused) {
  const Scratch scratch;
  ffmpeg(halves("64x36", "format=yuv420p") + "-colorspace ycgco " + scratch / "odd.mp4");
  expect_contains(error_of([&] { read_frames(scratch / "odd.mp4"); }),
                  "odd.mp4: its colour matrix is ycgco");
}

SinkOptions sink_for(ir::Size size, int channels) {
  SinkOptions options;
  options.clip = Clip(size, {25, 1});
  options.channels = channels;
  return options;
}

Image two_colors(ir::Size size) {
  Image image(size, 3);
  for (int i = 0; i < size.height * size.width; ++i) {
    const bool left = i % size.width < size.width / 2;
    const uint8_t colors[2][3] = {{0x20, 0xa0, 0x40}, {0xe0, 0x20, 0x20}};
    for (int c = 0; c < 3; ++c) image.pixels[static_cast<size_t>(3 * i + c)] = colors[left][c];
  }
  return image;
}

// Each codec with its tags: what FFmpeg's own conversion and ours read must be what was written.
TEST(Colors, WhatIsWrittenIsTaggedAsItIsConverted) {
  const Scratch scratch;
  const struct {
    const char *name, *codec, *matrix, *range;
    int slack;
  } ways[] = {{"a.mp4", "h264", "bt709", "tv", 3},    {"b.mov", "prores", "bt709", "unknown", 3},
              {"c.webm", "vp9", "bt709", "tv", 3},    {"d.mkv", "ffv1", "gbr", "pc", 0},
              {"e.avi", "mjpeg", "bt470bg", "pc", 3}, {"f.mp4", "hevc", "bt709", "tv", 3}};
  for (const auto& way : ways) {
    SinkOptions options = sink_for({36, 64}, 3);
    options.codec = way.codec;
    const std::unique_ptr<FrameSink> sink = open_sink(scratch / way.name, options);
    for (int i = 0; i < 3; ++i) sink->write(two_colors({36, 64}), {"", i});
    sink->finish();
    const std::string tags = ffprobe(scratch / way.name, "v", "stream=color_space,color_range");
    expect_contains(tags, std::string("color_space=") + way.matrix);
    if (way.range != std::string("unknown"))
      expect_contains(tags, std::string("color_range=") + way.range);
    const std::vector<int> truth = {0xe0, 0x20, 0x20, 0x20, 0xa0, 0x40};
    const std::vector<int> ours = halves_of(scratch / way.name);
    ffmpeg("-i " + scratch / way.name + " -frames:v 1 -pix_fmt rgb24 " + scratch / "theirs.png");
    const std::vector<int> theirs = halves_of(scratch / "theirs.png");
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_NEAR(ours[i], truth[i], way.slack) << way.name << " " << i;
      EXPECT_NEAR(theirs[i], truth[i], way.slack + 3) << way.name << " " << i;
    }
  }
}

// MPEG-4's and JPEG's inverse transforms are not pinned by their standards, swscale's shortcuts by
// nobody.
TEST(Decoding, GivesTheSameBitsWithoutTheProcessorsVectors) {
  const Scratch scratch;
  const char* const kinds[] = {"h264.mp4 -c:v libx264 -pix_fmt yuv420p",
                               "mpeg4.avi -c:v mpeg4 -q:v 5",
                               "jpeg.avi -c:v mjpeg -q:v 5",
                               "vp9.webm -c:v libvpx-vp9 -deadline realtime",
                               "ten.mp4 -c:v libx265 -pix_fmt yuv422p10le",
                               "mpeg2.ts -c:v mpeg2video -q:v 5"};
  for (const std::string kind : kinds) {
    const size_t space = kind.find(' ');
    const std::string path = scratch / kind.substr(0, space);
    ffmpeg("-f lavfi -i testsrc2=size=162x90:rate=25 -frames:v 8 " + kind.substr(space) + " " +
           path);
    const std::vector<ReadFrame> usual = read_frames(path);
    av_force_cpu_flags(0);
    const std::vector<ReadFrame> plain = read_frames(path);
    av_force_cpu_flags(-1);
    ASSERT_EQ(usual.size(), 8U) << path;
    ASSERT_EQ(plain.size(), 8U) << path;
    for (size_t i = 0; i < 8; ++i) EXPECT_EQ(usual[i].image.pixels, plain[i].image.pixels) << path;
  }
}

// Nothing is written behind an image's rows, whatever their length.
TEST(Decoding, TakesOddSizes) {
  const Scratch scratch;
  for (const char* size : {"33:17", "1:1", "65:3", "127:129"}) {
    ffmpeg(std::string("-f lavfi -i testsrc2=rate=25:size=130x130 -frames:v 2 -vf "
                       "format=yuv444p,crop=") +
           size + " -c:v ffv1 " + scratch / "odd.mkv");
    ffmpeg("-i " + scratch / "odd.mkv" + " -pix_fmt rgb24 " + scratch / "%d.png");
    const std::vector<ReadFrame> frames = read_frames(scratch / "odd.mkv");
    ASSERT_EQ(frames.size(), 2U);
    const Image still = read_frames(scratch / "1.png").at(0).image;
    ASSERT_EQ(frames[0].image.size, still.size);
    for (size_t i = 0; i < still.pixels.size(); ++i)
      ASSERT_NEAR(frames[0].image.pixels[i], still.pixels[i], 2) << size << " " << i;
  }
}

TEST(Streams, CoverArtIsNotTheFilm) {
  const Scratch scratch;
  ffmpeg("-f lavfi -i color=red:size=40x40 -frames:v 1 " + scratch / "cover.png");
  ffmpeg("-f lavfi -i testsrc2=size=64x36:rate=25 -frames:v 6 -pix_fmt yuv420p " +
         scratch / "film.mp4");
  ffmpeg("-i " + scratch / "cover.png" + " -i " + scratch / "film.mp4" +
         " -map 0:v -map 1:v -c copy " + scratch / "still_first.mp4");
  ASSERT_NE(ffprobe(scratch / "still_first.mp4", "v", "stream=width").find("width=40"),
            std::string::npos);
  expect_same_frames(scratch / "still_first.mp4", scratch / "film.mp4");
  ffmpeg("-i " + scratch / "film.mp4" + " -i " + scratch / "cover.png" +
         " -map 0:v -map 1:v -c copy -disposition:v:1 attached_pic " + scratch / "album.mp4");
  expect_same_frames(scratch / "album.mp4", scratch / "film.mp4");
}

// A text that says "read that file" is no film, whatever it is called.
TEST(Streams, ListsThatNameOtherFilesAreNotFollowed) {
  const Scratch scratch;
  ffmpeg(small_film + scratch / "film.mp4");
  const char* const lists[] = {"ffconcat version 1.0\nfile film.mp4\n",
                               "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfilm.mp4\n",
                               "v=0\nc=IN IP4 127.0.0.1\nm=video 1234 RTP/AVP 96\n"};
  for (const char* list : lists)
    for (const char* name : {"list.mp4", "list.m3u8", "list.ffconcat", "list.sdp"}) {
      write_bytes(scratch / name, list);
      expect_contains(error_of([&] { read_frames(scratch / name); }), name);
    }
}

TEST(Streams, APipeIsReadOnce) {
  const Scratch scratch;
  ffmpeg(small_film + scratch / "film.mkv");
  ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);
  std::thread feed([&] { write_bytes(scratch / "pipe", read_bytes(scratch / "film.mkv")); });
  const std::vector<ReadFrame> piped = read_frames(scratch / "pipe"),
                               filed = read_frames(scratch / "film.mkv");
  feed.join();
  ASSERT_EQ(piped.size(), 6U);
  EXPECT_EQ(piped[5].image.pixels, filed[5].image.pixels);
}

TEST(Streams, ACameraThatIsNotThereIsOneError) {
  expect_contains(error_of([] { read_frames("/dev/video77"); }),
                  "/dev/video77: no such file or folder");
}

TEST(PixelShape, GoesFromTheClipToWhatIsMadeOfIt) {
  const Scratch scratch;
  ffmpeg(
      "-f lavfi -i testsrc2=size=256x144:rate=25 -frames:v 3 -vf scale=192:144,setsar=4/3 "
      "-pix_fmt yuv420p " +
      scratch / "wide.mp4");
  const std::unique_ptr<FrameSource> source = open_source(scratch / "wide.mp4", {});
  EXPECT_EQ(source->clip().pixel_shape, (Rational{4, 3}));
  for (const char* name : {"out.mp4", "out.mov", "out.mkv", "out.webm"}) {
    SinkOptions options;
    options.clip = source->clip();
    const std::unique_ptr<FrameSink> sink = open_sink(scratch / name, options);
    sink->write(Image(source->size(), 3), {"", 0});
    sink->finish();
    expect_contains(ffprobe(scratch / name, "v", "stream=sample_aspect_ratio"), "=4:3");
  }
  ffmpeg("-i " + scratch / "wide.mp4" + " -c copy -metadata:s:v rotate=90 " +
         scratch / "turned.mp4");
  EXPECT_EQ(open_source(scratch / "turned.mp4", {})->clip().pixel_shape, (Rational{3, 4}));
}

}  // namespace
}  // namespace mattec::media
