// Decoded frames as upright R, G, B rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "media/ffmpeg.h"
#include "media/image.h"

namespace mattec::media {

// One of the eight ways in which a rectangle can be laid down.
struct Turn {
  bool transpose = false;                   // first
  bool mirror_x = false, mirror_y = false;  // then

  ir::Size of(ir::Size size) const { return transpose ? ir::Size{size.width, size.height} : size; }
  bool is_identity() const { return !transpose && !mirror_x && !mirror_y; }
};

// Of a display matrix (ISO/IEC 14496-12, track header). False where it is none of the eight.
bool turn_of(const int32_t matrix[9], Turn& turn);

// Obeys the frame's matrix and range; where it says nothing, ITU-R BT.709 from 720 coded rows on,
// BT.601 below, and limited range. The same bits on every processor.
class RgbConverter {
 public:
  explicit RgbConverter(std::string path) : path_(std::move(path)) {}
  // Throws Error naming the path for a matrix that R, G, B cannot be computed by.
  void convert(const AVFrame& frame, const Turn& turn, Image& image);

 private:
  void prepare(const AVFrame& frame);
  void convert_rows(const AVFrame& frame, Image& rows);

  std::string path_;
  Scaler scaler_;
  int width_ = 0, height_ = 0, format_ = -1, matrix_ = 0, range_ = 0;  // what scaler_ is for
  std::vector<uint8_t> planes_;                                        // G, B, R, rows padded
  Image flat_;                                                         // before it is turned
};

}  // namespace mattec::media
