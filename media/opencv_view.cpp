#include "media/opencv_view.h"

#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgproc.hpp>

namespace mattec::media {

void to_luminance(const Image& color, Image& gray) {
  gray.reset(color.size, 1);
  cv::Mat target = view(gray);
  cv::cvtColor(view(color), target, cv::COLOR_RGB2GRAY);
}

void silence_opencv() { cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT); }

}  // namespace mattec::media
