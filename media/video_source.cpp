// A video as a clip, through FFmpeg's libraries.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/note.h"
#include "base/text.h"
#include "media/opencv_view.h"
#include "media/rgb_converter.h"
#include "media/source_kinds.h"
#include "media/video_input.h"

namespace mattec::media {
namespace {

constexpr int64_t most_pixels = int64_t{1} << 27;  // of a frame: 400 MB as RGB

class VideoSource : public FrameSource {
 public:
  VideoSource(const std::string& path, const SourceOptions& options)
      : path_(path), converter_(path), channels_(options.channels) {
    if (options.sound) clip_.sound = std::make_shared<Sound>();
    open();
    turn_ = input_->turn();
    describe();
  }

  bool next(Image& frame) override {
    stop_if_interrupted();
    AvFrame decoded = ahead_ ? std::move(ahead_) : decode();
    if (!decoded) {
      report_damage();
      return false;
    }
    const ir::Size size = turn_.of({decoded->height, decoded->width});
    if (size != clip_.size)
      throw Error(fmt::format(
          "{}: frame {} is {}x{}, the first one {}x{}; the frames of a clip "
          "must have one size",
          path_, frames_, size.width, size.height, clip_.size.width, clip_.size.height));
    damaged_ += (decoded->flags & AV_FRAME_FLAG_CORRUPT) != 0 || decoded->decode_error_flags != 0;
    converter_.convert(*decoded, turn_, channels_ == 1 ? color_ : frame);
    if (channels_ == 1) to_luminance(color_, frame);
    set_label(*decoded);
    return true;
  }

  void cancel() override { input_->cancel(); }

  void seek(double seconds) override {
    bool has_moved = frames_ > 0;
    // Where a file has no index, what is found may lie behind the moment: then further ahead.
    for (const double back : {0.0, 2.0, 10.0, 60.0}) {
      if (seconds <= back || !input_->seek(seconds - back)) break;
      has_moved = true;
      avcodec_flush_buffers(codec_.get());
      ended_ = false;
      ahead_ = decode();
      if (ahead_ && time_of(*ahead_) <= seconds) return pass_to(seconds);
    }
    if (has_moved) open();  // from the beginning
    pass_to(seconds);
  }

 private:
  // At the beginning, the first frame read: it tells the size.
  void open() {
    input_ = std::make_unique<VideoInput>(path_);
    open_codec();
    if (clip_.sound) input_->keep_sound(clip_.sound);
    ended_ = false;
    ahead_ = decode();
    if (!ahead_) throw Error(path_ + ": no video frame can be read from it; it is damaged");
  }

  void open_codec() {
    const AVCodecParameters& parameters = *input_->stream().codecpar;
    const AVCodec* const decoder = avcodec_find_decoder(parameters.codec_id);
    if (decoder == nullptr)
      throw Error(fmt::format("{}: its video is {}, which this FFmpeg cannot decode", path_,
                              avcodec_get_name(parameters.codec_id)));
    codec_.reset(avcodec_alloc_context3(decoder));
    avcodec_parameters_to_context(codec_.get(), &parameters);
    codec_->pkt_timebase = input_->stream().time_base;
    codec_->thread_count = 0;  // as many as there are processors
    // The same bits on every processor, of MPEG-4 and JPEG too, whose standards leave the inverse
    // transform's rounding open.
    codec_->flags |= AV_CODEC_FLAG_BITEXACT;
    codec_->idct_algo = FF_IDCT_SIMPLE;
    codec_->max_pixels = most_pixels;
    const int result = avcodec_open2(codec_.get(), decoder, nullptr);
    if (result < 0)
      throw Error(fmt::format("{}: its video ({}) cannot be decoded: {}", path_, decoder->name,
                              ffmpeg_text(result)));
  }

  // The next frame that is to be shown; null after the last one.
  AvFrame decode() {
    AvFrame frame(av_frame_alloc());
    for (;;) {
      const int result = avcodec_receive_frame(codec_.get(), frame.get());
      if (result == 0) return frame;
      if (result == AVERROR_EOF) return nullptr;
      if (result != AVERROR(EAGAIN)) {
        require_memory(result);
        ++damaged_;
        continue;
      }
      const bool has_packet = !ended_ && input_->packet(*packet_);
      ended_ = ended_ || !has_packet;
      const int sent = avcodec_send_packet(codec_.get(), has_packet ? packet_.get() : nullptr);
      if (sent < 0 && sent != AVERROR_EOF) {
        require_memory(sent);
        ++damaged_;
      }
    }
  }

  void require_memory(int result) const {
    if (result == AVERROR(ENOMEM)) throw Error(path_ + ": there is not enough memory");
  }

  void describe() {
    AVStream& stream = input_->stream();
    clip_.size = turn_.of({ahead_->height, ahead_->width});
    const AVRational rate = av_guess_frame_rate(&input_->format(), &stream, nullptr);
    const bool known = rate.num > 0 && rate.den > 0 && av_q2d(rate) <= 1000;
    if (known) clip_.rate = rational(rate);
    clip_.time_base = rational(stream.time_base);
    AVRational shape = av_guess_sample_aspect_ratio(&input_->format(), &stream, ahead_.get());
    if (shape.num <= 0 || shape.den <= 0) shape = {1, 1};
    clip_.pixel_shape = turn_.transpose ? rational(shape).inverse() : rational(shape);
    const int64_t duration = input_->format().duration;
    if (stream.nb_frames > 0)
      clip_.expected_frames = stream.nb_frames;
    else if (duration > 0)
      clip_.expected_frames =
          std::llround(static_cast<double>(duration) / AV_TIME_BASE * clip_.rate.value());
    clip_.is_live = input_->is_live();
    clip_.colors = {ahead_->color_primaries, ahead_->color_trc};
    note_hdr();
  }

  void note_hdr() const {
    if (ahead_->color_trc != AVCOL_TRC_SMPTE2084 && ahead_->color_trc != AVCOL_TRC_ARIB_STD_B67)
      return;
    note(
        fmt::format("{}: is HDR ({}), which the network has not seen; convert it to SDR "
                    "for a better matte",
                    path_, ahead_->color_trc == AVCOL_TRC_SMPTE2084 ? "PQ" : "HLG"));
  }

  double time_of(const AVFrame& frame) const {
    const AVRational base = input_->stream().time_base;
    if (frame.best_effort_timestamp == AV_NOPTS_VALUE) return 0;
    return static_cast<double>(frame.best_effort_timestamp - input_->start(base)) * av_q2d(base);
  }

  int64_t ticks_of_frame() const {
    return std::max<int64_t>(1, std::llround(1 / (clip_.rate.value() * clip_.time_base.value())));
  }

  // Frames without a time, or not after the one before, follow at the clip's rate.
  void set_label(const AVFrame& frame) {
    const AVRational base = input_->stream().time_base;
    const bool is_first = frames_ == 0;
    int64_t start = is_first ? 0 : label_.start + ticks_of_frame();
    if (frame.best_effort_timestamp != AV_NOPTS_VALUE) {
      const int64_t said = frame.best_effort_timestamp - input_->start(base);
      if (is_first || said > label_.start) start = said;
    }
    label_.start = start;
    label_.duration = frame.pkt_duration > 0 ? frame.pkt_duration : ticks_of_frame();
    if (is_first && has_moved_)
      number_ =
          std::llround(static_cast<double>(start) * clip_.time_base.value() * clip_.rate.value());
    label_.name = fmt::format("{:06}", number_++);
    ++frames_;
  }

  void pass_to(double seconds) {
    has_moved_ = true;
    frames_ = 0;
    while (ahead_ && time_of(*ahead_) < seconds - clip_.slack()) {
      stop_if_interrupted();
      ahead_ = decode();
    }
    if (!ahead_) ended_ = true;
  }

  void report_damage() {
    if (damaged_ > 0)
      note(
          fmt::format("{}: {} of its frames are damaged; what could be decoded of them was "
                      "used",
                      path_, damaged_));
    damaged_ = 0;
  }

  std::string path_;
  std::unique_ptr<VideoInput> input_;
  RgbConverter converter_;
  int channels_;
  Turn turn_;
  Codec codec_;
  Packet packet_{av_packet_alloc()};
  AvFrame ahead_;
  Image color_;
  bool ended_ = false, has_moved_ = false;
  int64_t frames_ = 0, number_ = 0, damaged_ = 0;
};

}  // namespace

std::unique_ptr<FrameSource> open_video(const std::string& path, const SourceOptions& options) {
  return std::make_unique<VideoSource>(path, options);
}

}  // namespace mattec::media
