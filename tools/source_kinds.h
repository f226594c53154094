// The three kinds of FrameSource, for open_source.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/frame_source.h"

namespace mattec::tools {

std::unique_ptr<FrameSource> open_video(const std::string& path, const SourceOptions& options);
std::unique_ptr<FrameSource> open_images(std::vector<std::string> files,
                                         const SourceOptions& options);
std::unique_ptr<FrameSource> open_standard_input(const SourceOptions& options);

}  // namespace mattec::tools
