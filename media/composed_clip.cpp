#include "media/composed_clip.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <opencv2/core.hpp>

#include "base/error.h"
#include "base/random.h"
#include "media/composite.h"
#include "media/frame_source.h"
#include "media/matte_pair.h"
#include "media/motion.h"
#include "media/opencv_view.h"
#include "media/scale.h"

namespace mattec::media {
namespace {

namespace fs = std::filesystem;

struct NaturalOrder {
  bool operator()(const std::string& a, const std::string& b) const { return natural_less(a, b); }
};
// Folders, videos and images of a folder by name, without the extension of files.
using Entries = std::map<std::string, std::string, NaturalOrder>;

Entries entries_of(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw Error(folder + ": no such folder");
  Entries entries;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.filename().string()[0] == '.') continue;
    const bool is_folder = fs::is_directory(path);
    if (!is_folder && !is_video_name(path.string()) && !is_image_name(path.string())) continue;
    const std::string name = is_folder ? path.filename().string() : path.stem().string();
    const auto [first, is_new] = entries.emplace(name, path.string());
    if (!is_new)
      throw Error(fmt::format("{}: has the name of {}; remove or rename one of them", path.string(),
                              first->second));
  }
  if (error) throw Error(fmt::format("{}: cannot be listed: {}", folder, error.message()));
  if (entries.empty())
    throw Error(folder + ": holds no clips (folders of frames, videos, or images)");
  return entries;
}

// What decides the pixels of one composed clip.
struct Recipe {
  Foreground foreground;
  std::string background;
  bool still = false;  // the foreground is a single image
  int64_t first = 0;   // of its frames
  int frames = 0;
  bool mirrored = false;
  std::optional<Motion> motion;
};

class ComposedSource : public TruthSource {
 public:
  ComposedSource(const Recipe& recipe, ir::Size size)
      : recipe_(recipe),
        size_(size),
        pair_(recipe.foreground.colors, recipe.foreground.mattes),
        inner_(fitting(pair_.size(), size)),
        background_(recipe.background, Clip(size, Rational{25, 1})) {
    pair_.skip(recipe.first);
  }

  bool next(Image& frame, Image& alpha) override {
    if (done_ == recipe_.frames) return false;
    if (done_ == 0 || !recipe_.still) {
      if (!pair_.next(color_, matte_)) return false;
      scale(color_, inner_, scaled_color_);
      scale(matte_, inner_, scaled_matte_);
    }
    place(scaled_color_, placed_color_);
    place(scaled_matte_, alpha);
    composite(placed_color_, alpha, background_.next(), frame);
    ++done_;
    return true;
  }

 private:
  // Into the middle of the frame: moved and mirrored.
  void place(const Image& picture, Image& placed) {
    const Image* shown = &picture;
    if (recipe_.motion) {
      const double moment =
          recipe_.frames == 1 ? 0 : static_cast<double>(done_) / (recipe_.frames - 1);
      recipe_.motion->move(picture, moment, moved_);
      shown = &moved_;
    }
    placed.reset(size_, picture.channels);
    std::fill(placed.pixels.begin(), placed.pixels.end(), uint8_t{0});
    const cv::Rect middle((size_.width - inner_.width) / 2, (size_.height - inner_.height) / 2,
                          inner_.width, inner_.height);
    cv::Mat target = view(placed);
    view(*shown).copyTo(target(middle));
    if (recipe_.mirrored) cv::flip(target, target, 1);
  }

  Recipe recipe_;
  ir::Size size_;
  MattePair pair_;
  ir::Size inner_;  // of the foreground within size_
  Background background_;
  int done_ = 0;
  Image color_, matte_, scaled_color_, scaled_matte_, moved_, placed_color_;
};

std::vector<std::string> shuffled_backgrounds(const std::string& folder, uint64_t seed) {
  std::vector<std::string> backgrounds;
  for (const auto& [name, path] : entries_of(folder)) backgrounds.push_back(path);
  Random random(seed);
  for (size_t left = backgrounds.size(); left > 1; --left)
    std::swap(backgrounds[left - 1], backgrounds[random.next() % left]);
  return backgrounds;
}

// Opens the foreground to learn its size and length.
TruthClip compose_clip(const Foreground& foreground, const std::string& background, bool mirrored,
                       Random random, const TruthOptions& options) {
  constexpr int frames_of_protocol = 100;
  const MattePair pair(foreground.colors, foreground.mattes);
  Recipe recipe;
  recipe.foreground = foreground;
  recipe.background = background;
  recipe.mirrored = mirrored;
  recipe.still = is_image_name(foreground.colors);
  recipe.frames = options.frames.value_or(frames_of_protocol);
  const std::optional<int64_t> count = pair.expected_frames();
  const double start = random.uniform(0, 1);
  if (!recipe.still && count) {
    recipe.frames = static_cast<int>(std::min<int64_t>(recipe.frames, *count));
    recipe.first = static_cast<int64_t>(start * static_cast<double>(*count - recipe.frames + 1));
  }
  if (options.motion.value_or(recipe.still)) recipe.motion.emplace(random);
  return {fmt::format("{} on {}", foreground.name, fs::path(background).stem().string()),
          pair.size(), recipe.frames, true,
          [recipe](ir::Size size) { return std::make_unique<ComposedSource>(recipe, size); }};
}

}  // namespace

std::vector<Foreground> foregrounds_in(const std::string& folder) {
  for (const char* part : {"fgr", "pha"})
    if (!fs::is_directory(fs::path(folder) / part))
      throw Error(fmt::format("{}: has no folder {}; foregrounds lie in fgr, their mattes in pha",
                              folder, part));
  const Entries colors = entries_of((fs::path(folder) / "fgr").string());
  const Entries mattes = entries_of((fs::path(folder) / "pha").string());
  std::vector<Foreground> foregrounds;
  for (const auto& [name, path] : colors) {
    const auto matte = mattes.find(name);
    if (matte == mattes.end())
      throw Error(fmt::format("{}: has no mattes named {} in pha", path, name));
    foregrounds.push_back({name, path, matte->second});
  }
  for (const auto& [name, path] : mattes)
    if (colors.count(name) == 0)
      throw Error(fmt::format("{}: has no foreground named {} in fgr", path, name));
  return foregrounds;
}

std::vector<TruthClip> compose_clips(const std::vector<Foreground>& foregrounds,
                                     const TruthOptions& options) {
  const std::vector<std::string> backgrounds =
      shuffled_backgrounds(options.backgrounds, options.seed);
  const size_t clips = options.clips ? static_cast<size_t>(*options.clips) : foregrounds.size();
  // A background that cannot be read shows now, not after an hour.
  for (size_t i = 0; i < std::min(clips, backgrounds.size()); ++i) open_source(backgrounds[i], {});
  std::vector<TruthClip> composed;
  for (size_t i = 0; i < clips; ++i)
    composed.push_back(
        compose_clip(foregrounds[i % foregrounds.size()], backgrounds[i % backgrounds.size()],
                     i / foregrounds.size() % 2 == 1, Random(mix(options.seed) + i), options));
  return composed;
}

}  // namespace mattec::media
