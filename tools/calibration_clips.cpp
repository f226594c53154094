#include "tools/calibration_clips.h"

#include <algorithm>
#include <deque>
#include <filesystem>

#include "base/error.h"
#include "media/frame_source.h"
#include "media/scale.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

// The clip that a folder itself is; empty if it is none.
std::string clip_in(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder / "src", error)) return (folder / "src").string();
  return media::images_in(folder.string()).empty() ? "" : folder.string();
}

void add_entries(const fs::path& folder, std::vector<std::string>& clips) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.filename().string()[0] == '.') continue;
    if (fs::is_directory(path)) {
      const std::string clip = clip_in(path);
      if (!clip.empty()) found.push_back(clip);
    } else if (media::is_video_name(path)) {
      found.push_back(path.string());
    }
  }
  if (error) throw Error(folder.string() + ": cannot be listed: " + error.message());
  if (found.empty())
    throw Error(folder.string() + ": holds no clips (videos, images, or folders of images)");
  std::sort(found.begin(), found.end(), media::natural_less);
  clips.insert(clips.end(), found.begin(), found.end());
}

// `size`, upright for upright clips.
ir::Size turned(ir::Size size, ir::Size clip) {
  if (clip.height > clip.width) std::swap(size.height, size.width);
  return size;
}

}  // namespace

std::vector<std::string> find_clips(const std::vector<std::string>& paths) {
  std::vector<std::string> clips;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::exists(path, error)) throw Error(path + ": no such file or folder");
    if (!fs::is_directory(path, error)) {
      clips.push_back(path);
      continue;
    }
    const std::string clip = clip_in(path);
    if (clip.empty())
      add_entries(path, clips);
    else
      clips.push_back(clip);
  }
  return clips;
}

quant::Clip load_calibration_clip(const std::string& path, ir::Size size, int frames) {
  constexpr int first_frame = 20;
  const std::unique_ptr<media::FrameSource> source = media::open_source(path, {});
  size = turned(size, source->size());
  std::deque<media::Image>
      early;  // not scaled unless the clip is short: that takes longer than decoding
  std::deque<quant::Frame> kept;
  media::Image frame, scaled;
  const auto at_size = [&](const media::Image& from) {
    media::cover(from, size, scaled);
    return quant::Frame{size.width, size.height, scaled.pixels};
  };
  for (int i = 0; i < first_frame + frames && source->next(frame); ++i) {
    if (i < first_frame)
      early.push_back(frame);
    else
      kept.push_back(at_size(frame));
  }
  while (kept.size() < static_cast<size_t>(frames) && !early.empty()) {
    kept.push_front(at_size(early.back()));
    early.pop_back();
  }
  return {std::make_move_iterator(kept.begin()), std::make_move_iterator(kept.end())};
}

quant::Clip load_truth_clip(const media::TruthClip& clip, ir::Size size, int frames) {
  size = turned(size, clip.size);
  const std::unique_ptr<media::TruthSource> source = clip.open(clip.size);
  quant::Clip loaded;
  media::Image frame, alpha, scaled, scaled_alpha;
  while (loaded.size() < static_cast<size_t>(frames) && source->next(frame, alpha)) {
    media::cover(frame, size, scaled);
    media::cover(alpha, size, scaled_alpha);
    loaded.push_back({size.width, size.height, scaled.pixels, scaled_alpha.pixels});
  }
  return loaded;
}

}  // namespace mattec::tools
