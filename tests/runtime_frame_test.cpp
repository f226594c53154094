// The caller's images and the borders of stored tensors, byte by byte.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "tests/runtime_network.h"

namespace mattec::test {
namespace {

// Pixels of one image whose last byte (`at_end`), or whose first, lies at the edge of the mapped
// memory: one byte too far is a crash.
class EdgeImage {
 public:
  EdgeImage(int width, int height, mattec_format format, int gap, bool upside_down, bool at_end) {
    const int pixel = format == MATTEC_GRAY                            ? 1
                      : format == MATTEC_RGBA || format == MATTEC_BGRA ? 4
                                                                       : 3;
    row_bytes = pixel * width;
    stride = row_bytes + gap;
    size = static_cast<size_t>(stride) * (height - 1) + row_bytes;  // no gap behind the last row
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    mapped_ = (size + page - 1) / page * page + 2 * page;
    map_ = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    auto* inside = static_cast<uint8_t*>(map_) + page;
    mprotect(inside, mapped_ - 2 * page, PROT_READ | PROT_WRITE);
    bytes = at_end ? inside + mapped_ - 2 * page - size : inside;
    std::memset(bytes, 0xEE, size);
    image = {bytes, width, height, stride, format};
    if (upside_down) {
      image.pixels = bytes + static_cast<ptrdiff_t>(stride) * (height - 1);
      image.stride = -stride;
    }
  }
  ~EdgeImage() { munmap(map_, mapped_); }
  EdgeImage(const EdgeImage&) = delete;
  EdgeImage& operator=(const EdgeImage&) = delete;

  uint8_t* pixel(int y, int x) const {
    return image.pixels + y * image.stride + static_cast<ptrdiff_t>(x) * (row_bytes / image.width);
  }
  // Bytes between the rows that are no longer 0xEE.
  int touched_gaps() const {
    int count = 0;
    for (size_t i = 0; i < size; ++i)
      count += static_cast<int>(i) % stride >= row_bytes && bytes[i] != 0xEE;
    return count;
  }

  mattec_image image = {};
  uint8_t* bytes = nullptr;
  size_t size = 0;
  int row_bytes = 0, stride = 0;

 private:
  void* map_ = nullptr;
  size_t mapped_ = 0;
};

struct Layout {
  mattec_format format;
  int gap;
  bool upside_down, at_end;
};

std::vector<Layout> all_layouts() {
  std::vector<Layout> layouts;
  for (mattec_format format : {MATTEC_RGB, MATTEC_BGR, MATTEC_RGBA, MATTEC_BGRA})
    for (int gap : {0, 7})
      for (bool upside_down : {false, true})
        for (bool at_end : {false, true}) layouts.push_back({format, gap, upside_down, at_end});
  return layouts;
}

int position(mattec_format format, int channel) {
  return format == MATTEC_BGR || format == MATTEC_BGRA ? 2 - channel : channel;
}

// Sizes with one pixel, one row, one column, and several strips of rows (over 16384 pixels).
const std::vector<std::pair<int, int>> sizes = {{1, 1}, {1, 5}, {7, 1}, {19, 11}, {300, 120}};

mattec_session* start(HandMadeNetwork& network) {
  mattec_session* session = nullptr;
  EXPECT_EQ(mattec_init(network.model(), network.arena,
                        static_cast<size_t>(network.plan.arena_bytes), nullptr, &session),
            MATTEC_OK);
  return session;
}

TEST(Frame, EveryLayoutGivesTheSameMatte) {
  for (const auto& [width, height] : sizes) {
    HandMadeNetwork network(width, height, 3);
    mattec_session* session = start(network);
    const std::vector<uint8_t> picture = noise_picture(width, height, 5);
    PlainNetwork plain(width, height);
    plain.step(picture);
    for (const Layout& layout : all_layouts()) {
      const EdgeImage frame(width, height, layout.format, layout.gap, layout.upside_down,
                            layout.at_end);
      for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
          for (int c = 0; c < 3; ++c)
            frame.pixel(y, x)[position(layout.format, c)] =
                picture[(static_cast<size_t>(y) * width + x) * 3 + c];
      const std::vector<uint8_t> before(frame.bytes, frame.bytes + frame.size);
      const EdgeImage alpha(width, height, MATTEC_GRAY, layout.gap, layout.upside_down,
                            layout.at_end);
      const mattec_outputs outputs = {alpha.image, {}};
      mattec_reset(session);
      ASSERT_EQ(mattec_step(session, &frame.image, nullptr, &outputs), MATTEC_OK);
      for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
          ASSERT_EQ(*alpha.pixel(y, x), plain.alpha[static_cast<size_t>(y) * width + x])
              << width << "x" << height << " format " << layout.format << " at " << x << "," << y;
      EXPECT_EQ(alpha.touched_gaps(), 0);
      EXPECT_TRUE(std::equal(before.begin(), before.end(), frame.bytes)) << "the frame was changed";
    }
  }
}

TEST(Frame, ForegroundInEveryLayout) {
  for (const auto& [width, height] : sizes) {
    HandMadeNetwork network(width, height, 3);
    mattec_session* session = start(network);
    std::vector<uint8_t> picture = noise_picture(width, height, 6);
    PlainNetwork plain(width, height);
    plain.step(picture);
    const mattec_image frame = rgb_image(picture, width, height);
    for (const Layout& layout : all_layouts()) {
      const EdgeImage out(width, height, layout.format, layout.gap, layout.upside_down,
                          layout.at_end);
      const mattec_outputs outputs = {{}, out.image};
      mattec_reset(session);
      ASSERT_EQ(mattec_step(session, &frame, nullptr, &outputs), MATTEC_OK);
      const bool has_alpha = layout.format == MATTEC_RGBA || layout.format == MATTEC_BGRA;
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          const size_t index = static_cast<size_t>(y) * width + x;
          for (int c = 0; c < 3; ++c)
            ASSERT_EQ(out.pixel(y, x)[position(layout.format, c)], plain.foreground[index * 3 + c])
                << width << "x" << height << " format " << layout.format << " at " << x << "," << y;
          if (has_alpha) {
            ASSERT_EQ(out.pixel(y, x)[3], plain.alpha[index]);
          }
        }
      }
      EXPECT_EQ(out.touched_gaps(), 0);
    }
  }
}

TEST(Frame, OutputMayReplaceTheFrame) {
  HandMadeNetwork network(33, 9, 2);
  mattec_session* session = start(network);
  std::vector<uint8_t> picture = noise_picture(33, 9, 7);
  PlainNetwork plain(33, 9);
  plain.step(picture);
  const mattec_image frame = rgb_image(picture, 33, 9);
  const mattec_outputs outputs = {{}, frame};
  ASSERT_EQ(mattec_step(session, &frame, nullptr, &outputs), MATTEC_OK);
  EXPECT_EQ(picture, plain.foreground);
}

// Every byte around a tensor's interior: the pattern in the halo, untouched poison outside it.
void expect_border(const HandMadeNetwork& network, const mattec_halo& tensor) {
  const uint8_t* pattern = network.constants.data() + tensor.pattern;
  const int64_t h = tensor.halo;
  for (int64_t y = -h; y < tensor.height + h; ++y) {
    const uint8_t* row = network.at(tensor.offset + y * tensor.row_bytes);
    for (int64_t x = -h; x < tensor.width + h; ++x) {
      if (y >= 0 && y < tensor.height && x >= 0 && x < tensor.width) continue;
      ASSERT_EQ(std::memcmp(row + x * tensor.pixel_bytes, pattern,
                            static_cast<size_t>(tensor.pixel_bytes)),
                0)
          << "pixel " << x << "," << y << " of halo " << h;
    }
    const uint8_t* outside = row + (tensor.width + h) * tensor.pixel_bytes;
    for (int i = 0; i < 5; ++i) ASSERT_EQ(outside[i], 0xCD) << "behind row " << y;
  }
  EXPECT_EQ(*network.at(tensor.offset - h * tensor.row_bytes - h * tensor.pixel_bytes - 1), 0xCD);
}

TEST(Halo, IsFilledExactlyWhateverTheSplit) {
  const int width = 17, height = 10;
  for (int rows_per_task : {1, 3, 5, 9, 10, 100}) {
    HandMadeNetwork network(width, height, rows_per_task);
    mattec_session* session = start(network);
    std::vector<uint8_t> picture = noise_picture(width, height, 8), alpha;
    const mattec_image frame = rgb_image(picture, width, height);
    const mattec_outputs outputs = {gray_image(alpha, width, height), {}};
    ASSERT_EQ(mattec_step(session, &frame, nullptr, &outputs), MATTEC_OK);
    for (const mattec_frame_record& record : network.frames) expect_border(network, record.halo);
    expect_border(network, network.mixed);
    expect_border(network, network.colors);
  }
}

TEST(Frame, StoredCopiesHoldRgb0) {
  const int width = 300, height = 120;  // several strips
  HandMadeNetwork network(width, height, 50);
  mattec_session* session = start(network);
  std::vector<uint8_t> picture = noise_picture(width, height, 9);
  const mattec_image frame = rgb_image(picture, width, height);
  const mattec_outputs outputs = {};
  ASSERT_EQ(mattec_step(session, &frame, nullptr, &outputs), MATTEC_OK);
  for (const mattec_frame_record& record : network.frames) {
    expect_border(network, record.halo);
    for (int y = 0; y < height; ++y) {
      const uint8_t* row = network.at(record.halo.offset + y * record.halo.row_bytes);
      for (int x = 0; x < width; ++x) {
        const uint8_t* rgb = &picture[(static_cast<size_t>(y) * width + x) * 3];
        const uint8_t expected[4] = {rgb[0], rgb[1], rgb[2], 0};
        ASSERT_EQ(std::memcmp(row + static_cast<ptrdiff_t>(4) * x, expected, 4), 0);
      }
    }
  }
}

}  // namespace
}  // namespace mattec::test
