#include "media/cut_detector.h"

#include <algorithm>
#include <cstdlib>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "media/opencv_view.h"
#include "media/scale.h"

namespace mattec::media {
namespace {

constexpr ir::Size coarse_size = {54, 96}, fine_size = {108, 192};
constexpr int block = 9;  // pixels on a side
constexpr int block_pixels = block * block;
constexpr size_t remembered = 24;  // frames: a second of blinking
// Of luminance within a block: less is noise and flat colour.
constexpr int least_deviation = 4;

// Whether a block is found in another picture, and how far from its place.
struct Match {
  bool has_texture = false, found = false;
  int dx = 0, dy = 0;
};

size_t index_of(const BlockPicture& picture, int x, int y) {
  return static_cast<size_t>(y) * static_cast<size_t>(picture.pixels.size.width) +
         static_cast<size_t>(x);
}

BlockPicture picture_of(const Image& gray, ir::Size size) {
  BlockPicture made;
  scale(gray, size, made.pixels);
  made.sum.resize(made.pixels.pixels.size());
  made.variance.resize(made.pixels.pixels.size());
  cv::Mat sums, squares;  // of all pixels above and to the left
  cv::integral(view(made.pixels), sums, squares, CV_32S, CV_64F);
  for (int y = 0; y + block <= size.height; ++y)
    for (int x = 0; x + block <= size.width; ++x) {
      const auto in_block = [&](auto at) {
        return at(y + block, x + block) - at(y, x + block) - at(y + block, x) + at(y, x);
      };
      const int32_t sum = in_block([&](int v, int u) { return sums.at<int32_t>(v, u); });
      const auto square =
          static_cast<int32_t>(in_block([&](int v, int u) { return squares.at<double>(v, u); }));
      made.sum[index_of(made, x, y)] = sum;
      made.variance[index_of(made, x, y)] = block_pixels * square - sum * sum;
    }
  return made;
}

bool has_texture(const BlockPicture& picture, int x, int y) {
  return picture.variance[index_of(picture, x, y)] >
         block_pixels * block_pixels * least_deviation * least_deviation;
}

// Displacements within `reach` to the sides and half of it up and down, the nearest first.
std::vector<std::pair<int, int>> displacements(int reach) {
  std::vector<std::pair<int, int>> all;
  for (int dy = -reach / 2; dy <= reach / 2; ++dy)
    for (int dx = -reach; dx <= reach; ++dx) all.emplace_back(dx, dy);
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return std::abs(a.first) + std::abs(a.second) < std::abs(b.first) + std::abs(b.second);
  });
  return all;
}

// The block of `a` at (x, y) and that of `b` at (u, v) are correlated by more than `similarity`
// (normalised, so that exposure does not matter) and differ in contrast by less than twice.
bool is_like(const BlockPicture& a, int x, int y, const BlockPicture& b, int u, int v,
             double similarity) {
  const size_t i = index_of(a, x, y), j = index_of(b, u, v);
  const double variance_a = a.variance[i], variance_b = b.variance[j];
  if (variance_b * 4 < variance_a || variance_a * 4 < variance_b) return false;
  int32_t products = 0;
  for (int row = 0; row < block; ++row) {
    const uint8_t* const p = &a.pixels.pixels[index_of(a, x, y + row)];
    const uint8_t* const q = &b.pixels.pixels[index_of(b, u, v + row)];
    for (int column = 0; column < block; ++column) products += p[column] * q[column];
  }
  const double covariance = block_pixels * products - a.sum[i] * b.sum[j];
  return covariance > 0 &&
         covariance * covariance > similarity * similarity * variance_a * variance_b;
}

// Blocks that begin every `step` pixels.
int blocks_along(int extent, int step) { return (extent - block) / step + 1; }

// Row by row, of blocks of `picture` that begin every `step` pixels.
std::vector<Match> matches_of(const BlockPicture& picture, const BlockPicture& in, int step,
                              int reach, double similarity) {
  const std::vector<std::pair<int, int>> moves = displacements(reach);
  const ir::Size size = in.pixels.size;
  std::vector<Match> matches;
  for (int y = 0; y + block <= size.height; y += step)
    for (int x = 0; x + block <= size.width; x += step) {
      Match& match = matches.emplace_back();
      match.has_texture = has_texture(picture, x, y);
      if (!match.has_texture) continue;
      for (const auto& [dx, dy] : moves) {
        const int u = x + dx, v = y + dy;
        const bool inside = u >= 0 && v >= 0 && u + block <= size.width && v + block <= size.height;
        if (!inside || !is_like(picture, x, y, in, u, v, similarity)) continue;
        match = {true, true, dx, dy};
        break;
      }
    }
  return matches;
}

// Not black, not fog, not washed out by a flash: in those nothing can be found again.
bool shows_scene(const BlockPicture& picture) {
  constexpr int least_blocks = 6, bright = 250;
  constexpr double most_bright = 0.4;
  const std::vector<uint8_t>& pixels = picture.pixels.pixels;
  const auto brights =
      std::count_if(pixels.begin(), pixels.end(), [](uint8_t pixel) { return pixel >= bright; });
  if (static_cast<double>(brights) > most_bright * static_cast<double>(pixels.size())) return false;
  int textured = 0;
  for (int y = 0; y + block <= picture.pixels.size.height; y += block)
    for (int x = 0; x + block <= picture.pixels.size.width; x += block)
      textured += has_texture(picture, x, y);
  return textured >= least_blocks;
}

// A fifth of the picture is found, wherever a pan may have taken it: a sixth of the width away.
bool shows_same_place(const BlockPicture& picture, const BlockPicture& other) {
  constexpr double least_share = 0.2;
  constexpr int reach = 16;
  int textured = 0, found = 0;
  for (const Match& match : matches_of(picture, other, block, reach, 0.9)) {
    textured += match.has_texture;
    found += match.found;
  }
  return found >= least_share * textured;
}

// A coherent part has hardly moved, as a subject has before a background that cuts. Counted in
// windows of 5 x 5 overlapping blocks that moved alike.
bool shows_same_subject(const BlockPicture& picture, const BlockPicture& other) {
  constexpr int step = 3, reach = 3, window = 2, least_coherent = 8;
  const std::vector<Match> matches = matches_of(picture, other, step, reach, 0.95);
  const int columns = blocks_along(fine_size.width, step),
            rows = blocks_along(fine_size.height, step);
  const auto coherent = [&](int x0, int y0) {
    const Match& middle = matches[static_cast<size_t>(y0 * columns + x0)];
    int count = 0;
    for (int y = std::max(0, y0 - window); y <= std::min(rows - 1, y0 + window); ++y)
      for (int x = std::max(0, x0 - window); x <= std::min(columns - 1, x0 + window); ++x) {
        const Match& near = matches[static_cast<size_t>(y * columns + x)];
        count += middle.found && near.found && std::abs(near.dx - middle.dx) <= 1 &&
                 std::abs(near.dy - middle.dy) <= 1;
      }
    return count;
  };
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < columns; ++x)
      if (coherent(x, y) >= least_coherent) return true;
  return false;
}

// Plain walls and blurred floors hold nothing that a pan could be followed by; their colours stay.
bool have_same_colors(const ColorCounts& a, const ColorCounts& b) {
  constexpr int32_t pixels = fine_size.height * fine_size.width;
  constexpr double most_common = 0.5;
  int32_t common = 0;
  for (size_t i = 0; i < a.size(); ++i) common += std::min(a[i], b[i]);
  return common > most_common * pixels;
}

ColorCounts colors_of(const Image& rgb) {
  ColorCounts colors = {};
  for (size_t i = 0; i + 2 < rgb.pixels.size(); i += 3)
    ++colors[static_cast<size_t>(rgb.pixels[i] >> 5 << 6 | rgb.pixels[i + 1] >> 5 << 3 |
                                 rgb.pixels[i + 2] >> 5)];
  return colors;
}

}  // namespace

CutDetector::Thumbnail CutDetector::thumbnail_of(const Image& frame) {
  Image small, gray;
  scale(frame, fine_size, small);
  to_luminance(small, gray);
  return {picture_of(gray, coarse_size), picture_of(gray, fine_size), colors_of(small)};
}

bool CutDetector::is_cut(const Thumbnail& frame, const Thumbnail& after) const {
  if (seen_.empty()) return false;
  const auto is_known = [this](const Thumbnail& thumbnail) {
    return std::any_of(seen_.begin(), seen_.end(), [&thumbnail](const Thumbnail& before) {
      return have_same_colors(thumbnail.colors, before.colors) ||
             shows_same_place(thumbnail.coarse, before.coarse);
    });
  };
  return !is_known(frame) && !is_known(after) && shows_same_place(after.coarse, frame.coarse) &&
         !shows_same_subject(frame.fine, seen_.front().fine);
}

bool CutDetector::previous_begins_scene(const Image& next) {
  Thumbnail thumbnail = thumbnail_of(next);
  if (!shows_scene(thumbnail.coarse)) {
    seen_.clear();
    pending_.reset();
    return false;
  }
  bool cut = false;
  if (pending_) {
    cut = is_cut(*pending_, thumbnail);
    if (cut) seen_.clear();
    seen_.push_front(std::move(*pending_));
    if (seen_.size() > remembered) seen_.pop_back();
  }
  pending_ = std::move(thumbnail);
  return cut;
}

}  // namespace mattec::media
