#include "media/rgb_converter.h"

#include <fmt/core.h>

extern "C" {
#include <libavutil/pixdesc.h>
}

#include <opencv2/core.hpp>

#include "base/error.h"
#include "media/opencv_view.h"

namespace mattec::media {
namespace {

constexpr int first_hd_row_count = 720;

// Its coefficients as swscale takes them; null for a matrix that is no matrix of R'G'B'.
const int* coefficients(int matrix) {
  switch (matrix) {
    case AVCOL_SPC_BT709:
    case AVCOL_SPC_FCC:
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
    case AVCOL_SPC_SMPTE240M:
    case AVCOL_SPC_BT2020_NCL:
      return sws_getCoefficients(matrix);  // the codes are the same
    default:
      return nullptr;
  }
}

// Formats that mean full range by their name, an old custom of FFmpeg's.
AVPixelFormat plain_format(AVPixelFormat format, int& range) {
  const auto full = [&range](AVPixelFormat plain) {
    range = AVCOL_RANGE_JPEG;
    return plain;
  };
  switch (format) {
    case AV_PIX_FMT_YUVJ420P:
      return full(AV_PIX_FMT_YUV420P);
    case AV_PIX_FMT_YUVJ422P:
      return full(AV_PIX_FMT_YUV422P);
    case AV_PIX_FMT_YUVJ444P:
      return full(AV_PIX_FMT_YUV444P);
    case AV_PIX_FMT_YUVJ440P:
      return full(AV_PIX_FMT_YUV440P);
    case AV_PIX_FMT_YUVJ411P:
      return full(AV_PIX_FMT_YUV411P);
    default:
      return format;
  }
}

}  // namespace

bool turn_of(const int32_t matrix[9], Turn& turn) {
  // x' = a x + c y, y' = b x + d y, in 16.16 fixed point.
  const int32_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
  if (b == 0 && c == 0 && a != 0 && d != 0)
    turn = {false, a < 0, d < 0};
  else if (a == 0 && d == 0 && b != 0 && c != 0)
    turn = {true, c < 0, b < 0};
  else
    return false;
  return true;
}

void RgbConverter::prepare(const AVFrame& frame) {
  int range = frame.color_range;
  const auto given = static_cast<AVPixelFormat>(frame.format);
  const AVPixelFormat format = plain_format(given, range);
  int matrix = frame.colorspace;
  if (matrix == AVCOL_SPC_UNSPECIFIED)
    matrix = frame.height >= first_hd_row_count ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
  if (scaler_ && width_ == frame.width && height_ == frame.height && format_ == format &&
      matrix_ == matrix && range_ == range)
    return;
  const AVPixFmtDescriptor* described = av_pix_fmt_desc_get(format);
  const bool is_rgb = described != nullptr && (described->flags & AV_PIX_FMT_FLAG_RGB) != 0;
  if (described == nullptr || sws_isSupportedInput(format) == 0)
    throw Error(fmt::format("{}: its pixels are {}, which cannot be read; convert it first", path_,
                            described != nullptr ? described->name : "of an unknown kind"));
  const int* const weights = is_rgb ? sws_getCoefficients(SWS_CS_DEFAULT) : coefficients(matrix);
  if (weights == nullptr) {
    const char* name = av_color_space_name(static_cast<AVColorSpace>(matrix));
    throw Error(
        fmt::format("{}: its colour matrix is {}, which is not supported; convert it to "
                    "bt709 first",
                    path_, name != nullptr ? name : "unknown"));
  }
  scaler_.reset(sws_getContext(frame.width, frame.height, format, frame.width, frame.height,
                               AV_PIX_FMT_GBRP, exact_scaling, nullptr, nullptr, nullptr));
  if (!scaler_) throw Error(path_ + ": its pixels cannot be converted to RGB");
  const int one = 1 << 16;
  sws_setColorspaceDetails(scaler_.get(), weights, range == AVCOL_RANGE_JPEG || is_rgb ? 1 : 0,
                           sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, one, one);
  width_ = frame.width;
  height_ = frame.height;
  format_ = format;
  matrix_ = matrix;
  range_ = range;
}

// By planes: swscale's way from 4:2:0 to planes takes 5 ms of a 1080p frame, to interleaved pixels
// 34 ms (one Xeon core with AVX2, the exact flags); to interleave them takes less than one.
void RgbConverter::convert_rows(const AVFrame& frame, Image& rows) {
  constexpr int alignment = 64;  // vectors may write behind a row's end
  const int stride = (frame.width + alignment - 1) / alignment * alignment;
  const auto plane_bytes = static_cast<size_t>(stride) * static_cast<size_t>(frame.height);
  planes_.resize(3 * plane_bytes + alignment);
  uint8_t* const planes[] = {&planes_[0], &planes_[plane_bytes], &planes_[2 * plane_bytes],
                             nullptr};
  const int strides[] = {stride, stride, stride, 0};
  sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height, planes, strides);
  rows.reset({frame.height, frame.width}, 3);
  const auto plane = [&](int index) {
    return cv::Mat(frame.height, frame.width, CV_8UC1, planes[index], static_cast<size_t>(stride));
  };
  const cv::Mat red_green_blue[] = {plane(2), plane(0), plane(1)};
  cv::Mat target = view(rows);
  cv::merge(red_green_blue, 3, target);
}

void RgbConverter::convert(const AVFrame& frame, const Turn& turn, Image& image) {
  prepare(frame);
  if (turn.is_identity()) return convert_rows(frame, image);
  convert_rows(frame, flat_);
  image.reset(turn.of(flat_.size), 3);
  cv::Mat upright = view(image);
  if (turn.transpose)
    cv::transpose(view(flat_), upright);
  else
    view(flat_).copyTo(upright);
  // OpenCV's codes: 0 = upside down, 1 = left to right, -1 = both.
  if (turn.mirror_x || turn.mirror_y)
    cv::flip(upright, upright, turn.mirror_x ? (turn.mirror_y ? -1 : 1) : 0);
}

}  // namespace mattec::media
