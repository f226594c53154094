// FFmpeg's objects with owners, for this folder's own sources.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}

#include <memory>
#include <string>

#include "media/rational.h"

namespace mattec::media {

struct FormatInputCloser {
  void operator()(AVFormatContext* context) const { avformat_close_input(&context); }
};
struct CodecCloser {
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
};
struct FrameFreer {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
struct PacketFreer {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct ParametersFreer {
  void operator()(AVCodecParameters* parameters) const { avcodec_parameters_free(&parameters); }
};
struct ScalerFreer {
  void operator()(SwsContext* context) const { sws_freeContext(context); }
};

using FormatInput = std::unique_ptr<AVFormatContext, FormatInputCloser>;
using Codec = std::unique_ptr<AVCodecContext, CodecCloser>;
using AvFrame = std::unique_ptr<AVFrame, FrameFreer>;
using Packet = std::unique_ptr<AVPacket, PacketFreer>;
using Parameters = std::unique_ptr<AVCodecParameters, ParametersFreer>;
using Scaler = std::unique_ptr<SwsContext, ScalerFreer>;

// What one of FFmpeg's negative results means.
std::string ffmpeg_text(int code);

// Its libraries chat on standard error; what matters of it becomes an Error or a note. Called
// before their first use.
void silence_ffmpeg();

// Between R, G, B and what videos hold: exact arithmetic without the shortcuts that differ from one
// processor to the next; chroma is interpolated, not repeated.
constexpr int exact_scaling =
    SWS_BILINEAR | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_ACCURATE_RND | SWS_BITEXACT;

inline AVRational av(const Rational& value) {
  return {static_cast<int>(value.num), static_cast<int>(value.den)};
}
inline Rational rational(const AVRational& value) { return {value.num, value.den}; }

}  // namespace mattec::media
