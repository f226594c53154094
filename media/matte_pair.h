// Two streams that belong together frame by frame: colours and mattes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "media/frame_source.h"

namespace mattec::media {

class MattePair {
 public:
  // Paths as open_source takes them. Throws Error where sizes or, as far as known, counts differ.
  MattePair(const std::string& colors, const std::string& mattes);

  ir::Size size() const { return colors_->size(); }
  std::optional<int64_t> expected_frames() const;
  void skip(int64_t frames);
  // False after the last pair. Throws Error where only one of the streams goes on.
  bool next(Image& color, Image& matte);

 private:
  std::string color_path_, matte_path_;
  std::unique_ptr<FrameSource> colors_, mattes_;
};

}  // namespace mattec::media
