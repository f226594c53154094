// An open video file, camera or stream, and its packets.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "media/ffmpeg.h"
#include "media/rgb_converter.h"
#include "media/sound.h"

namespace mattec::media {

// "rtsp://camera/1", "pipe:0": what FFmpeg opens that is no file.
bool is_address(const std::string& path);
// A video device's name: "/dev/video0".
bool is_camera(const std::string& path);

class VideoInput {
 public:
  // Throws Error where nothing can be opened or no film is in it, Interrupted.
  explicit VideoInput(const std::string& path);

  const std::string& path() const { return path_; }
  AVFormatContext& format() const { return *format_; }
  AVStream& stream() const { return *format_->streams[film_]; }
  bool is_live() const;
  // Where the clip begins, in ticks of a stream's time base.
  int64_t start(AVRational time_base) const;
  // Of the film's display matrix; notes on standard error one that is none.
  Turn turn() const;
  // packet() fills `sound` from now on, which gets the input's tracks unless it has them.
  void keep_sound(std::shared_ptr<Sound> sound);

  // From another thread: packet() ends its waiting by an Error.
  void cancel() { cancelled_ = true; }
  // The film's next packet; false at the end. Sound on the way goes to keep_sound()'s. Throws
  // Error where reading fails, Interrupted.
  bool packet(AVPacket& packet);
  // To a place from which `seconds` of the clip can be decoded; false where the input cannot.
  bool seek(double seconds);

 private:
  void open();
  void keep(const AVPacket& packet);

  std::string path_;
  FormatInput format_;
  std::atomic<bool> cancelled_{false};
  int film_ = -1;
  std::shared_ptr<Sound> sound_;
  std::vector<int> track_of_stream_;  // -1: not kept
};

}  // namespace mattec::media
