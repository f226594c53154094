#include "media/video_encoder.h"

#include <fmt/core.h>

#include <opencv2/core.hpp>

extern "C" {
#include <libavutil/opt.h>
}

#include "base/error.h"
#include "media/opencv_view.h"

namespace mattec::media {
namespace {

constexpr int default_quality = 75;

AVPixelFormat format_of_image(int channels) {
  return channels == 1 ? AV_PIX_FMT_GRAY8 : channels == 3 ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_RGBA;
}

const AVCodec* find_encoder(const VideoCodec& codec) {
  for (const std::string& name : codec.encoders)
    if (const AVCodec* encoder = avcodec_find_encoder_by_name(name.c_str())) return encoder;
  throw Error(fmt::format("--codec {}: this FFmpeg was built without {}; use another codec",
                          codec.name, codec.encoders.front()));
}

// JPEG's scale, 1 best to 31, from 100 to 1.
int jpeg_scale(int quality) { return 2 + (100 - quality) / 10; }

}  // namespace

VideoEncoder::VideoEncoder(const std::string& path, const SinkOptions& options,
                           const VideoCodec& codec, bool global_header)
    : path_(path), codec_(codec), channels_(options.channels), size_(options.clip.size) {
  if (codec.even_sizes) size_ = {(size_.height + 1) & ~1, (size_.width + 1) & ~1};
  open(find_encoder(codec), options, global_header);
  frame_.reset(av_frame_alloc());
  packet_.reset(av_packet_alloc());
  prepare_scaler();
}

void VideoEncoder::open(const AVCodec* encoder, const SinkOptions& options, bool global_header) {
  context_.reset(avcodec_alloc_context3(encoder));
  context_->width = size_.width;
  context_->height = size_.height;
  context_->pix_fmt = codec_.format_for(channels_);
  context_->time_base = av(options.clip.time_base);
  context_->framerate = av(options.clip.rate);
  context_->sample_aspect_ratio = av(options.clip.pixel_shape);
  context_->thread_count = 0;  // as many as there are processors
  context_->flags |= AV_CODEC_FLAG_BITEXACT;
  if (global_header) context_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  set_colors(channels_ == 1 ? ColorTags{} : options.clip.colors);
  const int quality = options.quality.value_or(default_quality);
  if (codec_.name == "mjpeg") {
    context_->flags |= AV_CODEC_FLAG_QSCALE;
    context_->global_quality = FF_QP2LAMBDA * jpeg_scale(quality);
  }
  for (const auto& [name, value] : encoder_options(codec_, quality, channels_))
    av_opt_set(context_.get(), name.c_str(), value.c_str(), AV_OPT_SEARCH_CHILDREN);
  const int result = avcodec_open2(context_.get(), encoder, nullptr);
  if (result < 0)
    throw Error(
        fmt::format("{}: a {}x{} video cannot be encoded as {} ({}); use another --codec, "
                    "or name a folder to get images",
                    path_, size_.width, size_.height, codec_.name, ffmpeg_text(result)));
}

void VideoEncoder::set_colors(const ColorTags& colors) {
  const auto or_bt709 = [](int code) { return code == AVCOL_PRI_UNSPECIFIED ? 1 : code; };
  context_->color_primaries = static_cast<AVColorPrimaries>(or_bt709(colors.primaries));
  context_->color_trc = static_cast<AVColorTransferCharacteristic>(or_bt709(colors.transfer));
  context_->colorspace = codec_.pixels == Pixels::limited ? AVCOL_SPC_BT709
                         : codec_.pixels == Pixels::jpeg  ? AVCOL_SPC_BT470BG
                                                          : AVCOL_SPC_RGB;
  context_->color_range = codec_.pixels == Pixels::limited ? AVCOL_RANGE_MPEG : AVCOL_RANGE_JPEG;
}

void VideoEncoder::prepare_scaler() {
  AVPixelFormat format = context_->pix_fmt;
  if (format == AV_PIX_FMT_YUVJ420P) format = AV_PIX_FMT_YUV420P;
  scaler_.reset(sws_getContext(size_.width, size_.height, format_of_image(channels_), size_.width,
                               size_.height, format, exact_scaling, nullptr, nullptr, nullptr));
  if (!scaler_) throw Error(path_ + ": its images cannot be converted for the codec");
  const int* const weights =
      sws_getCoefficients(codec_.pixels == Pixels::jpeg ? SWS_CS_ITU601 : SWS_CS_ITU709);
  const int one = 1 << 16;
  sws_setColorspaceDetails(scaler_.get(), weights, 1, weights,
                           codec_.pixels == Pixels::limited ? 0 : 1, 0, one, one);
}

void VideoEncoder::fail(int code) const {
  throw Error(
      fmt::format("{}: could not be encoded: {}; nothing was kept", path_, ffmpeg_text(code)));
}

void VideoEncoder::encode(const Image& image, const FrameLabel& label, const Give& give) {
  const Image* whole = &image;
  if (image.size != size_) {
    bordered_.reset(size_, channels_);
    cv::Mat target = view(bordered_);
    cv::copyMakeBorder(view(image), target, 0, size_.height - image.size.height, 0,
                       size_.width - image.size.width, cv::BORDER_REPLICATE);
    whole = &bordered_;
  }
  av_frame_unref(frame_.get());  // the codec may still hold the last one's memory
  frame_->format = context_->pix_fmt;
  frame_->width = size_.width;
  frame_->height = size_.height;
  frame_->color_range = context_->color_range;
  frame_->colorspace = context_->colorspace;
  frame_->color_primaries = context_->color_primaries;
  frame_->color_trc = context_->color_trc;
  frame_->sample_aspect_ratio = context_->sample_aspect_ratio;
  int result = av_frame_get_buffer(frame_.get(), 0);
  if (result < 0) fail(result);
  const uint8_t* const rows[] = {whole->pixels.data(), nullptr, nullptr, nullptr};
  const int stride[] = {size_.width * channels_, 0, 0, 0};
  sws_scale(scaler_.get(), rows, stride, 0, size_.height, frame_->data, frame_->linesize);
  frame_->pts = label.start;
  frame_->pkt_duration = label.duration;
  result = avcodec_send_frame(context_.get(), frame_.get());
  if (result < 0) fail(result);
  drain(give);
}

void VideoEncoder::finish(const Give& give) {
  const int result = avcodec_send_frame(context_.get(), nullptr);
  if (result < 0) fail(result);
  drain(give);
}

void VideoEncoder::drain(const Give& give) {
  for (;;) {
    const int result = avcodec_receive_packet(context_.get(), packet_.get());
    if (result == AVERROR(EAGAIN) || result == AVERROR_EOF) return;
    if (result < 0) fail(result);
    give(*packet_);
  }
}

}  // namespace mattec::media
