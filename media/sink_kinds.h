// The kinds of FrameSink that have a file of their own, for open_sink.
#pragma once

#include <memory>
#include <string>

#include "media/frame_sink.h"

namespace mattec::media {

std::unique_ptr<FrameSink> open_video_sink(const std::string& path, const SinkOptions& options);

}  // namespace mattec::media
