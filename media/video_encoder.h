// Images as a codec's packets.
#pragma once

#include <functional>
#include <string>

#include "media/codecs.h"
#include "media/frame_sink.h"

namespace mattec::media {

class VideoEncoder {
 public:
  // `global_header`: the container keeps what the codec says once. Throws Error.
  VideoEncoder(const std::string& path, const SinkOptions& options, const VideoCodec& codec,
               bool global_header);

  const AVCodecContext& context() const { return *context_; }
  // What images become: the last column or row twice where the codec wants even sizes.
  ir::Size stored_size() const { return size_; }
  // `give` gets the packets that are ready. Throws Error.
  using Give = std::function<void(AVPacket&)>;
  void encode(const Image& image, const FrameLabel& label, const Give& give);
  void finish(const Give& give);

 private:
  void open(const AVCodec* encoder, const SinkOptions& options, bool global_header);
  void set_colors(const ColorTags& colors);
  void prepare_scaler();
  void drain(const Give& give);
  [[noreturn]] void fail(int code) const;

  std::string path_;
  const VideoCodec& codec_;
  int channels_;
  ir::Size size_;
  Codec context_;
  Scaler scaler_;
  AvFrame frame_;
  Packet packet_;
  Image bordered_;
};

}  // namespace mattec::media
