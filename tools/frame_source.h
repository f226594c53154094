// Clips as streams of frames: a video file, a folder of images, or raw pixels on standard input.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/image.h"

namespace mattec::tools {

// Holds one frame at a time, however long the clip.
class FrameSource {
 public:
  virtual ~FrameSource() = default;
  // The next frame; false after the last one. All frames of a clip have size(). Throws Error,
  // naming file and frame, where a frame is damaged or of another size, and Interrupted.
  virtual bool next(Image& frame) = 0;
  // Passes over frames, at most to the end. Throws like next().
  virtual void skip(int64_t frames);

  ir::Size size() const { return size_; }
  // Frames a second.
  double rate() const { return rate_; }
  // As far as known beforehand; a video's header may be wrong.
  std::optional<int64_t> expected_frames() const { return expected_frames_; }
  // The frame that next() gave last: the image's file name without extension, or its number from
  // 0 as six digits.
  const std::string& frame_name() const { return frame_name_; }

 protected:
  ir::Size size_;
  double rate_ = 0;
  std::optional<int64_t> expected_frames_;
  std::string frame_name_;
};

// What the input itself may not say.
struct SourceOptions {
  int channels = 3;                  // 3 = R, G, B; 1 = luminance (not of standard input)
  std::optional<ir::Size> raw_size;  // standard input: size of its frames
  double rate = 25;                  // for folders and standard input: frames a second
};

// `path`: a video file, an image (a clip of one frame), a folder of images in the order of their
// names (numbers in names count as numbers: f2 before f10), or "-": raw 8-bit R, G, B rows.
// Throws Error where it is missing, empty, cut off or unreadable; there is at least one frame.
std::unique_ptr<FrameSource> open_source(const std::string& path, const SourceOptions& options);

// The order in which people count: runs of digits compare as numbers.
bool natural_less(const std::string& a, const std::string& b);

// True for the file name of a format that OpenCV reads as a single picture.
bool is_image_name(const std::string& path);

// True for the file name of a video, by its extension.
bool is_video_name(const std::string& path);

// The images of a folder, in natural order; empty if there are none.
std::vector<std::string> images_in(const std::string& folder);

}  // namespace mattec::tools
