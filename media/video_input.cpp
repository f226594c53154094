#include "media/video_input.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <thread>

extern "C" {
#include <libavutil/display.h>
}

#include "base/error.h"
#include "base/interrupt.h"
#include "base/note.h"
#include "base/text.h"
#include "media/container.h"

namespace mattec::media {
namespace {

// Containers of films. Others that FFmpeg probes for are lists that make it open further files and
// addresses (HLS, concat, SDP), or texts and programs that it draws as pictures.
constexpr char file_formats[] =
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,nut,ivf,h264,hevc,m4v,mpegvideo,mjpeg,"
    "yuv4mpegpipe,dv,rm,wtv,gif";

bool is_regular(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

int is_to_stop(void* cancelled) {
  return is_interrupted() || *static_cast<const std::atomic<bool>*>(cancelled) ? 1 : 0;
}

// Options that are left over after use belong to the caller.
struct Dictionary {
  AVDictionary* entries = nullptr;
  ~Dictionary() { av_dict_free(&entries); }
};

bool is_picture(const AVStream& stream) {
  return (stream.disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS |
                                AV_DISPOSITION_STILL_IMAGE)) != 0;
}

// Cover art is a video stream too, and may be the first.
int find_film(AVFormatContext& format) {
  const int best = av_find_best_stream(&format, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (best >= 0 && !is_picture(*format.streams[best])) return best;
  for (unsigned i = 0; i < format.nb_streams; ++i)
    if (format.streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
        !is_picture(*format.streams[i]))
      return static_cast<int>(i);
  return best;
}

}  // namespace

bool is_address(const std::string& path) {
  return path.find("://") != std::string::npos || path.compare(0, 5, "pipe:") == 0;
}

bool is_camera(const std::string& path) { return path.compare(0, 10, "/dev/video") == 0; }

VideoInput::VideoInput(const std::string& path) : path_(path) {
  silence_ffmpeg();
  if (is_regular(path)) {
    const std::string missing = missing_end(path);
    if (!missing.empty())
      throw Error(
          fmt::format("{}: is cut off: {}; copy or record it again, or repair it with a "
                      "video tool",
                      path, missing));
  }
  open();
  film_ = find_film(*format_);
  if (film_ < 0) throw Error(path + ": holds no video stream");
  for (unsigned i = 0; i < format_->nb_streams; ++i)
    if (static_cast<int>(i) != film_) format_->streams[i]->discard = AVDISCARD_ALL;
}

void VideoInput::open() {
  AVFormatContext* context = avformat_alloc_context();
  context->interrupt_callback = {is_to_stop, &cancelled_};
  Dictionary options;
  const AVInputFormat* kind = nullptr;
  std::string address = path_;
  if (is_camera(path_)) {
    kind = av_find_input_format("v4l2");
  } else if (!is_address(path_)) {
    // "file:" keeps FFmpeg from taking a colon in the name for a protocol.
    address = "file:" + path_;
    av_dict_set(&options.entries, "protocol_whitelist", "file", 0);
    av_dict_set(&options.entries, "format_whitelist", file_formats, 0);
  }
  int result = avformat_open_input(&context, address.c_str(), kind, &options.entries);
  if (result >= 0) {  // else it has freed the context
    format_.reset(context);
    result = avformat_find_stream_info(context, nullptr);
  }
  stop_if_interrupted();
  if (result < 0)
    throw Error(fmt::format("{}: no video can be read from it ({}); it is damaged, or no video",
                            path_, ffmpeg_text(result)));
}

bool VideoInput::is_live() const {
  return is_camera(path_) || (path_.find("://") != std::string::npos && format_->duration <= 0);
}

int64_t VideoInput::start(AVRational time_base) const {
  if (format_->start_time == AV_NOPTS_VALUE) return 0;
  return av_rescale_q(format_->start_time, {1, AV_TIME_BASE}, time_base);
}

Turn VideoInput::turn() const {
  Turn turn;
  const uint8_t* const data =
      av_stream_get_side_data(&stream(), AV_PKT_DATA_DISPLAYMATRIX, nullptr);
  if (data == nullptr) return turn;
  const auto* matrix = reinterpret_cast<const int32_t*>(data);
  const double degrees = -av_display_rotation_get(matrix);
  if (!turn_of(matrix, turn) && std::isfinite(degrees))
    note(
        fmt::format("{}: is to be shown turned by {:.1f} degrees, which is no quarter "
                    "turn; its frames are taken as they are coded",
                    path_, degrees));
  return turn;
}

void VideoInput::keep_sound(std::shared_ptr<Sound> sound) {
  sound_ = std::move(sound);
  const bool is_new = sound_->tracks().empty();
  int tracks = 0;
  track_of_stream_.assign(format_->nb_streams, -1);
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    AVStream& stream = *format_->streams[i];
    if (stream.codecpar->codec_type != AVMEDIA_TYPE_AUDIO) continue;
    track_of_stream_[i] = tracks++;
    if (is_new) sound_->add_track(stream.codecpar, stream.time_base);
    stream.discard = AVDISCARD_DEFAULT;
  }
}

void VideoInput::keep(const AVPacket& packet) {
  const auto index = static_cast<size_t>(packet.stream_index);
  if (!sound_ || index >= track_of_stream_.size() || track_of_stream_[index] < 0) return;
  const AVRational base = format_->streams[packet.stream_index]->time_base;
  Packet kept(av_packet_clone(&packet));
  kept->stream_index = track_of_stream_[index];
  for (int64_t* time : {&kept->pts, &kept->dts})
    if (*time != AV_NOPTS_VALUE) *time -= start(base);
  sound_->put(std::move(kept), path_);
}

bool VideoInput::packet(AVPacket& packet) {
  for (;;) {
    stop_if_interrupted();
    av_packet_unref(&packet);
    const int result = av_read_frame(format_.get(), &packet);
    stop_if_interrupted();
    if (result == AVERROR_EOF) return false;
    if (result == AVERROR(EAGAIN)) {  // a camera without a new frame
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      continue;
    }
    if (result < 0 && is_live()) {
      note(fmt::format("{}: the stream has ended ({})", path_, ffmpeg_text(result)));
      return false;
    }
    if (result < 0)
      throw Error(fmt::format("{}: cannot be read to its end: {}", path_, ffmpeg_text(result)));
    if (packet.stream_index == film_) return true;
    keep(packet);
  }
}

bool VideoInput::seek(double seconds) {
  if (sound_) sound_->clear();
  const AVRational base = stream().time_base;
  const int64_t target = start(base) + static_cast<int64_t>(std::floor(seconds / av_q2d(base)));
  return av_seek_frame(format_.get(), film_, std::max(target, start(base)), AVSEEK_FLAG_BACKWARD) >=
         0;
}

}  // namespace mattec::media
