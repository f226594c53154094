// Where mattes and composites go: a video file or a folder of PNG images.
#pragma once

#include <memory>
#include <string>

#include "tools/image.h"

namespace mattec::tools {

// Nothing shows under the final name before finish(): a sink that is destroyed earlier (an error,
// Ctrl-C) removes what it wrote.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  // Images of the size the sink was opened for, 1 or 3 channels. `name`: the frame's, which a
  // folder uses for the file. Throws Error, also for a full disk.
  virtual void write(const Image& image, const std::string& name) = 0;
  // Completes the output and puts it in place; checks that it is whole.
  virtual void finish() = 0;
};

// `path` ending in .mp4, .mov, .mkv or .avi: a video at `rate` frames a second, replacing an
// existing file. Those formats hold even sizes only: of an odd one the last column or row is
// repeated. Any other path without extension, or an existing folder: a folder of 8-bit PNGs named
// like the frames, which must not exist or be empty. Throws Error where that cannot be.
std::unique_ptr<FrameSink> open_sink(const std::string& path, ir::Size size, double rate);

}  // namespace mattec::tools
