#include "media/motion.h"

#include <cmath>
#include <opencv2/imgproc.hpp>

#include "media/opencv_view.h"

namespace mattec::media {

Motion::Pose Motion::random_pose(Random& random) {
  constexpr double degree = 3.14159265358979323846 / 180;
  Pose pose = {};
  pose.angle = random.uniform(-10, 10) * degree;
  pose.shift_x = random.uniform(-0.1, 0.1);
  pose.shift_y = random.uniform(-0.1, 0.1);
  pose.scale = random.uniform(0.9, 1.1);
  pose.shear = random.uniform(-5, 5) * degree;
  return pose;
}

Motion::Motion(Random& random)
    : from_(random_pose(random)), to_(random_pose(random)), extent_(random.uniform(0, 1)) {}

void Motion::move(const Image& picture, double moment, Image& moved) const {
  const auto now = [&](double Pose::*part) {
    return from_.*part + (to_.*part - from_.*part) * moment * extent_;
  };
  const double width = picture.size.width, height = picture.size.height;
  const double cosine = now(&Pose::scale) * std::cos(now(&Pose::angle));
  const double sine = now(&Pose::scale) * std::sin(now(&Pose::angle));
  const double shear = std::tan(now(&Pose::shear));
  // rotation * shear * scale about the middle, in pixels whose centres are whole numbers
  const double a = cosine, b = -cosine * shear - sine, c = sine, d = cosine - sine * shear;
  const double x = (width - 1) / 2, y = (height - 1) / 2;
  const cv::Matx23d map(a, b, x + now(&Pose::shift_x) * width - a * x - b * y,  //
                        c, d, y + now(&Pose::shift_y) * height - c * x - d * y);
  moved.reset(picture.size, picture.channels);
  cv::Mat target = view(moved);
  cv::warpAffine(view(picture), target, map, target.size(), cv::INTER_LINEAR,
                 picture.channels == 1 ? cv::BORDER_CONSTANT : cv::BORDER_REPLICATE);
}

}  // namespace mattec::media
