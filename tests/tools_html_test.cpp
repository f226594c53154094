// The pieces that pages are made of.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <opencv2/imgcodecs.hpp>

#include "media/picture.h"
#include "tools/html.h"
#include "tools/progress.h"

namespace mattec::tools {
namespace {

std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

TEST(Html, EscapesWhatWouldBeMarkup) {
  EXPECT_EQ(cell("a < b & \"c\" > d"), "<td>a &lt; b &amp; &quot;c&quot; &gt; d</td>");
  EXPECT_EQ(heading("<"), "<th>&lt;</th>");
  EXPECT_EQ(bar("&", 0.5), "<td class=\"bar\" style=\"background-size:50.0% 100%\">&amp;</td>");
  EXPECT_EQ(row({cell("1"), cell("2")}), "<tr><td>1</td><td>2</td></tr>\n");
}

TEST(Html, Base64IsRfc4648s) {  // its section 10
  const char* const cases[][2] = {{"", ""},
                                  {"f", "Zg=="},
                                  {"fo", "Zm8="},
                                  {"foo", "Zm9v"},
                                  {"foob", "Zm9vYg=="},
                                  {"fooba", "Zm9vYmE="},
                                  {"foobar", "Zm9vYmFy"}};
  for (const auto& one : cases) EXPECT_EQ(base64(bytes(one[0])), one[1]);
  EXPECT_EQ(base64({0xFB, 0xFF, 0xFE}), "+//+");
}

TEST(Html, CurvesGoFromTheFirstStepToTheLast) {
  const std::string drawn = curve("loss <", {{10, 4.0}, {20, 2.0}, {50, 3.0}});
  // A plot of 560 x 180 from (70, 30): the highest on top, the lowest at the bottom.
  EXPECT_NE(drawn.find("points=\"70.0,30.0 210.0,210.0 630.0,120.0 \""), std::string::npos)
      << drawn;
  for (const char* label : {">loss &lt;<", ">step 10<", ">50<", ">4<", ">2<"})
    EXPECT_NE(drawn.find(label), std::string::npos) << label;
}

TEST(Html, CurvesLeaveOutWhatIsNotFinite) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(curve("loss", {}), "");
  EXPECT_EQ(curve("loss", {{1, nan}, {2, infinity}}), "");
  const std::string drawn = curve("loss", {{0, 1.0}, {1, nan}, {2, 1.0}});
  EXPECT_NE(drawn.find("points=\"70.0,30.0 630.0,30.0 \""), std::string::npos) << drawn;
  EXPECT_NE(curve("one", {{7, 5.0}}).find("points=\"70.0,30.0 \""), std::string::npos);
}

TEST(Png, HoldsThePixelsInTheirOrder) {
  media::Image color({1, 2}, 3), grey({2, 1}, 1);
  color.pixels = {1, 2, 3, 250, 251, 252};
  grey.pixels = {7, 200};
  const cv::Mat read = cv::imdecode(media::png_of(color), cv::IMREAD_UNCHANGED);
  EXPECT_EQ(read.at<cv::Vec3b>(0, 0), cv::Vec3b(3, 2, 1));  // OpenCV's order
  EXPECT_EQ(read.at<cv::Vec3b>(0, 1), cv::Vec3b(252, 251, 250));
  const cv::Mat read_grey = cv::imdecode(media::png_of(grey), cv::IMREAD_UNCHANGED);
  EXPECT_EQ(read_grey.type(), CV_8UC1);
  EXPECT_EQ(read_grey.at<uint8_t>(1, 0), 200);
}

TEST(Progress, WritesDurationsForPeople) {
  EXPECT_EQ(duration_text(3.24), "3.2 s");
  EXPECT_EQ(duration_text(59.96), "1:00 min");
  EXPECT_EQ(duration_text(245), "4:05 min");
  EXPECT_EQ(duration_text(3723), "1:02:03 h");
}

}  // namespace
}  // namespace mattec::tools
