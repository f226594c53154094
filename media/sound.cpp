#include "media/sound.h"

#include <cmath>

#include "base/error.h"

namespace mattec::media {

void Sound::add_track(const AVCodecParameters* parameters, AVRational time_base) {
  Parameters copy(avcodec_parameters_alloc());
  avcodec_parameters_copy(copy.get(), parameters);
  copy->codec_tag = 0;  // of the container it comes from
  tracks_.push_back({std::move(copy), time_base});
}

void Sound::put(Packet packet, const std::string& path) {
  constexpr size_t most_bytes = size_t{64} << 20;  // 40 s of eight tracks of 48 kHz 32-bit stereo
  const std::lock_guard<std::mutex> lock(mutex_);
  bytes_ += static_cast<size_t>(packet->size);
  if (bytes_ > most_bytes)
    throw Error(path +
                ": its sound lies too far before its pictures to be copied; use --audio off");
  packets_.push_back(std::move(packet));
}

void Sound::clear() {
  const std::lock_guard<std::mutex> lock(mutex_);
  packets_.clear();
  bytes_ = 0;
}

void Sound::limit(double begin, double end) {
  const std::lock_guard<std::mutex> lock(mutex_);
  begin_ = begin;
  end_ = end;
}

double Sound::time_of(const AVPacket& packet) const {
  const int64_t time = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
  if (time == AV_NOPTS_VALUE) return begin_;
  return static_cast<double>(time) *
         av_q2d(tracks_[static_cast<size_t>(packet.stream_index)].time_base);
}

void Sound::drop_first() {
  bytes_ -= static_cast<size_t>(packets_.front()->size);
  packets_.pop_front();
}

Packet Sound::take(double seconds) {
  const std::lock_guard<std::mutex> lock(mutex_);
  while (!packets_.empty() &&
         (time_of(*packets_.front()) < begin_ || time_of(*packets_.front()) >= end_))
    drop_first();
  const bool is_part = begin_ > -1e18;
  const double origin = is_part ? begin_ : 0;
  if (packets_.empty() || time_of(*packets_.front()) - origin > seconds) return nullptr;
  Packet packet = std::move(packets_.front());
  packets_.pop_front();
  bytes_ -= static_cast<size_t>(packet->size);
  const AVRational base = tracks_[static_cast<size_t>(packet->stream_index)].time_base;
  for (int64_t* time : {&packet->pts, &packet->dts})
    if (*time != AV_NOPTS_VALUE) *time -= std::llround(origin / av_q2d(base));
  return packet;
}

}  // namespace mattec::media
