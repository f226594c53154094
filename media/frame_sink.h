// Where mattes and composites go: a video, a folder of PNG images, one picture, or standard output.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "media/clip.h"
#include "media/image.h"

namespace mattec::media {

// Nothing shows under the final name before finish(): a sink that is destroyed earlier (an error,
// Ctrl-C) removes what it wrote.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  // Images of the channels that the sink was opened for, and of its size, but for folders. Of the
  // label a folder takes the name, a video the time. Throws Error, also for a full disk.
  virtual void write(const Image& image, const FrameLabel& label) = 0;
  // Completes the output and puts it in place.
  virtual void finish() = 0;
};

struct SinkOptions {
  Clip clip;                   // what is written: size, times, pixel shape, colours, sound
  int channels = 3;            // 1 = alpha, 3 = R, G, B, 4 = R, G, B, alpha
  std::string codec;           // of a video: a name of codecs.h; empty: as its container has it
  std::optional<int> quality;  // 1 .. 100, of codecs that lose; default 75
};

// `path`:
// - .mp4, .mov, .mkv, .webm, .avi: a video, replacing an existing file. Codecs that take even sizes
//   only get the last column or row twice. With 4 channels .mov, .mkv and .webm. Time stamps are
//   kept (.avi: of a constant rate only), and so is sound that the container can hold;
// - .png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff: one picture, replacing an existing file;
// - "-": raw rows on standard output: gray for 1 channel, else R, G, B, A;
// - any other path without extension, or an existing folder: a folder of 8-bit PNGs named like the
//   frames, which must not exist or be empty.
// Throws Error where that cannot be, UsageError where it can never be.
std::unique_ptr<FrameSink> open_sink(const std::string& path, const SinkOptions& options);

}  // namespace mattec::media
