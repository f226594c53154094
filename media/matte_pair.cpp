#include "media/matte_pair.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace mattec::media {
namespace {

namespace fs = std::filesystem;

std::string text_of(ir::Size size) { return fmt::format("{}x{}", size.width, size.height); }

SourceOptions grey() {
  SourceOptions options;
  options.channels = 1;
  return options;
}

// Videos say how many frames they have from their duration, one more or less than there are: with
// them only what is far apart is refused at once, the rest where one ends before the other.
bool may_not_match(const std::string& colors, int64_t frames, const std::string& mattes,
                   int64_t matte_frames) {
  const bool is_exact = fs::is_directory(colors) && fs::is_directory(mattes);
  const int64_t apart = std::abs(frames - matte_frames);
  return is_exact ? apart > 0 : apart * 100 > std::max(frames, matte_frames) * 5 + 200;
}

}  // namespace

MattePair::MattePair(const std::string& colors, const std::string& mattes)
    : color_path_(colors),
      matte_path_(mattes),
      colors_(open_source(colors, {})),
      mattes_(open_source(mattes, grey())) {
  if (colors_->size() != mattes_->size())
    throw Error(fmt::format("{}: its frames are {}, but the mattes in {} are {}; they must match",
                            colors, text_of(colors_->size()), mattes, text_of(mattes_->size())));
  const std::optional<int64_t> frames = colors_->clip().expected_frames;
  const std::optional<int64_t> matte_frames = mattes_->clip().expected_frames;
  if (frames && matte_frames && may_not_match(colors, *frames, mattes, *matte_frames))
    throw Error(fmt::format("{}: has {} frames, but {} has {} mattes; they must match", colors,
                            *frames, mattes, *matte_frames));
}

std::optional<int64_t> MattePair::expected_frames() const {
  const std::optional<int64_t> frames = colors_->clip().expected_frames,
                               matte_frames = mattes_->clip().expected_frames;
  if (frames && matte_frames) return std::min(*frames, *matte_frames);
  return frames ? frames : matte_frames;
}

void MattePair::skip(int64_t frames) {
  colors_->skip(frames);
  mattes_->skip(frames);
}

bool MattePair::next(Image& color, Image& matte) {
  const bool has_color = colors_->next(color);
  const bool has_matte = mattes_->next(matte);
  if (has_color != has_matte)
    throw Error(fmt::format("{}: ends before {}; they must have the same number of frames",
                            has_color ? matte_path_ : color_path_,
                            has_color ? color_path_ : matte_path_));
  return has_color;
}

}  // namespace mattec::media
