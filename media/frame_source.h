// Clips as streams of frames: a video file or stream, a folder of images, or raw pixels on standard
// input.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/clip.h"
#include "media/image.h"

namespace mattec::media {

// Holds a few frames at a time, however long the clip.
class FrameSource {
 public:
  virtual ~FrameSource() = default;
  // The next frame; false after the last one. All frames of a clip have its size. Throws Error,
  // naming file and frame, where a frame is damaged or of another size, and Interrupted.
  virtual bool next(Image& frame) = 0;
  // Passes over frames, at most to the end. Throws like next().
  virtual void skip(int64_t frames);
  // From another thread: next() gives up waiting for more and throws.
  virtual void cancel() {}
  // Goes on with the first frame that begins at `seconds` or later. Throws Error where a stream
  // cannot.
  virtual void seek(double seconds) = 0;

  const Clip& clip() const { return clip_; }
  ir::Size size() const { return clip_.size; }
  // Of the frame that next() gave last. Its name: the image's file name without extension, or its
  // number from 0 as six digits.
  const FrameLabel& label() const { return label_; }

 protected:
  Clip clip_;
  FrameLabel label_;
};

// What the input itself may not say, and what is wanted of it.
struct SourceOptions {
  int channels = 3;                  // 3 = R, G, B; 1 = luminance (not of standard input)
  std::optional<ir::Size> raw_size;  // standard input: size of its frames
  Rational rate = {25, 1};           // for folders and standard input: frames a second
  bool sound = false;                // of videos: keep it in clip().sound
  bool any_size = false;             // folders: frames may differ in size
  // The part from `begin` (s) to before `end`. Frames of `warm_up` (s) before it come first,
  // marked.
  double begin = 0, warm_up = 0;
  std::optional<double> end;
};

// `path`: a video file, an image (a clip of one frame), a folder of images in the order of their
// names (numbers in names count as numbers: f2 before f10), a camera (/dev/video0), a stream that
// FFmpeg opens (rtsp://..., pipe:0), or "-": raw 8-bit R, G, B rows. Turned upright, and with the
// stream's own colour matrix: the same bits on every processor. Throws Error where it is missing,
// empty, cut off or unreadable; there is at least one frame. Interrupted.
std::unique_ptr<FrameSource> open_source(const std::string& path, const SourceOptions& options);

// The order in which people count: runs of digits compare as numbers.
bool natural_less(const std::string& a, const std::string& b);

// True for the file name of a format that is read as a single picture.
bool is_image_name(const std::string& path);

// True for the file name of a video, by its extension.
bool is_video_name(const std::string& path);

// What is missing where the files' names count and one number, or more, is left out: "f12.png is
// followed by f15.png". Empty where none is. Names that all count by twos miss nothing.
std::string missing_number(const std::vector<std::string>& files);

// The images of a folder, in natural order; empty if there are none.
std::vector<std::string> images_in(const std::string& folder);

}  // namespace mattec::media
