// Coded sound on its way from a clip to a video made of it, untouched.
#pragma once

#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "media/ffmpeg.h"

namespace mattec::media {

// One thread puts packets in as it reads them, another takes them out as it writes frames.
class Sound {
 public:
  struct Track {
    Parameters parameters;
    AVRational time_base;
  };

  void add_track(const AVCodecParameters* parameters, AVRational time_base);
  const std::vector<Track>& tracks() const { return tracks_; }  // before the first packet

  // `packet`'s stream_index is the track's. Throws Error where more than a file with sensibly
  // interleaved streams holds back has gathered.
  void put(Packet packet, const std::string& path);
  // Forgets the packets: others are read instead.
  void clear();
  // Only what begins from `begin` (s) on is taken, its times counted from there, and nothing from
  // `end` on. Before the first take().
  void limit(double begin, double end);
  // The next packet that begins before `seconds`; null if none is here.
  Packet take(double seconds);

 private:
  void drop_first();
  double time_of(const AVPacket& packet) const;

  std::vector<Track> tracks_;
  std::mutex mutex_;  // guards what follows
  double begin_ = -1e18, end_ = 1e18;
  std::deque<Packet> packets_;
  size_t bytes_ = 0;
};

}  // namespace mattec::media
