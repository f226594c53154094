// A video file, through FFmpeg's libraries.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/note.h"
#include "base/staged_path.h"
#include "base/text.h"
#include "media/sink_kinds.h"
#include "media/sound.h"
#include "media/video_encoder.h"

namespace mattec::media {
namespace fs = std::filesystem;
namespace {

// Closes the file too.
struct FormatOutputFreer {
  void operator()(AVFormatContext* context) const {
    avio_closep(&context->pb);
    avformat_free_context(context);
  }
};
using FormatOutput = std::unique_ptr<AVFormatContext, FormatOutputFreer>;

const char* muxer_of(const std::string& extension) {
  static const std::map<std::string, const char*> muxers = {
      {".mp4", "mp4"}, {".mov", "mov"}, {".mkv", "matroska"}, {".webm", "webm"}, {".avi", "avi"}};
  return muxers.at(extension);
}

class VideoSink : public FrameSink {
 public:
  VideoSink(const std::string& path, const SinkOptions& options)
      : path_(path),
        extension_(lower_case(fs::path(path).extension().string())),
        codec_(find_codec(options.codec, extension_, options.channels)),
        constant_rate_(extension_ == ".avi"),
        clip_(options.clip),
        staged_(path, StagedPath::Kind::file) {
    silence_ffmpeg();
    if (options.quality && !codec_.has_quality)
      throw UsageError(
          fmt::format("--quality: {} has one quality; leave it out, or choose another "
                      "--codec",
                      codec_.name));
    require_disk_space(staged_.path(), path_);
    SinkOptions adjusted = options;
    if (constant_rate_) adjusted.clip.time_base = clip_.rate.inverse();
    open_file();
    encoder_ = std::make_unique<VideoEncoder>(path, adjusted, codec_,
                                              (format_->oformat->flags & AVFMT_GLOBALHEADER) != 0);
    note_even_size();
    add_streams(adjusted.clip);
    check(avformat_write_header(format_.get(), nullptr));
  }

  void write(const Image& image, const FrameLabel& label) override {
    constexpr int frames_between_checks = 16;
    if (frames_++ % frames_between_checks == 0) require_disk_space(staged_.path(), path_);
    FrameLabel timed = label;
    if (constant_rate_) timed = on_grid(label);
    encoder_->encode(image, timed, [this](AVPacket& packet) { mux(packet); });
    copy_sound(static_cast<double>(label.start) * clip_.time_base.value());
  }

  void finish() override {
    encoder_->finish([this](AVPacket& packet) { mux(packet); });
    copy_sound(HUGE_VAL);
    check(av_write_trailer(format_.get()));
    check(avio_closep(&format_->pb));
    require_disk_space(staged_.path(), path_);
    staged_.commit();
  }

 private:
  void open_file() {
    AVFormatContext* context = nullptr;
    avformat_alloc_output_context2(&context, nullptr, muxer_of(extension_), nullptr);
    if (context == nullptr)
      throw Error(fmt::format("{}: this FFmpeg does not write {}", path_, extension_));
    format_.reset(context);
    format_->flags |= AVFMT_FLAG_BITEXACT;  // no times and versions: the same bytes again
    check(avio_open(&format_->pb, ("file:" + staged_.path()).c_str(), AVIO_FLAG_WRITE));
  }

  void note_even_size() const {
    const ir::Size stored = encoder_->stored_size();
    if (stored != clip_.size)
      note(fmt::format("{}: {} has even sizes only; {}x{} becomes {}x{}", path_, codec_.name,
                       clip_.size.width, clip_.size.height, stored.width, stored.height));
  }

  void add_streams(const Clip& clip) {
    AVStream* stream = avformat_new_stream(format_.get(), nullptr);
    avcodec_parameters_from_context(stream->codecpar, &encoder_->context());
    stream->time_base = encoder_->context().time_base;
    stream->avg_frame_rate = av(clip.rate);
    stream->sample_aspect_ratio = av(clip.pixel_shape);
    if (!clip.sound) return;
    for (const Sound::Track& track : clip.sound->tracks()) {
      sound_streams_.push_back(-1);
      const AVCodecID id = track.parameters->codec_id;
      if (avformat_query_codec(format_->oformat, id, FF_COMPLIANCE_NORMAL) != 1) {
        note(fmt::format("{}: {} cannot hold the sound ({}); use .mkv or .mov to keep it", path_,
                         extension_, avcodec_get_name(id)));
        continue;
      }
      AVStream* sound = avformat_new_stream(format_.get(), nullptr);
      avcodec_parameters_copy(sound->codecpar, track.parameters.get());
      sound->time_base = track.time_base;
      sound_streams_.back() = sound->index;
    }
  }

  // The container counts frames, it has no times.
  FrameLabel on_grid(const FrameLabel& label) {
    const double place =
        static_cast<double>(label.start) * clip_.time_base.value() * clip_.rate.value();
    FrameLabel counted = label;
    counted.start = std::llround(place);
    counted.duration = 1;
    constexpr double slack = 0.15;  // Matroska rounds to milliseconds
    if (std::abs(place - static_cast<double>(counted.start)) > slack || counted.start <= last_)
      throw Error(
          fmt::format("{}: .avi holds frames of a constant rate alone, and frame {} comes at "
                      "another time; use .mp4, .mov or .mkv",
                      path_, frames_ - 1));
    last_ = counted.start;
    return counted;
  }

  void mux(AVPacket& packet) {
    const AVStream& stream = *format_->streams[0];
    packet.stream_index = 0;
    av_packet_rescale_ts(&packet, encoder_->context().time_base, stream.time_base);
    check(av_interleaved_write_frame(format_.get(), &packet));
  }

  void copy_sound(double until) {
    if (!clip_.sound) return;
    while (Packet packet = clip_.sound->take(until)) {
      const auto track = static_cast<size_t>(packet->stream_index);
      if (sound_streams_[track] < 0) continue;
      packet->stream_index = sound_streams_[track];
      av_packet_rescale_ts(packet.get(), clip_.sound->tracks()[track].time_base,
                           format_->streams[packet->stream_index]->time_base);
      packet->pos = -1;
      check(av_interleaved_write_frame(format_.get(), packet.get()));
    }
  }

  void check(int result) const {
    if (result < 0)
      throw Error(fmt::format("{}: could not be written: {}; nothing was kept", path_,
                              ffmpeg_text(result)));
  }

  std::string path_, extension_;
  const VideoCodec& codec_;
  bool constant_rate_;
  Clip clip_;
  StagedPath staged_;
  FormatOutput format_;
  std::unique_ptr<VideoEncoder> encoder_;
  std::vector<int> sound_streams_;  // of each track; -1: not copied
  int64_t frames_ = 0, last_ = -1;
};

}  // namespace

std::unique_ptr<FrameSink> open_video_sink(const std::string& path, const SinkOptions& options) {
  return std::make_unique<VideoSink>(path, options);
}

}  // namespace mattec::media
