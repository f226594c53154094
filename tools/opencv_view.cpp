#include "tools/opencv_view.h"

#include <cstdlib>
#include <opencv2/core/utils/logger.hpp>

namespace mattec::tools {

void silence_codecs() {
  static const bool done = [] {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    return setenv("OPENCV_FFMPEG_LOGLEVEL", "-8", 0) == 0;  // AV_LOG_QUIET
  }();
  static_cast<void>(done);
}

}  // namespace mattec::tools
