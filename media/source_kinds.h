// The kinds of FrameSource, for open_source.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "media/frame_source.h"

namespace mattec::media {

std::unique_ptr<FrameSource> open_video(const std::string& path, const SourceOptions& options);
std::unique_ptr<FrameSource> open_images(std::vector<std::string> files,
                                         const SourceOptions& options);
std::unique_ptr<FrameSource> open_standard_input(const SourceOptions& options);
// `whole` from options.begin - options.warm_up to options.end. `path` is for messages.
std::unique_ptr<FrameSource> part_of(std::unique_ptr<FrameSource> whole, const std::string& path,
                                     const SourceOptions& options);

}  // namespace mattec::media
