// Reading and writing beside the work between them.
#pragma once

#include <memory>

#include "media/frame_sink.h"
#include "media/frame_source.h"

namespace mattec::media {

// The same frames, read ahead (four at most) by a thread of its own.
std::unique_ptr<FrameSource> read_ahead(std::unique_ptr<FrameSource> source);

// write() returns before the image is written; errors come with a later write() or finish().
std::unique_ptr<FrameSink> write_behind(std::unique_ptr<FrameSink> sink);

}  // namespace mattec::media
